"""How well a picture is reproduced: functions of images and targets, one number a pair.

Pictures are clamped to [-1, 1], as any file of them would be.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW = 11  # pixels
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair in dB, [N]; higher is better.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        targets: [N, 3, H, W] in [-1, 1].
    """
    return 10 * torch.log10(4 / mse(images, targets))  # the range of values is 2, its square 4


def mse(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of each pair, values in [-1, 1], [N]; 0 is the same.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        targets: [N, 3, H, W] in [-1, 1].
    """
    _check(images, targets)
    return (images.clamp(-1, 1) - targets.clamp(-1, 1)).square().mean(dim=(1, 2, 3))


def ssim(images: Tensor, targets: Tensor) -> Tensor:
    """Return the structural similarity of each pair, [N]; 1 is the same (Wang et al. 2004).

    Equation 13 with K1 = 0.01, K2 = 0.03, in windows weighted by a Gaussian of 11 pixels and
    σ = 1.5 that lie whole in the picture, averaged over windows and the three channels.

    Args:
        images: [N, 3, H, W] in [-1, 1], H and W at least 11.
        targets: [N, 3, H, W] in [-1, 1].
    """
    _check(images, targets)
    if min(images.shape[2:]) < _WINDOW:
        raise ValueError(f"images: expected at least 11 pixels a side, got {list(images.shape)}")
    # From 0 for black, which luminance is measured from; in float64, because variances cancel,
    # and on the CPU, because not every device has that.
    x, y = ((values.clamp(-1, 1).cpu().double() + 1) / 2 for values in (images, targets))
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x * mean_x
    variance_y = _blur(y * y) - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return (luminance * structure).mean(dim=(1, 2, 3)).float().to(images.device)


def _check(images: Tensor, targets: Tensor) -> None:
    if images.shape != targets.shape:
        raise ValueError(f"targets: expected {list(images.shape)}, got {list(targets.shape)}")


def _blur(x: Tensor) -> Tensor:
    """Return Gaussian means of the windows, [N, C, H - 10, W - 10]."""
    places = torch.arange(_WINDOW, dtype=x.dtype, device=x.device) - _WINDOW // 2
    kernel = torch.exp(-places.square() / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)  # [C, 1, 1, 11]
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.mT, groups=x.shape[1])
