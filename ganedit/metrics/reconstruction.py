"""How well a picture is reproduced."""

import torch
from torch import Tensor


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair in dB, [N]; higher is better.

    Args:
        images: [N, 3, H, W]; clamped to [-1, 1], as any file of them would be.
        targets: [N, 3, H, W] in [-1, 1].
    """
    if images.shape != targets.shape:
        raise ValueError(f"targets: expected {list(images.shape)}, got {list(targets.shape)}")
    error = (images.clamp(-1, 1) - targets).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)  # the range of values is 2, its square 4
