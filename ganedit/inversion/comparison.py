"""Photos to compare pictures with, and the part of them that counts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.losses.perceptual import PerceptualDistance
from ganedit.losses.pixel import pixel_distance


class Comparison:
    """Photos, their features, which are computed once, and what of each photo counts."""

    def __init__(
        self,
        perceptual: PerceptualDistance,
        targets: Tensor,
        mask: Tensor | None = None,
        *,
        features: Sequence[Tensor] | None = None,
    ) -> None:
        """Read the features of the photos.

        Args:
            perceptual: The distance.
            targets: Photos, [N, 3, R, R] in [-1, 1].
            mask: [N, 1, R, R] in [0, 1], 1 where the photo counts; None counts all of it.
            features: To compare with instead of the photos' own, as ``perceptual`` encodes them.
        """
        if mask is not None:
            targets = hide(targets, mask)
        self.perceptual = perceptual
        self.targets = targets
        self.mask = mask
        with torch.no_grad():
            self.features = list(perceptual.encode(targets) if features is None else features)
        self._masks = None if mask is None else [_reduce(mask, x) for x in self.features]

    def rows(self, photos: slice) -> "Comparison":
        """Return the comparison with some of the photos."""
        mask = None if self.mask is None else self.mask[photos]
        features = [x[photos] for x in self.features]
        return Comparison(self.perceptual, self.targets[photos], mask, features=features)

    def distance(self, images: Tensor) -> Tensor:
        """Return the perceptual distance of each picture [N, 3, R, R] to its photo, [N]."""
        if self._masks is None:
            return self.perceptual.distance_to(self.features, images)
        return self._distance(self.perceptual.encode(images), self.features, self._masks)

    def pixel_distance(self, images: Tensor) -> Tensor:
        """Return the mean squared pixel difference of each picture to its photo, [N]."""
        if self.mask is None:
            return pixel_distance(images, self.targets)
        difference = (images - self.targets).square().mean(dim=1, keepdim=True)
        return _mean(difference, self.mask)

    def to_each(self, features: Sequence[Tensor]) -> Tensor:
        """Return the distance of each photo to each of M pictures, [N, M].

        Args:
            features: Of the pictures, as `PerceptualDistance.encode` returns them.
        """
        if self._masks is None:
            return self.perceptual.distance_table(self.features, features)
        rows = []
        for i in range(len(self.targets)):
            own = [x[i : i + 1] for x in self.features]
            masks = [x[i : i + 1] for x in self._masks]
            rows.append(self._distance(own, features, masks))
        return torch.stack(rows)

    def _distance(
        self, a: Sequence[Tensor], b: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        layers = zip(a, b, self.perceptual.weights, masks, strict=True)
        terms = [
            _mean(((x - y).square() * weight).sum(dim=1, keepdim=True), mask)
            for x, y, weight, mask in layers
        ]
        return torch.stack(terms).sum(dim=0)


def read_mask(mask: Tensor, targets: Tensor) -> Tensor:
    """Return the mask of every photo, [N, 1, R, R], where they are.

    Args:
        mask: [N or 1, 1, R, R] in [0, 1].
        targets: Photos, [N, 3, R, R].

    Raises:
        GaneditError: It leaves nothing of a photo.
    """
    side = targets.shape[3]
    if tuple(mask.shape[1:]) != (1, side, side) or len(mask) not in (1, len(targets)):
        raise ValueError(
            f"mask: expected [{len(targets)} or 1, 1, {side}, {side}], got {list(mask.shape)}"
        )
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("mask: expected values in [0, 1]")
    if not bool(mask.amax(dim=(1, 2, 3)).gt(0).all()):
        raise GaneditError("the mask leaves nothing of the photo; it must be white where it counts")
    return mask.to(targets).expand(len(targets), -1, -1, -1)


def hide(targets: Tensor, mask: Tensor) -> Tensor:
    """Return photos with the mean colour of the rest where a mask is 0.

    So that nothing of what is there leaks into features, which reach beyond their place.

    Args:
        targets: Photos, [N, 3, R, R].
        mask: [N or 1, 1, R, R] in [0, 1].
    """
    weight = mask.expand_as(targets)
    colour = (targets * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp_min(1e-12)
    return torch.where(mask > 0, targets, colour[:, :, None, None])


def _reduce(mask: Tensor, like: Tensor) -> Tensor:
    """Return the mask at a feature map's size: a feature counts as its least counting pixel."""
    return 1 - F.adaptive_max_pool2d(1 - mask, (like.shape[2], like.shape[3]))


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of maps [N, 1, H, W] where a mask of that size counts, [N]; 0 if nowhere."""
    return (values * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp_min(1e-12)
