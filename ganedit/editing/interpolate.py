"""Between latents: weighted combinations, and paths that pass through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.editing.rows import fill_missing, key_latents, row_name, stacked_cameras
from ganedit.errors import GaneditError
from ganedit.io.latents import Alignment, Latent
from ganedit.ops import lerp, slerp
from ganedit.three_d.between import between_cameras

Mode = Literal["lerp", "slerp"]
Easing = Literal["linear", "smooth", "smoother", "in", "out"]

MAX_FRAMES = 100_000  # an hour of video at 28 frames a second

_MAX_WEIGHT = 1e6


def ease(t: Tensor, easing: Easing = "linear") -> Tensor:
    """Return ``t`` with a changed pace; 0 stays 0 and 1 stays 1.

    Args:
        t: In [0, 1].
        easing: ``linear``; ``smooth`` and ``smoother`` rest at both ends (polynomials of degree 3
            and 5); ``in`` starts slowly, ``out`` ends slowly (quadratic).
    """
    if easing == "linear":
        return t
    if easing == "smooth":
        return t * t * (3 - 2 * t)
    if easing == "smoother":
        return t**3 * (t * (t * 6 - 15) + 10)
    if easing == "in":
        return t * t
    if easing == "out":
        return t * (2 - t)
    raise ValueError(f"easing: expected one of {get_args(Easing)}, got {easing!r}")


def combine(
    latents: Sequence[Latent], weights: Sequence[float], *, network: Network | None = None
) -> Latent:
    """Return the weighted sum of latents, N = 1.

    A weight of 1 beside zeros returns that latent to the bit. Noise maps are combined at unit
    variance when a latent carries them, style offsets as the latents are. The place in a photo and
    the camera are those of the first latent that has one.

    Args:
        latents: Of one generator; every row counts as one latent.
        weights: One a latent, summing to one; negative ones extrapolate.
        network: The generator, whose own noise maps and front stand in for those of latents
            without maps and cameras; needed only when others carry some.

    Raises:
        GaneditError: A weight is not finite or beyond a million, they do not sum to one, their
            number is wrong, or the latents do not belong together.
    """
    rows = key_latents(latents)
    if len(weights) != len(rows):
        raise GaneditError(f"{len(rows)} latents need {len(rows)} weights, got {len(weights)}")
    for weight in weights:
        if not abs(weight) <= _MAX_WEIGHT:  # NaN compares as false
            raise GaneditError(
                f"weights must be numbers from {-_MAX_WEIGHT:.0f} to {_MAX_WEIGHT:.0f}, "
                f"got {weight:g}"
            )
    total = math.fsum(weights)
    if abs(total - 1) > 1e-6:
        raise GaneditError(f"the weights must sum to 1, but sum to {total:g}")
    chosen = [index for index, weight in enumerate(weights) if weight != 0]
    if len(chosen) == 1:
        return rows[chosen[0]]
    used = fill_missing([rows[index] for index in chosen], network)
    factors = [weights[index] for index in chosen]
    parts = [row.ws.double() * factor for row, factor in zip(used, factors, strict=True)]
    return Latent(
        ws=torch.stack(parts).sum(0).float(),
        space=_common_space(rows),
        fingerprint=rows[0].fingerprint,
        network=rows[0].network,
        noise=_combined_noise(used, factors),
        offsets=_combined_offsets(used, factors),
        names=("+".join(row_name(row) for row in used),),
        tuning=rows[0].tuning,
        alignment=_first_place(used),
        cameras=next((rows[i].cameras for i in chosen if rows[i].cameras is not None), None),
    )


def _combined_noise(used: Sequence[Latent], weights: Sequence[float]) -> tuple[Tensor, ...] | None:
    """Return noise maps mixed by weight and brought back to unit variance."""
    if used[0].noise is None:
        return None
    result = []
    for layer in zip(*(row.noise for row in used if row.noise is not None), strict=True):
        mixed = torch.stack([m * w for m, w in zip(layer, weights, strict=True)]).sum(0)
        size = torch.stack([m.square().mean() for m in layer]).mean().sqrt()
        result.append(mixed * (size / mixed.square().mean().sqrt().clamp_min(1e-12)))
    return tuple(result)


def _combined_offsets(
    used: Sequence[Latent], weights: Sequence[float]
) -> tuple[Tensor, ...] | None:
    """Return the weighted sums of offsets; None when the latents have none."""
    layers = zip(*(row.offsets for row in used if row.offsets is not None), strict=True)
    sums = (
        torch.stack([x.double() * w for x, w in zip(layer, weights, strict=True)]).sum(0)
        for layer in layers
    )
    return tuple(x.float() for x in sums) or None


@dataclass(frozen=True, eq=False)
class LatentPath:
    """A path through latents whose frames are computed when they are asked for.

    `plan_path` makes it. A long path, or one with large noise maps, never fills the memory.

    Attributes:
        keys: Latents of one row each, two or more, all with noise maps or none.
        pace: How far each frame between two keys is, [frames], from 0 to 1.
        mode: ``lerp`` on lines; ``slerp`` on arcs, layer by layer.
        loop: Also go from the last key back to the first.
        centre: Origin of slerp's angles, [w_dim]; see `slerp`.
    """

    keys: tuple[Latent, ...]
    pace: Tensor
    mode: Mode
    loop: bool
    centre: Tensor | None

    def __len__(self) -> int:
        """Return the number of frames."""
        steps = len(self.pace) - 1
        return steps * len(self.keys) if self.loop else steps * (len(self.keys) - 1) + 1

    def rows(self, start: int, stop: int) -> Latent:
        """Return the frames from ``start`` to before ``stop``, N = stop − start."""
        if not 0 <= start < stop <= len(self):
            raise ValueError(f"rows: expected a range in 0 to {len(self)}, got {start} to {stop}")
        steps, last = len(self.pace) - 1, len(self.keys) - (1 if self.loop else 2)
        pairs = [min(index // steps, last) for index in range(start, stop)]
        t = self.pace[
            [index - pair * steps for index, pair in zip(range(start, stop), pairs, strict=True)]
        ]
        before = [self.keys[pair] for pair in pairs]
        after = [self.keys[(pair + 1) % len(self.keys)] for pair in pairs]
        return Latent(
            ws=self._between(before, after, t),
            space=_common_space(self.keys),
            fingerprint=self.keys[0].fingerprint,
            network=self.keys[0].network,
            noise=_noise_between(before, after, t),
            offsets=_offsets_between(before, after, t),
            tuning=self.keys[0].tuning,
            alignment=_first_place(self.keys) * (stop - start),
            cameras=_cameras_between(before, after, t),
        )

    def _between(self, before: Sequence[Latent], after: Sequence[Latent], t: Tensor) -> Tensor:
        """Return [T, num_ws, w_dim] for the keys around T frames and their t."""
        start, end = (torch.cat([key.ws for key in keys]) for keys in (before, after))
        if self.mode == "lerp":
            return lerp(start, end, t.view(-1, 1, 1))
        return slerp(start, end, t.view(-1, 1, 1), centre=self.centre)


def _noise_between(
    before: Sequence[Latent], after: Sequence[Latent], t: Tensor
) -> tuple[Tensor, ...] | None:
    """Return maps [T, 1, R, R] a layer; slerp, because a lerp of noise would lose variance."""
    if before[0].noise is None:
        return None
    layers = []
    for layer, like in enumerate(before[0].noise):
        start, end = (
            torch.cat([key.noise[layer] for key in keys if key.noise is not None]).flatten(1)
            for keys in (before, after)
        )
        layers.append(slerp(start, end, t.view(-1, 1)).unflatten(1, like.shape[1:]))
    return tuple(layers)


def _offsets_between(
    before: Sequence[Latent], after: Sequence[Latent], t: Tensor
) -> tuple[Tensor, ...] | None:
    """Return offsets [T, channels] a layer; lerp, because they are distances, not points."""
    if before[0].offsets is None:
        return None
    layers = []
    for layer in range(len(before[0].offsets)):
        start, end = (
            torch.cat([key.offsets[layer] for key in keys if key.offsets is not None])
            for keys in (before, after)
        )
        layers.append(lerp(start, end, t.view(-1, 1)))
    return tuple(layers)


def _cameras_between(before: Sequence[Latent], after: Sequence[Latent], t: Tensor) -> Tensor | None:
    """Return cameras [T, 25]; None when the latents have none."""
    start, end = stacked_cameras(before), stacked_cameras(after)
    return None if start is None or end is None else between_cameras(start, end, t)


def plan_path(
    latents: Sequence[Latent],
    *,
    frames: int = 60,
    mode: Mode = "lerp",
    easing: Easing = "linear",
    loop: bool = False,
    centre: Tensor | None = None,
    network: Network | None = None,
) -> LatentPath:
    """Return a path through latents, ready to be walked; `interpolate` says what it is.

    Raises:
        GaneditError: Fewer than two latents, they do not belong together, or the path has more than
            a hundred thousand frames.
    """
    if frames < 2:
        raise ValueError(f"frames: expected 2 or more, got {frames}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode: expected one of {get_args(Mode)}, got {mode!r}")
    keys = fill_missing(key_latents(latents), network)
    pace = ease(torch.linspace(0, 1, frames), easing)
    centre = None if centre is None else centre.cpu()
    path = LatentPath(tuple(keys), pace, mode, loop, centre)
    if len(path) > MAX_FRAMES:
        raise GaneditError(
            f"a path of {len(path)} frames is too long; up to {MAX_FRAMES} are possible, so take "
            "fewer latents or fewer frames between them"
        )
    return path


def interpolate(
    latents: Sequence[Latent],
    *,
    frames: int = 60,
    mode: Mode = "lerp",
    easing: Easing = "linear",
    loop: bool = False,
    centre: Tensor | None = None,
    network: Network | None = None,
) -> Latent:
    """Return a path through latents, one row a frame.

    Every key latent is met exactly. Noise maps turn along when a latent carries them, keeping their
    variance; where latents remember cameras, the camera moves from one's to the other's. The place
    in a photo is that of the first key that has one, for all frames, so that pasted ones do not
    jump. All frames are held in memory; `plan_path` is for long paths.

    Args:
        latents: Two or more of one generator; every row counts as one key latent.
        frames: Frames from one key to the next, both included: K keys give
            (frames − 1) · (K − 1) + 1, or (frames − 1) · K with ``loop``.
        mode: ``lerp`` on lines; ``slerp`` on arcs, layer by layer.
        easing: Pace between two keys; see `ease`.
        loop: Also go from the last key back to the first.
        centre: Origin of slerp's angles, [w_dim]; see `slerp`.
        network: The generator, whose own noise maps and front stand in for those of latents
            without maps and cameras; needed only when others carry some.

    Returns:
        A latent of N frames.

    Raises:
        GaneditError: Fewer than two latents, they do not belong together, or the path has more than
            a hundred thousand frames.
    """
    path = plan_path(
        latents,
        frames=frames,
        mode=mode,
        easing=easing,
        loop=loop,
        centre=centre,
        network=network,
    )
    return path.rows(0, len(path))


def _common_space(rows: Sequence[Latent]) -> Literal["w", "w+"]:
    return "w" if all(row.space == "w" for row in rows) else "w+"


def _first_place(rows: Sequence[Latent]) -> tuple[Alignment, ...]:
    """Return where the first of the rows that came from an aligned photo belongs; () if none."""
    return next((row.alignment for row in rows if row.alignment), ())
