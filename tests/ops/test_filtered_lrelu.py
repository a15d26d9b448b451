import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops import filtered_lrelu

SETTINGS = [
    # up, down, up taps, down taps, (left, right, top, bottom), size
    (1, 1, None, None, (0, 0, 0, 0), (5, 4)),
    (3, 1, None, None, (0, 0, 0, 0), (3, 4)),
    (1, 1, (3,), (2, 2), (1, 2, 0, 1), (5, 4)),
    (2, 2, (6,), (6,), (5, 3, 5, 3), (5, 4)),
    (2, 2, (6,), (6, 6), (4, 4, 3, 6), (4, 7)),
    (4, 2, (8,), (4,), (6, 2, 7, 3), (3, 4)),
    (2, 1, (5,), None, (3, 2, 2, 1), (5, 3)),
    (1, 2, None, (4,), (2, 1, 0, 2), (7, 6)),
    (2, 4, (4, 4), (8, 8), (9, 8, 11, 7), (5, 5)),
    (2, 2, (4,), (4,), (-1, 1, -2, 3), (7, 6)),
    (2, 3, (3,), (5,), (7, 0, 0, 8), (4, 5)),
]


def obvious(
    x: Tensor,
    *,
    up_filter: Tensor | None,
    down_filter: Tensor | None,
    bias: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    gain: float,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """The definition: zeros stuffed, full two-dimensional filters, every sample computed."""

    def convolve(x: Tensor, f: Tensor | None) -> Tensor:
        if f is None:
            return x
        f = torch.outer(f, f) if f.ndim == 1 else f
        kernel = f.flip(0, 1).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, groups=x.shape[1])

    n, c, h, w = x.shape
    x = x + bias[:, None, None]
    stuffed = x.new_zeros(n, c, h * up, w * up)
    stuffed[:, :, ::up, ::up] = x
    x = convolve(F.pad(stuffed, padding), up_filter) * up**2
    x = torch.where(x < 0, x * slope, x) * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return convolve(x, down_filter)[:, :, ::down, ::down]


def random_filter(shape: tuple[int, ...] | None) -> Tensor | None:
    """A filter without symmetry, in float64."""
    if shape is None:
        return None
    f = torch.rand(shape, dtype=torch.float64) + 0.1
    return f / f.sum()


@pytest.fixture(params=[False, True], ids=["whole", "stripes"])
def in_stripes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        module = importlib.import_module("ganedit.ops.filtered_lrelu")
        monkeypatch.setattr(module, "_STRIPE_SAMPLES", 1)
        monkeypatch.setattr(module, "_LEAST_ROWS", 1)
    return request.param


@pytest.mark.parametrize("clamp", [None, 0.5, 100.0])
@pytest.mark.parametrize(("up", "down", "up_taps", "down_taps", "padding", "size"), SETTINGS)
@pytest.mark.usefixtures("in_stripes")
def test_equals_the_definition_up_to_second_gradients(
    up: int,
    down: int,
    up_taps: tuple[int, ...] | None,
    down_taps: tuple[int, ...] | None,
    padding: tuple[int, int, int, int],
    size: tuple[int, int],
    clamp: float | None,
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    settings = {
        "up_filter": random_filter(up_taps),
        "down_filter": random_filter(down_taps),
        "up": up,
        "down": down,
        "padding": padding,
        "gain": 1.3,
        "slope": 0.2,
        "clamp": clamp,
    }

    def ours(x: Tensor, bias: Tensor) -> Tensor:
        return filtered_lrelu(x, bias=bias, **settings)

    def wanted(x: Tensor, bias: Tensor) -> Tensor:
        return obvious(x, bias=bias, **settings)

    direction = torch.randn_like(ours(x, bias))

    def derivatives(run) -> list[Tensor]:
        """Value, gradients, and gradients of a function of the gradient."""
        y = run(x, bias)
        grads = torch.autograd.grad(y, (x, bias), direction * y.detach(), create_graph=True)
        weight = direction.clone().requires_grad_()
        inner = torch.autograd.grad(run(x, bias), x, weight, create_graph=True)[0]
        return [y, *grads, *torch.autograd.grad(inner.pow(3).sum(), weight)]

    for got, expected in zip(derivatives(ours), derivatives(wanted), strict=True):
        torch.testing.assert_close(got, expected)
    assert torch.autograd.gradcheck(ours, (x, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(ours, (x, bias), fast_mode=True)


@pytest.mark.parametrize("limit", [0.99, 1.01])
def test_the_clamp_works_from_its_limit_on(limit: float) -> None:
    """It is left out where it can do nothing, and only there."""
    f = torch.tensor([-0.2, 0.7, 0.7, -0.2], dtype=torch.float64)
    x = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    x[0, 0, ::3] = torch.tensor([1.0, -1, 1, 1, -1, 1, 1])
    settings = {"up_filter": f, "down_filter": None, "up": 2, "down": 1, "padding": (2, 1, 2, 1)}
    settings |= {"gain": 1.5, "slope": 0.2}
    free = filtered_lrelu(x, **settings)
    clamp = float(free.abs().max()) * limit
    assert (filtered_lrelu(x, **settings, clamp=clamp) - free).any() == (limit < 1)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_the_extremes_of_the_slope(slope: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    settings = {"up": 2, "down": 2, "padding": (4, 4, 4, 4), "gain": 0.7, "clamp": 0.4}
    filters = {"up_filter": random_filter((6,)), "down_filter": random_filter((6,))}
    zero = torch.zeros(3, dtype=torch.float64)

    def run(x: Tensor) -> Tensor:
        return filtered_lrelu(x, slope=slope, **settings, **filters)

    expected = obvious(x, bias=zero, slope=slope, **settings, **filters)
    torch.testing.assert_close(run(x), expected)
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("in_stripes")
def test_memory_format_and_dtype_change_nothing_but_rounding(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    f = random_filter((12,)).float()
    x = torch.randn(3, 5, 9, 7)
    settings = {"up_filter": f, "down_filter": f, "up": 2, "down": 2, "padding": (9, 10, 10, 9)}
    wanted = filtered_lrelu(x.to(dtype).double(), **settings)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = x.to(dtype).contiguous(memory_format=memory_format).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            got = filtered_lrelu(given, **settings)
        assert got.dtype == dtype
        tolerance = 2e-6 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance)
        (grad,) = torch.autograd.grad(got.float().square().sum(), given)
        assert grad.dtype == dtype


def test_a_flat_signal_stays_flat() -> None:
    f = torch.tensor([1.0, 3, 3, 1]) / 8
    flat = torch.full((1, 3, 20, 20), -0.5)
    y = filtered_lrelu(
        flat, up_filter=f, down_filter=f, up=2, down=2, padding=(3, 2, 3, 2), gain=3.0
    )
    assert y.shape == flat.shape
    torch.testing.assert_close(y[..., 3:-3, 3:-3], torch.full_like(y, -0.3)[..., 3:-3, 3:-3])


def test_stripes_keep_the_memory_small() -> None:
    """The signal at the high rate would be 205 MB in each of three tensors."""
    resource = pytest.importorskip("resource")
    f = random_filter((12,)).float()
    x = torch.randn(1, 32, 316, 316)
    settings = {"up_filter": f, "down_filter": f, "up": 4, "down": 2, "padding": (9, 10, 9, 10)}
    filtered_lrelu(x[:, :, :32, :32], **settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y = filtered_lrelu(x, **settings)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert growth <= 4 * y.nbytes + 200e6
    assert y.shape[2] == 632 - 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("up", "down", "up_taps", "down_taps", "padding", "size"), SETTINGS)
def test_a_gpu_gives_the_same(
    up: int,
    down: int,
    up_taps: tuple[int, ...] | None,
    down_taps: tuple[int, ...] | None,
    padding: tuple[int, int, int, int],
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    filters = {"up_filter": random_filter(up_taps), "down_filter": random_filter(down_taps)}
    given = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        x = given.to(device).requires_grad_()
        y = filtered_lrelu(x, **filters, up=up, down=down, padding=padding)
        (grad,) = torch.autograd.grad(y.square().sum(), x)
        results.append((y.cpu(), grad.cpu()))
    torch.testing.assert_close(results[0], results[1])


def test_wrong_arguments_say_what_was_wanted() -> None:
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"x: expected \[N, C, H, W\], got \[3, 8, 8\]"):
        filtered_lrelu(x[0])
    with pytest.raises(ValueError, match="expected positive integers, got 0 and 1"):
        filtered_lrelu(x, up=0)
    with pytest.raises(ValueError, match=r"bias: expected \[3\], got \[2\]"):
        filtered_lrelu(x, bias=torch.zeros(2))
    for settings in ({"slope": -0.1}, {"slope": 1.1}, {"gain": 0.0}, {"clamp": 0.0}):
        with pytest.raises(ValueError, match="expected two positive numbers and one from 0 to 1"):
            filtered_lrelu(x, **settings)
    with pytest.raises(ValueError, match="too small for a filter"):
        filtered_lrelu(x, up_filter=torch.ones(12))
    with pytest.raises(ValueError, match="too small for a down_filter"):
        filtered_lrelu(x, down_filter=torch.ones(12))
    with pytest.raises(ValueError, match="expected constants"):
        filtered_lrelu(x, up_filter=torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match=r"expected \[taps\] or \[height, width\]"):
        filtered_lrelu(x, up_filter=torch.ones(1, 1, 1))
