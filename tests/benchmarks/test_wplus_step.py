"""One W+ optimisation step of a 256-pixel FFHQ-size generator with frozen weights.

Ours is compared with two implementations of the same network: the obvious one, which modulates
the weights of every sample and runs a grouped convolution; and the limit, which keeps nothing but
the convolutions, forward and data gradient. They run interleaved, so that the ratios survive a busy
machine. Run with `pytest tests/benchmarks --benchmark-only -s`.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.generators import StyleGAN2Generator
from ganedit.generators.stylegan2 import SynthesisBlock, SynthesisLayer, ToRGB
from ganedit.memory import keep_memory
from ganedit.ops import upfirdn2d, upsample2d

ROUNDS = 5

keep_memory()  # as the command line does: otherwise page faults hide the arithmetic


def modulated_weights_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """The layer with per-sample weights, as the reference projectors run it."""
    n, height = x.shape[0], x.shape[2]
    out_channels, in_channels = layer.weight.shape[:2]
    weight = layer.weight[None] * layer.affine(w)[:, None, :, None, None]  # [NOIkk]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * in_channels, height, height)
    if layer.up == 2:
        weight = weight.transpose(1, 2).reshape(n * in_channels, out_channels, 3, 3)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        x = x.reshape(n, out_channels, 2 * height + 1, 2 * height + 1)
        x = upfirdn2d(x, layer.resample_filter, padding=1, gain=4)
    else:
        weight = weight.reshape(n * out_channels, in_channels, 3, 3)
        x = F.conv2d(x, weight, padding=1, groups=n).reshape(n, out_channels, height, height)
    x = x + layer.noise_const * layer.noise_strength
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * 2**0.5


def modulated_weights_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    n, in_channels, height, _ = x.shape
    weight = layer.weight[None] * (layer.affine(w) * layer.weight_gain)[:, None, :, None, None]
    weight = weight.reshape(n * 3, in_channels, 1, 1)
    x = F.conv2d(x.reshape(1, n * in_channels, height, height), weight, groups=n)
    return x.reshape(n, 3, height, height) + layer.bias[:, None, None]


def modulated_weights_synthesis(generator: StyleGAN2Generator, ws: Tensor) -> Tensor:
    x = image = None
    index = 0
    for block in generator.synthesis.children():
        assert isinstance(block, SynthesisBlock)
        if block.conv0 is None:
            x = block.const.expand(ws.shape[0], -1, -1, -1)
        else:
            x = modulated_weights_layer(block.conv0, x, ws[:, index])
            index += 1
        x = modulated_weights_layer(block.conv1, x, ws[:, index])
        index += 1
        rgb = modulated_weights_rgb(block.torgb, x, ws[:, index])
        image = rgb if image is None else upsample2d(image, block.resample_filter) + rgb
    return image


def bare_convolutions(generator: StyleGAN2Generator, batch: int) -> Callable[[], None]:
    """Every convolution with its own input, forward and data gradient, and nothing else."""
    work = []
    for block in generator.synthesis.children():
        for layer in (block.conv0, block.conv1, block.torgb):
            if layer is not None:
                size = block.resolution // getattr(layer, "up", 1)
                x = torch.randn(batch, layer.weight.shape[1], size, size)
                work.append((x.contiguous(memory_format=torch.channels_last), layer))

    def run() -> None:
        for x, layer in work:
            x = x.detach().requires_grad_()
            if isinstance(layer, SynthesisLayer) and layer.up == 2:
                y = F.conv_transpose2d(x, layer.weight.transpose(0, 1), stride=2)
            else:
                y = F.conv2d(x, layer.weight, padding=layer.weight.shape[2] // 2)
            torch.autograd.grad(y, x, y.detach())

    return run


@pytest.mark.parametrize("batch", [1, 4])
def test_wplus_step(benchmark: Any, batch: int) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(img_resolution=256, channel_base=16384)
    generator.eval().requires_grad_(False)
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.fill_(0.1)
    ws = generator.map(torch.randn(batch, 512)).contiguous().requires_grad_()
    target = torch.randn(batch, 3, 256, 256)

    def step(synthesis: Callable[[Tensor], Tensor]) -> Tensor:
        loss = (synthesis(ws) - target).square().mean()
        return torch.autograd.grad(loss, ws)[0]

    def ours() -> Tensor:
        return step(generator.synthesize)

    def modulated_weights() -> Tensor:
        return step(lambda ws: modulated_weights_synthesis(generator, ws))

    bare = bare_convolutions(generator, batch)
    got, wanted = ours(), modulated_weights()
    assert (got - wanted).norm() <= 1e-3 * wanted.norm()

    runs: dict[str, Callable[[], object]] = {
        "ours": ours,
        "modulated_weights": modulated_weights,
        "bare": bare,
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def one_round() -> None:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    figures = {
        **{f"{name}_ms": round(1000 * value, 1) for name, value in median.items()},
        "ours_to_modulated_weights": round(median["ours"] / median["modulated_weights"], 3),
        "ours_to_bare": round(median["ours"] / median["bare"], 3),
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info.update(figures)
    print(f"\nW+ step, batch {batch}: {figures}")  # noqa: T201  the figures are the result
