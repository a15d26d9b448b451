"""Adaptive discriminator augmentation (Karras et al. 2020, "ADA"), the ``bgc`` set.

Blits (flip, quarter turns, whole-pixel shifts), general geometry (scale, rotation, stretch,
sub-pixel shifts) and colour. Every random number comes from one CPU stream, so a picture's
augmentation does not depend on the device; pictures that drew the identity are not touched.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops.upfirdn2d import upfirdn2d

# Low-pass filter of the Symlet wavelet with six vanishing moments (Daubechies 1992), sum sqrt(2).
# Doubling with it and halving with its mirror image is the identity, so resampling by the
# identity changes nothing (ADA paper, appendix B).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)

# Its centre of mass beyond the middle of its taps, in pixels of the picture it doubles.
_DELAY = (sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2) / 2

# Strengths of the paper's appendix B.
_SHIFT = 0.125  # of the side, uniform for whole pixels, standard deviation for fractions
_SCALE_STD = 0.2  # octaves
_BRIGHTNESS_STD = 0.2
_CONTRAST_STD = 0.5  # octaves
_SATURATION_STD = 1.0  # octaves


@dataclass(frozen=True)
class Augmentation:
    """What was drawn for a batch of pictures, on the CPU.

    Attributes:
        inverse: Maps output to input positions, in pixels from the centre, [N, 3, 3].
        exact: Pictures whose map takes every pixel to a pixel, bool [N].
        colour: Affine map of RGB in [-1, 1], [N, 3, 4].
    """

    inverse: Tensor
    exact: Tensor
    colour: Tensor


def augment(images: Tensor, p: float) -> Tensor:
    """Apply each transform of the ``bgc`` set with probability ``p``.

    Differentiable twice with respect to the images; at p = 0 they are returned as they are and
    nothing is drawn. Draws from torch's CPU stream.

    Args:
        images: Square images, [N, 3, R, R] in [-1, 1].
        p: Probability of each transform, 0..1.

    Returns:
        float32 [N, 3, R, R]; colours may leave [-1, 1].
    """
    if p <= 0:
        return images
    drawn = draw(len(images), p, resolution=images.shape[2])
    with torch.autocast(images.device.type, enabled=False):
        moved = transform_geometry(images.float(), drawn.inverse, drawn.exact)
        return transform_colour(moved, drawn.colour)


def draw(count: int, p: float, *, resolution: int) -> Augmentation:
    """Draw the transforms of ``count`` pictures from torch's CPU stream; see `augment`."""

    def gate(values: Tensor, neutral: float = 0.0, chance: float = p) -> Tensor:
        chosen = (torch.rand(count) < chance).reshape([-1] + [1] * (values.ndim - 1))
        return torch.where(chosen, values, torch.full_like(values, neutral))

    def octaves(deviation: float) -> Tensor:
        return gate(torch.exp2(torch.randn(count) * deviation), 1.0)

    # Rotating before and after the stretch, each with this chance, rotates with probability p.
    rotation_chance = 1 - math.sqrt(1 - min(p, 1.0))

    def angle() -> Tensor:
        return gate((torch.rand(count) * 2 - 1) * math.pi, chance=rotation_chance)

    blits = (
        scaling(1 - 2 * gate((torch.rand(count) * 2).floor()), torch.ones(count)),
        rotation(gate((torch.rand(count) * 4).floor()) * (math.pi / 2)),
        translation(gate(((torch.rand(count, 2) * 2 - 1) * _SHIFT * resolution).round())),
    )
    scale, stretch, before, after = octaves(_SCALE_STD), octaves(_SCALE_STD), angle(), angle()
    shift = gate(torch.randn(count, 2) * _SHIFT * resolution)
    general = (
        scaling(scale, scale),
        rotation(before),
        scaling(stretch, 1 / stretch),
        rotation(after),
        translation(shift),
    )
    exact = (scale == 1) & (stretch == 1) & (before == 0) & (after == 0) & (shift == 0).all(1)
    return Augmentation(
        inverse=torch.linalg.inv(_composed((*blits, *general))),
        exact=exact,
        colour=colour_matrix(
            brightness=gate(torch.randn(count) * _BRIGHTNESS_STD),
            contrast=octaves(_CONTRAST_STD),
            luma_flip=gate((torch.rand(count) * 2).floor()),
            hue=gate((torch.rand(count) * 2 - 1) * math.pi),
            saturation=octaves(_SATURATION_STD),
        ),
    )


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return matrices [N, 3, 3] that scale by ``x`` and ``y`` [N]."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def rotation(angle: Tensor) -> Tensor:
    """Return matrices [N, 3, 3] that rotate by ``angle`` [N] radians, from x towards y."""
    cosine, sine, zero, one = angle.cos(), angle.sin(), angle * 0, angle * 0 + 1
    rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, one]
    return torch.stack(rows, 1).unflatten(1, (3, 3))


def translation(shift: Tensor) -> Tensor:
    """Return matrices [N, 3, 3] that move by ``shift`` [N, 2] = (right, down) pixels."""
    matrix = torch.eye(3).repeat(len(shift), 1, 1)
    matrix[:, :2, 2] = shift
    return matrix


def colour_matrix(
    *, brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> Tensor:
    """Return the affine map of RGB that applies the arguments in their order.

    Args:
        brightness: Added to every channel, [N].
        contrast: Factor on every channel, [N].
        luma_flip: 1 mirrors along the grey axis, 0 does not, [N].
        hue: Rotation about the grey axis in radians, [N].
        saturation: Factor on the distance from the grey axis, [N].

    Returns:
        [N, 3, 4].
    """
    identity = torch.eye(3)
    along = torch.full((3, 3), 1 / 3)  # projection on the grey axis
    linear = identity - 2 * along * _each(luma_flip)
    linear = _rotation_about_grey(hue) @ linear * _each(contrast)
    linear = ((identity - along) * _each(saturation) + along) @ linear
    offset = linear.sum(2, keepdim=True) * _each(brightness)
    return torch.cat([linear, offset], 2)


def transform_colour(images: Tensor, colour: Tensor) -> Tensor:
    """Apply affine maps of RGB, [N, 3, 4], to images [N, 3, H, W]."""
    matrix = colour.to(images)
    return torch.baddbmm(matrix[:, :, 3:], matrix[:, :, :3], images.flatten(2)).view_as(images)


def transform_geometry(images: Tensor, inverse: Tensor, exact: Tensor) -> Tensor:
    """Move the pictures by affine maps; what lies outside is their mirror image.

    Pixel-to-pixel maps copy pixels. The others work at twice the resolution between two
    wavelet filters, so that neither enlarging nor shrinking folds frequencies.

    Args:
        images: Square images, [N, 3, R, R].
        inverse: Maps output to input positions, in pixels from the centre, [N, 3, 3].
        exact: Pictures whose map takes every pixel to a pixel, bool [N].

    Returns:
        [N, 3, R, R].
    """
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"images: expected squares, got {list(images.shape)}")
    still = (inverse == torch.eye(3)).flatten(1).all(1)
    kinds = (
        (still, lambda part, _: part),
        (exact & ~still, _copy_pixels),
        (~exact & ~still, _resample),
    )
    groups = [(rows.nonzero()[:, 0], transform) for rows, transform in kinds]
    parts = [
        transform(images[rows.to(images.device)], inverse[rows])
        for rows, transform in groups
        if len(rows)
    ]
    order = torch.cat([rows for rows, _ in groups]).argsort()
    return torch.cat(parts)[order.to(images.device)]


def _copy_pixels(images: Tensor, inverse: Tensor) -> Tensor:
    side = images.shape[2]
    places = _pixel_centres(side, margin=0) @ inverse.mT  # [N, R*R, 3]
    x, y = _mirror((places[..., :2] + (side - 1) / 2).round().long(), side).unbind(2)
    source = (y * side + x).to(images.device).unsqueeze(1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, source).view_as(images)


def _resample(images: Tensor, inverse: Tensor) -> Tensor:
    side = images.shape[2]
    support = len(SYM6) // 4 + 1  # what a filter reads beyond a pixel, in pixels
    pad = min(2 * support, side - 1)
    doubled = _double(F.pad(images, (pad,) * 4, mode="reflect"))
    # The filter is not quite symmetric: what it doubles lies a little off, on both axes.
    centres = _pixel_centres(side, margin=support, step=0.5) - torch.tensor([_DELAY, _DELAY, 0])
    places = (centres.to(images) @ inverse.mT.to(images))[..., :2] + (side - 1) / 2  # [N, P, 2]
    padded = (places > support - pad) & (places < side - 1 + pad - support)
    places = torch.where(padded, places, _mirror(places, side)) - (side - 1) / 2 + _DELAY
    grid = places.unflatten(1, (2 * (side + 2 * support), -1)) * (2 / (side + 2 * pad))
    sampled = SampleGrid.apply(doubled, grid)
    return _halve(sampled)[:, :, support:-support, support:-support]


def _double(images: Tensor) -> Tensor:
    taps, before, after = _wavelet(images), len(SYM6) // 2, len(SYM6) // 2 - 1
    tall = upfirdn2d(images, taps[:, None], up=2, padding=(0, 0, before, after))
    return upfirdn2d(tall, taps[None], padding=(before, after, 0, 0))


def _halve(images: Tensor) -> Tensor:
    taps, side = _wavelet(images), len(SYM6) // 2 - 1
    flat = upfirdn2d(images, taps[None], padding=(side, side, 0, 0), flip_filter=True)
    return upfirdn2d(flat[..., ::2], taps[:, None], padding=(0, 0, side, side), flip_filter=True)[
        :, :, ::2
    ]


def _wavelet(images: Tensor) -> Tensor:
    return torch.tensor(SYM6, dtype=images.dtype, device=images.device)


def _pixel_centres(side: int, *, margin: int, step: float = 1.0) -> Tensor:
    """Return homogeneous positions about the centre, [P, 3], in steps of ``step`` pixels."""
    count = round((side + 2 * margin) / step)
    line = (torch.arange(count) - (count - 1) / 2) * step
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)


def _mirror(places: Tensor, side: int) -> Tensor:
    """Fold positions into 0..side-1 as if mirrors stood on the first and the last pixel."""
    period = max(2 * (side - 1), 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def _composed(matrices: tuple[Tensor, ...]) -> Tensor:
    """Return the map that applies ``matrices`` [N, 3, 3] in their order."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return product


def _each(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1)


def _rotation_about_grey(angle: Tensor) -> Tensor:
    """Return rotations about the grey axis, [N, 3, 3] (Rodrigues)."""
    a = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -a, a], [a, 0, -a], [-a, a, 0]])
    turned = torch.eye(3) + cross * _each(angle.sin())
    return turned + cross @ cross * _each(1 - angle.cos())


class SampleGrid(torch.autograd.Function):
    """Bilinear `grid_sample` with a second derivative, which torch's own lacks.

    Sampling is linear in the images: its gradient is the transposed map, whose gradient is
    sampling again. The grid gets no gradient.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        """Sample images [N, C, H, W] at ``grid`` [N, H', W', 2] in -1..1."""
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return _sample(images, grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Scatter the gradient back."""
        (grid,) = ctx.saved_tensors
        return _ScatterGrid.apply(gradient, grid, ctx.shape), None


class _ScatterGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        with torch.enable_grad():
            images = gradient.new_zeros(shape).requires_grad_()
            (scattered,) = torch.autograd.grad(_sample(images, grid), images, gradient)
        return scattered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return SampleGrid.apply(gradient, grid), None, None


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
