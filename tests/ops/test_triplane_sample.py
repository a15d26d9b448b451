import pytest
import torch

from ganedit.ops import triplane_sample
from ganedit.ops.triplane_sample import channels_last

SIZES = [(1, 3, 8), (2, 4, 5), (3, 5, 2)]  # pictures, channels, side


def make(n: int, channels: int, side: int, dtype: torch.dtype = torch.float64):
    torch.manual_seed(0)
    planes = torch.randn(n, 3, channels, side, side, dtype=dtype)
    points = 1.2 * torch.randn(n, 40, 3, dtype=dtype)
    special = [[-1, 1, 0], [1, 1, 1], [1e30, 0, 0], [0, -1e30, 0.5], [0, 0, 0]]
    points[0, : len(special)] = torch.tensor(special, dtype=dtype)
    return planes, points


@pytest.mark.parametrize("axes", ["shipped", "fixed"])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_the_definition(size, axes) -> None:
    planes, points = make(*size)
    planes.requires_grad_()
    got = triplane_sample(planes, points, axes=axes)
    wanted = triplane_sample(planes, points, axes=axes, impl="reference")
    torch.testing.assert_close(got, wanted)
    weights = torch.randn_like(got)
    gradients = [torch.autograd.grad(x, planes, weights)[0] for x in (got, wanted)]
    torch.testing.assert_close(*gradients)


def test_the_gradient_is_that_of_the_values() -> None:
    planes, points = make(1, 2, 3)
    planes.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: triplane_sample(x, points[:, :7]), planes)


def test_points_have_gradients_too() -> None:
    planes, points = make(2, 4, 5)
    points = points[:, 5:].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: triplane_sample(planes, x), points)


def test_a_plane_is_read_where_its_axes_lead() -> None:
    planes = torch.zeros(1, 3, 1, 4, 4)
    planes[0, 2, 0, 0, 3] = 3.0  # of the third plane, the cell at width 0.75 and height -0.75
    corner = torch.tensor([[[-0.75, 0.1, 0.75]], [[0.1, -0.75, 0.75]]])
    for point, axes in zip(corner, ("shipped", "fixed"), strict=True):
        assert triplane_sample(planes, point[None], axes=axes).item() == pytest.approx(1)


def test_rows_do_not_depend_on_others_and_memory_layout_changes_nothing() -> None:
    planes, points = make(3, 4, 8, torch.float32)
    together = triplane_sample(planes, points)
    alone = torch.cat(
        [triplane_sample(a, b) for a, b in zip(planes.split(1), points.split(1), strict=True)]
    )
    assert torch.equal(together, alone)
    assert torch.equal(together, triplane_sample(channels_last(planes), points))


@pytest.mark.parametrize("size", [(4, 7), (1, 1)])
def test_planes_that_are_not_square_or_of_one_cell(size) -> None:
    planes, points = torch.randn(1, 3, 2, *size), torch.rand(1, 9, 3)
    assert torch.equal(
        triplane_sample(planes, points), triplane_sample(planes, points, impl="reference")
    )


def test_no_points_and_points_that_are_no_numbers() -> None:
    planes, points = make(1, 3, 4, torch.float32)
    assert triplane_sample(planes, points[:, :0]).shape == (1, 0, 3)
    points[0, 0] = torch.nan
    got = triplane_sample(planes, points)
    assert got[0, 0].isnan().all()
    assert got[0, 1:].isfinite().all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    planes, points = make(2, 3, 4)
    with pytest.raises(ValueError, match=r"planes: expected \[N, 3, C, H, W\], got \[2, 3, 3, 4\]"):
        triplane_sample(planes[..., 0], points)
    with pytest.raises(ValueError, match=r"points: expected \[2, P, 3\], got \[1, 40, 3\]"):
        triplane_sample(planes, points[:1])
