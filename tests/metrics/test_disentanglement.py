import math

import numpy as np
import pytest
import torch

from ganedit.data.clayheads.factors import FACTORS, HAIR_STYLES
from ganedit.errors import GaneditError
from ganedit.metrics.disentanglement import (
    DCI,
    Attribute,
    Readings,
    attributes_of,
    conditional_entropy,
    dci,
    read_heads,
    separability,
)

RANDOM = np.random.default_rng(0)
LATENTS = RANDOM.normal(size=(2000, 8))
ROTATION = np.linalg.qr(RANDOM.normal(size=(8, 8)))[0]


def axes_as_factors(noise=0.0):
    columns = LATENTS[:, :6] + noise * RANDOM.normal(size=(2000, 6))
    return {f"factor {index}": columns[:, index : index + 1] for index in range(6)}


# DCI


def test_factors_that_are_axes_are_disentangled():
    found = dci(LATENTS, axes_as_factors())
    assert found.disentanglement > 0.98
    assert found.completeness > 0.98
    assert found.informativeness > 0.99
    assert found.importance.shape == (8, 6)
    assert found.importance.argmax(axis=0).tolist() == [0, 1, 2, 3, 4, 5]


def test_turned_axes_are_as_informative_and_entangled():
    found = dci(LATENTS @ ROTATION, axes_as_factors())
    assert found.disentanglement < 0.4
    assert found.completeness < 0.4
    assert found.informativeness > 0.99


def test_noise_is_not_informative():
    factors = {"a": RANDOM.normal(size=(2000, 1)), "b": RANDOM.normal(size=(2000, 1))}
    assert dci(LATENTS, factors).informativeness < 0.05
    half = dci(LATENTS, axes_as_factors(noise=1.0)).informativeness
    assert half == pytest.approx(0.5, abs=0.07)


def test_units_change_nothing():
    factors = axes_as_factors(noise=0.3)
    scaled = {name: 1000 * columns - 7 for name, columns in factors.items()}
    plain, other = dci(LATENTS, factors), dci(LATENTS * np.geomspace(1e-3, 1e3, 8), scaled)
    np.testing.assert_allclose(plain.importance, other.importance, rtol=1e-3, atol=1e-4)


def test_the_measures_follow_from_the_importance():
    # The first number is for one factor, the second for both alike; the third is for nothing.
    found = DCI(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), {"a": 1.0, "b": 0.5})
    assert found.disentanglement == pytest.approx(1 / 3 * 1 + 2 / 3 * 0)
    assert found.completeness == pytest.approx(((1 - math.log(2) / math.log(3)) + 1) / 2)
    assert found.informativeness == 0.75


def test_repeated_constant_and_missing_numbers_do_no_harm():
    wide = np.concatenate([LATENTS, LATENTS[:, :2], np.ones((2000, 3))], axis=1)
    factors = {**axes_as_factors(), "constant": np.full((2000, 1), 0.3)}
    found = dci(wide, factors)
    assert "constant" not in found.explained
    assert found.informativeness > 0.99
    assert np.abs(found.importance[10:]).max() == 0
    assert found.disentanglement > 0.9


def test_a_factor_of_several_columns_counts_once():
    hue = np.concatenate([LATENTS[:, 6:7], LATENTS[:, 7:]], axis=1)
    found = dci(LATENTS, {**axes_as_factors(), "hue": hue})
    assert found.importance.shape == (8, 7)
    assert found.importance[6:, 6] == pytest.approx([1, 1], abs=0.05)


def test_heads_that_are_all_alike_have_no_measures():
    factors = {"a": LATENTS[:, :1], "b": np.zeros((2000, 1))}
    with pytest.raises(GaneditError, match="fewer than two factors vary"):
        dci(LATENTS, factors)
    same = Attribute("a", np.zeros(2000, bool), np.ones(2000))
    with pytest.raises(GaneditError, match="no attribute has both answers"):
        separability(LATENTS, [same])


# Separability


def test_conditional_entropy_is_that_of_the_table():
    given = np.array([True] * 4 + [False] * 4)
    assert conditional_entropy(given, given) == 0
    assert conditional_entropy(given, ~given) == 0
    answers = np.array([True, False] * 4)
    assert conditional_entropy(given, answers) == pytest.approx(math.log(2))
    answers = np.array([True, True, True, False] + [False] * 4)
    one_in_four = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert conditional_entropy(given, answers) == pytest.approx(one_in_four / 2)


def attribute(values, name="a"):
    return Attribute(name, values > np.median(values), np.abs(values - np.median(values)))


def test_what_a_plane_parts_is_separable_and_what_a_sphere_parts_is_not():
    plane = attribute(LATENTS @ RANDOM.normal(size=8), "plane")
    sphere = attribute((LATENTS**2).sum(axis=1), "sphere")
    found = separability(LATENTS, [plane, sphere])
    assert found.accuracies["plane"] > 0.97
    assert found.entropies["plane"] < 0.1
    assert found.accuracies["sphere"] < 0.65
    assert found.entropies["sphere"] > 0.6
    assert found.score == pytest.approx(math.exp(sum(found.entropies.values())))
    # Turned latents are parted just as well: this measure knows no axes.
    turned = separability(LATENTS @ ROTATION, [plane])
    assert turned.accuracies["plane"] > 0.97


def test_only_the_surer_half_counts():
    answers = LATENTS[:, 0] > 0
    sure = np.abs(LATENTS[:, 0])
    answers = np.where(sure > np.median(sure), answers, ~answers)
    found = separability(LATENTS, [Attribute("a", answers, sure)])
    assert found.accuracies["a"] > 0.97


def test_an_answer_that_hardly_occurs_is_left_out():
    rare = np.zeros(2000, bool)
    rare[:5] = True
    found = separability(
        LATENTS, [Attribute("rare", rare, np.ones(2000)), attribute(LATENTS[:, 0], "plane")]
    )
    assert list(found.entropies) == ["plane"]


# Reading


def test_beards_that_most_heads_lack_are_still_halved():
    beard = np.maximum(0, LATENTS[:, :1])
    heads = Readings(LATENTS, LATENTS, {"beard": beard, "constant": np.ones((2000, 1))})
    (found,) = attributes_of(heads)
    kept = np.argsort(-found.confidence)[:1000]
    assert found.answers[kept].sum() == 500
    assert beard[found.answers].min() >= beard[~found.answers].max()


class Picture:
    """A generator of 8-pixel pictures that hold their z, and a network that reads them."""

    z_dim, w_dim, num_ws, c_dim, img_resolution = 4, 4, 2, 0, 8
    w_avg = torch.zeros(4)
    broken = False

    def map(self, z, c=None):
        return (2 * z)[:, None].expand(-1, 2, -1)

    def synthesize(self, ws, *, noise):
        assert noise == "const"
        return ws / (0 if self.broken else 1)

    def outputs(self, images):
        count = len(images)
        factors = torch.arange(len(FACTORS)).expand(count, -1) + images[:, 0, :1]
        styles = 100 + torch.arange(len(HAIR_STYLES)).expand(count, -1)
        turns = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).expand(count, -1, -1)
        return factors, styles, turns, torch.zeros(count, 3, 2)


def test_readings_are_sorted_by_factor_and_belong_to_their_latents(monkeypatch):
    heads = read_heads(Picture(), Picture(), samples=200, seed=3)
    np.testing.assert_allclose(heads.w, 2 * heads.z)
    names = [factor.name for factor in FACTORS if factor.name != "nose_width"]
    assert list(heads.factors) == names
    assert heads.factors["hair_style"][0].tolist() == [100, 101, 102, 103]
    assert heads.factors["clothing"][0].tolist() == pytest.approx([0.1, 0.2])
    assert heads.factors["background"][0].tolist() == pytest.approx([0.3, 0.4])
    np.testing.assert_allclose(heads.factors["head_width"][:, 0], 1 + heads.w[:, 0], rtol=1e-6)
    monkeypatch.setattr("ganedit.generators.statistics._PIXELS", 64 * 7)
    np.testing.assert_array_equal(
        read_heads(Picture(), Picture(), samples=201, seed=3).z[:200], heads.z
    )


def test_few_and_broken_heads_are_refused():
    with pytest.raises(ValueError, match="at least 200, got 199"):
        read_heads(Picture(), Picture(), samples=199)
    broken = Picture()
    broken.broken = True
    with pytest.raises(GaneditError, match="not finite"):
        read_heads(broken, Picture(), samples=200)
