"""Features of points, read off three planes (Chan et al. 2022, EG3D, section 4.1)."""

from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

PlaneAxes = Literal["shipped", "fixed"]

# The coordinates of a point that lead along a plane's width and height. The third plane of the
# published networks is the second one transposed, a slip that they were trained with.
_AXES: dict[PlaneAxes, tuple[tuple[int, int], ...]] = {
    "shipped": ((0, 1), (0, 2), (2, 0)),
    "fixed": ((0, 1), (0, 2), (2, 1)),
}


def triplane_sample(
    planes: Tensor,
    points: Tensor,
    *,
    axes: PlaneAxes = "shipped",
    impl: Literal["auto", "reference"] = "auto",
) -> Tensor:
    """Return the mean over three planes of their values at the points' projections.

    Values are interpolated bilinearly between the centres of a plane's cells; outside is zero.

    Args:
        planes: [N, 3, C, H, W]; they span -1..1 along both sides. Those of `channels_last` spare
            the fastest way a copy.
        points: [N, P, 3], in units of the planes.
        axes: Where the planes lie: (x, y), (x, z) and (z, x) in the published networks
            (``shipped``), (z, y) for the third one when ``fixed``.
        impl: ``reference`` is the definition, by `grid_sample`; ``auto`` the fastest way.

    Returns:
        [N, P, C]; differentiable in the planes and, by ``reference``, in the points, too, which
        ``auto`` chooses when the points need a gradient.

    Raises:
        ValueError: The shapes do not fit.
    """
    if planes.ndim != 5 or planes.shape[1] != 3:
        raise ValueError(f"planes: expected [N, 3, C, H, W], got {list(planes.shape)}")
    if points.ndim != 3 or points.shape[::2] != (len(planes), 3):
        raise ValueError(f"points: expected [{len(planes)}, P, 3], got {list(points.shape)}")
    n, _, c, height, width = planes.shape
    usual = planes.device.type == "cpu" and height == width >= 2 and points.shape[1] > 0
    if impl == "reference" or points.requires_grad or not usual:
        return _reference(planes, points, _AXES[axes])
    index, weight = _corners(points, width, _AXES[axes])
    table = channels_last(planes).permute(0, 1, 3, 4, 2).reshape(-1, c)  # [N * 3 * H * W, C]
    return _Gather.apply(table, index, weight, width).view(n, -1, c)


def channels_last(planes: Tensor) -> Tensor:
    """Return [N, 3, C, H, W] planes whose channels are neighbours in memory."""
    return planes.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def _reference(planes: Tensor, points: Tensor, axes: tuple[tuple[int, int], ...]) -> Tensor:
    places = torch.stack([points[..., list(pair)] for pair in axes], dim=1)  # [N, 3, P, 2]
    values = F.grid_sample(
        planes.flatten(0, 1),
        places.flatten(0, 1)[:, None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )  # [N * 3, C, 1, P]
    return values.unflatten(0, (-1, 3))[:, :, :, 0].mean(dim=1).mT


def _corners(points: Tensor, side: int, axes: tuple[tuple[int, int], ...]) -> tuple[Tensor, Tensor]:
    """Return the cells around each point, as rows of the table, and their weights.

    Each is [N * P, 12]: upper left, upper right, lower left, lower right of three planes. The four
    lie inside the plane also where the point does not: a cell's share is ``1 - distance``, not
    below 0, along each side, whichever cells are asked.
    """
    n, count, _ = points.shape
    places = points.permute(2, 0, 1).reshape(3, -1) * (side / 2) + (side / 2 - 0.5)  # [3, N * P]
    first = places.floor().clamp_(0, side - 2).nan_to_num_(0)
    places = places - first
    shares = F.relu_(1 - torch.stack([places, places - 1]).abs_())  # [2, 3, N * P]
    thirds = shares / len(axes)
    first = first.int()
    index = torch.empty(n * count, 12, dtype=torch.int32)
    weight = torch.empty(n * count, 12, dtype=places.dtype)
    for plane, (across, along) in enumerate(axes):
        start = torch.add(first[across], first[along], alpha=side)
        if n > 1:
            start.view(n, -1).add_(torch.arange(n, dtype=torch.int32)[:, None] * (3 * side * side))
        for corner, (down, right) in enumerate(product((0, 1), repeat=2)):
            column = 4 * plane + corner
            torch.add(start, (plane * side + down) * side + right, out=index[:, column])
            torch.mul(thirds[down, along], shares[right, across], out=weight[:, column])
    return index, weight


class _Gather(torch.autograd.Function):
    """Weighted sums of rows of a table, whose gradient is scattered back."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor, side: int) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows, ctx.side = len(table), side
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        index, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        # Sorted by their upper left cells, the points of one cell are a bag.
        start, order = index[:, ::4].flatten().sort()
        points = order.div(3, rounding_mode="floor").int()
        counts = start.bincount(minlength=ctx.rows)
        offsets = (counts.cumsum(0) - counts).int()
        table = None
        for corner, step in enumerate((0, 1, ctx.side, ctx.side + 1)):
            share = weight[:, corner::4].flatten().index_select(0, order)
            sums = F.embedding_bag(
                points, gradient, offsets, mode="sum", per_sample_weights=share
            )  # for the cell that lies ``step`` rows of the table further
            if table is None:
                table = sums
            else:
                table[step:] += sums[: ctx.rows - step]
        return table, None, None, None
