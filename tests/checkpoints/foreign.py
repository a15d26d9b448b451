"""The tiny networks of the tests, as files of other projects."""

from pathlib import Path
from typing import Any

import nvlabs_pickle
import torch
from torch import nn

from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.generators import StyleGAN2Generator, StyleGAN3Generator

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


def write_rosinality(path: Path, generator: StyleGAN2Generator, *, legacy: bool = False) -> Path:
    """A torch file as stylegan2-pytorch's converter writes it."""
    g_ema, latent_avg = to_rosinality(generator)
    content = {"g_ema": g_ema, "latent_avg": latent_avg}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
