"""Distances between pixels."""

from torch import Tensor


def pixel_distance(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of each pair, [N].

    Args:
        images: [N, 3, H, W] in [-1, 1].
        targets: The same shape, or a batch of one.
    """
    return (images - targets).square().mean(dim=(1, 2, 3))
