"""Rendering of a tri-plane volume: depth samples in two passes, and what rays gather from them.

Source: Chan et al., Efficient Geometry-aware 3D Generative Adversarial Networks, 2022, section 4.1,
and its supplement; Mildenhall et al., NeRF, 2020, section 5.2 (importance sampling).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ganedit.errors import GaneditError
from ganedit.ops.composite import Gathered, composite, ray_weights

Decode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""World points [N, P, 3] to densities [N, P] (before the softplus) and features [N, P, C]."""

_SMALLEST_WEIGHT = 0.01  # so that no part of a ray is left unseen by the second pass
_SMALLEST_SHARE = 1e-5  # of the distribution; smaller bins are not divided by


@dataclass(frozen=True)
class RayOptions:
    """Where rays are sampled.

    Attributes:
        start: Depth of the first sample in world units, or ``auto``: where the ray enters the box.
        end: Depth of the last one, or ``auto``.
        coarse: Samples of the first pass, at least 4.
        fine: Samples of the second pass; 0 leaves it out.
        box_size: Side of the box in world units.
        disparity: Space the first samples evenly in inverse depth.
    """

    start: float | Literal["auto"]
    end: float | Literal["auto"]
    coarse: int
    fine: int
    box_size: float
    disparity: bool = False

    def with_samples(self, coarse: int, fine: int) -> "RayOptions":
        """Return the same with other numbers of samples."""
        return replace(self, coarse=coarse, fine=fine)


@dataclass(frozen=True, eq=False)
class Draws:
    """The numbers in 0..1 that place the samples; the original draws them anew every time.

    Attributes:
        jitter: How far each coarse sample is moved, in intervals: a number, or [N, R, coarse].
        importance: Where each fine sample falls in the distribution of the weights: [fine] for all
            rays, or [N, R, fine]; None is evenly spaced, ``(i + 0.5) / fine``.
    """

    jitter: Tensor | float = 0.5
    importance: Tensor | None = None

    def part(self, *, pictures: slice = slice(None), rays: slice = slice(None)) -> "Draws":
        """Return the numbers of some pictures or rays."""

        def of(numbers: Tensor) -> Tensor:
            if numbers.ndim < 3:  # for all rays
                return numbers
            return numbers[pictures if len(numbers) > 1 else slice(None), rays]

        jitter = of(self.jitter) if isinstance(self.jitter, Tensor) else self.jitter
        return Draws(jitter, None if self.importance is None else of(self.importance))


def random_draws(batch: int, rays: int, options: RayOptions, device: torch.device) -> Draws:
    """Draw the numbers as the original does, from torch's generator."""
    return Draws(
        jitter=torch.rand(batch, rays, options.coarse, device=device),
        importance=torch.rand(batch, rays, options.fine, device=device),
    )


def rays_at_once(
    rays: int,
    options: RayOptions,
    *,
    ray_bytes: int,
    sample_bytes: int,
    max_memory: int,
    taken: int = 0,
) -> int:
    """Return how many rays may be sampled together.

    Args:
        rays: Of all pictures.
        options: How many samples each has.
        ray_bytes: What each ray takes as long as the others are rendered.
        sample_bytes: What each sample takes while its ray is rendered.
        max_memory: Bytes for all.
        taken: Bytes that something else takes meanwhile.

    Raises:
        GaneditError: Not even one ray fits.
    """
    held = taken + rays * ray_bytes
    each = (options.coarse + options.fine) * sample_bytes
    if max_memory < held + each:
        raise GaneditError(
            f"{rays} rays of {options.coarse} + {options.fine} samples do not fit into"
            f" {_size(max_memory)}; allow at least {_size(held + each)} or render at a lower"
            " resolution"
        )
    return min(rays, (max_memory - held) // each)


def _size(count: int) -> str:
    """Return bytes as a text such as ``4.1GB``, of 1024 each and rounded up."""
    power = next(p for p in (3, 2, 1, 0) if count >= 1024**p or p == 0)
    tenths = -(-count * 10 // 1024**power)
    return f"{tenths / 10:g}{('B', 'KB', 'MB', 'GB')[power]}"


def render_rays(
    decode: Decode,
    origins: Tensor,
    directions: Tensor,
    options: RayOptions,
    *,
    draws: Draws | None = None,
    at_once: int | None = None,
) -> Gathered:
    """Return what rays see.

    Args:
        decode: The volume.
        origins: Of the rays in the world, [N, R, 3].
        directions: Unit vectors, [N, R, 3].
        options: Where to sample.
        draws: Where in the intervals; None is the middle, which is deterministic.
        at_once: Rays of each picture that are sampled together; None is all. Fewer take less
            memory and give the same up to rounding. Where it is given and gradients are recorded,
            what lies between rays and results is not kept but computed anew in the backward pass.

    Returns:
        What they gather, [N, R, ...], in world units. The depth of a ray that nothing stops is that
        of the picture's farthest sample.
    """
    draws = Draws() if draws is None else draws
    start, end = ray_limits(origins, directions, options)
    count = origins.shape[1]
    again = at_once is not None and torch.is_grad_enabled()
    at_once = max(count, 1) if at_once is None else at_once
    parts = []
    for first in range(0, max(count, 1), at_once):
        rays = slice(first, first + at_once)
        march = partial(_march, decode, options=options, draws=draws.part(rays=rays))
        ends = [x[:, rays] for x in (origins, directions, start, end)]
        # Again: nothing is kept for the backward pass but what is given.
        parts.append(
            checkpoint(march, *ends, use_reentrant=False, preserve_rng_state=False)
            if again
            else march(*ends)
        )
    *seen, nearest, farthest = (torch.cat(x, 1) for x in zip(*parts, strict=True))
    found = Gathered(*seen)
    depth = found.depth.nan_to_num(nan=torch.inf)
    depth = depth.maximum(nearest.amin(1, keepdim=True)).minimum(farthest.amax(1, keepdim=True))
    return found._replace(depth=depth)


def _march(
    decode: Decode,
    origins: Tensor,
    directions: Tensor,
    start: Tensor,
    end: Tensor,
    *,
    options: RayOptions,
    draws: Draws,
) -> tuple[Tensor, ...]:
    """Return what rays see, and the depths of the nearest and the farthest sample, [N, 1]."""
    depths = coarse_depths(start, end, options, draws.jitter)  # [N, R, S]
    densities, *features = _sampled(decode, origins, directions, depths)
    if options.fine:
        with torch.no_grad():
            weights = ray_weights(densities, depths)
            finer = fine_depths(depths, weights, options.fine, draws.importance)
        more_densities, more_features = _sampled(decode, origins, directions, finer)
        depths = torch.cat([depths, finer], dim=-1)
        densities = torch.cat([densities, more_densities], dim=-1)
        features.append(more_features)
    seen = composite(features, densities, depths)
    depths = depths.flatten(1)
    return *seen, depths.amin(1, keepdim=True), depths.amax(1, keepdim=True)


def _sampled(
    decode: Decode, origins: Tensor, directions: Tensor, depths: Tensor
) -> tuple[Tensor, Tensor]:
    # Coordinate by coordinate, as the sampler wants them.
    points = torch.addcmul(
        origins.permute(2, 0, 1)[..., None], directions.permute(2, 0, 1)[..., None], depths
    )  # [3, N, R, S]
    densities, features = decode(points.flatten(2).permute(1, 2, 0))
    return densities.view(depths.shape), features.view(*depths.shape, -1)


def ray_limits(origins: Tensor, directions: Tensor, options: RayOptions) -> tuple[Tensor, Tensor]:
    """Return the depths between which rays are sampled, [N, R, 1] each.

    With ``auto``, rays that miss the box take, of the rays of their picture that hit it, the
    smallest entry as their start and the largest entry as their end, as the original does.
    """
    if options.start != "auto" and options.end != "auto":
        like = origins[..., :1]
        return torch.full_like(like, options.start), torch.full_like(like, options.end)
    entry, leave = box_limits(origins, directions, options.box_size)
    hit = leave > entry
    none = entry.new_tensor(0.0)
    first = torch.where(hit, entry, torch.inf).amin(dim=1, keepdim=True)
    last = torch.where(hit, entry, -torch.inf).amax(dim=1, keepdim=True)
    first, last = (torch.where(limit.isfinite(), limit, none) for limit in (first, last))
    return torch.where(hit, entry, first), torch.where(hit, leave, last)


def box_limits(origins: Tensor, directions: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave the box, [N, R, 1] each; those that miss leave first.

    Args:
        origins: Of the rays in the world, [N, R, 3].
        directions: Unit vectors, [N, R, 3].
        size: Side of the box around the world's origin.
    """
    near, far = ((side * size / 2 - origins) / directions for side in (-1, 1))
    entry = torch.minimum(near, far).amax(dim=-1, keepdim=True)
    return entry, torch.maximum(near, far).amin(dim=-1, keepdim=True)


def coarse_depths(
    start: Tensor, end: Tensor, options: RayOptions, jitter: Tensor | float
) -> Tensor:
    """Return the depths of the first pass, [N, R, coarse].

    Args:
        start: Of the rays, [N, R, 1].
        end: Of the rays, [N, R, 1].
        options: Number and spacing.
        jitter: Moves each sample by this part of an interval, 0..1.
    """
    steps = torch.linspace(0, 1, options.coarse, device=start.device, dtype=start.dtype)
    if options.disparity:
        steps = steps + jitter / (options.coarse - 1)
        return 1 / (1 / start * (1 - steps) + 1 / end * steps)
    return start + (end - start) * steps + jitter * ((end - start) / (options.coarse - 1))


def fine_depths(depths: Tensor, weights: Tensor, count: int, draws: Tensor | None) -> Tensor:
    """Return the depths of the second pass, [N, R, count]: more where more light was stopped.

    Args:
        depths: Of the first pass, ascending, [N, R, S].
        weights: Of its intervals, [N, R, S - 1].
        count: Samples of a ray.
        draws: In 0..1, [count] or [N, R, count]; None is evenly spaced.
    """
    shape = depths.shape[:2]
    if draws is None:
        draws = (torch.arange(count, device=depths.device, dtype=depths.dtype) + 0.5) / count
    wide = F.avg_pool1d(F.max_pool1d(weights, 2, 1, padding=1), 2, 1)  # [N, R, S - 1]
    shares = wide[..., 1:-1] + _SMALLEST_WEIGHT + _SMALLEST_SHARE  # [N, R, S - 3]
    shares = shares / shares.sum(-1, keepdim=True)
    edges = F.pad(shares.cumsum(-1), (1, 0))  # [N, R, S - 2]
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    places = draws.expand(*shape, count).contiguous()
    above = torch.searchsorted(edges, places)
    below = (above - 1).clamp(min=0)
    above = above.clamp(max=shares.shape[-1])
    low, high = edges.gather(-1, below), edges.gather(-1, above)
    width = high - low
    share = (places - low) / torch.where(width < _SMALLEST_SHARE, 1.0, width)
    near, far = middles.gather(-1, below), middles.gather(-1, above)
    return near + share * (far - near)
