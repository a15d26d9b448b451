"""One W+ step of StyleGAN3 at 256 pixels, on one core: latents to picture and the gradient back.

Two ratios, measured alternately in one run: to the obvious implementation (weights of each sample,
zeros stuffed before full filters, every intermediate kept), and to the network's bare convolutions.
Run with `OMP_NUM_THREADS=1 pytest tests/benchmarks/test_stylegan3.py --benchmark-only -s`.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.generators import StyleGAN3Generator
from ganedit.generators.stylegan3 import SynthesisLayer
from ganedit.memory import keep_memory

ROUNDS = 3
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "T": {},
    "R": {"conv_kernel": 1, "use_radial_filters": True},
}

keep_memory()  # as the command line does: otherwise page faults hide the arithmetic


def stuffed_filtered_lrelu(layer: SynthesisLayer, x: Tensor) -> Tensor:
    """The definition with torch's operations."""

    def convolve(x: Tensor, f: Tensor) -> Tensor:
        channels = x.shape[1]
        if f.ndim == 2:
            return F.conv2d(x, f.expand(channels, 1, -1, -1), groups=channels)
        f = f.expand(channels, 1, 1, -1)
        x = F.conv2d(x, f, groups=channels)
        return F.conv2d(x, f.mT, groups=channels)

    n, channels, height, width = x.shape
    up, down = layer.up, layer.down
    x = x + layer.bias[:, None, None]
    x = F.pad(x.reshape(n, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(n, channels, height * up, width * up), layer.padding)
    x = convolve(x, layer.up_filter * up)
    if layer.up_filter.ndim == 2:
        x = x * up
    x = F.leaky_relu(x, 0.2) * 2**0.5
    x = x.clamp(-layer.conv_clamp, layer.conv_clamp)
    return convolve(x, layer.down_filter)[:, :, ::down, ::down]


def modulated_weights(x: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool) -> Tensor:
    n, in_channels, height, width = x.shape
    out_channels, _, size, _ = weight.shape
    w = weight * styles[:, None, :, None, None]  # [NOIkk]
    if demodulate:
        w = w * (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    w = w.reshape(n * out_channels, in_channels, size, size)
    x = x.reshape(1, n * in_channels, height, width)
    x = F.conv2d(x, w, padding=size - 1, groups=n)
    return x.reshape(n, out_channels, *x.shape[2:])


def obvious_synthesis(generator: StyleGAN3Generator, ws: Tensor) -> Tensor:
    synthesis = generator.synthesis
    x = synthesis.input(ws[:, 0])
    for index, name in enumerate(synthesis.layer_names, start=1):
        layer = getattr(synthesis, name)
        styles = layer.affine(ws[:, index])
        is_filtered = isinstance(layer, SynthesisLayer)
        x = modulated_weights(x, layer.weight, styles, demodulate=is_filtered)
        if is_filtered:
            x = stuffed_filtered_lrelu(layer, x * layer.magnitude_ema.rsqrt())
        else:
            gain = (layer.magnitude_ema * layer.weight.shape[1]).rsqrt()
            x = x * gain + layer.bias[:, None, None]
    return x * synthesis.output_scale


def bare_convolutions(generator: StyleGAN3Generator, batch: int) -> Callable[[], None]:
    """Every convolution with its own input, forward and data gradient, and nothing else."""
    synthesis = generator.synthesis
    work = []
    size = synthesis.input.band.size
    for name in synthesis.layer_names:
        layer = getattr(synthesis, name)
        x = torch.randn(batch, layer.weight.shape[1], size, size)
        work.append((x.contiguous(memory_format=torch.channels_last), layer.weight))
        size = int(name.split("_")[1])

    def run() -> None:
        for x, weight in work:
            x = x.detach().requires_grad_()
            y = F.conv2d(x, weight, padding=weight.shape[2] - 1)
            torch.autograd.grad(y, x, y.detach())

    return run


@pytest.mark.parametrize("configuration", list(CONFIGURATIONS))
def test_wplus_step(benchmark: Any, configuration: str) -> None:
    torch.manual_seed(0)
    generator = StyleGAN3Generator(
        img_resolution=256, channel_base=8192, **CONFIGURATIONS[configuration]
    )
    generator.eval().requires_grad_(False)
    ws = generator.map(torch.randn(1, 512)).contiguous().requires_grad_()
    target = torch.randn(1, 3, 256, 256)

    def step(synthesis: Callable[[Tensor], Tensor]) -> Tensor:
        loss = (synthesis(ws) - target).square().mean()
        return torch.autograd.grad(loss, ws)[0]

    def ours() -> Tensor:
        return step(generator.synthesize)

    def obvious() -> Tensor:
        return step(lambda ws: obvious_synthesis(generator, ws))

    bare = bare_convolutions(generator, 1)
    got, wanted = ours(), obvious()
    assert (got - wanted).norm() <= 2e-3 * wanted.norm()

    runs: dict[str, Callable[[], object]] = {"ours": ours, "obvious": obvious, "bare": bare}
    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def one_round() -> None:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)

    benchmark.pedantic(one_round, rounds=ROUNDS)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {
        **{f"{name}_ms": round(1000 * value, 1) for name, value in median.items()},
        "ours_to_obvious": round(median["ours"] / median["obvious"], 3),
        "ours_to_bare": round(median["ours"] / median["bare"], 3),
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info.update(figures)
    print(f"\nW+ step, configuration {configuration}: {figures}")  # noqa: T201  the figures are the result
