"""The tiny networks of the tests, as files of other projects."""

from pathlib import Path
from typing import Any

import nvlabs_pickle
import torch
from torch import nn

from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.generators import (
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    StyleGAN3Generator,
    TriPlaneGenerator,
)

_SIZES = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")


def arrays(network: nn.Module) -> dict[str, Any]:
    return {key: value.detach().numpy() for key, value in network.state_dict().items()}


def nvidia_arguments(generator: StyleGAN2Generator) -> dict[str, Any]:
    """The constructor arguments that stylegan2-ada-pytorch would have."""
    config = generator.config
    return {name: config[name] for name in _SIZES} | {
        "mapping_kwargs": {"num_layers": config["mapping_layers"]},
        "synthesis_kwargs": {name: config[name] for name in ("channel_base", "channel_max")},
    }


def write_nvidia(
    path: Path,
    generator: StyleGAN2Generator,
    *,
    training: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """A pickle as stylegan2-ada-pytorch writes it, with options of the training's data."""
    net = nvlabs_pickle.Net(arrays(generator), nvidia_arguments(generator))
    content = {"G": None, "D": None, "G_ema": net}
    nvlabs_pickle.write(path, "stylegan2-ada", content, training, **options)
    return path


def write_stylegan3(path: Path, generator: StyleGAN3Generator) -> Path:
    """A pickle as stylegan3 writes it."""
    config = generator.config
    own = ("channel_base", "channel_max", "num_layers", "margin_size", "conv_kernel")
    arguments = {name: config[name] for name in (*_SIZES, *own, "use_radial_filters")}
    arguments["mapping_kwargs"] = {"num_layers": config["mapping_layers"]}
    net = nvlabs_pickle.Net(arrays(generator), arguments)
    nvlabs_pickle.write(path, "stylegan3", {"G": None, "D": None, "G_ema": net})
    return path


def eg3d_arguments(generator: TriPlaneGenerator) -> dict[str, Any]:
    """The constructor arguments that EG3D would have."""
    config = generator.config
    half = config["sr_conv_clamp"] is not None
    same = ("z_dim", "w_dim", "img_resolution", "channel_base", "channel_max", "conv_clamp")
    module = "2X" if config["sr_resolution"] == 64 else "8XDC" if config["sr_shrinks"] else "4X"
    return {name: config[name] for name in same} | {
        "c_dim": 25,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": config["mapping_layers"]},
        "num_fp16_res": 0,
        "sr_num_fp16_res": 4 if half else 0,
        "sr_kwargs": {"channel_base": 32768, "channel_max": 512},
        "rendering_kwargs": {
            "image_resolution": config["img_resolution"],
            "disparity_space_sampling": config["disparity"],
            "clamp_mode": "softplus",
            "superresolution_module": f"training.superresolution.SuperresolutionHybrid{module}",
            "c_gen_conditioning_zero": False,
            "gpc_reg_prob": 0.5,
            "c_scale": config["camera_scale"],
            "superresolution_noise_mode": config["sr_noise"],
            "density_reg": 0.25,
            "density_reg_p_dist": 0.004,
            "reg_type": "l1",
            "decoder_lr_mul": config["decoder_lr_multiplier"],
            "sr_antialias": config["sr_antialias"],
            "depth_resolution": config["coarse_samples"],
            "depth_resolution_importance": config["fine_samples"],
            "ray_start": config["ray_start"],
            "ray_end": config["ray_end"],
            "box_warp": config["box_size"],
            "avg_camera_radius": config["camera_radius"],
            "avg_camera_pivot": config["camera_pivot"],
            "white_back": config["white_back"],
        },
    }


def eg3d_network(generator: TriPlaneGenerator, **attributes: Any) -> nvlabs_pickle.Net:
    """A tri-plane generator as EG3D's training pickles it, with these attributes changed."""
    rays = {"neural_rendering_resolution": generator.config["neural_resolution"]}
    arguments = eg3d_arguments(generator)
    held = arrays(generator)
    return nvlabs_pickle.Net(held, arguments, "TriPlaneGenerator", rays | attributes)


def eg3d_critic(discriminator: StyleGAN2Discriminator) -> nvlabs_pickle.Net:
    """A discriminator of two pictures as EG3D's training pickles it."""
    config = discriminator.config
    same = ("c_dim", "img_resolution", "channel_base", "channel_max", "conv_clamp")
    arguments = {name: config[name] for name in same} | {
        "img_channels": config["img_channels"] // 2,
        "disc_c_noise": 1.0,
        "block_kwargs": {"freeze_layers": 0},
        "mapping_kwargs": {},
        "epilogue_kwargs": {"mbstd_group_size": 4},
    }
    held = arrays(discriminator)
    held = {"resample_filter": held["b8.resample_filter"], **held}
    attributes = {"img_channels": config["img_channels"], "disc_c_noise": 1.0}
    return nvlabs_pickle.Net(held, arguments, "DualDiscriminator", attributes)


def write_rosinality(path: Path, generator: StyleGAN2Generator, *, legacy: bool = False) -> Path:
    """A torch file as stylegan2-pytorch's converter writes it."""
    g_ema, latent_avg = to_rosinality(generator)
    content = {"g_ema": g_ema, "latent_avg": latent_avg}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
