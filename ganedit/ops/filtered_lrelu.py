"""Leaky ReLU at a higher sampling rate (Karras et al. 2021, "Alias-Free GANs", section 3.2).

A nonlinearity makes frequencies that its samples cannot hold. So the signal is upsampled first, and
what is too fine is filtered out before it is downsampled again.

The signal at the high rate is the cost, in memory and in time. On a CPU a large one never exists as
a whole: it is made and used up in stripes of rows. The backward pass makes it again instead of
keeping it, which takes about as long as keeping a mask of its signs would, so only the small input
is saved. Depthwise convolutions skip the stuffed zeros on the way up and the dropped samples on the
way down, along one axis after the other unless the filter is radial. On one core, products with
resampling matrices took 3 to 8 times as long instead (38 to 278 pixels, 512 to 45 channels), and
channels first instead of channels last 2 to 6 times.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops.upfirdn2d import Sides

# Larger signals than this at the high rate are computed in stripes on a CPU; 64 MB of float32.
_STRIPE_SAMPLES = 1 << 24
_LEAST_ROWS = 8  # of a stripe: its neighbours' work is done again in part


def filtered_lrelu(
    x: Tensor,
    *,
    up_filter: Tensor | None = None,
    down_filter: Tensor | None = None,
    bias: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Sides = (0, 0, 0, 0),
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias, upsample, apply a leaky ReLU, gain and clamp, and downsample.

    Upsampling puts ``up - 1`` zeros behind every sample along each axis, pads, and convolves with
    ``up_filter`` times ``up ** 2``; downsampling convolves with ``down_filter`` and keeps every
    ``down``-th sample. Autocast does not change the arithmetic. Any order of gradient is supported.

    Args:
        x: Input, [N, C, H, W].
        up_filter: Low-pass filter of unit sum, [taps] to be applied along both axes, or
            [height, width]; None means none.
        down_filter: Likewise.
        bias: [C], added before the padding.
        up: Integer upsampling factor.
        down: Integer downsampling factor.
        padding: Zeros around the upsampled signal, (left, right, top, bottom). Negative numbers
            crop.
        gain: Positive factor after the leaky ReLU.
        slope: Of the leaky ReLU below zero, from 0 to 1, which makes it linear.
        clamp: Limit on the magnitude after the gain; None means no limit.

    Returns:
        [N, C, H', W'] with H' = (H * up + top + bottom - up taps + 1 - down taps) // down + 1,
        likewise W'. The dtype is that of ``x``.
    """
    if x.ndim != 4:
        raise ValueError(f"x: expected [N, C, H, W], got {list(x.shape)}")
    if up < 1 or down < 1:
        raise ValueError(f"up and down: expected positive integers, got {up} and {down}")
    if gain <= 0 or not 0 <= slope <= 1 or (clamp is not None and clamp <= 0):
        raise ValueError(
            "gain, clamp and slope: expected two positive numbers and one from 0 to 1, got "
            f"{gain}, {clamp} and {slope}"
        )
    if bias is not None:
        if bias.shape != x.shape[1:2]:
            raise ValueError(f"bias: expected [{x.shape[1]}], got {list(bias.shape)}")
        x = x + bias.to(x.dtype)[:, None, None]
    ups = _upsampling(x, _taps(x, up_filter), up, padding)
    # The gain commutes with the linear filter after it.
    downs = _downsampling(ups.high, _taps(x, down_filter), down, gain)
    limit = math.inf if clamp is None or _stays_below(x, ups, clamp / gain) else clamp / gain
    act = _Lrelu(slope, limit)
    return cast(Tensor, _FilteredLrelu.apply(x, ups, downs, act))


@dataclass(frozen=True)
class _Lrelu:
    """``clamp(lrelu(u, slope), -limit, limit)`` and its derivative, in place."""

    slope: float
    limit: float

    def apply_(self, u: Tensor) -> Tensor:
        if self.slope != 1:
            u = F.leaky_relu_(u, self.slope)
        return u if math.isinf(self.limit) else u.clamp_(-self.limit, self.limit)

    def scale_(self, v: Tensor, u: Tensor) -> Tensor:
        """Multiply ``v`` by the derivative at ``u``."""
        aten = torch.ops.aten  # autograd's own kernels; torch.where takes ten times as long
        if self.slope != 1:
            aten.leaky_relu_backward.grad_input(v, u, self.slope, False, grad_input=v)
        if not math.isinf(self.limit):
            least = -self.limit / self.slope if self.slope > 0 else -math.inf
            aten.hardtanh_backward.grad_input(v, u, least, self.limit, grad_input=v)
        return v


@dataclass(frozen=True, eq=False)
class _Resampling:
    """A strided depthwise convolution between a high and a low rate, to be read either way.

    ``gather``, to the low rate, is the convolution; ``spread``, to the high rate, its transpose.
    Along each axis, high = (low - 1) * stride + taps - 2 * padding + rest with rest < stride.

    Attributes:
        kernels: One [1, 1, height, width], or a column and a row.
        stride: Along both axes.
        padding: Zeros that ``gather`` adds on both sides, (y, x).
        low: Size at the low rate, (height, width).
        high: Size at the high rate.
    """

    kernels: tuple[Tensor, ...]
    stride: int
    padding: tuple[int, int]
    low: tuple[int, int]
    high: tuple[int, int]

    def reach(self, rows: range) -> range:
        """Return the rows at the high rate that these rows at the low rate touch."""
        first = rows.start * self.stride - self.padding[0]
        last = (rows.stop - 1) * self.stride - self.padding[0] + self.kernels[0].shape[2]
        if rows.stop == self.low[0]:
            last = self.high[0]  # the rest too, so that a whole signal needs no cropping
        return range(max(first, 0), min(last, self.high[0]))

    def spread(self, x: Tensor, rows: range) -> Tensor:
        """Return these rows at the high rate, fresh memory, for all rows at the low one."""
        stride, taps, padding = self.stride, self.kernels[0].shape[2], self.padding[0]
        first = max(0, -(-(rows.start + padding - taps + 1) // stride))
        last = min(self.low[0], (rows.stop - 1 + padding) // stride + 1)
        first = min(first, last - 1)  # between short kernels there are rows of nothing but zeros
        x = x[:, :, first:last]
        above = rows.start - first * stride + padding  # rows to crop
        below = (last - 1) * stride + taps - padding - rows.stop
        crop = above if above - below < stride else max(below, 0)
        width = (self.low[1] - 1) * stride + self.kernels[-1].shape[3] - 2 * self.padding[1]
        rest = (max(0, crop - below), self.high[1] - width)
        passes = self.passes((crop, self.padding[1]), rest)
        for kernel, steps, padded, output_padding in passes:
            weight = kernel.expand(x.shape[1], -1, -1, -1).contiguous()
            x = F.conv_transpose2d(
                x, weight, None, steps, padded, output_padding, groups=x.shape[1]
            )
        return x[:, :, above - crop : above - crop + len(rows)]

    def gather(self, x: Tensor, rows: range) -> Tensor:
        """Return these rows at the low rate; ``x`` holds the rows that they ``reach``."""
        stride, taps = self.stride, self.kernels[0].shape[2]
        above = max(0, self.padding[0] - rows.start * stride)  # rows of zeros
        below = (rows.stop - 1) * stride + taps - self.padding[0] - self.high[0]
        more = max(0, -(-(below - above) // stride))  # rows too many: both sides get zeros alike
        passes = self.passes((above + more * stride, self.padding[1]), (0, 0))
        for kernel, steps, padded, _ in reversed(passes):
            weight = kernel.expand(x.shape[1], -1, -1, -1).contiguous()
            x = F.conv2d(x, weight, None, steps, padded, groups=x.shape[1])
        return x[:, :, more : more + len(rows)]

    def passes(self, padding: tuple[int, int], rest: tuple[int, int]) -> list[Any]:
        """Return (kernel, stride, padding, output padding) of each convolution."""
        steps = self.stride
        if len(self.kernels) == 1:
            return [(self.kernels[0], (steps, steps), padding, rest)]
        column, row = self.kernels
        return [
            (column, (steps, 1), (padding[0], 0), (rest[0], 0)),
            (row, (1, steps), (0, padding[1]), (0, rest[1])),
        ]


def _upsampling(x: Tensor, f: Tensor, up: int, padding: Sides) -> _Resampling:
    left, right, top, bottom = padding
    taps = f.shape[0], f.shape[-1]
    high = (
        x.shape[2] * up + top + bottom - taps[0] + 1,
        x.shape[3] * up + left + right - taps[1] + 1,
    )
    if min(high) < 1:
        raise ValueError(
            f"x: too small for a filter of {list(f.shape)} with padding {padding}: {list(x.shape)}"
        )
    # What the transposed convolution makes too much on either side. The kernel gets zeros until
    # both sides are alike but for the rest that the convolution allows.
    zeros, crops = [], []
    for size, length, n, before in zip(high, x.shape[2:], taps, (top, left), strict=True):
        first = n - 1 - before
        last = (length - 1) * up + n - first - size
        front = max(0, last - first, -first)
        back = first + front - last
        zeros.append((front, back if back >= up else 0))
        crops.append(first + front)
    (front_y, back_y), (front_x, back_x) = zeros
    if f.ndim == 1:
        column, row = F.pad(f * up, (front_y, back_y)), F.pad(f * up, (front_x, back_x))
        kernels: tuple[Tensor, ...] = (column[:, None], row[None])
    else:
        kernels = (F.pad(f * up**2, (front_x, back_x, front_y, back_y)),)
    return _Resampling(
        kernels=tuple(kernel[None, None] for kernel in kernels),
        stride=up,
        padding=(crops[0], crops[1]),
        low=(x.shape[2], x.shape[3]),
        high=high,
    )


def _stays_below(x: Tensor, ups: _Resampling, limit: float) -> bool:
    """Return whether no value of the upsampled signal can come near ``limit``.

    A clamp that does nothing would still cost a tenth of the time. Only a CPU is asked: the others
    would have to be waited for.
    """
    if x.device.type != "cpu" or not x.numel():
        return False
    growth = 1.0
    for kernel, (step_y, step_x), _, _ in ups.passes((0, 0), (0, 0)):
        taps = kernel[0, 0].abs()
        phases = [taps[y::step_y, i::step_x].sum() for y in range(step_y) for i in range(step_x)]
        growth *= float(max(phases))
    values = x.detach().permute(0, 2, 3, 1).reshape(-1)  # in memory's order, ten times as fast
    least, largest = values.aminmax()
    return float(torch.maximum(-least, largest)) * growth < 0.99 * limit  # NaN: false


def _downsampling(high: tuple[int, int], f: Tensor, down: int, gain: float) -> _Resampling:
    taps = f.shape[0], f.shape[-1]
    if high[0] < taps[0] or high[1] < taps[1]:
        raise ValueError(
            f"x: too small for a down_filter of {list(f.shape)}: {list(high)} before it"
        )
    # Convolutions of neural networks do not flip the kernel.
    f = f.flip(tuple(range(f.ndim)))
    kernels = (f[:, None] * gain, f[None]) if f.ndim == 1 else (f * gain,)
    return _Resampling(
        kernels=tuple(kernel[None, None] for kernel in kernels),
        stride=down,
        padding=(0, 0),
        low=((high[0] - taps[0]) // down + 1, (high[1] - taps[1]) // down + 1),
        high=high,
    )


class _FilteredLrelu(torch.autograd.Function):
    """Upsampling, nonlinearity, downsampling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ups: _Resampling, downs: _Resampling, act: _Lrelu) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = ups, downs, act

        def compute(x: Tensor, rows: range) -> Tensor:
            u = ups.spread(x, downs.reach(rows))
            return downs.gather(act.apply_(u), rows)

        return _in_stripes(compute, (x,), downs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        ups, downs, act = ctx.settings
        return _Derivative.apply(grad, x, downs, ups, act, True), None, None, None


class _Derivative(torch.autograd.Function):
    """The derivative's product with ``v``, or, transposed, with a gradient.

    It is linear in ``v``, and its own derivative with respect to ``x`` is zero almost everywhere.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        x: Tensor,
        into: _Resampling,
        back: _Resampling,
        act: _Lrelu,
        transposed: bool,
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = into, back, act, transposed
        ups = back if transposed else into

        def compute(v: Tensor, x: Tensor, rows: range) -> Tensor:
            reach = back.reach(rows)
            high = act.scale_(into.spread(v, reach), ups.spread(x, reach))
            return back.gather(high, rows)

        return _in_stripes(compute, (v, x), back)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        into, back, act, transposed = ctx.settings
        grad = _Derivative.apply(grad, x, back, into, act, not transposed)
        return grad, None, None, None, None, None


def _in_stripes(
    compute: Callable[..., Tensor], inputs: tuple[Tensor, ...], back: _Resampling
) -> Tensor:
    """Return what ``compute(*inputs, rows)`` gives for all rows, at once or piece by piece.

    Args:
        compute: Gives rows at the low rate of ``back``, independently for each sample.
        inputs: [N, C, ...] each.
        back: Tells the sizes.
    """
    dtype, on_cpu = inputs[0].dtype, inputs[0].device.type == "cpu"
    if on_cpu:
        # Half precision falls back to a slow path in a CPU's transposed convolutions.
        wide = torch.promote_types(dtype, torch.float32)
        inputs = tuple(i.to(wide, memory_format=torch.channels_last) for i in inputs)
    n, channels = inputs[0].shape[:2]
    with torch.autocast(inputs[0].device.type, enabled=False):
        if not on_cpu or n * channels * math.prod(back.high) <= _STRIPE_SAMPLES:
            return compute(*inputs, range(back.low[0])).to(dtype)
        out = inputs[0].new_empty(n, channels, *back.low).to(memory_format=torch.channels_last)
        for index, rows in _stripes(n, channels, back):
            one = slice(index, index + 1)
            out[one, :, rows.start : rows.stop] = compute(*(i[one] for i in inputs), rows)
    return out.to(dtype)


def _stripes(n: int, channels: int, back: _Resampling) -> Iterator[tuple[int, range]]:
    """Yield the index of a sample and some of its rows at the low rate, of about equal number."""
    height = back.low[0]
    count = -(-channels * math.prod(back.high) // _STRIPE_SAMPLES)
    step = max(_LEAST_ROWS, -(-height // count))
    for index in range(n):
        for start in range(0, height, step):
            yield index, range(start, min(start + step, height))


def _taps(x: Tensor, f: Tensor | None) -> Tensor:
    """Return a filter in the type of the arithmetic."""
    if f is None:
        f = x.new_ones(1)
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f"filters: expected [taps] or [height, width], got {list(f.shape)}")
    if f.requires_grad:
        raise ValueError("filters: expected constants, got one that requires a gradient")
    half_on_cpu = x.device.type == "cpu" and x.dtype.itemsize < 4
    return f.to(x.device, torch.float32 if half_on_cpu else x.dtype)
