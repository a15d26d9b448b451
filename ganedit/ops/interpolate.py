"""Points between vectors: on the line, and on the arc."""

import math

import torch
from torch import Tensor

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
