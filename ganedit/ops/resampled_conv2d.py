"""Convolutions that also change the resolution by two.

The filter and the kernel could be composed into one 6 x 6 kernel, as one strided convolution, or
as four 3 x 3 phases and a pixel shuffle. Both need four times the multiplications of the strided
3 x 3 convolution and lost to it, followed by a depthwise filter, at every size measured (4 to 32
pixels, 128 to 32 channels, float32 and bfloat16, forward and backward): by 1.5 to 30 times.
"""

import torch.nn.functional as F
from torch import Tensor

from ganedit.ops.upfirdn2d import downsample2d, upfirdn2d, upsample2d


def upsampling_conv2d(x: Tensor, weight: Tensor, f: Tensor) -> Tensor:
    """Double the resolution, filter with ``f`` and convolve, as StyleGAN2 does.

    Args:
        x: Input, [N, I, H, W].
        weight: Kernel, [O, I, k, k] with odd k. It is applied as a convolution (a transposed
            correlation), the orientation that StyleGAN2 checkpoints store for these layers.
        f: Low-pass filter that sums to one, [height, width].

    Returns:
        [N, O, 2 * H, 2 * W].
    """
    size = _check(x, weight)
    if size == 1:
        return upsample2d(F.conv2d(x, weight), f)
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [N, O, 2H + k - 2, ...]
    fh, fw = f.shape
    crop = size // 2
    # Zero insertion also leaves a zero behind the last sample, hence the different ends.
    left, top = (fw + 1) // 2 - crop, (fh + 1) // 2 - crop
    right, bottom = (fw - 2) // 2 + 1 - crop, (fh - 2) // 2 + 1 - crop
    return upfirdn2d(x, f, padding=(left, right, top, bottom), gain=4.0)


def downsampling_conv2d(x: Tensor, weight: Tensor, f: Tensor) -> Tensor:
    """Filter with ``f``, correlate with ``weight`` and keep every second pixel.

    Args:
        x: Input, [N, I, H, W] with even H and W.
        weight: Kernel, [O, I, k, k] with odd k.
        f: Low-pass filter that sums to one, [height, width].

    Returns:
        [N, O, H / 2, W / 2].
    """
    size = _check(x, weight)
    if size == 1:
        return F.conv2d(downsample2d(x, f), weight)
    fh, fw = f.shape
    border = size // 2
    padding = (
        (fw - 1) // 2 + border,
        (fw - 2) // 2 + border,
        (fh - 1) // 2 + border,
        (fh - 2) // 2 + border,
    )
    return F.conv2d(upfirdn2d(x, f, padding=padding), weight, stride=2)


def _check(x: Tensor, weight: Tensor) -> int:
    _, in_channels, height, width = weight.shape
    if height != width or height % 2 == 0:
        raise ValueError(f"weight: expected [O, I, k, k] with odd k, got {list(weight.shape)}")
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise ValueError(f"x: expected [N, {in_channels}, H, W], got {list(x.shape)}")
    return height
