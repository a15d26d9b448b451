"""Equality with NVIDIA's and rosinality's StyleGAN2, at the tolerance that each case states."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conformance_cases import Case
from torch import Tensor

from ganedit.checkpoints.rosinality import discriminator_from_rosinality, from_rosinality
from ganedit.generators import StyleGAN2Discriminator, StyleGAN2Generator

Check = Callable[[Case, str, Tensor], None]

NVIDIA_GENERATORS = [
    "nv_sg2_cond32",
    "nv_sg2_resnet64",
    "nv_sg2_orig64",
    "nv_sg2_flat128",
    "nv_sg2_ffhq256",
    pytest.param("nv_sg2_ffhq1024", marks=pytest.mark.slow),
]
NVIDIA_DISCRIMINATORS = [
    "nv_sg2_cond32",
    "nv_sg2_flat128",
    "nv_sg2_d_resnet64",
    "nv_sg2_d_skip64",
]
ROSINALITY_GENERATORS = [
    "ros_g256_cm1",
    "ros_g256_cm2",
    pytest.param("ros_g1024_cm2", marks=pytest.mark.slow),
]
DISCRIMINATOR_OUTPUTS = {"logits", "grad_image"}
SHARED_ARGUMENTS = (
    "c_dim",
    "img_resolution",
    "img_channels",
    "channel_base",
    "channel_max",
    "architecture",
    "conv_clamp",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tolerances were measured with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def nvidia_generator(case: Case) -> StyleGAN2Generator:
    arguments: dict[str, Any] = {
        **case.settings["G"],
        **case.settings["G"].get("synthesis_kwargs", {}),
    }
    generator = StyleGAN2Generator(
        z_dim=arguments["z_dim"],
        w_dim=arguments["w_dim"],
        mapping_layers=arguments["mapping_kwargs"].get("num_layers", 8),
        **{name: arguments[name] for name in SHARED_ARGUMENTS if name in arguments},
    )
    generator.load_state_dict(case.state_dict("G_ema"))
    return generator.eval().requires_grad_(False)


@pytest.mark.parametrize("name", NVIDIA_GENERATORS)
def test_generator_equals_nvidias(name: str, check: Check) -> None:
    case = Case(name)
    generator = nvidia_generator(case)
    psi, cutoff = case.settings["truncation_psi"], case.settings["truncation_cutoff"]
    z, ws = case.inputs["z"], case.inputs["ws"].requires_grad_()
    c = case.inputs.get("c")
    image = generator.synthesize(ws)
    got = {
        "w": generator.map(z, c)[:, 0],
        "w_truncated": generator.map(z, c, truncation_psi=psi)[:, 0],
        "ws_truncated_cutoff": generator.map(z, c, truncation_psi=psi, truncation_cutoff=cutoff),
        "image_ws_const": image,
        "image_ws_none": generator.synthesize(ws.detach(), noise="none"),
        "image_z_truncated_const": generator(
            z[:1], None if c is None else c[:1], truncation_psi=psi
        ),
    }
    if "grad_ws" in case.outputs:
        (got["grad_ws"],) = torch.autograd.grad(image.square().mean(), ws)
    assert set(got) == set(case.outputs) - DISCRIMINATOR_OUTPUTS
    for output, value in got.items():
        check(case, output, value)


@pytest.mark.parametrize("name", NVIDIA_DISCRIMINATORS)
def test_discriminator_equals_nvidias(name: str, check: Check) -> None:
    case = Case(name)
    arguments = case.settings["D"]
    discriminator = StyleGAN2Discriminator(
        mbstd_group_size=arguments["epilogue_kwargs"]["mbstd_group_size"],
        **{name: arguments[name] for name in SHARED_ARGUMENTS if name in arguments},
    )
    discriminator.load_state_dict(case.state_dict("D"))
    check_discriminator(case, discriminator, check)


def check_discriminator(case: Case, discriminator: StyleGAN2Discriminator, check: Check) -> None:
    image = (case.inputs["image_uint8"] / 127.5 - 1).requires_grad_()
    logits = discriminator(image, case.inputs.get("c_d"))
    check(case, "logits", logits)
    if "grad_image" in case.outputs:
        (grad,) = torch.autograd.grad(logits.sum(), image)
        check(case, "grad_image", grad)


@pytest.mark.parametrize("name", ROSINALITY_GENERATORS)
def test_generator_equals_rosinalitys(name: str, check: Check) -> None:
    case = Case(name)
    latent_avg = case.state_dict("latent_avg")["latent_avg"]
    config, state = from_rosinality(case.state_dict("g_ema"), latent_avg=latent_avg)
    stated = case.settings["G"]
    assert config["img_resolution"] == stated["size"]
    assert config["channel_base"] == 16384 * stated["channel_multiplier"]
    assert config["mapping_layers"] == stated["n_mlp"]
    generator = StyleGAN2Generator(**config)
    generator.load_state_dict(state)
    generator.eval().requires_grad_(False)

    z = case.inputs["z"]
    w_plus = case.inputs["w_plus"].requires_grad_()
    truncated = generator.map(z, truncation_psi=case.settings["truncation"])
    first = case.settings["inject_index"]
    mixed = torch.cat([truncated[:1, :first], truncated[1:2, first:]], dim=1)
    image = generator.synthesize(w_plus)
    got = {
        "w": generator.map(z)[:, 0],
        "image_z_truncated": generator.synthesize(truncated[:1]),
        "image_w": generator.synthesize(case.inputs["w"][:, None].expand(-1, generator.num_ws, -1)),
        "image_w_plus": image,
        "latents_style_mixing": mixed,
        "image_style_mixing": generator.synthesize(mixed),
    }
    if "grad_w_plus" in case.outputs:
        (got["grad_w_plus"],) = torch.autograd.grad(image.square().mean(), w_plus)
    assert set(got) == set(case.outputs)
    for output, value in got.items():
        check(case, output, value)


def test_discriminator_equals_rosinalitys(check: Check) -> None:
    case = Case("ros_d64")
    config, state = discriminator_from_rosinality(case.state_dict("d"))
    assert config["channel_base"] == 512 * 64  # 512 channels up to 64 pixels
    discriminator = StyleGAN2Discriminator(**config)
    discriminator.load_state_dict(state)
    check_discriminator(case, discriminator, check)
