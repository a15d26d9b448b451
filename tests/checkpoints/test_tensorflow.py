from pathlib import Path
from typing import Any

import pytest
import torch

from ganedit.checkpoints import tensorflow
from ganedit.checkpoints.building import build_discriminator, build_generator, skeleton
from ganedit.checkpoints.contents import Contents
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, StyleGAN2Generator
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.torch_files import open_pickled
from tests.conformance import nvlabs_pickle

SIZES: dict[str, Any] = {"img_resolution": 16, "channel_base": 128, "channel_max": 8}
STATIC: dict[str, Any] = {"resolution": 16, "fmap_base": 64, "fmap_max": 8}
G_STATIC: dict[str, Any] = {
    **STATIC,
    "latent_size": 16,
    "dlatent_size": 16,
    "mapping_layers": 2,
    "truncation_psi": 0.5,
    "structure": "auto",
}
EMPTY = Record(Global("dnnlib.tflib.network", "Network"), (), {})


def make_generator(**settings: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(
        **{**SIZES, "z_dim": 16, "w_dim": 16, "mapping_layers": 2, **settings}
    )
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.data.fill_(0.3)
    generator.mapping.w_avg.copy_(0.3 * torch.randn(16))
    return generator.requires_grad_(False)


def make_discriminator(**settings: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    return StyleGAN2Discriminator(**{**SIZES, **settings}).requires_grad_(False)


def read(
    folder: Path,
    generator: StyleGAN2Generator,
    discriminator: StyleGAN2Discriminator,
    *,
    g_static: Any = None,
    d_static: Any = None,
    **options: Any,
) -> Any:
    """Write a file and return its plain data."""
    path = folder / "network.pkl"
    g, d = (
        {key: value.numpy() for key, value in network.state_dict().items()}
        for network in (generator, discriminator)
    )
    static = ({**G_STATIC, **(g_static or {})}, {**STATIC, **(d_static or {})})
    nvlabs_pickle.write_tf_pickle(path, g, d, g, *static, **options)
    return open_pickled(path).trusted()


def recognised(value: Any) -> Contents:
    contents = tensorflow.recognise(value)
    assert contents is not None
    return contents


@pytest.mark.parametrize("protocol", [2, 4])
def test_every_option_is_read(protocol: int, tmp_path: Path) -> None:
    generator = make_generator(
        c_dim=3,
        architecture="resnet",
        resample_filter=[1, 2, 1],
        activation="relu",
        mapping_activation="elu",
        mapping_lr_multiplier=0.1,
        mapping_features=12,
        embed_features=5,
        conv_clamp=0.7,
        w_avg_beta=0.9,
    )
    discriminator = make_discriminator(
        c_dim=3,
        architecture="skip",
        resample_filter=[1, 4, 6, 4, 1],
        activation="relu",
        epilogue_activation="relu",
        conv_clamp=0.9,
        cmap_dim=6,
        embed_features=6,
        mapping_features=6,
        mapping_layers=2,
        mapping_lr_multiplier=0.1,
        mapping_activation="relu",
        mbstd_group_size=None,
        mbstd_num_channels=2,
        freeze_layers=1,
    )
    value = read(
        tmp_path,
        generator,
        discriminator,
        g_static={
            "label_size": 3,
            "architecture": "resnet",
            "resample_kernel": [1, 2, 1],
            "nonlinearity": "relu",
            "mapping_nonlinearity": "elu",
            "mapping_lrmul": 0.1,
            "mapping_fmaps": 12,
            "label_fmaps": 5,
            "conv_clamp": 0.7,
            "w_avg_beta": 0.9,
            "num_fp16_res": 4,
        },
        d_static={
            "label_size": 3,
            "architecture": "skip",
            "resample_kernel": [1, 4, 6, 4, 1],
            "nonlinearity": "relu",
            "conv_clamp": 0.9,
            "mapping_fmaps": 6,
            "mapping_layers": 2,
            "mbstd_num_features": 2,
            "freeze_layers": 1,
        },
        protocol=protocol,
    )
    contents = recognised(value)
    assert contents.generator is not None
    assert contents.discriminator is not None
    assert contents.generator.config | {"channels": None} == generator.config
    assert contents.discriminator.config | {"channels": None} == discriminator.config
    assert contents.training["Gs"]["num_fp16_res"] == 4
    theirs = build_generator(contents.generator, tmp_path / "network.pkl")
    z, c = torch.randn(2, 16), torch.eye(3)[:2]
    image = generator.synthesize(generator.map(z, c))
    torch.testing.assert_close(theirs.synthesize(theirs.map(z, c)), image)
    logits = build_discriminator(contents.discriminator, tmp_path / "network.pkl")(image, c)
    torch.testing.assert_close(logits, discriminator(image, c))


@pytest.mark.parametrize("c_dim", [0, 3])
def test_defaults_are_those_of_the_converter(c_dim: int, tmp_path: Path) -> None:
    generator = make_generator(c_dim=c_dim)
    discriminator = make_discriminator(
        c_dim=c_dim, mapping_layers=0, mapping_lr_multiplier=0.1, mbstd_group_size=None
    )
    static = {"label_size": c_dim, "w_avg_beta": None}
    contents = recognised(
        read(tmp_path, generator, discriminator, g_static=static, d_static={"label_size": c_dim})
    )
    assert contents.generator is not None
    assert contents.discriminator is not None
    assert contents.generator.config | {"channels": None} == {**generator.config, "w_avg_beta": 1}
    assert contents.discriminator.config | {"channels": None} == discriminator.config
    c = torch.eye(3)[:, :c_dim]
    images = torch.randn(3, 3, 16, 16)
    logits = build_discriminator(contents.discriminator, tmp_path / "network.pkl")(images, c)
    torch.testing.assert_close(logits, discriminator(images, c))


def test_input_layers_of_every_size_mean_the_plain_architecture(tmp_path: Path) -> None:
    value = read(tmp_path, make_generator(), make_discriminator(architecture="orig"))
    variables = value[1].state["variables"]
    for index, (name, stored) in enumerate(variables):
        variables[index] = (name.replace("16x16/FromRGB", "FromRGB_lod0"), stored)
    part = recognised(value).discriminator
    assert part is not None
    assert part.config["architecture"] == "orig"
    build_discriminator(part, tmp_path / "network.pkl")


def test_networks_without_noise(tmp_path: Path) -> None:
    generator = make_generator(use_noise=False)
    value = read(tmp_path, generator, make_discriminator(), g_static={"use_noise": False})
    part = recognised(value).generator
    assert part is not None
    assert build_generator(part, tmp_path / "network.pkl").noise_shapes == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "Gs: a TensorFlow network of version 3, older than StyleGAN2"),
        ({"version": None}, "version None"),
        ({"static_kwargs": {**G_STATIC, "blur": [1]}}, r"keyword blur = \[1\] is unknown"),
        ({"static_kwargs": {**G_STATIC, "resolution": "x"}}, "keyword resolution has a value"),
        ({"static_kwargs": {**G_STATIC, "fmap_max": None}}, "keyword fmap_max has a value"),
        ({"static_kwargs": {**G_STATIC, "nonlinearity": 3}}, "keyword nonlinearity has a value"),
        ({"static_kwargs": 3}, "static keywords are damaged"),
        ({"variables": [("ToRGB_lod3/weight", 1.0)]}, "output layers of progressive growing"),
        ({"variables": [("gizmo", 1.0)]}, "variable gizmo has no place in StyleGAN2"),
        ({"variables": [("dlatent_avg", "x")]}, "variable dlatent_avg is no array"),
        ({"variables": [3]}, "a damaged list of variables"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    value = read(tmp_path, make_generator(), make_discriminator())
    value[2].state.update(change)
    with pytest.raises(GaneditError, match=message) as error:
        tensorflow.recognise(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [10**9, 1 << 40, -4, 0, 48])
def test_hostile_sizes_are_one_line_and_no_work(size: int, tmp_path: Path) -> None:
    value = read(tmp_path, make_generator(), make_discriminator())
    value[2].state["static_kwargs"]["resolution"] = size
    part = recognised(value).generator
    assert part is not None
    with pytest.raises(GaneditError):
        skeleton(part, tmp_path / "network.pkl")


def test_components_that_contain_themselves_are_one_line(tmp_path: Path) -> None:
    value = read(tmp_path, make_generator(), make_discriminator())
    value[2].state["variables"] = []
    value[2].state["components"] = {"synthesis": value[2]}
    with pytest.raises(GaneditError, match="components without end"):
        tensorflow.recognise(value)


def test_other_tuples_are_not_of_this_family() -> None:
    for value in ((), (1, 2, 3), {"G": EMPTY}, None, (EMPTY, EMPTY, 3)):
        assert tensorflow.recognise(value) is None
    with pytest.raises(GaneditError, match="of 2 networks; expected G, D and Gs"):
        tensorflow.recognise((EMPTY, EMPTY))
