import pytest
import torch
from torch import Tensor

from ganedit.ops import downsample2d, setup_filter, upfirdn2d, upsample2d

SETTINGS = [
    # up, down, (left, right, top, bottom), filter shape, flip
    (1, 1, (0, 0, 0, 0), (1, 1), False),
    (1, 1, (1, 1, 1, 1), (4, 4), False),
    (1, 1, (2, 1, 2, 1), (4, 4), True),
    (1, 1, (-1, 2, 1, -1), (3, 2), False),
    (2, 1, (2, 1, 2, 1), (4, 4), False),
    (2, 1, (2, 1, 2, 1), (3, 4), True),
    (2, 1, (-1, 3, 0, 2), (3, 2), False),
    (3, 1, (3, 1, 2, 2), (4, 3), False),
    (1, 2, (1, 1, 1, 1), (4, 4), False),
    (1, 2, (2, 1, 0, 3), (4, 2), True),
    (1, 3, (1, 2, 2, 1), (2, 2), False),
    (3, 2, (2, 2, 1, 3), (4, 4), False),
]


def naive_upfirdn2d(
    x: Tensor, f: Tensor, up: int, down: int, sides: tuple[int, ...], flip: bool, gain: float
) -> Tensor:
    """The definition, one output sample at a time."""
    left, right, top, bottom = sides
    n, c, height, width = x.shape
    fh, fw = f.shape
    full_height, full_width = height * up + top + bottom, width * up + left + right
    out_height, out_width = (full_height - fh) // down + 1, (full_width - fw) // down + 1
    out = x.new_zeros(n, c, out_height, out_width)
    for oy in range(out_height):
        for ox in range(out_width):
            for fy in range(fh):
                for fx in range(fw):
                    y, y_rest = divmod(oy * down + fy - top, up)
                    z, z_rest = divmod(ox * down + fx - left, up)
                    if y_rest or z_rest or not (0 <= y < height and 0 <= z < width):
                        continue
                    tap = f[fy, fx] if flip else f[fh - 1 - fy, fw - 1 - fx]
                    out[:, :, oy, ox] += gain * tap * x[:, :, y, z]
    return out


@pytest.mark.parametrize(("up", "down", "sides", "shape", "flip"), SETTINGS)
def test_equals_the_definition_up_to_second_gradients(
    up: int, down: int, sides: tuple[int, int, int, int], shape: tuple[int, int], flip: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    f = torch.randn(shape, dtype=torch.float64)

    def run(x: Tensor) -> Tensor:
        return upfirdn2d(x, f, up=up, down=down, padding=sides, flip_filter=flip, gain=1.5)

    torch.testing.assert_close(run(x), naive_upfirdn2d(x, f, up, down, sides, flip, 1.5))
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_format_and_dtype_change_nothing_but_rounding(
    up: int, down: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    f = setup_filter([1, 3, 3, 1])
    x = torch.randn(2, 5, 7, 9)
    wanted = upfirdn2d(x.double(), f, up=up, down=down, padding=(2, 1, 2, 1))
    x = x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got = upfirdn2d(x, f, up=up, down=down, padding=(2, 1, 2, 1))
    assert got.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance)
    (grad,) = torch.autograd.grad(got.float().square().sum(), x)
    assert grad.dtype == dtype


def test_resizing_keeps_a_flat_picture_flat() -> None:
    f = setup_filter([1, 3, 3, 1])
    flat = torch.full((1, 3, 8, 8), 0.7)
    large, small = upsample2d(flat, f), downsample2d(flat, f)
    assert large.shape == (1, 3, 16, 16)
    assert small.shape == (1, 3, 4, 4)
    torch.testing.assert_close(large[..., 2:-2, 2:-2], flat.new_full((1, 3, 12, 12), 0.7))
    torch.testing.assert_close(small[..., 1:-1, 1:-1], flat.new_full((1, 3, 2, 2), 0.7))


def test_filter_is_an_outer_product_that_sums_to_one() -> None:
    f = setup_filter([1, 3, 3, 1])
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    torch.testing.assert_close(f, torch.outer(taps, taps))
    torch.testing.assert_close(
        setup_filter([[1, 2], [3, 4]], normalize=False, flip=True, gain=2),
        torch.tensor([[8.0, 6], [4, 2]]),
    )


def test_wrong_arguments_say_what_was_wanted() -> None:
    f = setup_filter([1, 3, 3, 1])
    with pytest.raises(ValueError, match=r"x: expected \[N, C, H, W\], got \[3, 8, 8\]"):
        upfirdn2d(torch.zeros(3, 8, 8), f)
    with pytest.raises(ValueError, match="expected positive integers, got 0 and 1"):
        upfirdn2d(torch.zeros(1, 3, 8, 8), f, up=0)
    with pytest.raises(ValueError, match="too small"):
        upfirdn2d(torch.zeros(1, 3, 2, 2), f)
    with pytest.raises(ValueError, match="constant filter"):
        upfirdn2d(torch.zeros(1, 3, 8, 8), f.clone().requires_grad_())
    with pytest.raises(ValueError, match="1-D or 2-D"):
        setup_filter(torch.zeros(1, 1, 1))
