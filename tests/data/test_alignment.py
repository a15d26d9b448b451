import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganedit.data.alignment import (
    alignment_of,
    centre_quad,
    crop_quad,
    face_centres,
    face_quad,
    paste_back,
    paste_into_photo,
    quad_side,
    share_inside,
    square_quad,
)
from ganedit.errors import GaneditError
from ganedit.io import read_image, write_image
from ganedit.io.images import to_uint8
from tests.devices import NoFloat64

PHOTO = Path(__file__).parents[2] / "examples" / "unaligned.jpg"


def smooth(height: int, width: int) -> torch.Tensor:
    """A picture of slow waves, [1, 3, H, W]."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    waves = [torch.sin(x / 21 + k) * torch.cos(y / 17 - k) for k in range(3)]
    return torch.stack(waves)[None] * 0.9


def turned_quad(angle: float = 0.4, half: float = 40.0) -> torch.Tensor:
    direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    return square_quad(torch.tensor([90.0, 70.0], dtype=torch.float64), direction * half)


def landmarks(left, right, mouth) -> torch.Tensor:
    """68 points with these centres."""
    points = torch.zeros(68, 2)
    points[36:42], points[42:48] = torch.tensor(left), torch.tensor(right)
    points[48:] = torch.tensor(mouth)
    return points


def test_the_quad_follows_ffhq_s_formulas():
    """Eyes 40 apart, mouth 30 below: 1.8 * 30 < 2 * 40, and 0.1 * 30 below the eyes."""
    quad = face_quad(landmarks([80.0, 50.0], [120.0, 50.0], [100.0, 80.0]))
    expected = [[20.0, -27.0], [20.0, 133.0], [180.0, 133.0], [180.0, -27.0]]
    torch.testing.assert_close(quad, torch.tensor(expected, dtype=torch.float64))
    tall = face_quad(landmarks([90.0, 50.0], [110.0, 50.0], [100.0, 100.0]))
    assert quad_side(tall) == pytest.approx(2 * 1.8 * 50)


def test_the_quad_turns_with_the_face():
    upright = torch.tensor([[80.0, 50.0], [120.0, 52.0], [101.0, 85.0]], dtype=torch.float64)
    c, s = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    torch.testing.assert_close(face_quad(upright @ turn.T), face_quad(upright) @ turn.T)


def test_the_mesh_gives_the_same_centres_as_68_points():
    mesh = torch.zeros(478, 2)
    mesh[[33, 160, 158, 133, 153, 144]] = torch.tensor([80.0, 50.0])
    mesh[[362, 385, 387, 263, 373, 380]] = torch.tensor([120.0, 50.0])
    mesh[[61, 291]] = torch.tensor([[90.0, 80.0], [110.0, 80.0]])
    points = landmarks([80.0, 50.0], [120.0, 50.0], [100.0, 80.0])
    assert torch.equal(face_centres(mesh), face_centres(points))


def test_an_upright_crop_of_the_same_size_is_the_photo():
    photo = smooth(60, 80)
    corners = torch.tensor([[10.0, 5.0], [10.0, 45.0], [50.0, 45.0], [50.0, 5.0]])
    crop = crop_quad(photo, corners, 40)
    torch.testing.assert_close(crop, photo[:, :, 5:45, 10:50], atol=1e-5, rtol=0)
    torch.testing.assert_close(paste_back(photo, crop, corners), photo, atol=1e-5, rtol=0)


def test_a_crop_shows_the_photo_at_its_places():
    """The waves are known everywhere, so the turned crop is known too."""
    quad = turned_quad()
    crop = crop_quad(smooth(150, 200), quad, 64)
    at = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    x = quad[0] + at[None, :, None] * (quad[3] - quad[0]) + at[:, None, None] * (quad[1] - quad[0])
    expected = torch.sin(x[..., 0] / 21) * torch.cos(x[..., 1] / 17) * 0.9
    assert (crop[0, 0] - expected).abs().max() < 0.01


@pytest.mark.parametrize("size", [80, 200])
def test_an_unedited_crop_pasted_back_gives_the_photo(size):
    photo, quad = smooth(150, 200), turned_quad()
    result = paste_back(photo, crop_quad(photo, quad, size), quad)
    assert (result - photo).abs().max() < 2 / 255
    outside = paste_back(photo, torch.ones(1, 3, 32, 32), quad) - photo
    assert outside[0, 0, 70, 90] > 0
    assert outside[..., :10, :].abs().max() == 0


def test_the_seam_fades_from_the_photo_to_the_crop():
    photo, white = torch.full((1, 3, 100, 100), -1.0), torch.ones(1, 3, 20, 20)
    corners = torch.tensor([[20.0, 20.0], [20.0, 80.0], [80.0, 80.0], [80.0, 20.0]])
    row = paste_back(photo, white, corners, feather=0.2)[0, 0, 50]
    assert row[19] == -1
    torch.testing.assert_close(row[33:67], torch.ones(34))
    assert bool((row[20:33].diff() > 0).all())
    hard = paste_back(photo, white, corners, feather=0)[0, 0, 50]
    torch.testing.assert_close(hard[20:80], torch.ones(60))


def test_a_crop_over_the_border_is_filled_and_pasted_where_the_photo_is():
    photo, quad = smooth(100, 120), turned_quad(0.3, 60.0)
    assert 0.3 < share_inside(quad, 120, 100) < 0.9
    crop = crop_quad(photo, quad, 128)
    assert bool(crop.isfinite().all())
    assert crop.std() > 0.1
    change = (paste_back(photo, crop, quad) - photo).abs()
    assert change[..., 20:-20, 20:-20].max() < 2 / 255
    assert change.max() < 0.15  # FFHQ's blur begins a little inside the photo


def test_a_large_photo_is_averaged_not_skipped():
    """One-pixel stripes become grey."""
    photo = torch.ones(1, 3, 400, 400)
    photo[..., ::2] = -1
    assert crop_quad(photo, centre_quad(400, 400), 32).abs().max() < 0.1


@pytest.mark.parametrize(
    "quad",
    [
        [[0.0, 0.0], [0.0, 10.0], [20.0, 10.0], [10.0, 0.0]],  # not a parallelogram
        [[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [10.0, 0.0]],  # in a line
        [[0.0, 0.0], [0.0, math.nan], [10.0, 10.0], [10.0, 0.0]],
        [[500.0, 0.0], [500.0, 10.0], [510.0, 10.0], [510.0, 0.0]],  # elsewhere
    ],
)
def test_impossible_quads_are_refused(quad):
    with pytest.raises(ValueError, match="quad"):
        crop_quad(smooth(50, 50), torch.tensor(quad), 16)


def test_devices_without_float64_crop_and_paste():
    photo = smooth(100, 120).to("meta")
    with NoFloat64():
        quad = turned_quad(half=60.0)  # over the border
        assert crop_quad(photo, quad, 16).shape == (1, 3, 16, 16)
        assert paste_back(photo, photo[..., :32, :32], quad).shape == photo.shape


def test_landmarks_in_one_place_are_refused():
    with pytest.raises(ValueError, match="different places"):
        face_quad(torch.ones(68, 2))
    with pytest.raises(ValueError, match="expected"):
        face_quad(torch.ones(5, 2))


def test_another_photo_is_refused_by_its_size(tmp_path):
    photo = smooth(100, 120)
    write_image(tmp_path / "photo.png", photo)
    where = alignment_of(str(tmp_path / "photo.png"), photo, turned_quad(0.2, 20.0))
    crop = crop_quad(photo, turned_quad(0.2, 20.0), 64)
    result = paste_into_photo(where, crop)
    assert (result - read_image(tmp_path / "photo.png")).abs().max() < 4 / 255
    write_image(tmp_path / "other.png", photo[..., :50])
    with pytest.raises(GaneditError, match="50x100 pixels, but 120x100"):
        paste_into_photo(where, crop, photo=str(tmp_path / "other.png"))


# FFHQ's recipe once more, with PIL and numpy, in pixels whose centres are whole numbers


def ffhq_crop(photo: Image.Image, centres, size: int, *, fine: int) -> Image.Image:
    """The crop of a face with these centres of eyes and mouth, from ``fine``² samples a pixel."""
    left, right, mouth = np.array(centres, float)
    across, down = right - left, mouth - (left + right) / 2
    x = across - np.array([-down[1], down[0]])
    x *= max(2 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y, centre = np.array([-x[1], x[0]]), (left + right) / 2 + 0.1 * down
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    side = 2 * np.hypot(*x)
    shrink = int(side / size / 2)
    if shrink > 1:
        photo = photo.resize([round(edge / shrink) for edge in photo.size], Image.LANCZOS)
        quad, side = quad / shrink, side / shrink
    border = max(round(0.1 * side), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    start, end = np.maximum(low - border, 0), np.minimum(high + border, photo.size)
    photo, quad = photo.crop((*start, *end)), quad - start
    before = np.maximum(start - low + border, 0)
    after = np.maximum(high - start - photo.size + border, 0)
    if max(*before, *after) > border - 4:
        least = round(0.3 * side)
        before, after = np.maximum(before, least), np.maximum(after, least)
        photo = ffhq_border(np.asarray(photo, np.float32), before, after, blur=0.02 * side)
        quad = quad + before
    corners = tuple((quad + 0.5).ravel())
    large = photo.transform((size * fine, size * fine), Image.QUAD, corners, Image.BILINEAR)
    return large.resize((size, size), Image.BOX)


def ffhq_border(pixels, before, after, *, blur: float) -> Image.Image:
    """A photo [H, W, 3] with its reflection around, blurred, then of the median colour."""
    widths = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    pixels = np.pad(pixels, widths, "reflect")
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    along = 1 - np.minimum(x / before[0], (width - 1 - x) / after[0])
    down = 1 - np.minimum(y / before[1], (height - 1 - y) / after[1])
    mask = np.maximum(along, down)[..., None]
    reach = int(4 * blur + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur) ** 2)
    blurred = pixels
    for axis in (0, 1):
        wide = [(reach, reach) if axis == one else (0, 0) for one in range(3)]
        padded, count = np.pad(blurred, wide, "symmetric"), blurred.shape[axis]
        parts = [np.take(padded, range(i, i + count), axis) for i in range(len(kernel))]
        blurred = sum(w * part for w, part in zip(kernel / kernel.sum(), parts, strict=True))
    pixels = pixels + (blurred - pixels) * np.clip(3 * mask + 1, 0, 1)
    pixels = pixels + (np.median(pixels, (0, 1)) - pixels) * np.clip(mask, 0, 1)
    return Image.fromarray(np.uint8(np.clip(np.rint(pixels), 0, 255)))


@pytest.mark.parametrize(
    ("centres", "size", "fine", "mean", "most"),
    [
        (((210, 170), (250, 185), (222, 215)), 256, 1, 0.5, 2),  # inside
        (((40, 60), (100, 50), (75, 120)), 256, 1, 0.5, 2),  # over two borders
        (((20, 20), (120, 35), (60, 130)), 512, 1, 0.5, 2),  # mostly outside
        (((142, 97), (192, 97), (167, 147)), 208, 1, 0.5, 2),  # a few pixels from the border
        (((210, 170), (250, 185), (222, 215)), 48, 4, 1.5, 40),  # reduced, and over...
        (((20, 20), (120, 35), (60, 130)), 48, 4, 1.5, 40),  # ...the border
    ],
)
def test_crops_are_ffhq_s(centres, size, fine, mean, most):
    """Where no pixel is averaged, within 2 levels of 255; reduced, as far as resampling differs."""
    quad = face_quad(torch.tensor(centres, dtype=torch.float64) + 0.5)
    crop = to_uint8(crop_quad(read_image(PHOTO), quad, size))[0].numpy().astype(float)
    expected = ffhq_crop(Image.open(PHOTO).convert("RGB"), centres, size, fine=fine)
    difference = np.abs(crop - np.asarray(expected, float))
    assert difference.mean() < mean
    assert difference.max() <= most
