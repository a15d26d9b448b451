"""Equality with NVIDIA's and rosinality's StyleGAN2, at the tolerance that each case states.

Every network is read from a file of its project's format.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nvlabs_pickle
import pytest
import torch
from checkpoint_files import arrays, open_case
from conformance_cases import Case
from torch import Tensor, nn

from ganedit.checkpoints.building import build_discriminator, build_generator
from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ganedit.checkpoints.rosinality import discriminator_to_rosinality, to_rosinality
from ganedit.generators import Generator, StyleGAN3Generator

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
    pytest.param("ros_g256_cm2", marks=pytest.mark.slow),
    pytest.param("ros_g1024_cm2", marks=pytest.mark.slow),
]
# Generator and discriminator of one TensorFlow file.
TENSORFLOW = [
    ("nv_sg2_cond32", "nv_sg2_cond32"),
    ("nv_sg2_resnet64", "nv_sg2_d_skip64"),
    ("nv_sg2_orig64", "nv_sg2_d_resnet64"),
]
DISCRIMINATOR_OUTPUTS = {"logits", "grad_image"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tolerances were measured with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator_of(file: Checkpoint) -> Generator:
    return build_generator(file.generator, file.path)


def discriminator_of(file: Checkpoint) -> nn.Module:
    return build_discriminator(file.discriminator, file.path)


def nvidia_outputs(case: Case, generator: Generator) -> dict[str, Tensor]:
    psi, cutoff = case.settings["truncation_psi"], case.settings["truncation_cutoff"]
    z, ws = case.inputs["z"], case.inputs["ws"].requires_grad_()
    c = case.inputs.get("c")
    image = generator.synthesize(ws)
    first = generator.map(z[:1], None if c is None else c[:1], truncation_psi=psi)
    got = {
        "w": generator.map(z, c)[:, 0],
        "w_truncated": generator.map(z, c, truncation_psi=psi)[:, 0],
        "ws_truncated_cutoff": generator.map(z, c, truncation_psi=psi, truncation_cutoff=cutoff),
        "image_ws_const": image,
        "image_ws_none": generator.synthesize(ws.detach(), noise="none"),
        "image_z_truncated_const": generator.synthesize(first),
    }
    if "grad_ws" in case.outputs:
        (got["grad_ws"],) = torch.autograd.grad(image.square().mean(), ws)
    assert set(got) == set(case.outputs) - DISCRIMINATOR_OUTPUTS
    return got


@pytest.mark.parametrize("name", NVIDIA_GENERATORS)
def test_generator_equals_nvidias(name: str, check: Check, tmp_path: Path) -> None:
    case = Case(name)
    file = open_case(case, tmp_path)
    flat = name == "nv_sg2_flat128"
    assert file.contents.family == (
        "stylegan2 (stylegan3 repository)" if flat else "stylegan2-ada-pytorch"
    )
    for output, value in nvidia_outputs(case, generator_of(file)).items():
        check(case, output, value)


@pytest.mark.parametrize("name", NVIDIA_DISCRIMINATORS)
def test_discriminator_equals_nvidias(name: str, check: Check, tmp_path: Path) -> None:
    case = Case(name)
    check_discriminator(case, discriminator_of(open_case(case, tmp_path)), check)


def check_discriminator(case: Case, discriminator: nn.Module, check: Check) -> None:
    image = (case.inputs["image_uint8"] / 127.5 - 1).requires_grad_()
    logits = discriminator(image, case.inputs.get("c_d"))
    check(case, "logits", logits)
    if "grad_image" in case.outputs:
        (grad,) = torch.autograd.grad(logits.sum(), image)
        check(case, "grad_image", grad)


@pytest.mark.parametrize(
    "options",
    [
        {"channels_last": True},
        {"protocol": 3, "style": "2", "numpy_module": "numpy._core.multiarray"},
        {"style": "1.9", "location": "cuda:0", "source": "raise SystemExit\n" * 1000},
    ],
)
def test_every_way_to_write_the_file_gives_the_same_weights(
    options: dict[str, Any], tmp_path: Path
) -> None:
    case = Case("nv_sg2_resnet64")
    part = open_case(case, tmp_path, **options).generator
    wanted = case.state_dict("G_ema")
    got = part.load()
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], value) for key, value in wanted.items())


def static_keywords(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what TensorFlow would have called some arguments of the PyTorch code."""
    options = {**arguments, **arguments.get("synthesis_kwargs", {})}
    names = {
        "img_resolution": "resolution",
        "c_dim": "label_size",
        "channel_max": "fmap_max",
        "architecture": "architecture",
        "conv_clamp": "conv_clamp",
        "num_fp16_res": "num_fp16_res",
    }
    static = {theirs: options[ours] for ours, theirs in names.items() if ours in options}
    return {**static, "fmap_base": options["channel_base"] // 2, "structure": "auto"}


@pytest.mark.parametrize(("generator", "discriminator"), TENSORFLOW)
def test_tensorflow_files_give_the_same_networks(
    generator: str, discriminator: str, tmp_path: Path
) -> None:
    case, critic = Case(generator), Case(discriminator)
    g_static = static_keywords(case.settings["G"])
    g_static["mapping_layers"] = case.settings["G"]["mapping_kwargs"]["num_layers"]
    d_static = static_keywords(critic.settings["D"])
    d_static |= critic.settings["D"]["epilogue_kwargs"]
    if d_static["label_size"]:
        d_static |= {"mapping_layers": 8, "mapping_lrmul": 0.01}
    g, d = arrays(case, "G_ema"), arrays(critic, "D")
    path = tmp_path / "network.pkl"
    nvlabs_pickle.write_tf_pickle(path, g, d, g, g_static, d_static)

    file = open_checkpoint(path)
    assert file.contents.family == "stylegan2 (TensorFlow)"
    for output, value in nvidia_outputs(case, generator_of(file)).items():
        comparison = case.compare(output, value)
        assert comparison.ok, (output, comparison)
    image = (critic.inputs["image_uint8"] / 127.5 - 1).requires_grad_()
    logits = discriminator_of(file)(image, critic.inputs.get("c_d"))
    assert critic.compare("logits", logits).ok


@pytest.mark.parametrize("name", ROSINALITY_GENERATORS)
def test_generator_equals_rosinalitys(name: str, check: Check, tmp_path: Path) -> None:
    case = Case(name)
    file = open_case(case, tmp_path)
    generator = generator_of(file)
    stated, config = case.settings["G"], file.generator.config
    assert config["img_resolution"] == stated["size"]
    assert config["channel_base"] == 16384 * stated["channel_multiplier"]
    assert config["mapping_layers"] == stated["n_mlp"]

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


def test_discriminator_equals_rosinalitys(check: Check, tmp_path: Path) -> None:
    case = Case("ros_d64")
    file = open_case(case, tmp_path)
    assert file.discriminator.config["channel_base"] == 512 * 64  # 512 channels up to 64 pixels
    check_discriminator(case, discriminator_of(file), check)


def test_export_is_rosinalitys_own_state_dict_bit_for_bit(tmp_path: Path) -> None:
    case, critic = Case("ros_g256_cm1"), Case("ros_d64")
    g_ema, latent_avg = to_rosinality(generator_of(open_case(case, tmp_path)))
    d = discriminator_to_rosinality(discriminator_of(open_case(critic, tmp_path)))
    average = case.state_dict("latent_avg")["latent_avg"]
    assert torch.equal(latent_avg, average)
    for got, wanted in ((g_ema, case.state_dict("g_ema")), (d, critic.state_dict("d"))):
        assert list(got) == list(wanted)
        assert all(torch.equal(got[key], value) for key, value in wanted.items())


@pytest.mark.parametrize("name", ["nv_sg3_t256", "nv_sg3_r256"])
def test_stylegan3_files_hold_all_that_the_network_needs(name: str, tmp_path: Path) -> None:
    """That such a network gives NVIDIA's pictures is checked beside this file."""
    case = Case(name)
    file = open_case(case, tmp_path)
    assert (file.contents.family, file.generator.architecture) == ("stylegan3", "stylegan3")
    generator = generator_of(file)
    arguments = dict(case.settings["G"])
    layers = arguments.pop("mapping_kwargs")["num_layers"]
    assert generator.config == StyleGAN3Generator(**arguments, mapping_layers=layers).config
    got, wanted = file.generator.load(), case.state_dict("G_ema")
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], value) for key, value in wanted.items())
