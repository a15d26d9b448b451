"""Crossover: one latent whose picture is one photo in a part, and another photo elsewhere.

Image2StyleGAN++ (Abdal et al. 2020) lets two masked losses meet in one latent. Here
each photo's perceptual features are those of the whole photo, so that no edge of a collage is in
them; the parts count alike, however small one is; and near the seam neither photo counts, so that
the generator draws what leads from one to the other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.errors import GaneditError
from ganedit.inversion.optimize import Projection, default_perceptual, project
from ganedit.losses.perceptual import PerceptualDistance, load_perceptual

FEATHER = 0.05
"""Blur of the mask, as a share of the picture's side."""

_LEAST = 1e-6  # the weight on the seam: nothing beside others, but the pasted picture stays whole
_CONTOUR = 1.0  # blur in pixels that gives a mask's edge a direction


def compose(
    network: Network,
    a: Tensor,
    b: Tensor,
    mask: Tensor,
    *,
    feather: float = FEATHER,
    perceptual: PerceptualDistance | None = None,
    pixel_weight: float = 3.0,
    **settings: Any,
) -> Projection:
    """Find latents whose pictures are ``b`` inside a mask and ``a`` outside, without a seam.

    Args:
        network: Only latents and noise maps get gradients.
        a: Photos, [N, 3, R, R] in [-1, 1], at the generator's resolution.
        b: As many others.
        mask: Where ``b`` counts, [N or 1, 1, R, R] in [0, 1]; see `part_weights`.
        feather: Standard deviation of the blur of the mask, as a share of R, at least 0.
        perceptual: The distance to minimise; None is `default_perceptual` of the network.
        pixel_weight: Weight of the mean squared pixel difference beside the distance: much keeps
            the colours of each photo, little lets them fit each other.
        **settings: Of `project`, all but ``mask`` and ``target_features``. The encoder's reading of
            `collage` is the ``initial`` to give; without one, a start is searched for.

    Returns:
        What `project` returns; distances are of both parts together.

    Raises:
        GaneditError: The mask leaves nothing of a photo, or as `project`.
    """
    device = network.generator.w_avg.device
    a, b, mask = a.to(device), b.to(device), mask.to(device)
    if a.shape != b.shape:
        raise ValueError(f"b: expected {list(a.shape)} like a, got {list(b.shape)}")
    outside, inside = part_weights(mask, feather=feather)
    if perceptual is None:
        perceptual = load_perceptual(default_perceptual(network), device=device)
    chosen = (inside > 0).to(a).expand(len(a), -1, -1, -1)
    pasted = collage(a, b, chosen)
    with torch.no_grad():
        features = [
            torch.lerp(x, y, F.adaptive_avg_pool2d(chosen, (x.shape[2], x.shape[3])))
            for x, y in zip(perceptual.encode(a), perceptual.encode(b), strict=True)
        ]
    weights = (_balanced(outside, inside) + _balanced(inside, outside)).clamp(_LEAST, 1)
    return project(
        network,
        pasted,
        perceptual=perceptual,
        mask=weights,
        target_features=features,
        pixel_weight=pixel_weight,
        **settings,
    )


def part_weights(mask: Tensor, *, feather: float = FEATHER) -> tuple[Tensor, Tensor]:
    """Return how much each pixel counts for the photo outside and for the one inside a mask.

    Both are 0 where the blurred mask is 1/2, on the seam, and 1 far from it, so that middle grey
    is left to the generator.

    Args:
        mask: [N, 1, R, R] in [0, 1].
        feather: Standard deviation of the blur, as a share of R, at least 0.

    Returns:
        Two maps of the mask's shape, in [0, 1].

    Raises:
        GaneditError: Nothing of one of the photos is left.
    """
    if mask.ndim != 4 or mask.shape[1] != 1 or not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError(f"mask: expected [N, 1, R, R] in [0, 1], got {list(mask.shape)}")
    if not feather >= 0:
        raise ValueError(f"feather: expected 0 or more, got {feather}")
    share = _blurred(mask, feather * mask.shape[3]) * 2 - 1
    parts = (-share).clamp(min=0), share.clamp(min=0)
    for part, hard, colour, which in zip(
        parts, (mask < 0.5, mask > 0.5), ("black", "white"), ("first", "second"), strict=True
    ):
        if not bool(hard.flatten(1).any(1).all()):
            raise GaneditError(
                f"the mask is nowhere {colour}, so nothing of the {which} photo would be taken"
            )
        if not bool(part.flatten(1).any(1).all()):
            raise GaneditError(
                f"a feather of {feather:g} blurs the mask's {colour} part away; make it smaller"
            )
    return parts


def collage(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Return ``b`` pasted into ``a`` by a mask [N or 1, 1, R, R] in [0, 1], without any blur."""
    return torch.lerp(a, b, mask.to(a).expand_as(a))


def part_psnr(images: Tensor, photos: Tensor, weights: Tensor) -> Tensor:
    """Return the PSNR of pictures where a part counts, in dB, [N].

    Args:
        images: [N, 3, R, R] in [-1, 1].
        photos: Of the same shape.
        weights: Of each pixel, [N or 1, 1, R, R], as `part_weights` returns them.
    """
    error = (images.clamp(-1, 1) - photos.clamp(-1, 1)).square().mean(dim=1, keepdim=True)
    weights = weights.to(error).expand_as(error)
    mean = (error * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    return 10 * torch.log10(4 / mean)  # the range of values is 2, its square 4


def seam_contrast(images: Tensor, mask: Tensor) -> Tensor:
    """Return how much pictures change across the edge of a mask, per pixel, [N].

    The root mean square over colours of the derivative across the edge, averaged along it: a photo
    has what its content happens to have there, a collage the step between its photos.

    Args:
        images: [N, 3, R, R] in [-1, 1].
        mask: [N or 1, 1, R, R] in [0, 1], not blurred.
    """
    soft = _blurred(mask.to(images), _CONTOUR).expand(len(images), -1, -1, -1)
    down, right = torch.gradient(soft, dim=(2, 3))
    steepness = (down.square() + right.square()).sqrt()
    dy, dx = torch.gradient(images.clamp(-1, 1), dim=(2, 3))
    across = (dy * down + dx * right) / steepness.clamp_min(1e-12)
    contrast = across.square().mean(dim=1, keepdim=True).sqrt()
    return (contrast * steepness).sum(dim=(1, 2, 3)) / steepness.sum(dim=(1, 2, 3))


def _balanced(part: Tensor, other: Tensor) -> Tensor:
    """Return a part's weights, lowered so that it counts as much as a smaller other part."""
    sums = [x.sum(dim=(1, 2, 3), keepdim=True) for x in (other, part)]
    return part * (sums[0] / sums[1]).clamp(max=1)


def _blurred(mask: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian mean over the pixels that there are, [N, 1, R, R]."""
    if sigma == 0:
        return mask
    places = torch.arange(mask.shape[3], dtype=torch.float64)  # which not every device knows
    kernel = torch.exp(-((places - places[:, None]) / sigma).square() / 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # [R, R]
    kernel = kernel.to(mask.dtype).to(mask.device)
    return (kernel @ mask @ kernel.mT).clamp(0, 1)
