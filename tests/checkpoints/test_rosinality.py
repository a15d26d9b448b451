import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganedit.checkpoints import rosinality
from ganedit.checkpoints.building import build_discriminator, build_generator
from ganedit.checkpoints.contents import Contents
from ganedit.checkpoints.rosinality import (
    discriminator_from_rosinality,
    discriminator_to_rosinality,
    from_rosinality,
    rosinality_limits,
    to_rosinality,
    training_file,
)
from ganedit.errors import GaneditError
from ganedit.generators import Generator, StyleGAN2Discriminator, StyleGAN2Generator
from ganedit.io.torch_files import open_pickled

TINY: dict[str, Any] = {"img_resolution": 16, "channel_base": 128, "channel_max": 8}


def make_generator(**settings: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(
        **{**TINY, "z_dim": 16, "w_dim": 16, "mapping_layers": 2, **settings}
    )
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.data.fill_(0.3)
    generator.mapping.w_avg.copy_(0.3 * torch.randn(16))
    return generator.requires_grad_(False)


def make_discriminator(**settings: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    return StyleGAN2Discriminator(**{**TINY, **settings}).requires_grad_(False)


def written(content: Any, path: Path) -> Contents:
    """Write with torch and recognise what was written."""
    torch.save(content, path)
    contents = rosinality.recognise(open_pickled(path).trusted())
    assert contents is not None
    return contents


def picture(generator: Generator) -> Tensor:
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(3))
    return generator.synthesize(generator.map(z, truncation_psi=0.7))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.pt"


def test_there_and_back_changes_nothing(path: Path) -> None:
    generator, discriminator = make_generator(), make_discriminator()
    contents = written(training_file(generator, discriminator), path)
    assert contents.family == "rosinality"
    assert contents.generator is not None
    assert contents.discriminator is not None
    assert contents.raw_generator is not None
    assert contents.generator.has_average
    assert contents.others == ("g_optim: optimizer state", "d_optim: optimizer state")
    again = build_generator(contents.generator, path)
    assert torch.equal(picture(again), picture(generator))
    assert again.config == {**generator.config}
    images = picture(generator)
    critic = build_discriminator(contents.discriminator, path)
    assert torch.equal(critic(images), discriminator(images))


def test_the_learning_rate_of_the_mapping_moves_into_the_weights(path: Path) -> None:
    generator = make_generator(mapping_lr_multiplier=0.1)
    g_ema, latent_avg = to_rosinality(generator)
    contents = written({"g_ema": g_ema, "latent_avg": latent_avg}, path)
    assert contents.generator is not None
    torch.testing.assert_close(
        picture(build_generator(contents.generator, path)), picture(generator)
    )


@pytest.mark.parametrize("shape", [[16], [1, 16], [6, 16]])
def test_the_average_may_be_repeated(shape: list[int], path: Path) -> None:
    g_ema, latent_avg = to_rosinality(make_generator())
    contents = written({"g_ema": g_ema, "latent_avg": latent_avg.expand(shape).clone()}, path)
    assert contents.generator is not None
    assert torch.equal(build_generator(contents.generator, path).w_avg, latent_avg)


@pytest.mark.parametrize("form", ["g_ema", "g", "bare", "parallel"])
def test_variants_without_an_average_estimate_it(form: str, path: Path) -> None:
    g_ema, _ = to_rosinality(make_generator())
    content: Any = {"g_ema": g_ema}
    if form == "g":
        content = {"g": g_ema, "g_ema": None}
    elif form == "bare":
        content = g_ema
    elif form == "parallel":
        content = {"g_ema": {f"module.{key}": value for key, value in g_ema.items()}}
    part = written(content, path).generator
    assert part is not None
    assert not part.has_average
    assert build_generator(part, path).w_avg.abs().max() > 0


def test_half_precision_is_widened(path: Path) -> None:
    generator = make_generator()
    g_ema, _ = to_rosinality(generator)
    part = written({"g_ema": {key: value.half() for key, value in g_ema.items()}}, path).generator
    assert part is not None
    again = build_generator(part, path)
    assert again.w_avg.dtype == torch.float32
    ws = generator.map(torch.randn(1, 16))
    difference = (again.synthesize(ws) - generator.synthesize(ws)).abs().max()
    assert difference < 0.02


def test_missing_noise_maps_are_drawn_once_and_told(path: Path) -> None:
    g_ema, _ = to_rosinality(make_generator())
    bare = {key: value for key, value in g_ema.items() if not key.startswith("noises.")}
    contents = written({"g_ema": bare}, path)
    assert contents.generator is not None
    assert any("no noise maps" in other for other in contents.others)
    first, again = (build_generator(contents.generator, path) for _ in range(2))
    for one, other in zip(first.noise_maps(), again.noise_maps(), strict=True):
        assert torch.equal(one, other)
        assert 0.5 < one.std() < 2


@pytest.mark.parametrize("taps", [[1, 2, 1], [1, 1], [1, 4, 6, 4, 1], [1, 5, 10, 10, 5, 1], [1, 2]])
def test_other_blur_kernels_are_kept(taps: list[int], path: Path) -> None:
    generator = make_generator(resample_filter=taps)
    part = written({"g_ema": to_rosinality(generator)[0]}, path).generator
    assert part is not None
    assert part.config["resample_filter"] == taps
    again = build_generator(part, path)
    ws = generator.map(torch.randn(1, 16))
    torch.testing.assert_close(again.synthesize(ws), generator.synthesize(ws))


@pytest.mark.parametrize("taps", [[1, 2, 1], [1, 1], [1, 4, 6, 4, 1], [1, 5, 10, 10, 5, 1]])
def test_pictures_may_be_enlarged_with_another_filter_than_features(
    taps: list[int], path: Path
) -> None:
    """As in the reference, whose output layers always have the filter [1, 3, 3, 1]."""
    generator, usual = make_generator(resample_filter=taps), make_generator()
    state = to_rosinality(generator)[0]
    for key, value in to_rosinality(usual)[0].items():
        if key.endswith("upsample.kernel"):
            state[key] = value
    for block in ("b8", "b16"):
        theirs = getattr(usual.synthesis, block).resample_filter
        getattr(generator.synthesis, block).resample_filter = theirs
    part = written({"g_ema": state}, path).generator
    assert part is not None
    again = build_generator(part, path)
    ws = generator.map(torch.randn(1, 16))
    torch.testing.assert_close(again.synthesize(ws), generator.synthesize(ws))


def test_options_and_the_rest_are_told(path: Path) -> None:
    g_ema, _ = to_rosinality(make_generator())
    args = argparse.Namespace(size=16, freezeG=2, freezeStyle=-1, structure_loss=2, path="lmdb")
    contents = written({"g_ema": g_ema, "args": args, "ada_aug_p": 0.25, "extra": [1]}, path)
    assert contents.family == "Cartoon-StyleGAN (rosinality)"
    assert contents.training["freezeG"] == 2
    assert contents.training["ada_aug_p"] == 0.25
    assert contents.others == ("extra: <list>",)
    assert written({"g_ema": g_ema, "args": vars(argparse.Namespace(size=16))}, path).training == {
        "size": 16
    }


def test_fresh_optimizers_fit_the_references_networks() -> None:
    content = training_file(make_generator(), make_discriminator())
    # The reference counts parameters, not buffers: filters and noise maps are buffers.
    sizes = {"g": 2 * 2 + 1 + 5 * 5 + 3 * 4, "d": 2 + 2 * 5 + 2 + 4}
    for name, rate in (("g", 0.002 * 4 / 5), ("d", 0.002 * 16 / 17)):
        optimizer = content[f"{name}_optim"]
        (group,) = optimizer["param_groups"]
        assert optimizer["state"] == {}
        assert len(group["params"]) == sizes[name]
        assert group["lr"] == pytest.approx(rate)
        assert group["betas"] == pytest.approx((0.0, 0.99 ** (rate / 0.002)))
        parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in group["params"]]
        torch.optim.Adam(parameters).load_state_dict(optimizer)


def test_a_generator_under_training_is_kept_apart(path: Path) -> None:
    average, raw = make_generator(), make_generator()
    raw.synthesis.get_parameter("b4.const").data.fill_(1)
    contents = written(training_file(average, make_discriminator(), raw_generator=raw), path)
    assert contents.raw_generator is not None
    assert contents.generator is not None
    assert contents.raw_generator.load()["synthesis.b4.const"].eq(1).all()
    assert contents.generator.load()["synthesis.b4.const"].ne(1).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"c_dim": 3}, "no place for a network with c_dim 3, only 0"),
        ({"architecture": "resnet"}, "architecture 'resnet', only 'skip'"),
        ({"use_noise": False}, "use_noise False"),
        ({"mapping_activation": "relu"}, "mapping_activation 'relu'"),
        ({"activation": "relu"}, "activation 'relu'"),
        ({"mapping_layers": 0}, "without mapping layers"),
    ],
)
def test_generators_without_a_place_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GaneditError, match=message):
        to_rosinality(make_generator(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"c_dim": 3},
        {"architecture": "skip"},
        {"mbstd_group_size": 8},
        {"mbstd_num_channels": 2},
        {"epilogue_activation": "relu"},
    ],
)
def test_discriminators_without_a_place_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(GaneditError, match="no place for a network with"):
        discriminator_to_rosinality(make_discriminator(**settings))


def test_limits_of_the_references_own_code_are_told() -> None:
    usual: dict[str, Any] = {"channel_base": 32768, "channel_max": 512, "z_dim": 8, "w_dim": 8}
    with torch.device("meta"):
        for resolution, base in ((16, 32768), (64, 16384), (256, 32768), (1024, 32768)):
            settings = {**usual, "channel_base": base, "img_resolution": resolution}
            assert rosinality_limits(StyleGAN2Generator(**settings)) == []
        odd = StyleGAN2Generator(
            img_resolution=64,
            channel_base=8192,
            z_dim=8,
            w_dim=16,
            conv_clamp=256,
            img_channels=4,
            resample_filter=[1, 2, 1],
        )
    found = " ".join(rosinality_limits(odd))
    for part in ("conv_clamp 256", "as wide as z", "3 channels, not 4", "4 taps, not 3"):
        assert part in found
    assert "512 channels at 32 pixels, not 256" in found


def test_channels_that_grow_after_32_pixels_are_kept(path: Path) -> None:
    """As the reference's channel multipliers above 2 do, on a smaller scale."""
    table = {"4": 8, "8": 8, "16": 8, "32": 8, "64": 16, "128": 12}
    sizes: dict[str, Any] = {"img_resolution": 128, "channels": table}
    generator, discriminator = make_generator(**sizes), make_discriminator(**sizes)
    contents = written(training_file(generator, discriminator), path)
    assert contents.generator is not None
    assert contents.discriminator is not None
    assert contents.generator.config["channels"] == table
    assert contents.discriminator.config["channels"] == table
    again = build_generator(contents.generator, path)
    assert torch.equal(picture(again), picture(generator))
    critic = build_discriminator(contents.discriminator, path)
    images = picture(generator)
    assert torch.equal(critic(images), discriminator(images))
    state, wanted = to_rosinality(again)[0], to_rosinality(generator)[0]
    assert list(state) == list(wanted)
    assert all(torch.equal(state[key], value) for key, value in wanted.items())


@pytest.mark.parametrize("multiplier", [1, 2, 3, 4, 8])
def test_every_channel_multiplier_of_the_reference_is_read(multiplier: int) -> None:
    sizes = [4 << k for k in range(9)]
    table = {str(r): 512 if r <= 32 else 16384 * multiplier // r for r in sizes}
    with torch.device("meta"):
        generator = StyleGAN2Generator(img_resolution=1024, channels=table)
        discriminator = StyleGAN2Discriminator(img_resolution=1024, channels=table)
    theirs = {key: value.to("meta") for key, value in on_meta(to_rosinality, generator).items()}
    config, state = from_rosinality(theirs)
    assert ("channels" in config) == (multiplier > 2)
    with torch.device("meta"):
        again = StyleGAN2Generator(**config)
    shapes = {key: value.shape for key, value in generator.state_dict().items()}
    assert {key: value.shape for key, value in state.items()} == shapes
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    assert rosinality_limits(again) == []
    config, state = discriminator_from_rosinality(
        on_meta(discriminator_to_rosinality, discriminator)
    )
    with torch.device("meta"):
        critic = StyleGAN2Discriminator(**config)
    shapes = {key: value.shape for key, value in discriminator.state_dict().items()}
    assert {key: value.shape for key, value in critic.state_dict().items()} == shapes


def on_meta(export: Any, network: Any) -> dict[str, Tensor]:
    """Export a network that has no numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rosinality, "_copied", lambda network: network.state_dict())
        found = export(network)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convs.0.conv.weight": None}, "it has no tensor 'convs.0.conv.weight'"),
        ({"gizmo": torch.ones(1)}, "it has an unknown tensor gizmo"),
        ({"gizmo": 3}, "g_ema: gizmo is 3, no tensor"),
        ({"conv1.activate.bias": torch.ones(5), "style.1.bias": torch.ones(1, 2)}, None),
        ({"input.input": torch.ones([])}, "a shape that no such network has"),
        ({"convs.1.activate.bias": torch.ones([])}, None),
        ({"convs.0.conv.blur.kernel": torch.ones(2, 3)}, "expected a square"),
        ({"convs.0.conv.blur.kernel": torch.ones(100, 100)}, "is no filter"),
        ({"convs.0.conv.blur.kernel": torch.zeros(4, 4)}, None),
        ({"to_rgbs.0.conv.weight": torch.ones(1, 3, 5, 1, 1)}, None),
        ({"convs.0.conv.weight": torch.ones(1, 7, 8, 3, 3)}, None),
        ({"noises.noise_2": None}, "it has no tensor 'noises.noise_2'"),
    ],
)
def test_damaged_files_are_one_line(
    change: dict[str, Any], message: str | None, path: Path
) -> None:
    state = {**to_rosinality(make_generator())[0], **change}
    state = {key: value for key, value in state.items() if value is not None}

    def build() -> None:
        part = written({"g_ema": state}, path).generator
        assert part is not None
        build_generator(part, path)

    with pytest.raises(GaneditError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def test_many_resolutions_ask_for_no_memory(path: Path) -> None:
    state = to_rosinality(make_generator())[0]
    state = {key: value for key, value in state.items() if not key.startswith("noises.")}
    for k in range(2, 60):
        for key in [key for key in state if key.startswith(("to_rgbs.1.", "convs.2.", "convs.3."))]:
            kind, index, rest = key.split(".", 2)
            moved = k if kind == "to_rgbs" else 2 * k + int(index) % 2
            state[f"{kind}.{moved}.{rest}"] = state[key]
    with pytest.raises(GaneditError, match="at most 12 can be read"):
        written({"g_ema": state}, path)


def test_other_state_dicts_are_refused_in_one_sentence() -> None:
    with pytest.raises(GaneditError, match="not a rosinality generator: it has no tensor"):
        from_rosinality({"weight": torch.zeros(1)})
    with pytest.raises(GaneditError, match="not a rosinality discriminator: it has no tensor"):
        discriminator_from_rosinality({"weight": torch.zeros(1)})


@pytest.mark.parametrize("value", [None, 3, {}, {"g_ema": {}}, {"g": {"a": 1}, "d": 3}, ()])
def test_other_data_is_not_of_this_family(value: Any) -> None:
    assert rosinality.recognise(value) is None
