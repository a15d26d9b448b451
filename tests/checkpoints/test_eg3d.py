"""EG3D's pickles, with tiny networks; its numbers are compared in tests/conformance."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import nvlabs_pickle
import pytest
import torch
from typer.testing import CliRunner

from ganedit.checkpoints import (
    convert,
    describe,
    fingerprint,
    load_discriminator,
    load_network,
    nvidia,
    open_checkpoint,
    save_network,
)
from ganedit.checkpoints.building import build_generator, skeleton
from ganedit.checkpoints.contents import Part
from ganedit.cli.app import app
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, TriPlaneGenerator
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.torch_files import open_pickled
from tests.checkpoints.foreign import eg3d_critic, eg3d_network
from tests.memory import peak_kilobytes

TINY: dict[str, Any] = {
    "z_dim": 8,
    "w_dim": 8,
    "img_resolution": 128,
    "channel_base": 64,
    "channel_max": 8,
    "plane_resolution": 16,
    "plane_channels": 4,
    "decoder_features": 6,
    "neural_resolution": 8,
    "coarse_samples": 6,
    "fine_samples": 5,
    "sr_channels": [4, 3],
    "sr_resolution": 64,
}
SHIPPED = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]])


def make_generator(**settings: Any) -> TriPlaneGenerator:
    torch.manual_seed(0)
    generator = TriPlaneGenerator(**{**TINY, **settings}).eval().requires_grad_(False)
    generator.w_avg.copy_(0.3 * torch.randn(8))
    return generator


def make_critic(**settings: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    sizes = {"img_resolution": 128, "img_channels": 6, "c_dim": 25, "conv_clamp": 256}
    return StyleGAN2Discriminator(**sizes, channel_base=512, channel_max=4, **settings)


def plane_axes(third: list[list[float]]) -> np.ndarray:
    return np.concatenate([SHIPPED, np.array([third])]).astype(np.float32)


def write(path: Path, **networks: nvlabs_pickle.Net) -> Path:
    content = {name: networks.get(name) for name in ("G", "D", "G_ema")}
    nvlabs_pickle.write(path, "eg3d", content, {"path": "heads.zip"})
    return path


def read(folder: Path, generator: TriPlaneGenerator | None = None) -> Any:
    """Return the plain data of a file with one generator."""
    net = eg3d_network(make_generator() if generator is None else generator)
    return open_pickled(write(folder / "eg3d.pkl", G_ema=net)).trusted()


def part_of(value: Any) -> Part:
    contents = nvidia.recognise(value)
    assert contents is not None
    assert contents.generator is not None
    return contents.generator


def rendering(value: Any) -> dict[str, Any]:
    options: dict[str, Any] = value["G_ema"].state["rendering_kwargs"]
    return options


def child(record: Record, *names: str) -> Record:
    for name in names:
        record = record.state["_modules"][name]
    return record


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "conv_clamp": 0.9,
            "camera_scale": 0.5,
            "box_size": 1.6,
            "decoder_lr_multiplier": 0.7,
            "ray_start": 0.1,
            "ray_end": 2.6,
            "white_back": True,
            "disparity": True,
            "sr_antialias": False,
            "sr_noise": "const",
            "sr_conv_clamp": 256,
            "camera_radius": 1.7,
            "camera_pivot": [0, 0.1, -0.06],
            "camera_focal": 1.7074,
            "mapping_layers": 3,
        },
        {"ray_start": "auto", "ray_end": "auto", "fine_samples": 0},
        {"img_resolution": 256, "sr_resolution": 128, "sr_shrinks": False},
        {"img_resolution": 512, "sr_resolution": 128},
    ],
)
def test_every_option_is_read(settings: dict[str, Any], tmp_path: Path) -> None:
    ours = make_generator(**settings)
    part = part_of(read(tmp_path, ours))
    assert part.config == ours.config
    theirs = build_generator(part, tmp_path / "eg3d.pkl")
    assert theirs.config == ours.config
    state = ours.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in part.load().items())
    if ours.img_resolution == 128:
        ws = ours.map(torch.randn(1, 8))
        assert torch.equal(theirs.synthesize(ws), ours.synthesize(ws))


def test_attributes_and_not_the_constructors_arguments_tell(tmp_path: Path) -> None:
    value = read(tmp_path)
    record = value["G_ema"]
    record.state["_init_kwargs"]["neural_rendering_resolution"] = 999
    record.state["_init_kwargs"]["rendering_kwargs"] = {"depth_resolution": 1}
    child(record, "superresolution").state["sr_antialias"] = False
    config = part_of(value).config
    assert (config["neural_resolution"], config["coarse_samples"]) == (8, 6)
    assert not config["sr_antialias"]
    del record.state["neural_rendering_resolution"]
    del record.state["_init_kwargs"]["neural_rendering_resolution"]
    assert part_of(value).config["neural_resolution"] == 64


def test_an_absent_option_has_its_meaning(tmp_path: Path) -> None:
    value = read(tmp_path)
    for name in ("c_scale", "white_back", "decoder_lr_mul", "avg_camera_pivot"):
        del rendering(value)[name]
    config = part_of(value).config
    assert (config["camera_scale"], config["white_back"]) == (0, False)
    assert config["camera_pivot"] == [0, 0, 0]
    rendering(value).update(c_scale=1.0, c_gen_conditioning_zero=True)
    assert part_of(value).config["camera_scale"] == 0


@pytest.mark.parametrize(
    ("third", "axes"),
    [
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], "shipped"),
        ([[0, 0, 1], [0, 1, 0], [1, 0, 0]], "fixed"),
    ],
)
def test_the_planes_lie_as_the_stored_tensor_says(
    third: list[list[float]], axes: str, tmp_path: Path
) -> None:
    ours = make_generator(plane_axes=axes)
    net = eg3d_network(ours, plane_axes=plane_axes(third))
    path = write(tmp_path / "eg3d.pkl", G_ema=net)
    theirs = load_network(path, device="cpu").generator
    ws = ours.map(torch.randn(1, 8))
    assert theirs.config["plane_axes"] == axes
    assert torch.equal(theirs.synthesize(ws), ours.synthesize(ws))


@pytest.mark.parametrize(
    "axes",
    [
        plane_axes([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
        plane_axes([[0, 0, 1], [1, 0, 0], [0, math.nan, 0]]),
        np.zeros((3, 3), np.float32),
        np.zeros((1000, 3, 3), np.float32),
    ],
)
def test_planes_that_lie_otherwise_are_refused(axes: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "eg3d.pkl", G_ema=eg3d_network(make_generator(), plane_axes=axes))
    with pytest.raises(GaneditError, match="neither as published nor corrected") as error:
        open_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gizmo": 1}, "option gizmo = 1 of its TriPlaneGenerator is unknown"),
        ({"clamp_mode": "relu"}, "clamp_mode: expected softplus, got 'relu'"),
        ({"density_noise": 0.1}, "never the same twice"),
        ({"depth_resolution": 10**9}, "coarse_samples = 1000000000 is out of range"),
        ({"depth_resolution_importance": 10**9}, "fine_samples = 1000000000 is out of range"),
        ({"depth_resolution": 10**5000}, "depth_resolution: '<huge number>' is no number"),
        ({"depth_resolution": -48}, "coarse_samples: expected a whole number from 4, got -48"),
        ({"depth_resolution": "48"}, "depth_resolution: expected a number, got '48'"),
        ({"depth_resolution": 4.5}, "depth_resolution: expected a whole number"),
        ({"depth_resolution": None}, "depth_resolution: expected a number, got None"),
        ({"box_warp": 0}, "box_size: expected a positive number, got 0"),
        ({"box_warp": math.nan}, "box_warp: 'nan' is no number"),
        ({"box_warp": [1]}, "box_warp: expected a number"),
        ({"ray_start": 4}, "ray_end: expected more than ray_start"),
        ({"ray_start": "auto"}, "ray_start: expected a number, got 'auto'"),
        ({"ray_end": -1}, "ray_end: expected a finite number|ray_end: expected a number from 0"),
        ({"white_back": "yes"}, "white_back: expected a truth value, got 'yes'"),
        ({"avg_camera_pivot": [0, 0]}, r"avg_camera_pivot: \[0, 0\] is no point"),
        ({"avg_camera_pivot": [0, 0, "x"]}, "avg_camera_pivot: expected a number"),
        ({"avg_camera_pivot": [0, 0, 2.7]}, r"camera_pivot \[0, 0, 2.7\]: .* rotation is none"),
        ({"avg_camera_pivot": [0, 0, 9]}, "camera_pivot .* looks away from the world's origin"),
        ({"avg_camera_radius": 0}, "camera_radius: expected a positive number, got 0"),
        ({"c_scale": "all"}, "c_scale: expected a number, got 'all'"),
        ({"superresolution_noise_mode": "loud"}, "sr_noise: expected none, const or random"),
        ({"superresolution_noise_mode": [1]}, r"superresolution_noise_mode is \[1\], no name"),
    ],
)
def test_hostile_options_are_one_line_and_no_work(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    value = read(tmp_path)
    rendering(value).update(options)
    before = peak_kilobytes()
    with pytest.raises(GaneditError, match=message) as error:
        skeleton(part_of(value), tmp_path / "eg3d.pkl")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert peak_kilobytes() - before < 50_000


@pytest.mark.parametrize("rays", [10**9, 0, -8, "8", math.inf, None, [8], 1e300])
def test_a_hostile_number_of_rays_is_one_line(rays: Any, tmp_path: Path) -> None:
    value = read(tmp_path)
    value["G_ema"].state["neural_rendering_resolution"] = rays
    with pytest.raises(GaneditError, match="neural_re") as error:
        skeleton(part_of(value), tmp_path / "eg3d.pkl")
    assert "\n" not in str(error.value)


def test_networks_that_are_built_otherwise_are_told_apart(tmp_path: Path) -> None:
    for names, key, wrong, message in (
        (("superresolution",), "input_resolution", 32, "does not make 64 pixels of 32"),
        (("superresolution", "block1", "conv0"), "up", 1, "does not make 128 pixels of 64"),
        (("superresolution", "block0", "conv1"), "use_noise", False, "use_noise is False"),
        (("backbone", "synthesis", "b8"), "architecture", "resnet", "architecture is 'resnet'"),
        (("backbone",), "img_channels", 13, "13 channels are no three planes"),
        (("backbone",), "c_dim", 0, "c_dim is 0; expected 25 of a tri-plane generator"),
        (("decoder", "net", "0"), "activation", "relu", "its layers are not linear"),
        (("decoder", "net", "0"), "bias_gain", 2, "bias_gain is 1.0, in other layers 2"),
    ):
        value = read(tmp_path)
        child(value["G_ema"], *names).state[key] = wrong
        with pytest.raises(GaneditError, match=message):
            part_of(value)
    for name in ("renderer", "decoder", "superresolution"):
        value = read(tmp_path)
        del value["G_ema"].state["_modules"][name]
        with pytest.raises(GaneditError, match=f"without {name}"):
            part_of(value)
    value = read(tmp_path)
    modules = value["G_ema"].state["_modules"]
    enlarge = modules["superresolution"]
    modules["superresolution"] = Record(Global(enlarge.kind.module, "Other"), (), enlarge.state)
    with pytest.raises(GaneditError, match="Other is unknown here; known: Superresolution"):
        part_of(value)


def test_weights_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    generator = make_generator()
    generator.decoder.net[0].weight[0, 0] = math.nan
    path = write(tmp_path / "nan.pkl", G_ema=eg3d_network(generator))
    with pytest.raises(GaneditError, match=r"decoder.net.0.weight holds values .* not finite"):
        load_network(path, device="cpu")
    whole = write(tmp_path / "whole.pkl", G_ema=eg3d_network(make_generator())).read_bytes()
    for share in (0.1, 0.5, 0.99):
        path = tmp_path / "cut.pkl"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(GaneditError, match=r"cut.pkl") as error:
            load_network(path, device="cpu")
        assert "\n" not in str(error.value)


def test_a_generator_without_an_average_estimates_one(tmp_path: Path) -> None:
    net = eg3d_network(make_generator())
    del net.state_dict["backbone.mapping.w_avg"]
    net.state_dict["superresolution.resample_filter"] = np.ones((4, 4), np.float32)
    part = open_checkpoint(write(tmp_path / "eg3d.pkl", G_ema=net)).generator
    assert not part.has_average
    estimated = build_generator(part, tmp_path / "eg3d.pkl")
    assert estimated.w_avg.abs().max() > 0
    assert fingerprint(estimated) == fingerprint(make_generator())  # another average, same latents


def test_its_discriminator_goes_on_training(tmp_path: Path) -> None:
    generator, critic = make_generator(), make_critic()
    path = write(
        tmp_path / "eg3d.pkl",
        G=eg3d_network(generator),
        G_ema=eg3d_network(generator),
        D=eg3d_critic(critic.requires_grad_(False)),
    )
    theirs = load_discriminator(path)
    assert theirs.config | {"channels": None} == critic.config | {"cmap_dim": 4}
    assert all(parameter.requires_grad for parameter in theirs.parameters())
    images, camera = torch.randn(2, 6, 128, 128), torch.randn(2, 25)
    assert torch.equal(theirs(images, camera), critic(images, camera))

    done = convert(open_checkpoint(path), tmp_path / "x.safetensors", to="safetensors")
    assert (done.image_difference, done.score_difference) == (0, 0)
    assert done.warnings == ("left behind: G, the generator under training, beside its average",)
    again = load_network(done.path, device="cpu")
    assert again.fingerprint == load_network(path, device="cpu").fingerprint
    assert again.generator.config == generator.config
    assert again.metadata["architecture"] == "triplane"
    kept = load_discriminator(done.path)
    assert torch.equal(kept(images, camera), critic(images, camera))
    with pytest.raises(GaneditError, match=r"TriPlaneGenerator; it holds StyleGAN2 only; convert"):
        convert(open_checkpoint(path), tmp_path / "x.pt", to="rosinality")


def test_files_of_ours_hold_any_tri_plane_generator(tmp_path: Path) -> None:
    ours = make_generator(
        img_resolution=16, sr_channels=[], plane_axes="fixed", ray_start="auto", ray_end="auto"
    )
    path = tmp_path / "ours.safetensors"
    save_network(path, ours, provenance={"images": 3})
    theirs = load_network(path, device="cpu").generator
    assert isinstance(theirs, TriPlaneGenerator)
    assert theirs.config == ours.config
    ws = ours.map(torch.randn(2, 8))
    assert torch.equal(theirs.synthesize(ws), ours.synthesize(ws))
    facts = describe(open_checkpoint(path))
    assert (facts["architecture"], facts["camera_dim"], facts["usable"]) == ("triplane", 25, True)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"plane_resolution": 4096}, "channel_base: expected at least 4096, got 64"),
        (
            {"plane_resolution": 4096, "channel_base": 1 << 15},
            "asks for more weights than the file holds",
        ),
        ({"plane_resolution": 1 << 13}, "plane_resolution = 8192 is out of range"),
        ({"neural_resolution": 1 << 13}, "neural_resolution = 8192 is out of range"),
        ({"coarse_samples": 1 << 11}, "coarse_samples = 2048 is out of range"),
        ({"sr_channels": [1 << 19, 3]}, "asks for more weights than the file holds"),
        ({"sr_channels": "ab"}, "sr_channels: expected 2 numbers, got 'ab'"),
        ({"sr_resolution": 16}, "sr_resolution: expected a half or a quarter of 128, got 16"),
        ({"plane_axes": "bent"}, "plane_axes: expected shipped or fixed, got 'bent'"),
        ({"gizmo": 1}, "unexpected keyword argument 'gizmo'"),
        ({"z_dim": 9}, "backbone.mapping.fc0.weight: expected shape"),
    ],
)
def test_forged_files_of_ours_are_one_line_and_no_work(
    forged: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "ours.safetensors"
    save_network(path, make_generator(), provenance={})
    checkpoint = open_checkpoint(path)
    checkpoint.generator.config.update(forged)
    before = peak_kilobytes()
    with pytest.raises(GaneditError, match=message) as error:
        skeleton(checkpoint.generator, path)
    assert "\n" not in str(error.value)
    assert peak_kilobytes() - before < 50_000
    facts = describe(checkpoint)
    assert not facts["usable"]
    assert facts["img_resolution"] == 128


def test_inspect_tells_how_it_is_seen(tmp_path: Path) -> None:
    generator, critic = make_generator(), make_critic()
    path = write(tmp_path / "eg3d.pkl", G_ema=eg3d_network(generator), D=eg3d_critic(critic))
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["family"] == "eg3d"
    assert lines["planes"] == "3 x 4 channels, 16 x 16, axes shipped"
    assert lines["rays"] == "8 x 8, depth 2.25 to 3.3, box of side 1.0"
    assert lines["samples"] == "6 + 5 a ray"
    assert lines["camera"] == "at 2.7 from the origin, looks at (0, 0, 0.2), focal length 4.2647"
    assert lines["D"].startswith("discriminator, ")
    assert lines["usable"] == "yes"
