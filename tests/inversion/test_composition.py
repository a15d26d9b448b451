import runpy
from pathlib import Path

import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.inversion import project
from ganedit.inversion.composition import (
    collage,
    compose,
    part_psnr,
    part_weights,
    seam_contrast,
)
from ganedit.losses import load_perceptual
from tests.devices import NoFloat64


@pytest.fixture(scope="module")
def perceptual():
    return load_perceptual("pixel")


@pytest.fixture(scope="module")
def pictures(generator):
    """Two unlike pictures, [1, 3, 16, 16] each."""
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(6))
    ws = generator.w_avg + 3 * (generator.map(z) - generator.w_avg)
    return generator.synthesize(ws).clamp(-1, 1).split(1)


@pytest.fixture
def lower_half():
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 8:] = 1
    return mask


def test_the_result_is_one_photo_outside_and_the_other_inside(
    network, pictures, lower_half, perceptual
):
    a, b = pictures
    found = compose(network, a, b, lower_half, perceptual=perceptual, steps=120)
    outside, inside = part_weights(lower_half)
    own = part_psnr(found.images, a, outside), part_psnr(found.images, b, inside)
    other = part_psnr(found.images, b, outside), part_psnr(found.images, a, inside)
    assert min(own) > max(other) + 3
    latent = found.latent(network)
    assert torch.equal(network.generator.synthesize(latent.ws, noise=latent.noise), found.images)


def test_two_equal_photos_are_projected(network, pictures, lower_half, perceptual):
    a, _ = pictures
    settings = {"perceptual": perceptual, "steps": 8, "pixel_weight": 3.0}
    weights = sum(part_weights(lower_half)).clamp(min=1e-6)
    expected = project(network, a, mask=weights, **settings)
    found = compose(network, a, a, lower_half, **settings)
    torch.testing.assert_close(found.ws, expected.ws, rtol=1e-3, atol=1e-3)


def test_what_counts_in_neither_part_has_no_influence(network, pictures, lower_half):
    perceptual = load_perceptual("pixel")
    perceptual.weight1.zero_(), perceptual.weight2.zero_(), perceptual.weight3.zero_()
    a, b = pictures
    changed_a, changed_b = a.clone(), b.clone()
    changed_a[:, :, 8:] = 0.3
    changed_b[:, :, :8] = -0.3
    found = [
        compose(network, *pair, lower_half, feather=0, perceptual=perceptual, steps=6).ws
        for pair in ((a, b), (changed_a, changed_b))
    ]
    assert torch.equal(*found)


def test_a_small_part_counts_as_much_as_the_rest(network, pictures, perceptual):
    a, b = pictures
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 6:10, 6:10] = 1
    found = compose(network, a, b, mask, perceptual=perceptual, steps=120)
    alone = project(network, a, perceptual=perceptual, steps=120, pixel_weight=3.0)
    _, inside = part_weights(mask)
    assert part_psnr(found.images, b, inside) > part_psnr(alone.images, b, inside) + 5


def test_rows_are_composed_apart(network, pictures, lower_half, perceptual):
    a, b = pictures
    settings = {"perceptual": perceptual, "steps": 5}
    both = compose(network, torch.cat([a, b]), torch.cat([b, a]), lower_half, **settings)
    alone = compose(network, a, b, lower_half, **settings)
    torch.testing.assert_close(both.ws[:1], alone.ws)


def test_a_start_can_be_given(network, pictures, lower_half, perceptual):
    a, b = pictures
    start = network.generator.w_avg.expand(1, network.generator.num_ws, -1)
    found = compose(network, a, b, lower_half, perceptual=perceptual, initial=start, steps=1)
    assert torch.equal(found.ws, start)


# Weights


def test_weights_are_zero_on_the_seam_and_one_far_from_it(lower_half):
    outside, inside = part_weights(lower_half, feather=0.1)
    assert torch.equal(outside * inside, torch.zeros_like(outside))
    assert outside[0, 0, 0].min() > 0.99
    assert inside[0, 0, 15].min() > 0.99
    assert float(outside[0, 0, 7].max()) < 0.5
    torch.testing.assert_close(outside.flip(2), inside)
    hard = part_weights(lower_half, feather=0)
    assert torch.equal(hard[1], lower_half)


def test_middle_grey_is_left_to_the_generator():
    mask = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(1, 1, 4, 4)
    outside, inside = part_weights(mask, feather=0)
    assert outside[0, 0, 0].tolist() == [1, 0.5, 0, 0]
    assert inside[0, 0, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(("value", "which"), [(0.0, "white"), (1.0, "black")])
def test_a_mask_of_one_colour_is_refused(value, which):
    with pytest.raises(GaneditError, match=f"nowhere {which}"):
        part_weights(torch.full((1, 1, 8, 8), value))


def test_a_feather_that_leaves_nothing_is_refused():
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 8, 8] = 1
    with pytest.raises(GaneditError, match=r"feather of 0\.2 blurs the mask's white part away"):
        part_weights(mask, feather=0.2)


def test_other_shapes_and_values_are_refused(network, pictures, lower_half):
    a, b = pictures
    with pytest.raises(ValueError, match="b: expected"):
        compose(network, a, b[:, :, :8], lower_half)
    with pytest.raises(ValueError, match="mask: expected"):
        part_weights(lower_half[0])
    with pytest.raises(ValueError, match="mask: expected"):
        part_weights(lower_half * 2)
    with pytest.raises(ValueError, match="feather"):
        part_weights(lower_half, feather=float("nan"))


# Figures


def test_the_psnr_of_a_part_ignores_the_rest(pictures, lower_half):
    a, _ = pictures
    changed = collage(a, a.clamp(-0.5, 0.5) + 0.1, lower_half)
    assert part_psnr(changed, a, 1 - lower_half) == float("inf")
    flat = torch.zeros(1, 3, 16, 16)
    torch.testing.assert_close(part_psnr(flat + 0.2, flat, lower_half), torch.tensor([20.0]))


def test_the_contrast_of_a_seam_is_the_step_across_it(lower_half):
    step = collage(torch.full((1, 3, 16, 16), -0.5), torch.full((1, 3, 16, 16), 0.5), lower_half)
    assert seam_contrast(torch.zeros(1, 3, 16, 16), lower_half) == 0
    assert 0.2 < float(seam_contrast(step, lower_half)) <= 0.5
    along = step.mT.contiguous()  # the same step, at right angles to the mask's edge
    assert float(seam_contrast(along, lower_half)) < 1e-6


def test_devices_without_float64_measure_seams(lower_half):
    with NoFloat64():
        contrast = seam_contrast(torch.zeros(2, 3, 16, 16, device="meta"), lower_half.to("meta"))
    assert contrast.shape == (2,)


def test_the_figure_of_the_documentation_can_be_made(tmp_path):
    script = Path(__file__).parents[2] / "examples" / "compose_photos.py"
    runpy.run_path(str(script))["main"](tmp_path, steps=1)
    assert (tmp_path / "compose.png").stat().st_size > 1000
