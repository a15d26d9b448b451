"""Paths of cameras around a head: angles in radians in, labels [F, 25] out.

Every camera looks at the pivot from a sphere around the world's origin, see `look_at_pose`; where
those of a generator are, its ``sphere`` says. The
circle is that of EG3D's videos (Chan et al. 2022, gen_videos.py).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganedit.three_d.cameras import camera_label, look_at_pose

Range = tuple[float, float]


def poses(
    yaw: Sequence[float] | Tensor,
    pitch: Sequence[float] | Tensor,
    *,
    radius: float,
    pivot: Sequence[float],
    focal: float,
) -> Tensor:
    """Return the labels [F, 25] of cameras at these angles.

    Args:
        yaw: In radians, [F]; positive moves the camera to +x.
        pitch: In radians, [F]; positive moves the camera down, its height is linear in it.
        radius: Distance of the cameras from the world's origin.
        pivot: Where they look.
        focal: Focal length over the picture's width.

    Raises:
        ValueError: There are no angles, or not as many of both.
    """
    horizontal, vertical = (torch.as_tensor(x, dtype=torch.float32) for x in (yaw, pitch))
    if horizontal.ndim != 1 or horizontal.shape != vertical.shape or not len(horizontal):
        raise ValueError(
            f"yaw, pitch: expected [F] each, got {list(horizontal.shape)} and"
            f" {list(vertical.shape)}"
        )
    return camera_label(look_at_pose(horizontal, vertical, radius=radius, pivot=pivot), focal=focal)


def circle(
    frames: int,
    yaw_range: Range,
    pitch_range: Range,
    *,
    radius: float,
    pivot: Sequence[float],
    focal: float,
) -> Tensor:
    """Return a closed path through all sides of the ranges, labels [F, 25].

    Yaw follows a sine and pitch a cosine, so that the first frame is at the middle yaw and the
    last pitch. The frame after the last would be the first.

    Args:
        frames: F, from 1.
        yaw_range: Least and greatest yaw in radians.
        pitch_range: Least and greatest pitch.
        radius: As in `poses`.
        pivot: As in `poses`.
        focal: As in `poses`.

    Raises:
        ValueError: No frames, or a range runs backwards or is not finite.
    """
    turn = _turn(frames)
    yaw = _along(yaw_range, turn.sin())
    pitch = _along(pitch_range, turn.cos())
    return poses(yaw, pitch, radius=radius, pivot=pivot, focal=focal)


def sweep(
    frames: int,
    yaw_range: Range,
    pitch_range: Range,
    *,
    back: bool = False,
    radius: float,
    pivot: Sequence[float],
    focal: float,
) -> Tensor:
    """Return a path from the least yaw to the greatest at the middle pitch, labels [F, 25].

    Where the yaw is a single angle, the path goes from the least pitch to the greatest. One frame
    is in the middle.

    Args:
        frames: F, from 1.
        yaw_range: Least and greatest yaw in radians.
        pitch_range: Least and greatest pitch.
        back: Go there and back, slow at both ends; the frame after the last would be the first.
            Else frames are evenly spaced, both ends included.
        radius: As in `poses`.
        pivot: As in `poses`.
        focal: As in `poses`.

    Raises:
        ValueError: No frames, or a range runs backwards or is not finite.
    """
    turn = _turn(frames)
    if back:
        place = -turn.cos()
    else:
        place = torch.linspace(-1, 1, frames, dtype=torch.float64) if frames > 1 else 0 * turn
    sideways = yaw_range[0] != yaw_range[1]
    yaw = _along(yaw_range, place)
    pitch = _along(pitch_range, 0 * place if sideways else place)
    return poses(yaw, pitch, radius=radius, pivot=pivot, focal=focal)


def _turn(frames: int) -> Tensor:
    """Return angles of a whole turn without its end, float64 [F]."""
    if frames < 1:
        raise ValueError(f"frames: expected 1 or more, got {frames}")
    return 2 * math.pi * torch.arange(frames, dtype=torch.float64) / frames


def _along(limits: Range, place: Tensor) -> Tensor:
    """Return where in a range the places in -1..1 are."""
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"range: expected two numbers, the smaller one first, got {limits}")
    return (low + high) / 2 + (high - low) / 2 * place
