"""Faces out of photos and back: FFHQ's crop, and its inverse.

A quad is the four corners of a crop in a photo, [4, 2] as (x, y): top left, bottom left, bottom
right, top right of the crop. Coordinates are pixels, x to the right, y down, the corner of the
photo at (0, 0), so that the first pixel's centre is at 0.5; corners may lie outside the photo.

Source: Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks,
2019, appendix A, and the script that comes with the FFHQ data.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.images import read_image
from ganedit.io.latents import Alignment

LEFT_EYE = slice(36, 42)  # of the 68 points, on the left of the picture
RIGHT_EYE = slice(42, 48)
MOUTH_CORNERS = (48, 54)  # left and right in the picture
# The same places in the 478 points of mediapipe's mesh.
MESH_LEFT_EYE = (33, 160, 158, 133, 153, 144)
MESH_RIGHT_EYE = (362, 385, 387, 263, 373, 380)
MESH_MOUTH_CORNERS = (61, 291)
MESH_POINTS = 478

LEAST_INSIDE = 0.01  # of a crop that the photo covers
FEATHER = 0.1  # width of a pasted crop's seam, of the crop's side

_SUPERSAMPLES = 4  # at most, along each side of a pixel
_BAND = 256  # rows that are sampled at once


# Quads


def face_centres(landmarks: Tensor) -> Tensor:
    """Return the left eye, the right eye and the middle of the mouth, [3, 2].

    Left is the picture's left.

    Args:
        landmarks: Pixels, [68, 2] in the order of iBUG 300-W (dlib's), [478, 2] in that of
            mediapipe's mesh, or [3, 2], which are these centres themselves.
    """
    if landmarks.ndim != 2 or landmarks.shape[1] != 2 or len(landmarks) not in (3, 68, MESH_POINTS):
        raise ValueError(
            f"landmarks: expected [68, 2], [{MESH_POINTS}, 2] or [3, 2], "
            f"got {list(landmarks.shape)}"
        )
    points = landmarks.cpu().double()
    if len(points) == 3:
        return points
    if len(points) == MESH_POINTS:
        eyes = points[list(MESH_LEFT_EYE)], points[list(MESH_RIGHT_EYE)]
        mouth = points[list(MESH_MOUTH_CORNERS)]
    else:
        eyes = points[LEFT_EYE], points[RIGHT_EYE]
        mouth = points[list(MOUTH_CORNERS)]
    return torch.stack([eyes[0].mean(0), eyes[1].mean(0), mouth.mean(0)])


def face_quad(landmarks: Tensor) -> Tensor:
    """Return the quad [4, 2] of FFHQ's crop, a square in float64.

    Args:
        landmarks: As `face_centres` takes them.

    Raises:
        ValueError: Another shape, or all points in one place.
    """
    left, right, mouth = face_centres(landmarks)
    eye_to_eye, middle = right - left, (left + right) / 2
    eye_to_mouth = mouth - middle
    x = eye_to_eye - _turned(eye_to_mouth)
    size = max(float(eye_to_eye.norm()) * 2, float(eye_to_mouth.norm()) * 1.8)
    if not (math.isfinite(size) and size > 0 and float(x.norm()) > 0):
        raise ValueError("landmarks: expected eyes and mouth in different places")
    x = x / x.norm() * size
    return square_quad(middle + eye_to_mouth * 0.1, x)


def square_quad(centre: Tensor, half: Tensor) -> Tensor:
    """Return the quad [4, 2] of a square, from its centre [2] to the middle of its right side."""
    down = _turned(half)
    corners = (centre - half - down, centre - half + down, centre + half + down)
    return torch.stack([*corners, centre + half - down])


def centre_quad(width: int, height: int) -> Tensor:
    """Return the quad [4, 2] of a photo's central square."""
    middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    return square_quad(middle, torch.tensor([min(width, height) / 2, 0], dtype=torch.float64))


def quad_side(quad: Tensor) -> float:
    """Return the mean side of a quad in pixels."""
    corners = quad.cpu().double()
    sides = corners - corners.roll(-1, 0)
    return float(sides.norm(dim=1).mean())


def share_inside(quad: Tensor, width: int, height: int) -> float:
    """Return the share of a crop, between 0 and 1, that the photo covers."""
    u, v = _centres(64)
    points = _place(quad.cpu().double(), u, v)  # [64, 64, 2]
    inside = (points >= 0) & (points <= torch.tensor([width, height]))
    return float(inside.all(-1).double().mean())


def _turned(vector: Tensor) -> Tensor:
    """Return a vector [2] turned by 90 degrees, from right to down."""
    return torch.stack([-vector[1], vector[0]])


def _frame(quad: Tensor) -> tuple[Tensor, Tensor]:
    """Return a quad's top left corner [2], and its top and left side as columns [2, 2].

    Raises:
        ValueError: It is no parallelogram, or has no area.
    """
    corners = quad.detach().cpu().double()
    if corners.shape != (4, 2) or not bool(corners.isfinite().all()):
        raise ValueError(f"quad: expected four finite corners [4, 2], got {list(quad.shape)}")
    start, below, opposite, beside = corners
    sides = torch.stack([beside - start, below - start], dim=1)
    area, side = float(torch.linalg.det(sides)), quad_side(corners)
    if float((start + opposite - below - beside).abs().max()) > 1e-3 * side + 1e-6:
        raise ValueError("quad: expected a square or parallelogram")
    if abs(area) < 1e-3 * side**2 or side < 1e-3:
        raise ValueError("quad: expected corners that are not in a line")
    return start, sides


def _centres(size: int) -> tuple[Tensor, Tensor]:
    """Return where the pixels of a crop lie in it: u [1, size] and v [size, 1] in 0..1."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return at[None], at[:, None]


def _place(quad: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return where (u, v) of a crop lies in the photo, [..., 2]."""
    start, sides = _frame(quad)
    return start + u[..., None] * sides[:, 0] + v[..., None] * sides[:, 1]


# Photo to crop


def crop_quad(image: Tensor, quad: Tensor, size: int) -> Tensor:
    """Return FFHQ's crop of a photo.

    What lies outside the photo is its reflection, which fades into a blur and then into the
    median colour. Every pixel is the mean of up to 16 bilinear samples.

    Args:
        image: [1, 3, H, W] in [-1, 1].
        quad: Corners of the crop, [4, 2].
        size: Pixels along each side of the result.

    Returns:
        [1, 3, size, size] in [-1, 1].

    Raises:
        ValueError: Another shape, a quad without area, or one that the photo covers less than a
            hundredth of.
    """
    _check_image(image)
    if size < 1:
        raise ValueError(f"size: expected at least 1, got {size}")
    height, width = image.shape[2:]
    corners = quad.detach().cpu().double()
    _frame(corners)
    if share_inside(corners, width, height) < LEAST_INSIDE:
        raise ValueError("quad: expected a crop that lies in the photo")
    part, corners = _around(image.float(), corners)
    part, corners = _shrunk(part, corners, size)
    part, corners = _padded(part, corners)
    factor = min(_SUPERSAMPLES, max(1, math.ceil(quad_side(corners) / size)))
    u, v = _centres(size * factor)
    bands = []
    for rows in v.split(max(1, _BAND // factor) * factor):
        fine = _sample(part, _place(corners, u, rows), mode="bilinear")
        bands.append(F.avg_pool2d(fine, factor) if factor > 1 else fine)
    return torch.cat(bands, 2).clamp(-1, 1)


def _check_image(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[:2] != (1, 3) or 0 in image.shape:
        raise ValueError(f"image: expected [1, 3, H, W], got {list(image.shape)}")


def _bounds(corners: Tensor, margin: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the photo's part around a quad."""
    low = (corners.amin(0) - margin).floor().clamp(min=0)
    high = (corners.amax(0) + margin).ceil()
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    return int(low[0]), int(low[1]), right, bottom


def _border(corners: Tensor) -> int:
    """Return the pixels around a crop that FFHQ keeps."""
    return max(round(0.1 * quad_side(corners)), 3)


def _around(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return the part of a photo that a crop needs, and the corners in it."""
    left, top, right, bottom = _bounds(corners, _border(corners), image.shape[3], image.shape[2])
    return image[:, :, top:bottom, left:right], corners - corners.new_tensor([left, top])


def _shrunk(image: Tensor, corners: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return a photo reduced to between two and four pixels a pixel of the crop."""
    factor = int(quad_side(corners) / size / 2)
    if factor < 2:
        return image, corners
    height, width = (max(1, round(side / factor)) for side in image.shape[2:])
    small = F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)
    ratio = corners.new_tensor([width / image.shape[3], height / image.shape[2]])
    return small, corners * ratio


def _padded(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return a photo with FFHQ's border, where a crop leaves it or comes within 4 pixels."""
    height, width = image.shape[2:]
    side, border = quad_side(corners), _border(corners)
    low, high = corners.amin(0).floor(), corners.amax(0).ceil()
    gaps = [-float(low[0]), -float(low[1]), float(high[0]) - width, float(high[1]) - height]
    if max(gaps) <= -4:
        return image, corners
    left, top, right, bottom = (max(round(gap) + border, round(0.3 * side), 1) for gap in gaps)
    columns = _reflected(width, left, right, image.device)
    rows = _reflected(height, top, bottom, image.device)
    large = image[:, :, rows][..., columns]
    x = torch.arange(len(columns), device=image.device)
    y = torch.arange(len(rows), device=image.device)
    depth_x = 1 - torch.minimum(x / left, x.flip(0) / right)  # 1 at the rim, 0 at the photo
    depth_y = 1 - torch.minimum(y / top, y.flip(0) / bottom)
    depth = torch.maximum(depth_x[None], depth_y[:, None])  # [H', W']
    large = torch.lerp(large, _blurred(large, 0.02 * side), (3 * depth + 1).clamp(0, 1))
    median = large.flatten(2).median(2).values[..., None, None]
    large = torch.lerp(large, median.expand_as(large), depth.clamp(0, 1))
    return large, corners + corners.new_tensor([left, top])


def _reflected(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return the places that reflection shows, however wide; the last one is not repeated."""
    place = torch.arange(-before, size + after, device=device)
    period = max(2 * (size - 1), 1)
    place = place.remainder(period)
    return torch.minimum(place, period - place).clamp(max=size - 1)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian blur with reflected borders; [1, 3, H, W]."""
    reach = max(1, round(4 * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (places / max(sigma, 1e-3)) ** 2)
    kernel = _like(image, kernel / kernel.sum()).expand(3, 1, 1, -1)
    for _ in range(2):  # along x, then along y
        wide = image[..., _reflected(image.shape[3], reach, reach, image.device)]
        image = F.conv2d(wide, kernel, groups=3).mT
    return image


def _sample(image: Tensor, points: Tensor, *, mode: str) -> Tensor:
    """Return an image at points [h, w, 2] in its pixels, [1, 3, h, w]; borders are repeated."""
    size = points.new_tensor([image.shape[3], image.shape[2]])
    grid = _like(image, 2 * points / size - 1)[None]
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def _like(image: Tensor, exact: Tensor) -> Tensor:
    """Return float64 numbers of the CPU as an image's; not every device knows float64."""
    return exact.to(image.dtype).to(image.device)


# Crop to photo


def paste_back(photo: Tensor, edited: Tensor, quad: Tensor, *, feather: float = FEATHER) -> Tensor:
    """Return a photo with an edited crop in its place, at the photo's resolution.

    Args:
        photo: [1, 3, H, W] in [-1, 1].
        edited: The crop after editing, [1, 3, S, S]; any S.
        quad: Corners of the crop in the photo, [4, 2].
        feather: Width of the seam in which the crop fades in, in 0..0.5 of the crop's side; 0 for a
            hard edge.

    Returns:
        [1, 3, H, W] in [-1, 1]; outside the crop the photo itself.

    Raises:
        ValueError: A shape or the seam's width is another, or the quad has no area.
    """
    _check_image(photo)
    _check_image(edited)
    if not 0 <= feather <= 0.5:
        raise ValueError(f"feather: expected 0 to 0.5, got {feather}")
    corners = quad.detach().cpu().double()
    start, sides = _frame(corners)
    inverse = torch.linalg.inv(sides)  # photo to (u, v)
    left, top, right, bottom = _bounds(corners, 0, photo.shape[3], photo.shape[2])
    result = photo.clone()
    if left >= right or top >= bottom:
        return result
    crop = _fitting(edited.to(photo), quad_side(corners))
    scale = torch.tensor([crop.shape[3], crop.shape[2]])
    x = torch.arange(left, right, dtype=torch.float64) + 0.5
    for first in range(top, bottom, _BAND):
        last = min(first + _BAND, bottom)
        y = torch.arange(first, last, dtype=torch.float64) + 0.5
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [h, w, 2]
        uv = (points - start) @ inverse.mT
        share = _like(photo, _seam(uv, feather))
        pasted = _sample(crop, uv * scale, mode="bicubic").clamp(-1, 1)
        under = photo[:, :, first:last, left:right]
        result[:, :, first:last, left:right] = torch.where(
            share > 0, torch.lerp(under, pasted, share), under
        )
    return result


def alignment_of(photo: str, image: Tensor, quad: Tensor) -> Alignment:
    """Return where a crop lies in a photo, as latents keep it.

    Args:
        photo: The photo's file.
        image: The photo, [1, 3, H, W].
        quad: Corners of the crop, [4, 2].
    """
    corners = tuple((x, y) for x, y in quad.cpu().double().tolist())
    return Alignment(photo, (image.shape[3], image.shape[2]), corners)


def paste_into_photo(
    alignment: Alignment, edited: Tensor, *, photo: str | None = None, feather: float = FEATHER
) -> Tensor:
    """Return the photo that an aligned picture came from, with the edited one in its place.

    Args:
        alignment: Where it came from (of an alignment's file, or of a row of a latent).
        edited: [1, 3, S, S] in [-1, 1].
        photo: The photo's file, where it is another one than the alignment says.
        feather: As in `paste_back`.

    Returns:
        [1, 3, H, W] in [-1, 1].

    Raises:
        GaneditError: The photo is missing, broken, or has another size than it had.
    """
    path = alignment.photo if photo is None else photo
    image = read_image(path)
    width, height = alignment.size
    if image.shape[2:] != (height, width):
        raise GaneditError(
            f"{path}: has {image.shape[3]}x{image.shape[2]} pixels, but {width}x{height} when it"
            " was aligned; name the photo as it was"
        )
    quad = torch.tensor(alignment.quad, dtype=torch.float64)
    try:
        return paste_back(image, edited, quad, feather=feather)
    except ValueError as error:
        raise GaneditError(f"{path}: {error}; align the photo again") from error


def _fitting(crop: Tensor, side: float) -> Tensor:
    """Return a crop reduced to the pixels that a photo has for it; smaller ones stay."""
    target = max(1, math.ceil(side))
    if target >= max(crop.shape[2:]):
        return crop
    return F.interpolate(crop, size=(target, target), mode="bilinear", antialias=True)


def _seam(uv: Tensor, feather: float) -> Tensor:
    """Return the crop's share at places (u, v) in it, [h, w]: 0 outside, 1 within the seam."""
    depth = torch.minimum(uv, 1 - uv).amin(-1)  # to the nearest side
    if feather == 0:
        return (depth >= 0).to(uv.dtype)
    ramp = (depth / feather).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)
