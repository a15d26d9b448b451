import math

import pytest
import torch
import torch.nn.functional as F

from ganedit.editing.directions import latent_axes, scales_of
from ganedit.editing.fit_directions import (
    LabelColumn,
    fit_directions,
    refine_directions,
    sample_latents,
    score_latents,
)
from ganedit.errors import GaneditError
from ganedit.generators.statistics import map_samples

WIDTH, COUNT = 8, 600


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


USUAL = draw(4000, WIDTH, seed=9)


def numbers(name, values):
    return LabelColumn(name, values, binary=False)


def test_planted_directions_are_recovered():
    latents = draw(COUNT, 1, WIDTH)
    planted = F.normalize(draw(2, WIDTH, seed=1), dim=1)
    heights = latents[:, 0] @ planted.mT
    columns = [
        numbers("age", 3 * heights[:, 0] + 0.1 * draw(COUNT, seed=2)),
        LabelColumn("glasses", (heights[:, 1] > 0.3).double(), binary=True),
    ]
    found = fit_directions(latents, columns, USUAL)
    cosines = (found.vectors[:, 0] * planted).sum(dim=1)
    assert cosines[0] > 0.99
    assert cosines[1] > 0.95
    assert found.facts[0]["r2"] > 0.95
    assert found.facts[1]["accuracy"] > 0.9 > found.facts[1]["majority"] + 0.1
    assert torch.allclose(found.scales, torch.ones(2), atol=0.05)


def test_what_latents_do_not_tell_scores_nothing():
    found = fit_directions(draw(COUNT, 1, WIDTH), [numbers("luck", draw(COUNT, seed=5))], USUAL)
    assert found.facts[0]["r2"] < 0.05


def test_a_label_of_one_layer_moves_that_layer():
    latents = draw(COUNT, 3, WIDTH)
    planted = F.normalize(draw(WIDTH, seed=1), dim=0)
    found = fit_directions(latents, [numbers("age", latents[:, 1] @ planted)], USUAL)
    lengths = found.vectors[0].norm(dim=1)
    assert lengths[1] > 5 * max(lengths[0], lengths[2])
    # One standard deviation is that of the layer that moves.
    assert float(found.scales[0] * lengths[1]) == pytest.approx(1, abs=0.2)


def test_a_direction_unlike_another_leaves_its_prediction():
    latents = draw(COUNT, 1, WIDTH)
    first, second = F.normalize(draw(2, WIDTH, seed=1), dim=1)
    ages, beards = latents[:, 0] @ first, latents[:, 0] @ (first + 0.7 * second)
    columns = [numbers("age", ages), numbers("beard", beards)]
    plain = fit_directions(latents, columns, USUAL)
    apart = fit_directions(latents, columns, USUAL, unlike={"age": ["beard"]})
    beard = F.normalize(plain.vectors[1, 0], dim=0)
    assert float(plain.vectors[0, 0] @ beard) > 0.3
    assert abs(float(apart.vectors[0, 0] @ beard)) < 0.1  # the samples are not exactly round
    assert float(apart.vectors[0, 0] @ first) > 0.3
    assert torch.equal(apart.vectors[1], plain.vectors[1])
    assert apart.facts[0]["unlike"] == "beard"
    twin = [columns[0], numbers("old", 2 * ages)]
    with pytest.raises(GaneditError, match="age: nothing is left"):
        fit_directions(latents, twin, USUAL, unlike={"age": ["old"]})
    with pytest.raises(GaneditError, match="no labels of hat; there are age, beard"):
        fit_directions(latents, columns, USUAL, unlike={"age": ["hat"]})


def test_what_pictures_show_besides_is_taken_out():
    steps = torch.eye(3, WIDTH)[:, None]
    seen = torch.tensor([[0.3, 0.1, 0.0], [0.0, 0.2, 0.0], [0.1, 0.1, 0.05]])
    vectors, scales = refine_directions(steps, seen, [0, 1, 2], [[1, 2], [], [0]], USUAL)
    after = (
        (vectors * scales[:, None, None]).flatten(1) @ torch.linalg.pinv(steps.flatten(1)) @ seen
    )
    assert 0 < after[0, 1] / after[0, 0] < 0.12  # a third before
    assert (
        abs(float(after[0, 2] / after[0, 0])) < 0.01
    )  # the third one is too weak to undo anything
    assert torch.allclose(vectors[1], steps[1], atol=1e-6)
    assert after[2, 0] / after[2, 2] < 1 < seen[2, 0] / seen[2, 2]
    unmeasured, _ = refine_directions(steps, seen, [0, None, 2], [[1], [], []], USUAL)
    assert torch.allclose(unmeasured[0], steps[0], atol=1e-6)


def test_directions_go_the_usual_way():
    """Of all ways that raise a label, the one on which latents vary most."""
    stretched = torch.tensor([5.0] + [1.0] * (WIDTH - 1))
    latents = draw(COUNT, 1, WIDTH) * stretched
    labels = latents[:, 0, 0] + latents[:, 0, 1]
    found = fit_directions(latents, [numbers("age", labels)], USUAL * stretched)
    assert found.vectors[0, 0, 0] > 10 * found.vectors[0, 0, 1] > 0


@pytest.mark.parametrize("mixed", [False, True])
def test_scales_are_those_of_all_directions(generator, mixed):
    latents = sample_latents(generator, 100, mixed=mixed)
    usual = map_samples(generator)
    found = fit_directions(latents, [numbers("x", latents[:, 0, 0])], usual)
    axes = latent_axes(generator)
    assert torch.allclose(found.scales, scales_of(found.vectors, [()], axes), rtol=1e-5)
    effects = torch.ones(1, 1)
    vectors, scales = refine_directions(7 * found.vectors, effects, [0], [[]], usual)
    assert torch.allclose(vectors, found.vectors, atol=1e-6)
    assert torch.allclose(scales, found.scales, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-28, 1e30])
def test_labels_of_any_size_are_fitted_alike(size):
    latents, values = draw(COUNT, 1, WIDTH), draw(COUNT, seed=3).clamp(-1, 1).double()
    plain, sized = (
        fit_directions(latents, [numbers("age", factor * values)], USUAL) for factor in (1, size)
    )
    assert torch.allclose(plain.vectors, sized.vectors, atol=1e-6)


def test_samples_are_of_the_generator_and_scored_in_order(generator):
    mixed = sample_latents(generator, 5, mixed=True, seed=4)
    assert mixed.shape == (5, generator.num_ws, generator.w_dim)
    assert len(torch.unique(mixed.flatten(0, 1), dim=0)) == 5 * generator.num_ws
    assert torch.equal(mixed, sample_latents(generator, 5, mixed=True, seed=4))
    shared = sample_latents(generator, 5, mixed=False)
    scores = score_latents(generator, shared, lambda pictures: pictures.mean(dim=(2, 3)))
    one = generator.synthesize(shared[3:4].expand(-1, generator.num_ws, -1)).clamp(-1, 1)
    assert torch.allclose(scores[3], one.mean(dim=(2, 3))[0], atol=1e-5)


@pytest.mark.parametrize(
    ("values", "binary", "message"),
    [
        ([1.0] * 30, False, "the same for all latents"),
        ([1.0] * 28 + [0.0] * 2, True, "only 2 of 30 latents differ"),
        ([1.0] * 30, True, "only 0 of 30"),
        ([1e-300, 2e-300] * 15, False, "the same for all latents"),
        ([1e300, 1.0] * 15, False, "beyond 1e\\+30"),
        ([math.nan] + [1.0] * 29, False, "NaN or infinite"),
        ([1.0, 2.0], False, "a fit takes 20 at least"),
    ],
)
def test_labels_that_tell_nothing_are_refused(values, binary, message):
    with pytest.raises(GaneditError, match=f"smile: .*{message}"):
        LabelColumn("smile", torch.tensor(values, dtype=torch.float64), binary)


def test_a_generator_whose_latents_do_not_vary_is_refused():
    column = numbers("age", draw(30))
    with pytest.raises(GaneditError, match="do not vary"):
        fit_directions(draw(30, 1, WIDTH), [column], torch.zeros(100, WIDTH))
