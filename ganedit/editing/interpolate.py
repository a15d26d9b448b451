"""Between latents: weighted combinations, and paths that pass through them."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.latents import Latent

Mode = Literal["lerp", "slerp"]
Easing = Literal["linear", "smooth", "smoother", "in", "out"]

_NEARLY_PARALLEL = 1e-4  # radians from 0 or pi; nearer, the great circle is not defined


def lerp(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    """Return the point at ``t`` on the line; 0 and 1 give the ends to the bit.

    Args:
        start: Any shape.
        end: Of the same shape.
        t: In [0, 1]; a tensor broadcasts against the ends.
    """
    t = torch.as_tensor(t, dtype=start.dtype, device=start.device)
    return _exact_ends(start, end, t, start * (1 - t) + end * t)


def slerp(start: Tensor, end: Tensor, t: Tensor | float, *, centre: Tensor | None = None) -> Tensor:
    """Return the point at ``t`` on the arc of constant angular speed; 0 and 1 give the ends.

    Each vector along the last axis turns on its great circle (Shoemake 1985) while its length
    changes linearly. Where the ends are parallel or opposite this is `lerp`.

    Args:
        start: [..., D].
        end: Of the same shape.
        t: In [0, 1]; a tensor broadcasts against the ends, with 1 in the last place.
        centre: Origin of the angles, broadcastable to ``start``; zero by default. A generator's
            ``w_avg`` is the natural one for w.
    """
    t = torch.as_tensor(t, dtype=start.dtype, device=start.device)
    centre = start.new_zeros(()) if centre is None else centre
    a, b = (start - centre).double(), (end - centre).double()
    length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    cosine = (a * b).sum(-1, keepdim=True) / (length_a * length_b).clamp_min(1e-300)
    omega = cosine.clamp(-1, 1).acos()
    line = lerp(start, end, t)
    straight = (omega < _NEARLY_PARALLEL) | (omega > math.pi - _NEARLY_PARALLEL)
    straight = straight | (length_a == 0) | (length_b == 0)
    sine = torch.where(straight, 1.0, omega.sin())
    direction = (((1 - t) * omega).sin() / sine) * (a / length_a.clamp_min(1e-300)) + (
        (t * omega).sin() / sine
    ) * (b / length_b.clamp_min(1e-300))
    arc = (direction * ((1 - t) * length_a + t * length_b)).to(start.dtype) + centre
    return _exact_ends(start, end, t, torch.where(straight, line, arc))


def _exact_ends(start: Tensor, end: Tensor, t: Tensor, between: Tensor) -> Tensor:
    return torch.where(t == 0, start, torch.where(t == 1, end, between))


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


def key_latents(latents: Sequence[Latent]) -> list[Latent]:
    """Return every row of every latent, after checking that they belong together.

    Raises:
        GaneditError: Fewer than two rows, other shapes, or another generator.
    """
    rows = [latent.row(index) for latent in latents for index in range(len(latent))]
    if len(rows) < 2:
        raise GaneditError(f"two or more latents are needed, got {len(rows)}")
    first = rows[0]
    for row in rows[1:]:
        if row.ws.shape != first.ws.shape:
            raise GaneditError(
                f"latents of different shapes: {_name(first)} is {_shape(first)}, "
                f"{_name(row)} is {_shape(row)}"
            )
        if row.fingerprint != first.fingerprint:
            raise GaneditError(
                f"latents of different generators: {_name(first)} is of {first.network}, "
                f"{_name(row)} of {row.network} (fingerprints differ)"
            )
    return rows


def combine(latents: Sequence[Latent], weights: Sequence[float]) -> Latent:
    """Return the weighted sum of latents, N = 1.

    A weight of 1 beside zeros returns that latent to the bit. Noise maps are combined when all
    latents carry them, at unit variance, and dropped otherwise.

    Args:
        latents: Of one generator; every row counts as one latent.
        weights: One a latent, summing to one; negative ones extrapolate.

    Raises:
        GaneditError: The weights do not sum to one, their number is wrong, or the latents do not
            belong together.
    """
    rows = key_latents(latents)
    if len(weights) != len(rows):
        raise GaneditError(f"{len(rows)} latents need {len(rows)} weights, got {len(weights)}")
    total = math.fsum(weights)
    if not (math.isfinite(total) and abs(total - 1) <= 1e-6):
        raise GaneditError(f"the weights must sum to 1, but sum to {total:g}")
    used = [(row, weight) for row, weight in zip(rows, weights, strict=True) if weight != 0]
    if len(used) == 1:
        return used[0][0]
    ws = torch.stack([row.ws.double() * weight for row, weight in used]).sum(0).float()
    return Latent(
        ws=ws,
        space=_common_space(rows),
        fingerprint=rows[0].fingerprint,
        network=rows[0].network,
        noise=_combined_noise(used),
        names=("+".join(_name(row) for row, _ in used),),
    )


def _combined_noise(used: Sequence[tuple[Latent, float]]) -> tuple[Tensor, ...] | None:
    """Return noise maps mixed by weight and brought back to unit variance."""
    maps = [row.noise for row, _ in used]
    if any(noise is None for noise in maps):
        return None
    layers = zip(*(noise for noise in maps if noise is not None), strict=True)
    result = []
    for layer in layers:
        mixed = torch.stack([m * w for m, (_, w) in zip(layer, used, strict=True)]).sum(0)
        size = torch.stack([m.square().mean() for m in layer]).mean().sqrt()
        result.append(mixed * (size / mixed.square().mean().sqrt().clamp_min(1e-12)))
    return tuple(result)


def interpolate(
    latents: Sequence[Latent],
    *,
    frames: int = 60,
    mode: Mode = "lerp",
    easing: Easing = "linear",
    loop: bool = False,
    centre: Tensor | None = None,
) -> Latent:
    """Return a path through latents, one row a frame.

    Every key latent is met exactly. Noise maps turn along when all latents carry them, keeping
    their variance, and are dropped otherwise.

    Args:
        latents: Two or more of one generator; every row counts as one key latent.
        frames: Frames from one key to the next, both included: K keys give
            (frames − 1) · (K − 1) + 1, or (frames − 1) · K with ``loop``.
        mode: ``lerp`` on lines; ``slerp`` on arcs, layer by layer.
        easing: Pace between two keys; see `ease`.
        loop: Also go from the last key back to the first.
        centre: Origin of slerp's angles, [w_dim]; see `slerp`.

    Returns:
        A latent of N frames.

    Raises:
        GaneditError: Fewer than two latents, or they do not belong together.
    """
    if frames < 2:
        raise ValueError(f"frames: expected 2 or more, got {frames}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode: expected one of {get_args(Mode)}, got {mode!r}")
    keys = key_latents(latents)
    pairs = list(zip(keys, keys[1:] + keys[:1], strict=True))[: None if loop else -1]
    pace = ease(torch.linspace(0, 1, frames), easing)[:-1]  # the next pair begins with the end
    points = [_between(a.ws, b.ws, pace, mode=mode, centre=centre) for a, b in pairs]
    if not loop:
        points.append(keys[-1].ws)
    return Latent(
        ws=torch.cat(points),
        space=_common_space(keys),
        fingerprint=keys[0].fingerprint,
        network=keys[0].network,
        noise=_noise_path(keys, pairs, pace, loop=loop),
    )


def _between(
    start: Tensor, end: Tensor, pace: Tensor, *, mode: Mode, centre: Tensor | None
) -> Tensor:
    """Return [T, num_ws, w_dim] for ends [1, num_ws, w_dim] and T values of pace."""
    t = pace.view(-1, 1, 1)
    if mode == "lerp":
        return lerp(start, end, t)
    return slerp(start, end, t, centre=None if centre is None else centre.cpu())


def _noise_path(
    keys: Sequence[Latent],
    pairs: Sequence[tuple[Latent, Latent]],
    pace: Tensor,
    *,
    loop: bool,
) -> tuple[Tensor, ...] | None:
    """Return maps [N, 1, R, R] a layer; slerp, because a lerp of noise would lose variance."""
    if any(key.noise is None for key in keys):
        return None
    t = pace.view(-1, 1)
    layers = []
    for layer in range(len(keys[0].noise or ())):
        maps = [key.noise[layer] for key in keys if key.noise is not None]
        flat = {id(key): m.flatten(1) for key, m in zip(keys, maps, strict=True)}
        parts = [slerp(flat[id(a)], flat[id(b)], t) for a, b in pairs]
        if not loop:
            parts.append(flat[id(keys[-1])])
        layers.append(torch.cat(parts).unflatten(1, maps[0].shape[1:]))
    return tuple(layers)


def _common_space(rows: Sequence[Latent]) -> Literal["w", "w+"]:
    return "w" if all(row.space == "w" for row in rows) else "w+"


def _name(latent: Latent) -> str:
    return latent.names[0] if latent.names else "a latent"


def _shape(latent: Latent) -> str:
    return f"{latent.ws.shape[1]}x{latent.ws.shape[2]}"
