import math

import pytest
import torch

from ganedit.training.augment import (
    SYM6,
    SampleGrid,
    augment,
    colour_matrix,
    draw,
    rotation,
    scaling,
    transform_colour,
    transform_geometry,
    translation,
)

ONE = torch.ones(1)


def picture(side=16, *, seed=0):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def smooth_picture(side=32, *, turn=0.0):
    """Waves seen by a camera that is turned clockwise by ``turn`` radians."""
    line = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
    wave = torch.stack(
        [torch.sin(0.3 * x), torch.cos(0.25 * y + 0.1 * x), torch.sin(0.2 * (x + y))]
    )
    return wave.unsqueeze(0)


def moved(image, forward, *, exact):
    return transform_geometry(image, torch.linalg.inv(forward), torch.tensor([exact]))


def colours(**settings):
    neutral = {"brightness": 0, "contrast": 1, "luma_flip": 0, "hue": 0, "saturation": 1}
    numbers = {name: torch.tensor([float(v)]) for name, v in (neutral | settings).items()}
    return colour_matrix(**numbers)


def test_the_wavelet_is_orthonormal():
    taps = torch.tensor(SYM6).double()
    for shift in range(6):
        overlap = (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum()
        assert overlap == pytest.approx(float(shift == 0), abs=1e-6)
    assert taps.sum() == pytest.approx(math.sqrt(2), abs=1e-6)


def test_nothing_is_drawn_or_copied_at_zero():
    images = picture()
    before = torch.get_rng_state()
    assert augment(images, 0.0) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_flip_is_exact():
    image = picture()
    assert torch.equal(moved(image, scaling(-ONE, ONE), exact=True), image.flip(3))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters):
    image = picture()
    turned = moved(image, rotation(quarters * math.pi / 2 * ONE), exact=True)
    # From x towards y is clockwise on a screen, whose y axis points down.
    assert torch.equal(turned, image.rot90(-quarters, (2, 3)))


def test_whole_pixel_shifts_are_exact_and_mirror_at_the_border():
    image = picture()
    shifted = moved(image, translation(torch.tensor([[3.0, -2.0]])), exact=True)
    assert torch.equal(shifted[:, :, :-2, 3:], image[:, :, 2:, :-3])
    padded = torch.nn.functional.pad(image, (3, 3, 2, 2), mode="reflect")
    assert torch.equal(shifted, padded[:, :, 4:, :16])


def test_resampling_by_the_identity_changes_nothing():
    image = picture()
    almost = torch.eye(3).repeat(1, 1, 1)
    almost[:, 0, 2] = 1e-7
    torch.testing.assert_close(moved(image, almost, exact=False), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("degrees", [10, 45, -120])
def test_rotation_agrees_with_a_picture_drawn_rotated(degrees):
    angle = math.radians(degrees)
    turned = moved(smooth_picture(), rotation(angle * ONE), exact=False)
    inside = slice(8, -8)
    expected = smooth_picture(turn=-angle)[:, :, inside, inside]
    torch.testing.assert_close(turned[:, :, inside, inside], expected, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("forward", "inverse"),
    [
        (scaling(1.3 * ONE, 1.3 * ONE), lambda x, y: (x / 1.3, y / 1.3)),
        (scaling(1.2 * ONE, ONE / 1.2), lambda x, y: (x / 1.2, y * 1.2)),
        (translation(torch.tensor([[1.7, -2.4]])), lambda x, y: (x - 1.7, y + 2.4)),
    ],
)
def test_scale_stretch_and_fractional_shift_agree_with_a_picture_drawn_so(forward, inverse):
    side = 32
    line = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")

    def wave(x, y):
        return (torch.sin(0.3 * x) * torch.cos(0.2 * y)).expand(1, 3, -1, -1)

    got = moved(wave(x, y), forward, exact=False)
    inside = slice(8, -8)
    expected = wave(*inverse(x, y))[:, :, inside, inside]
    torch.testing.assert_close(got[:, :, inside, inside], expected, rtol=0, atol=0.02)


def test_brightness_contrast_and_luma_flip_have_their_formulas():
    image = picture()
    close = torch.testing.assert_close
    close(transform_colour(image, colours(brightness=0.3)), image + 0.3)
    close(transform_colour(image, colours(contrast=1.5)), image * 1.5)
    flipped = transform_colour(image, colours(luma_flip=1))
    close(flipped, image - 2 * image.mean(1, keepdim=True))
    both = transform_colour(image, colours(brightness=0.3, contrast=1.5))
    close(both, (image + 0.3) * 1.5)


def test_hue_by_a_third_of_a_turn_permutes_the_channels_and_grey_stays():
    image = picture()
    third = transform_colour(image, colours(hue=2 * math.pi / 3))
    torch.testing.assert_close(third, image.roll(1, 1))
    grey = torch.full((1, 3, 4, 4), 0.4)
    torch.testing.assert_close(transform_colour(grey, colours(hue=1.0)), grey)


def test_saturation_moves_colours_to_and_from_grey():
    image = picture()
    grey = image.mean(1, keepdim=True)
    none = transform_colour(image, colours(saturation=0))
    torch.testing.assert_close(none, grey.expand_as(image))
    double = transform_colour(image, colours(saturation=2))
    torch.testing.assert_close(double, grey + 2 * (image - grey))


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_augmentation_keeps_the_shape_and_passes_gradients(p):
    torch.manual_seed(0)
    images = torch.cat([picture(seed=seed) for seed in range(4)]).requires_grad_()
    out = augment(images, p)
    assert out.shape == images.shape
    assert out.isfinite().all()
    out.square().sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_untouched_and_touched_pictures_keep_their_places():
    images = torch.cat([picture(seed=seed) for seed in range(3)])
    forward = torch.cat([rotation(0.3 * ONE), rotation(0 * ONE), scaling(-ONE, ONE)])
    out = transform_geometry(images, torch.linalg.inv(forward), torch.tensor([False, True, True]))
    alone = moved(images[:1], rotation(0.3 * ONE), exact=False)
    torch.testing.assert_close(out[:1], alone)
    assert torch.equal(out[1], images[1])
    assert torch.equal(out[2], images[2].flip(2))


def test_grid_sampling_has_two_derivatives():
    stream = torch.Generator().manual_seed(0)
    images = torch.randn(1, 2, 5, 5, generator=stream, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 4, 3, 2, generator=stream, dtype=torch.float64) * 2.4 - 1.2

    def sample(x):
        return SampleGrid.apply(x, grid)

    assert torch.autograd.gradcheck(sample, images)
    assert torch.autograd.gradgradcheck(sample, images)


def test_a_penalty_on_gradients_reaches_weights_through_the_augmentation():
    torch.manual_seed(3)
    images = picture().requires_grad_()
    weight = torch.randn(3 * 16 * 16, requires_grad=True)
    score = (augment(images, 1.0).flatten() * weight).sum().square()
    (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad.isfinite().all()
    assert weight.grad.abs().sum() > 0


def test_each_transform_is_drawn_with_its_probability():
    torch.manual_seed(0)
    drawn = draw(4000, 0.2, resolution=64)
    # Scale, stretch, shift: 0.8 each; both rotations together: 0.8.
    assert float(drawn.exact.float().mean()) == pytest.approx(0.8**4, abs=0.03)
    untouched = (drawn.colour[:, :, :3] == torch.eye(3)).flatten(1).all(1)
    neutral = 0.8**3 * (0.8 + 0.2 * 0.5)  # half of the luma flips flip nothing
    assert float(untouched.float().mean()) == pytest.approx(neutral, abs=0.2)
