"""Resampling with a FIR filter: insert zeros, pad, filter, keep every n-th sample.

A depthwise convolution does the filtering; it beat separable passes, shifted additions and banded
matrices on a CPU (channels last, batch 16). Any order of gradient is available.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Sides = tuple[int, int, int, int]
Padding = int | tuple[int, int] | Sides


def setup_filter(
    taps: Sequence[float] | Tensor, *, normalize: bool = True, flip: bool = False, gain: float = 1.0
) -> Tensor:
    """Return a two-dimensional filter.

    Args:
        taps: A 1-D filter, whose outer product with itself is taken, or a 2-D filter.
        normalize: Scale so that the taps sum to one.
        flip: Reverse both axes.
        gain: Factor on the whole filter.

    Returns:
        float32 [height, width].
    """
    f = torch.as_tensor(taps, dtype=torch.float32)
    if f.ndim == 1:
        f = torch.outer(f, f)
    if f.ndim != 2 or f.numel() == 0:
        raise ValueError(f"taps: expected a 1-D or 2-D filter, got shape {list(f.shape)}")
    if normalize:
        f = f / f.sum()
    if flip:
        f = f.flip(0, 1)
    return f * gain


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsample by zero insertion, pad, filter and downsample, in the dtype of ``x``.

    Every sample is followed by ``up - 1`` zeros along each axis; the padding counts samples after
    that insertion. Autocast does not change the arithmetic. Any order of gradient is supported.

    Args:
        x: Input, [N, C, H, W].
        f: Filter, [height, width].
        up: Integer upsampling factor.
        down: Integer downsampling factor.
        padding: Zeros added on each side: one number, (x, y), or (left, right, top, bottom).
            Negative numbers crop.
        flip_filter: False convolves, True correlates.
        gain: Factor on the result.

    Returns:
        [N, C, (H * up + top + bottom - height) // down + 1, likewise for the width].
    """
    if x.ndim != 4:
        raise ValueError(f"x: expected [N, C, H, W], got {list(x.shape)}")
    if f.ndim != 2:
        raise ValueError(f"f: expected [height, width], got {list(f.shape)}")
    if up < 1 or down < 1:
        raise ValueError(f"up and down: expected positive integers, got {up} and {down}")
    if f.requires_grad:
        raise ValueError("f: expected a constant filter, got one that requires a gradient")
    sides = _sides(padding)
    height, width = _output_size(x, f, up, down, sides)
    if height < 1 or width < 1:
        raise ValueError(
            f"x: too small for a filter of {list(f.shape)} with padding {sides}: {list(x.shape)}"
        )
    return cast(Tensor, _Upfirdn2d.apply(x, f, up, down, sides, flip_filter, gain))


def upsample2d(x: Tensor, f: Tensor, *, up: int = 2, gain: float = 1.0) -> Tensor:
    """Enlarge ``x`` [N, C, H, W] to [N, C, H * up, W * up] with the low-pass filter ``f``.

    The filter sums to one; the factor ``up ** 2`` that keeps the brightness is added here.
    """
    fh, fw = f.shape
    padding = ((fw + up - 1) // 2, (fw - up) // 2, (fh + up - 1) // 2, (fh - up) // 2)
    return upfirdn2d(x, f, up=up, padding=padding, gain=gain * up**2)


def downsample2d(x: Tensor, f: Tensor, *, down: int = 2, gain: float = 1.0) -> Tensor:
    """Shrink ``x`` [N, C, H, W] to [N, C, H / down, W / down] with the low-pass filter ``f``."""
    fh, fw = f.shape
    padding = ((fw - down + 1) // 2, (fw - down) // 2, (fh - down + 1) // 2, (fh - down) // 2)
    return upfirdn2d(x, f, down=down, padding=padding, gain=gain)


def _sides(padding: Padding) -> Sides:
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    return padding


class _Upfirdn2d(torch.autograd.Function):
    """The operation with its gradient, which is the same operation with the factors swapped.

    Letting torch differentiate the convolution gives the same numbers, but its gradient of a
    strided depthwise convolution in bfloat16 takes twenty times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        f: Tensor,
        up: int,
        down: int,
        sides: Sides,
        flip_filter: bool,
        gain: float,
    ) -> Tensor:
        ctx.save_for_backward(f)
        ctx.settings = (x.shape, up, down, sides, flip_filter, gain)
        with torch.autocast(x.device.type, enabled=False):
            return _filter(x, f.to(x) * gain, up, down, sides, flip_filter)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (f,) = ctx.saved_tensors
        shape, up, down, (left, _, top, _), flip_filter, gain = ctx.settings
        fh, fw = f.shape
        sides = (
            fw - left - 1,
            shape[3] * up - grad.shape[3] * down + left - up + 1,
            fh - top - 1,
            shape[2] * up - grad.shape[2] * down + top - up + 1,
        )
        grad = _Upfirdn2d.apply(grad, f, down, up, sides, not flip_filter, gain)
        return (grad, None, None, None, None, None, None)


def _filter(x: Tensor, f: Tensor, up: int, down: int, sides: Sides, flip_filter: bool) -> Tensor:
    channels = x.shape[1]
    left, right, top, bottom = sides
    fh, fw = f.shape
    if up > 1 and down == 1:
        # A transposed convolution skips the zeros; it pads by itself what is left to crop.
        crop_y, crop_x = fh - 1 - top, fw - 1 - left
        extra_y, extra_x = crop_y - (fh - bottom - up), crop_x - (fw - right - up)
        if min(crop_y, crop_x, extra_y, extra_x) >= 0 and max(extra_y, extra_x) < up:
            kernel = f.flip(0, 1) if flip_filter else f
            # Half precision falls back to a slow path here on a CPU: 20 ms instead of 1.
            wide = x.float() if x.device.type == "cpu" and x.dtype.itemsize < 4 else x
            y = F.conv_transpose2d(
                wide,
                kernel.to(wide).expand(channels, 1, -1, -1).contiguous(),
                stride=up,
                padding=(crop_y, crop_x),
                output_padding=(extra_y, extra_x),
                groups=channels,
            )
            return y.to(x.dtype)
    if up > 1:
        x = _insert_zeros(x, up)
    padding = (0, 0)
    if left == right >= 0 and top == bottom >= 0:
        padding = (top, left)
    elif any(sides):
        x = F.pad(x, sides)
    kernel = f if flip_filter else f.flip(0, 1)
    kernel = kernel.expand(channels, 1, -1, -1).contiguous()  # [C, 1, height, width]
    return F.conv2d(x, kernel, stride=down, padding=padding, groups=channels)


def _output_size(x: Tensor, f: Tensor, up: int, down: int, sides: Sides) -> tuple[int, int]:
    left, right, top, bottom = sides
    return (
        (x.shape[2] * up + top + bottom - f.shape[0]) // down + 1,
        (x.shape[3] * up + left + right - f.shape[1]) // down + 1,
    )


def _insert_zeros(x: Tensor, up: int) -> Tensor:
    n, c, h, w = x.shape
    x = x.reshape(n, c, h, 1, w, 1)
    return F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
