from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops import downsampling_conv2d, modulated_conv2d, setup_filter, upsampling_conv2d

FILTER = setup_filter([1, 3, 3, 1]).double()


def naive_conv2d(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Correlation, one output pixel at a time."""
    size = weight.shape[2]
    x = F.pad(x, [padding] * 4)
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    rows = [
        torch.stack(
            [
                torch.einsum("nihw,oihw->no", x[:, :, y : y + size, z : z + size], weight)
                for z in range(width)
            ],
            dim=-1,
        )
        for y in range(height)
    ]
    return torch.stack(rows, dim=-2)


def naive_upsampling_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """Zero insertion, the convolution, then the filter with a gain of four."""
    n, c, height, width = x.shape
    size = weight.shape[2]
    zeros = x.new_zeros(n, c, 2 * height - 1, 2 * width - 1)
    zeros[:, :, ::2, ::2] = x
    y = naive_conv2d(zeros, weight.flip(2, 3), size - 1)
    channels = y.shape[1]
    y = F.pad(y, [2 - size // 2] * 4)
    kernel = 4 * FILTER.expand(channels, channels, 4, 4)
    return naive_conv2d(y, kernel * torch.eye(channels, dtype=x.dtype)[:, :, None, None], 0)


def naive_downsampling_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    channels, size = x.shape[1], weight.shape[2]
    kernel = FILTER.expand(channels, channels, 4, 4)
    kernel = kernel * torch.eye(channels, dtype=x.dtype)[:, :, None, None]
    x = F.pad(x, [1 + size // 2] * 4)
    return naive_conv2d(naive_conv2d(x, kernel, 0), weight, 0)[:, :, ::2, ::2]


def naive_modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: int, down: int
) -> Tensor:
    """Equations 1 to 3 of Karras et al. 2020: scale the weights of each sample."""
    samples = []
    for n in range(x.shape[0]):
        w = weight * styles[n][None, :, None, None]
        if demodulate:
            w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = x[n : n + 1]
        if up == 2:
            samples.append(naive_upsampling_conv2d(one, w))
        elif down == 2:
            samples.append(naive_downsampling_conv2d(one, w))
        else:
            samples.append(naive_conv2d(one, w, w.shape[2] // 2))
    return torch.cat(samples)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_scaled_weights_up_to_second_gradients(
    up: int, down: int, demodulate: bool, channels_last: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    resample_filter = None if (up, down) == (1, 1) else FILTER

    def run(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return modulated_conv2d(
            x,
            weight,
            styles,
            demodulate=demodulate,
            up=up,
            down=down,
            resample_filter=resample_filter,
        )

    wanted = naive_modulated_conv2d(x, weight, styles, demodulate, up, down)
    torch.testing.assert_close(run(x, weight, styles), wanted, rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(run, (x, weight, styles))
    small = x.detach()[:1, :, :2, :2].requires_grad_()
    assert torch.autograd.gradgradcheck(run, (small, weight, styles[:1]))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("out_channels", [2, 3])
def test_pointwise_projection_equals_scaled_weights(channels_last: bool, out_channels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(out_channels, 8, 1, 1, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(out_channels, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, demodulate=False, bias=bias)

    wanted = naive_modulated_conv2d(x, weight, styles, False, 1, 1) + bias[:, None, None]
    torch.testing.assert_close(run(x, weight, styles, bias), wanted)
    assert torch.autograd.gradcheck(run, (x, weight, styles, bias))
    assert torch.autograd.gradgradcheck(run, (x, weight, styles, bias))


@pytest.mark.parametrize(
    "settings",
    [
        {"act": "lrelu", "gain": 1.3, "clamp": 0.8},
        {"act": "lrelu", "demodulate": False},
        {"act": "tanh", "gain": 2.0},
        {"act": "linear", "gain": -0.5},
    ],
)
def test_noise_bias_and_activation_follow_the_convolution(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    before = [t.detach().clone() for t in (x, weight, styles, noise, bias)]

    def run(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor, bias: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, noise=noise, bias=bias, **settings)

    y = naive_modulated_conv2d(x, weight, styles, settings.get("demodulate", True), 1, 1)
    y = y + noise + bias[:, None, None]
    act = settings["act"]
    y = {"lrelu": F.leaky_relu(y, 0.2), "tanh": y.tanh(), "linear": y}[act]
    y = y * settings.get("gain", 2**0.5 if act == "lrelu" else 1.0)
    if "clamp" in settings:
        y = y.clamp(-settings["clamp"], settings["clamp"])
    inputs = (x, weight, styles, noise, bias)
    torch.testing.assert_close(run(*inputs), y, rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
    assert all(torch.equal(now, then) for now, then in zip(inputs, before, strict=True))


@pytest.mark.parametrize("size", [1, 3])
def test_resampling_convolutions_equal_the_naive_ones(size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, size, size, dtype=torch.float64, requires_grad=True)
    for run, naive in (
        (upsampling_conv2d, naive_upsampling_conv2d),
        (downsampling_conv2d, naive_downsampling_conv2d),
    ):
        got = run(x, weight, FILTER)
        assert got.shape[2:] == ((8, 12) if run is upsampling_conv2d else (2, 3))
        torch.testing.assert_close(got, naive(x, weight))
        assert torch.autograd.gradcheck(lambda x, w, run=run: run(x, w, FILTER), (x, weight))
        assert torch.autograd.gradgradcheck(lambda x, w, run=run: run(x, w, FILTER), (x, weight))


@pytest.mark.parametrize("channels_last", [False, True])
def test_autocast_agrees_with_float32_to_bfloat16_rounding(channels_last: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 7, 5)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight, styles = torch.randn(16, 16, 3, 3), torch.randn(2, 16)
    settings: dict[str, Any] = {
        "up": 2,
        "resample_filter": FILTER.float(),
        "noise": torch.randn(2, 1, 14, 10),
        "bias": torch.randn(16),
        "act": "lrelu",
    }
    wanted = modulated_conv2d(x, weight, styles, **settings)
    with torch.autocast("cpu", torch.bfloat16):
        got = modulated_conv2d(x, weight, styles, **settings)
    assert got.dtype == torch.bfloat16
    assert (got - wanted).norm() < 1e-2 * wanted.norm()


def test_projection_under_autocast_has_gradients_in_the_dtype_of_the_input() -> None:
    x = torch.randn(2, 8, 3, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, styles = torch.randn(2, 8, 1, 1), torch.randn(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = modulated_conv2d(x, weight, styles, demodulate=False)
    y.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


def test_wrong_arguments_say_what_was_wanted() -> None:
    x, weight, styles = torch.zeros(2, 3, 4, 4), torch.zeros(5, 3, 3, 3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"styles: expected \[2, 3\], got \[1, 3\]"):
        modulated_conv2d(x, weight, styles[:1])
    with pytest.raises(ValueError, match=r"weight: expected \[O, 3, k, k\]"):
        modulated_conv2d(x, torch.zeros(5, 4, 3, 3), styles)
    with pytest.raises(ValueError, match="got up=2, down=1, padding=None"):
        modulated_conv2d(x, weight, styles, up=2)
    with pytest.raises(ValueError, match="odd k"):
        upsampling_conv2d(x, torch.zeros(5, 3, 2, 2), FILTER)
    with pytest.raises(ValueError, match=r"x: expected \[N, 3, H, W\]"):
        downsampling_conv2d(torch.zeros(2, 4, 4, 4), weight, FILTER)


@pytest.mark.parametrize("demodulate", [True, False])
def test_a_gain_of_the_input_is_not_undone(demodulate: bool) -> None:
    x, weight, styles = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    gain = torch.tensor(0.3)
    plain = modulated_conv2d(x, weight, styles, demodulate=demodulate)
    got = modulated_conv2d(x, weight, styles, demodulate=demodulate, input_gain=gain)
    torch.testing.assert_close(got, plain * gain)
