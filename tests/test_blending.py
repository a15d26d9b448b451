"""Blends of the 16-pixel generator: what comes from where, to the bit."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganedit.blending import (
    blend,
    blend_networks,
    differences,
    level_shares,
    levels,
    positions,
    swap_features,
    switch_shares,
)
from ganedit.checkpoints import fingerprint, load_network, save_network
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Generator, StyleGAN3Generator
from ganedit.ops import upsample2d
from tests.conftest import make_generator


@pytest.fixture(scope="module")
def a() -> StyleGAN2Generator:
    return make_generator()


@pytest.fixture(scope="module")
def b() -> StyleGAN2Generator:
    return make_generator(seed=1)


@pytest.fixture(scope="module")
def ws(a: StyleGAN2Generator) -> Tensor:
    return a.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))


def make_stylegan3(*, seed: int) -> StyleGAN3Generator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = StyleGAN3Generator(
            z_dim=8,
            w_dim=8,
            img_resolution=32,
            mapping_layers=1,
            channel_base=128,
            channel_max=8,
            num_layers=4,
            num_critical=1,
        )
    return generator.eval().requires_grad_(False)


def test_every_tensor_of_a_synthesis_has_one_position(a: StyleGAN2Generator) -> None:
    for generator in (a, make_stylegan3(seed=0)):
        for key in generator.state_dict():
            homes = [place for place in positions(generator) if key.startswith(place.prefixes)]
            assert len(homes) == (not key.startswith("mapping."))


def test_the_ends_are_the_networks_to_the_bit(
    a: StyleGAN2Generator, b: StyleGAN2Generator, ws: Tensor
) -> None:
    a.synthesize(ws)  # what layers keep of their weights must not travel into the blend
    for share, wanted in ((0.0, a), (1.0, b)):
        result = blend(a, b, [share] * 6)
        assert isinstance(result, StyleGAN2Generator)
        assert fingerprint(result) == fingerprint(wanted)
        assert torch.equal(result.w_avg, wanted.w_avg)
        assert torch.equal(result.synthesize(ws), wanted.synthesize(ws))


def test_a_blend_of_a_generator_with_itself_changes_nothing(a: StyleGAN2Generator) -> None:
    shares = switch_shares(a, 8, mode="logistic", width=1.3)
    assert all(0 < share < 1 for share in shares)
    assert fingerprint(blend(a, a, shares)) == fingerprint(a)


def test_hard_takes_the_named_resolution_and_above(
    a: StyleGAN2Generator, b: StyleGAN2Generator
) -> None:
    before = fingerprint(a), fingerprint(b)
    result = blend(a, b, switch_shares(a, 8))
    assert isinstance(result, nn.Module)
    for key, value in result.state_dict().items():
        upper = key.startswith(("synthesis.b8.", "synthesis.b16."))
        assert torch.equal(value, (b if upper else a).state_dict()[key]), key
    assert (fingerprint(a), fingerprint(b)) == before


def test_the_authors_threshold_switches_a_resolution_later(a: StyleGAN2Generator) -> None:
    assert switch_shares(a, 8, mode="pinkney-hard") == switch_shares(a, 16)
    assert switch_shares(a, 16, mode="pinkney-hard") == (0.0,) * 6


def test_logistic_is_the_authors_curve_over_positions(a: StyleGAN2Generator) -> None:
    shares = switch_shares(a, 8, mode="logistic", width=0.7)
    assert shares == pytest.approx([1 / (1 + math.exp(-x / 0.7)) for x in range(-2, 4)])
    assert switch_shares(a, 4, mode="logistic", width=1e-300) == (0.5, 1, 1, 1, 1, 1)


def test_a_share_weighs_weights_and_noise(a: StyleGAN2Generator, b: StyleGAN2Generator) -> None:
    result = blend(a, b, level_shares(a, {8: 0.25}))
    assert isinstance(result, StyleGAN2Generator)
    one, other = a.synthesis.b8.conv0, b.synthesis.b8.conv0
    for name in ("weight", "noise_const", "noise_strength"):
        wanted = 0.75 * getattr(one, name) + 0.25 * getattr(other, name)
        torch.testing.assert_close(getattr(result.synthesis.b8.conv0, name), wanted)


def test_levels_carry_on_from_the_one_below(a: StyleGAN2Generator) -> None:
    assert levels(a) == (4, 8, 16)
    assert level_shares(a, {8: 0.25}) == (0, 0, 0.25, 0.25, 0.25, 0.25)
    assert level_shares(a, {16: 1.0}) == (0, 0, 0, 0, 1, 1)


def test_stylegan3_blends_by_the_sampling_rates_of_its_layers() -> None:
    one, other = make_stylegan3(seed=0), make_stylegan3(seed=1)
    assert levels(one) == (16, 32)
    result = blend(one, other, switch_shares(one, 32))
    assert isinstance(result, nn.Module)
    state = result.state_dict()
    origins = {key: torch.equal(value, other.state_dict()[key]) for key, value in state.items()}
    weights = {key.split(".")[1]: origins[key] for key in state if key.endswith("affine.weight")}
    last = [name for name in weights if name.startswith(("L3_", "L4_"))]
    assert [weights[name] for name in last] == [True] * len(last)
    assert last
    assert not weights[one.synthesis.layer_names[0]]
    with pytest.raises(GaneditError, match="hard blend"):
        swap_features(one, other, torch.zeros(1, one.num_ws, 8), at=32)


def test_swapped_features_are_read_by_the_upper_networks_layer_to_the_picture(
    a: StyleGAN2Generator, b: StyleGAN2Generator, ws: Tensor
) -> None:
    assert torch.equal(swap_features(a, b, ws, at=4), b.synthesize(ws))
    assert torch.equal(swap_features(a, a, ws, at=16), a.synthesize(ws))
    # Cartoon-StyleGAN replaces the features after a block's second convolution: the block's own
    # layer to the picture reads them, too, while the pictures before it remain the upper one's.
    const, pair = {"noise": ["const"], "offsets": {}}, {"noise": ["const"] * 2, "offsets": {}}
    four, _ = a.synthesis.b4(None, None, ws, **const)
    eight, _ = a.synthesis.b8(four, None, ws[:, 1:], **pair)
    image = b.synthesis.b4.torgb(four, ws[:, 1])
    x, image = b.synthesis.b8(four, image, ws[:, 1:], **pair)
    _, image = b.synthesis.b16(x, image, ws[:, 3:], **pair)
    torch.testing.assert_close(swap_features(a, b, ws, at=8), image)
    _, own = b.synthesis.b4(None, None, ws, **const)
    image = upsample2d(own, b.synthesis.b8.resample_filter)
    image = image + b.synthesis.b8.torgb(eight, ws[:, 3])
    _, image = b.synthesis.b16(eight, image, ws[:, 3:], **pair)
    torch.testing.assert_close(swap_features(a, b, ws, at=16), image)


def test_differing_networks_are_told_apart(a: StyleGAN2Generator) -> None:
    wide = make_generator(w_dim=24)
    assert differences(a, wide) == [("w_dim", "16", "24")]
    assert differences(a, make_generator(c_dim=3)) == []  # the mapping comes from one
    assert differences(a, make_stylegan3(seed=0)) == [("family", "StyleGAN2", "StyleGAN3")]
    with pytest.raises(GaneditError, match="w_dim is 16 and 24"):
        blend(a, wide, [0.0] * 6)
    told = dict(a.config) | {"channels": {"4": 8, "8": 8, "16": 8}}
    assert differences(a, StyleGAN2Generator(**told)) == []  # the same, said otherwise


@pytest.mark.parametrize("shares", [[0.0] * 5, [0.0] * 5 + [1.5], [math.nan] * 6])
def test_shares_out_of_range_are_refused(a: StyleGAN2Generator, shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        blend(a, a, shares)


def test_a_blend_accepts_the_latents_of_its_family(
    a: StyleGAN2Generator, b: StyleGAN2Generator, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "stranger")]
    save_network(paths[0], a, provenance={})
    origin = load_network(paths[0], device="cpu")
    told = {"adapted_from": [["x"], origin.fingerprint, 3], "labels": "cameras"}
    save_network(paths[1], b, provenance=told)
    save_network(paths[2], b, provenance={})
    tuned, stranger = (load_network(path, device="cpu") for path in paths[1:])
    result = blend_networks(origin, tuned, switch_shares(a, 8), facts={"perceptual": "clay"})
    save_network(tmp_path / "x.safetensors", result.generator, provenance=_told(result.metadata))
    loaded = load_network(tmp_path / "x.safetensors", device="cpu")
    assert loaded.fingerprint == result.fingerprint
    assert loaded.ancestors == (origin.fingerprint, tuned.fingerprint)
    upper_first = blend_networks(tuned, origin, switch_shares(a, 8), facts={})
    assert upper_first.ancestors == (tuned.fingerprint, origin.fingerprint)
    # What labels mean comes with the mapping network.
    assert upper_first.metadata["provenance"]["labels"] == "cameras"
    assert "labels" not in result.metadata["provenance"]
    strange = blend_networks(origin, stranger, switch_shares(a, 8), facts={})
    assert strange.ancestors == (origin.fingerprint,)


def _told(metadata: dict[str, object]) -> dict[str, object]:
    told = metadata["provenance"]
    assert isinstance(told, dict)
    return told
