"""Perceptual path length: how evenly pictures change along paths between latents."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.statistics import batch_size
from ganedit.losses.perceptual import PerceptualDistance
from ganedit.ops import lerp, slerp
from ganedit.progress import OnStep

Space = Literal["z", "w"]
Sampling = Literal["full", "end"]

EPSILON = 1e-4
"""Step along a path that every published figure is measured with."""

_SIDE = 256  # pixels that LPIPS is measured at
_SMALLEST = {"lpips": 16, "clay": 8}  # pixels a side; below, their last map is empty


@dataclass(frozen=True, eq=False)
class PathLengths:
    """Perceptual path lengths of one space.

    Attributes:
        lengths: d(picture at t, picture at t + epsilon) / epsilon² of each pair, float64 [N].
        seconds: That measuring them took.
    """

    lengths: Tensor
    seconds: float

    @property
    def kept(self) -> Tensor:
        """The lengths from the 1st to the 99th percentile, as NVlabs' code filters them.

        Both percentiles are lengths that occur: the one below the exact place and the one above.
        Of up to 101 lengths that leaves all, of 50,000 it leaves out 499 at either end.
        """
        low, high = self._bounds()
        return self.lengths[(self.lengths >= low) & (self.lengths <= high)]

    @property
    def mean(self) -> float:
        """Mean of the kept lengths: the perceptual path length."""
        return float(self.kept.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of that trimmed mean (Tukey and McLaughlin 1963), at least two lengths.

        The deviation of all lengths, with those that were left out moved to the nearest kept one,
        divided by the share that was kept.
        """
        low, high = self._bounds()
        count = len(self.lengths)
        deviation = float(self.lengths.clamp(low, high).std())
        return deviation / (len(self.kept) / count) / count**0.5

    def _bounds(self) -> tuple[float, float]:
        ordered = self.lengths.sort().values
        last = len(ordered) - 1
        return float(ordered[last // 100]), float(ordered[-(-99 * last // 100)])


@torch.no_grad()
def path_lengths(
    generator: Generator,
    perceptual: PerceptualDistance,
    *,
    samples: int,
    spaces: Sequence[Space] = ("z", "w"),
    sampling: Sampling = "end",
    epsilon: float = EPSILON,
    crop: bool = False,
    labels: Tensor | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> dict[Space, PathLengths]:
    """Measure path lengths in z and in w, on the same random pairs (Karras et al. 2019, 4.1).

    A pair of random z is joined by an arc in z (spherical interpolation), or by a line between
    their w. The pictures at t and t + epsilon are compared, and the distance is divided by
    epsilon²: all distances of `PerceptualDistance` are weighted squared differences, as LPIPS is,
    and grow with epsilon² for small steps. Pictures keep the generator's noise maps; no truncation.

    Args:
        generator: The network.
        perceptual: On its device.
        samples: Pairs, at least 2.
        spaces: Where the paths are.
        sampling: ``full`` takes t anywhere on the path, ``end`` takes t = 0.
        epsilon: In (0, 1]. Points of the paths are made in float64 and rendered in float32.
        crop: Compare only the part of an aligned photo where the face is (rows 3/8 to 7/8, columns
            2/8 to 6/8), as StyleGAN's first figures were made.
        labels: Of a conditional generator, one a pair, [samples, c_dim].
        seed: Of the pairs. Their number and the batches change no pair.
        on_step: Called with the number of pairs done.

    Raises:
        ValueError: A setting is out of its range.
        GaneditError: The pictures are too small for the distance, or not finite.
    """
    if samples < 2 or not 0 < epsilon <= 1:  # NaN compares as false
        raise ValueError(f"expected samples >= 2 and epsilon in (0, 1], got {samples}, {epsilon}")
    _check_size(generator, perceptual, crop=crop)
    stream = torch.Generator().manual_seed(seed)
    device = generator.w_avg.device
    batch = max(1, batch_size(generator) // 2)  # both ends of a path
    found = {space: torch.zeros(samples, dtype=torch.float64) for space in spaces}
    seconds = dict.fromkeys(spaces, 0.0)
    for start in range(0, samples, batch):
        count = min(batch, samples - start)
        ends, t = _draw_pairs(generator, stream, count)
        t = t if sampling == "full" else torch.zeros_like(t)
        c = None if labels is None else labels[start : start + count].to(device)
        for space in spaces:
            began = perf_counter()
            ws = _two_points(generator, ends, t, epsilon, space=space, labels=c)
            pictures = _prepare(generator.synthesize(ws, noise="const"), crop=crop)
            # Doubles only on the CPU: not all devices have them.
            lengths = _distances(perceptual, pictures).cpu().double() / epsilon**2
            found[space][start : start + count] = lengths
            seconds[space] += perf_counter() - began
        if on_step is not None:
            on_step(start + count, samples, {x: found[x][: start + count].mean() for x in spaces})
    if not all(bool(lengths.isfinite().all()) for lengths in found.values()):
        raise GaneditError("this generator makes pictures that are not finite; nothing to measure")
    return {space: PathLengths(found[space], seconds[space]) for space in spaces}


def _check_size(generator: Generator, perceptual: PerceptualDistance, *, crop: bool) -> None:
    side = generator.img_resolution // max(1, generator.img_resolution // _SIDE)
    side = side // 8 * 4 if crop else side
    least = _SMALLEST.get(perceptual.name, 1)
    if side < least:
        raise GaneditError(
            f"{perceptual.name} compares pictures of at least {least} pixels a side, and here are"
            f" {side}; measure a larger generator" + (", or the whole pictures" if crop else "")
        )
    if generator.img_channels not in (1, 3):
        raise GaneditError(
            f"this generator's pictures have {generator.img_channels} channels; perceptual"
            " distances are for 3, or for 1"
        )


def _draw_pairs(generator: Generator, stream: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Return random z, float64 [count, 2, z_dim], and t in [0, 1), [count]."""
    ends, places = [], []
    for _ in range(count):  # one after the other: a larger draw would give other numbers
        ends.append(torch.randn(2, generator.z_dim, generator=stream))
        places.append(torch.rand((), generator=stream))
    return torch.stack(ends).double(), torch.stack(places).double()


def _two_points(
    generator: Generator,
    ends: Tensor,
    t: Tensor,
    epsilon: float,
    *,
    space: Space,
    labels: Tensor | None,
) -> Tensor:
    """Return latents at t of N paths, then those at t + epsilon, float32 [2N, num_ws, w_dim]."""
    start, end = ends.unbind(dim=1)

    def mapped(z: Tensor) -> Tensor:
        return generator.map(z.float().to(generator.w_avg.device), labels)

    if space == "z":
        return torch.cat([mapped(slerp(start, end, x[:, None])) for x in (t, t + epsilon)])
    first, last = mapped(start).cpu().double(), mapped(end).cpu().double()
    points = torch.cat([lerp(first, last, x[:, None, None]) for x in (t, t + epsilon)])
    return points.float().to(generator.w_avg.device)


def _prepare(images: Tensor, *, crop: bool) -> Tensor:
    """Return pictures as StyleGAN2-ADA's PyTorch code shows them to LPIPS, [N, 3, h, w].

    Its factor of reduction is that of the whole picture, cropped or not.
    """
    side = images.shape[-1]
    if crop:
        step = side // 8
        images = images[:, :, 3 * step : 7 * step, 2 * step : 6 * step]
    if side // _SIDE > 1:
        images = F.avg_pool2d(images, side // _SIDE)
    return images.expand(-1, 3, -1, -1)


def _distances(perceptual: PerceptualDistance, images: Tensor) -> Tensor:
    """Return the distance of each picture of the first half to its fellow in the second, [N]."""
    halves = [features.chunk(2) for features in perceptual.encode(images)]
    return perceptual.distance([a for a, _ in halves], [b for _, b in halves])
