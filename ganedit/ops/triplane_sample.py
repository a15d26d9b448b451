"""Features of points, read off three planes (Chan et al. 2022, EG3D, section 4.1)."""

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

_MARGIN = 1  # rows of zeros before and after the table


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
        planes: [N, 3, C, H, W]; they span -1..1 along both sides.
        points: [N, P, 3], in units of the planes.
        axes: Where the planes lie: (x, y), (x, z) and (z, x) in the published networks
            (``shipped``), (z, y) for the third one when ``fixed``.
        impl: ``reference`` is the definition, by `grid_sample`; ``auto`` the fastest way.

    Returns:
        [N, P, C]; differentiable in the planes and, by ``reference``, in the points, too, which
        ``auto`` chooses when the points need a gradient.
    """
    if impl == "reference" or points.requires_grad or planes.device.type != "cpu":
        return _reference(planes, points, _AXES[axes])
    index, weight = _corners(points, planes.shape[-2:], _AXES[axes])
    n, _, c, _, _ = planes.shape
    table = planes.permute(0, 1, 3, 4, 2).reshape(-1, c)  # [N * 3 * H * W, C]
    return _Gather.apply(table, index, weight).reshape(n, -1, c)  # type: ignore[no-any-return, no-untyped-call]


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


def _corners(
    points: Tensor, size: torch.Size, axes: tuple[tuple[int, int], ...]
) -> tuple[Tensor, Tensor]:
    """Return rows of the table after its margin, and their weights: four corners a plane.

    Left and right corners are neighbours in the table, also beside the planes, where the weight is
    zero; each is [N * P, 12].
    """
    height, width = size
    n, count, _ = points.shape
    index = torch.empty(n, count, 3, 2, 2, dtype=torch.int32)
    weight = torch.empty(n, count, 3, 2, 2, dtype=points.dtype)
    first = torch.arange(n, dtype=torch.int32)[:, None] * (3 * height * width) + _MARGIN
    for plane, (across, along) in enumerate(axes):
        # Far outside, a whole number need not fit into 32 bits.
        x = ((points[..., across] + 1) * (width / 2) - 0.5).clamp_(-2, width)
        y = ((points[..., along] + 1) * (height / 2) - 0.5).clamp_(-2, height)
        left, top = x.floor(), y.floor()
        right_share, lower_share = x.sub_(left), y.sub_(top)
        column, row = left.int(), top.int()
        left_share = (1 - right_share) * ((column >= 0) & (column < width))
        right_share = right_share * ((column >= -1) & (column < width - 1))
        start = column.clamp_(-1, width - 1) + first + plane * height * width
        for down in (0, 1):
            line = row + down
            share = (lower_share if down else 1 - lower_share) * ((line >= 0) & (line < height))
            weight[:, :, plane, down, 0] = left_share * share
            weight[:, :, plane, down, 1] = right_share * share
            cell = line.clamp_(0, height - 1) * width + start
            index[:, :, plane, down, 0] = cell
            index[:, :, plane, down, 1] = cell + 1
    return index.reshape(-1, 12), weight.div_(len(axes)).reshape(-1, 12)


class _Gather(torch.autograd.Function):
    """Weighted sums of rows of a table, whose gradient is scattered back."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows = len(table)
        table = F.pad(table, (0, 0, _MARGIN, _MARGIN))
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        index, weight = ctx.saved_tensors
        # Left and right neighbours get their shares in one call.
        pairs = gradient.new_zeros(ctx.rows + 2 * _MARGIN, 2, gradient.shape[1])
        for corner in range(0, 12, 2):
            shares = weight[:, corner : corner + 2, None] * gradient[:, None]
            pairs.index_add_(0, index[:, corner], shares)
        table = pairs[:, 0]
        table[1:] += pairs[:-1, 1]
        return table[_MARGIN:-_MARGIN], None, None
