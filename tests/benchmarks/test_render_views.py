"""Rendering of tri-planes at EG3D's settings for FFHQ, beside the straightforward implementation.

That one is written from the paper: `grid_sample` on the planes, the decoder with torch's softplus,
densities and colours of both passes sorted along the rays, all rays at once. Both run alternately
and the processor's time of this process is counted, so that the ratios survive a busy machine. Run
with `OMP_NUM_THREADS=1 pytest tests/benchmarks/test_render_views.py --benchmark-only -s`;
docs/performance.md holds the figures.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.memory import keep_memory
from ganedit.ops.triplane_sample import channels_last
from ganedit.three_d.cameras import camera_label, camera_rays, look_at_pose
from tests.memory import peak_kilobytes

ROUNDS = 5
SAMPLES = 48  # in each of the two passes
RAYS = 64  # along a side

keep_memory()  # as the command line does: otherwise page faults hide the arithmetic


@cache
def make_generator() -> TriPlaneGenerator:
    """EG3D's for FFHQ without super-resolution, which is the same for both."""
    torch.manual_seed(0)
    return TriPlaneGenerator(img_resolution=64, sr_channels=[]).eval().requires_grad_(False)


def make_planes() -> Tensor:
    """Planes in the order of memory in which the generator gives them."""
    return channels_last(
        torch.randn(1, 3, 32, 256, 256, generator=torch.Generator().manual_seed(0))
    )


def cameras(count: int) -> Tensor:
    yaw = torch.linspace(-0.4, 0.4, count + 1)[1:]
    return camera_label(look_at_pose(yaw, yaw / 2, radius=2.7, pivot=[0, 0, 0.2]), focal=4.2647)


def naive(generator: TriPlaneGenerator, planes: Tensor, camera: Tensor) -> Tensor:
    """Return what rays see, [N, R, C]."""
    first, _, last = generator.decoder.net
    origins, directions = camera_rays(camera, RAYS)

    def sample(depths: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
        x, y, z = (2 * points.flatten(1, 2)).unbind(-1)  # the box's side is 1
        places = torch.stack([torch.stack(ab, -1) for ab in ((x, y), (x, z), (z, x))], 1)
        found = F.grid_sample(
            planes.flatten(0, 1), places.flatten(0, 1)[:, None], align_corners=False
        )  # [N * 3, C, 1, P]
        features = found.view(len(points), 3, -1, places.shape[2]).mean(1).mT
        hidden = F.softplus(F.linear(features, first.weight * first.weight_gain, first.bias))
        out = F.linear(hidden, last.weight * last.weight_gain, last.bias)
        out = out.view(*depths.shape, -1)
        return out[..., :1], out[..., 1:].sigmoid() * 1.002 - 0.001

    def march(densities: Tensor, depths: Tensor) -> Tensor:
        lengths = (depths[:, :, 1:] - depths[:, :, :-1])[..., None]
        middles = F.softplus((densities[:, :, 1:] + densities[:, :, :-1]) / 2 - 1)
        alpha = 1 - torch.exp(-middles * lengths)
        passed = torch.cat([torch.ones_like(alpha[:, :, :1]), 1 - alpha + 1e-10], 2)
        return alpha * passed.cumprod(2)[:, :, :-1]

    @torch.no_grad()
    def importance(depths: Tensor, weights: Tensor) -> Tensor:
        weights = F.max_pool1d(weights[..., 0], 2, 1, padding=1)
        weights = F.avg_pool1d(weights, 2, 1)[..., 1:-1] + 0.01 + 1e-5
        shares = weights / weights.sum(-1, keepdim=True)
        edges = F.pad(shares.cumsum(-1), (1, 0))
        middles = (depths[..., 1:] + depths[..., :-1]) / 2
        u = ((torch.arange(SAMPLES) + 0.5) / SAMPLES).expand(*depths.shape[:2], -1).contiguous()
        above = torch.searchsorted(edges, u, right=True).clamp(max=edges.shape[-1] - 1)
        below = (above - 1).clamp(min=0)
        low, high = edges.gather(-1, below), edges.gather(-1, above)
        near, far = middles.gather(-1, below), middles.gather(-1, above)
        width = high - low
        return near + (u - low) / torch.where(width < 1e-5, 1.0, width) * (far - near)

    step = (3.3 - 2.25) / (SAMPLES - 1)
    depths = (torch.linspace(2.25, 3.3, SAMPLES) + step / 2).expand(*origins.shape[:2], -1)
    densities, colours = sample(depths)
    finer = importance(depths, march(densities, depths))
    more_densities, more_colours = sample(finer)
    depths, order = torch.cat([depths, finer], -1).sort(-1)
    densities = torch.cat([densities, more_densities], 2).gather(2, order[..., None])
    colours = torch.cat([colours, more_colours], 2)
    colours = colours.gather(2, order[..., None].expand_as(colours))
    weights = march(densities, depths)
    return (weights * (colours[:, :, 1:] + colours[:, :, :-1]) / 2).sum(2)


def raw_picture(features: Tensor) -> Tensor:
    return (features[..., :3] * 2 - 1).mT.unflatten(2, (RAYS, RAYS))


def compare(benchmark: Any, title: str, runs: dict[str, Callable[[], object]]) -> None:
    """Run alternately, and report the least seconds of each and the ratio of the first two."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def one_round() -> None:
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    best = {name: min(values[1:]) for name, values in seconds.items()}
    ours, other = best
    figures = {
        **{f"{name}_ms": round(1000 * value, 1) for name, value in best.items()},
        f"{ours}_to_{other}": round(best[ours] / best[other], 3),
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info.update(figures)
    print(f"\n{title}: {figures}")  # noqa: T201  the figures are the result


def test_one_view(benchmark: Any) -> None:
    generator, planes, camera = make_generator(), make_planes(), cameras(1)
    ws = torch.zeros(1, generator.num_ws, 512)

    @torch.no_grad()
    def ours() -> Tensor:
        return generator.render(planes, ws, camera).raw

    @torch.no_grad()
    def other() -> Tensor:
        return raw_picture(naive(generator, usual, camera))

    usual = planes.contiguous()
    assert (ours() - other()).abs().max() < 2e-5
    compare(benchmark, "one view", {"ours": ours, "naive": other})


def test_one_view_and_its_gradient(benchmark: Any) -> None:
    generator, planes, camera = make_generator(), make_planes().requires_grad_(), cameras(1)
    ws = torch.zeros(1, generator.num_ws, 512)
    target = torch.randn(1, 3, RAYS, RAYS)

    def gradient(raw: Tensor) -> Tensor:
        return torch.autograd.grad((raw - target).square().sum(), planes)[0]

    def ours() -> Tensor:
        return gradient(generator.render(planes, ws, camera).raw)

    def other() -> Tensor:
        return gradient(raw_picture(naive(generator, planes, camera)))

    got, wanted = ours(), other()
    assert (got - wanted).norm() < 1e-4 * wanted.norm()
    compare(benchmark, "one view and the planes' gradient", {"ours": ours, "naive": other})


def test_sixteen_views_of_a_latent(benchmark: Any) -> None:
    generator, around = make_generator(), cameras(16)
    ws = generator.map(torch.randn(1, 512))

    @torch.no_grad()
    def once() -> None:
        planes = generator.planes(ws)
        for camera in around.split(1):
            generator.render(planes, ws, camera)

    @torch.no_grad()
    def anew() -> None:
        for camera in around.split(1):
            generator.render(generator.planes(ws), ws, camera)

    compare(benchmark, "16 views of a latent", {"once": once, "anew": anew})


@pytest.mark.parametrize("side", [128, 256, 512])
def test_peak_memory(benchmark: Any, side: int) -> None:
    """What rendering adds to a process that has generator and planes, at a bound of 256 MiB."""
    command = [sys.executable, "-m", "tests.benchmarks.test_render_views", str(side)]

    def measure() -> int:
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(output) // 1024

    added = benchmark.pedantic(measure, rounds=1)
    print(f"\n{side} x {side} rays in 256 MiB: {added} MiB added")  # noqa: T201  the figure is the result
    assert added <= 256


if __name__ == "__main__":
    with torch.no_grad():
        generator, planes = make_generator(), make_planes()
        ws = torch.zeros(1, generator.num_ws, 512)
        generator.render(planes, ws, cameras(1), resolution=8)
        before = peak_kilobytes()
        generator.render(planes, ws, cameras(1), resolution=int(sys.argv[1]), max_memory=2**28)
        print(peak_kilobytes() - before)  # noqa: T201  the test reads it
