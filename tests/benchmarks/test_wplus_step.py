"""One W+ step of FFHQ-size generators with frozen weights and noise maps optimised, on one core.

Ours is compared with two implementations of the same: the obvious one of `obvious.py`; and the
limit, which keeps nothing but the convolutions, forward and data gradient. They run interleaved,
and the processor's time of this process is counted, so that the ratios survive a busy machine. Run
with `pytest tests/benchmarks --benchmark-only -s`; docs/performance.md holds the figures.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.features.vgg import VGG16
from ganedit.generators import StyleGAN2Generator
from ganedit.generators.base import seeded_noise
from ganedit.inversion import optimize, project
from ganedit.losses import PerceptualDistance
from ganedit.losses.perceptual import lpips_distance
from ganedit.memory import keep_memory
from tests.benchmarks import obvious
from tests.memory import peak_kilobytes

ROUNDS = 5
SIZES = {256: 16384, 1024: 32768}  # channel_base of NVlabs' paper256 and of its FFHQ-1024 networks

keep_memory()  # as the command line does: otherwise page faults hide the arithmetic

Work = list[tuple[Tensor, Tensor, int]]


def make_generator(resolution: int) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(img_resolution=resolution, channel_base=SIZES[resolution])
    generator.eval().requires_grad_(False)
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.fill_(0.1)
    return generator


def make_perceptual() -> PerceptualDistance:
    """LPIPS with random weights, which take as long as trained ones."""
    heads = [torch.rand(1, width, 1, 1) / width for width in (64, 128, 256, 512, 512)]
    return lpips_distance(VGG16(), heads).requires_grad_(False)


def generator_convolutions(generator: StyleGAN2Generator, batch: int) -> Work:
    """Input, weight and upsampling of every convolution."""
    work = []
    for block in generator.synthesis.children():
        for layer in (block.conv0, block.conv1, block.torgb):
            if layer is not None:
                up = getattr(layer, "up", 1)
                side = block.resolution // up
                x = torch.randn(batch, layer.weight.shape[1], side, side)
                work.append((x, layer.weight, up))
    return work


def vgg_convolutions(vgg: VGG16, side: int) -> Work:
    work = []
    for name, index, width, _ in vgg._plan:
        if name.endswith("_1") and name != "1_1":
            side //= 2
        work.append((torch.randn(1, width, side, side), vgg.features[str(index)].weight, 1))
    return work


def bare(work: Work, dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """Every convolution with its own input, forward and data gradient, and nothing else."""
    work = [
        (x.to(dtype).contiguous(memory_format=torch.channels_last), weight.to(dtype), up)
        for x, weight, up in work
    ]

    def run() -> None:
        for x, weight, up in work:
            x = x.detach().requires_grad_()
            if up == 2:
                y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            else:
                y = F.conv2d(x, weight, padding=weight.shape[2] // 2)
            torch.autograd.grad(y, x, y.detach())

    return run


def report(benchmark: Any, title: str, seconds: dict[str, list[float]]) -> None:
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    figures = {
        **{f"{name}_ms": round(1000 * value, 1) for name, value in median.items()},
        "ours_to_obvious": round(median["ours"] / median["obvious"], 3),
        "bare_to_ours": round(median["bare"] / median["ours"], 3),
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info.update(figures)
    print(f"\n{title}: {figures}")  # noqa: T201  the figures are the result


@pytest.mark.parametrize(("resolution", "batch"), [(256, 1), (256, 4), (1024, 1)])
def test_generator_alone(benchmark: Any, resolution: int, batch: int) -> None:
    generator = make_generator(resolution)
    ws = generator.map(torch.randn(batch, 512)).contiguous().requires_grad_()
    noise = [x.requires_grad_() for x in seeded_noise(generator.noise_shapes, range(batch))]
    target = torch.randn(batch, 3, resolution, resolution)

    def step(images: Tensor) -> Tensor:
        loss = (images - target).square().mean()
        return torch.cat([x.flatten() for x in torch.autograd.grad(loss, [ws, *noise])])

    def ours() -> Tensor:
        return step(generator.synthesize(ws, noise=noise))

    def other() -> Tensor:
        return step(obvious.synthesize(generator, ws, noise))

    got, wanted = ours(), other()
    assert (got - wanted).norm() <= 1e-3 * wanted.norm()
    limit = bare(generator_convolutions(generator, batch))
    runs: dict[str, Callable[[], object]] = {"ours": ours, "obvious": other, "bare": limit}
    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def one_round() -> None:
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    report(benchmark, f"generator alone, {resolution} pixels, batch {batch}", seconds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("resolution", list(SIZES))
def test_whole_step(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, resolution: int, dtype: torch.dtype
) -> None:
    # What precedes the first step is not measured; it would take longer than all steps.
    monkeypatch.setattr(optimize, "_PROBES", 2)
    monkeypatch.setattr("ganedit.generators.statistics.SAMPLES", 100)
    generator, perceptual = make_generator(resolution), make_perceptual()
    start = generator.map(torch.randn(1, 512))
    target = torch.rand(1, 3, resolution, resolution) * 2 - 1
    noise = seeded_noise(generator.noise_shapes, [0])
    other = obvious.Projection(generator, perceptual, target, start, noise)
    vgg = vgg_convolutions(perceptual.features, 256)
    limit = bare(generator_convolutions(generator, 1) + vgg, dtype)
    seconds: dict[str, list[float]] = {"ours": [], "obvious": [], "bare": []}
    losses: dict[str, list[float]] = {"ours": [], "obvious": []}
    clock = time.process_time

    def measure() -> None:
        began = clock()

        def on_step(step: int, steps: int, values: dict[str, Tensor]) -> None:
            nonlocal began
            seconds["ours"].append(clock() - began)
            losses["ours"].append(float(values["loss"]))
            began = clock()
            losses["obvious"].append(float(other.step()))
            seconds["obvious"].append(clock() - began)
            began = clock()
            limit()
            seconds["bare"].append(clock() - began)
            began = clock()

        project(
            Network(generator, "random", "sha256:0", {}),
            target,
            perceptual=perceptual,
            initial=start,
            steps=ROUNDS + 1,
            dtype=dtype,
            on_step=on_step,
        )

    benchmark.pedantic(measure)
    # The noise maps of the two differ, hence no closer.
    assert losses["ours"][0] == pytest.approx(losses["obvious"][0], rel=0.05)
    name = str(dtype).removeprefix("torch.")
    report(benchmark, f"whole step, {resolution} pixels, {name}", seconds)


MEMORY = """
from tests.benchmarks.test_wplus_step import peak_of_a_step

peak_of_a_step({which!r}, {dtype!r})
"""


def peak_of_a_step(which: str, dtype: str) -> None:
    """Print by how many kilobytes two 1024-pixel steps raise the peak of this process."""
    torch.set_num_threads(1)
    generator, perceptual = make_generator(1024), make_perceptual()
    start = generator.map(torch.randn(1, 512))
    target = torch.rand(1, 3, 1024, 1024) * 2 - 1
    before = peak_kilobytes()
    if which == "obvious":
        noise = seeded_noise(generator.noise_shapes, [0])
        other = obvious.Projection(generator, perceptual, target, start, noise)
        for _ in range(2):
            other.step()
    else:
        project(
            Network(generator, "random", "sha256:0", {}),
            target,
            perceptual=perceptual,
            initial=start,
            steps=2,
            dtype=getattr(torch, dtype),
        )
    print(peak_kilobytes() - before)  # noqa: T201  the test reads it


def test_peak_memory_of_a_1024_pixel_step(benchmark: Any) -> None:
    peaks = {}

    def measure(which: str, dtype: str) -> int:
        script = MEMORY.format(which=which, dtype=dtype)
        run = [sys.executable, "-c", script]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        return int(done.stdout) // 1024

    peaks["obvious_mb"] = measure("obvious", "float32")
    peaks["ours_mb"] = measure("ours", "float32")
    peaks["ours_bfloat16_mb"] = benchmark.pedantic(measure, args=("ours", "bfloat16"))
    benchmark.extra_info.update(peaks)
    print(f"\npeak memory of a 1024-pixel step: {peaks}")  # noqa: T201  the figures are the result
    assert peaks["ours_mb"] <= peaks["obvious_mb"]
