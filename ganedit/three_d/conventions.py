"""Which convention cameras look like that are said to be of another one."""

from typing import Literal

import torch
from torch import Tensor

from ganedit.three_d.cameras import check_camera

_TOWARDS = 0.5  # cosine between where a camera looks and the way to the head; less is beside it
_STRAIGHT = 0.98
_STRAIGHTER = 0.99
_STILL = 0.05  # of their distance: cameras that are nearer to each other than this stand still


def check_convention(labels: Tensor, *, kind: Literal["ganedit", "transforms"]) -> None:
    """Check that cameras out of a file see the head as they should, with y up in the world.

    Args:
        labels: As they were read, [N, 25]: EG3D's, if the file is what it seems to be.
        kind: What they were in the file; see `io.camera_files`.

    Raises:
        ValueError: They are of another convention, and which one they look like.
    """
    pose = labels[:, :16].double().reshape(-1, 4, 4)
    if not bool((pose[:, 3] == pose.new_tensor([0, 0, 0, 1])).all()):
        check_camera(labels)  # says what is wrong with them; the rest needs positions
    rotation, position = pose[:, :3, :3], pose[:, :3, 3]
    if not bool(position.norm(dim=1).gt(1e-6).all()):
        raise ValueError("a camera stands at the world's origin, within the head")
    straight = _looks(rotation, position)
    if bool((straight < -_TOWARDS).all()):
        expected, found = "y up, z backwards (OpenGL's)", "y down, z into the scene (OpenCV's)"
        if kind == "ganedit":
            expected, found = found, expected
        raise ValueError(
            f"its cameras look away from the head: the axes look like {found}, where {expected} are"
            " expected; negate the second and the third column of each matrix"
        )
    inverse = -(rotation.mT @ position[..., None])[..., 0]
    spread = (position - position.mean(0)).norm(dim=1).max() / position.norm(dim=1).mean()
    from_inside = bool(_looks(rotation.mT, inverse).abs().mean() > _STRAIGHTER)
    if len(labels) > 1 and spread < _STILL and straight.abs().mean() < _STRAIGHT and from_inside:
        raise ValueError(
            "its matrices look like world-to-camera (extrinsics); camera-to-world is expected,"
            " which is their inverse"
        )
    check_camera(labels)
    upright, lying = (_stands(rotation, axis) for axis in (1, 2))
    if lying > 0.9 > upright:
        raise ValueError(
            "its world looks like Blender's, with z up; expected is y up and z out of the face:"
            " turn (x, y, z) into (x, z, -y)"
        )


def _looks(rotation: Tensor, position: Tensor) -> Tensor:
    """Return the cosine between where each camera looks and the way to the origin, [N]."""
    return -(rotation[:, :, 2] * torch.nn.functional.normalize(position, dim=1)).sum(1)


def _stands(rotation: Tensor, axis: int) -> float:
    """Return how upright cameras are on average if this axis of the world is up, -1 to 1."""
    forward, up = rotation[:, :, 2], -rotation[:, :, 1]
    wanted = -forward[:, axis : axis + 1] * forward
    wanted[:, axis] += 1  # the axis, less what runs along the view
    wanted = torch.nn.functional.normalize(wanted, dim=1, eps=1e-3)
    return float((wanted * up).sum(1).mean())
