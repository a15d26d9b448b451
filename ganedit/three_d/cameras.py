"""EG3D's camera convention: 25-number labels, look-at poses, samplers, rays and projection.

A label is the 4×4 camera-to-world matrix row by row, then the 3×3 intrinsics row by row, normalised
by the image size (principal point 0.5). Camera axes follow OpenCV (x right, y down, z into the
scene); in the world y is up. A camera may be rolled, and its pixels skewed: rays, projections and
mirror images follow. Source: Chan et al., Efficient Geometry-aware 3D Generative
Adversarial Networks, 2022, supplement "Camera model".
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

FFHQ_FOCAL = 4.2647  # focal length over image width, as in the FFHQ and AFHQ labels of EG3D

_LARGEST_ERROR = 1e-3  # of a rotation's dot products; labels written with four digits are closer
_LONGEST_FOCAL = 40  # image widths, a field of view of 1.4 degrees; in pixels they are longer
_LARGEST_CENTRE = 2  # image widths


def look_at_pose(
    yaw: Tensor,
    pitch: Tensor,
    *,
    radius: Tensor | float = 2.7,
    pivot: Tensor | Sequence[float] = (0, 0, 0),
) -> Tensor:
    """Camera-to-world matrices of cameras on a sphere that look at ``pivot``.

    Args:
        yaw: Horizontal angle in radians, [N]; 0 is in front, positive moves towards +x.
        pitch: Vertical angle in radians, [N]; positive moves the camera down. The height is
            linear in it (``-2 * radius * pitch / pi``), which is EG3D's sampling convention.
        radius: Distance from the world's origin (not from the pivot), in world units; [N] or one.
        pivot: The point looked at, [N, 3] or one; it does not shift the position.

    Returns:
        float32 [N, 4, 4].
    """
    vertical = (pitch + math.pi / 2).clamp(1e-5, math.pi - 1e-5)
    phi = torch.arccos(1 - 2 * vertical / math.pi)
    ball = [phi.sin() * yaw.sin(), phi.cos(), phi.sin() * yaw.cos()]
    position = torch.as_tensor(radius, device=yaw.device)[..., None] * torch.stack(ball, dim=-1)
    target = torch.as_tensor(pivot, dtype=position.dtype, device=yaw.device)
    forward = torch.nn.functional.normalize(target - position, dim=-1)  # [N, 3]
    up = position.new_tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = -torch.nn.functional.normalize(torch.linalg.cross(up, forward), dim=-1)
    down = torch.linalg.cross(forward, right)
    pose = torch.eye(4, device=yaw.device).repeat(len(yaw), 1, 1)
    pose[:, :3, :3] = torch.stack([right, down, forward], dim=-1)
    pose[:, :3, 3] = position
    return pose


def sample_cameras(
    count: int,
    *,
    yaw_spread: float,
    pitch_spread: float,
    radius: float,
    pivot: Sequence[float],
    focal: float,
    distribution: Literal["gaussian", "uniform"] = "gaussian",
    yaw: float = 0.0,
    pitch: float = 0.0,
    stream: torch.Generator | None = None,
) -> Tensor:
    """Draw cameras on a sphere that look at ``pivot``, as EG3D's samplers do.

    Args:
        count: Number of cameras.
        yaw_spread: Standard deviation (``gaussian``) or largest distance (``uniform``) of the
            horizontal angle from its mean, in radians.
        pitch_spread: The same of the vertical angle; beyond a pole, a camera stays at the pole.
        radius: Distance from the world's origin.
        pivot: The point looked at.
        focal: Focal length over image width.
        distribution: Of both angles, drawn independently.
        yaw: Mean horizontal angle, see `look_at_pose`.
        pitch: Mean vertical angle.
        stream: Of random numbers on the CPU; None is torch's own.

    Returns:
        Labels, float32 [count, 25].

    Raises:
        ValueError: A spread is negative or no number, or the distribution is unknown.
    """
    for name, spread in (("yaw_spread", yaw_spread), ("pitch_spread", pitch_spread)):
        if not 0 <= spread < math.inf:
            raise ValueError(f"{name}: expected a number from 0, got {spread}")
    if distribution == "gaussian":
        moves = torch.randn(2, count, generator=stream)
    elif distribution == "uniform":
        moves = torch.rand(2, count, generator=stream) * 2 - 1
    else:
        raise ValueError(f"distribution: expected gaussian or uniform, got {distribution!r}")
    pose = look_at_pose(
        yaw + yaw_spread * moves[0], pitch + pitch_spread * moves[1], radius=radius, pivot=pivot
    )
    return camera_label(pose, focal=focal)


def focal_of_fov(degrees: float) -> float:
    """Return the focal length over image width of a field of view, by EG3D's own formula.

    It measures the angle across the picture's diagonal, with 1.414 for the root of two: 18.837
    degrees are 4.2634, of which the horizontal angle is 13.4 degrees.

    Raises:
        ValueError: The angle is not between 0 and 180.
    """
    if not 0 < degrees < 180:
        raise ValueError(f"degrees: expected a field of view between 0 and 180, got {degrees}")
    return 1 / (math.tan(degrees * math.pi / 360) * 1.414)


def camera_label(pose: Tensor, *, focal: float = FFHQ_FOCAL) -> Tensor:
    """Labels [N, 25] of camera-to-world matrices [N, 4, 4] with a square pixel and this focal."""
    intrinsics = pose.new_tensor([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])
    return torch.cat([pose.flatten(1), intrinsics.expand(len(pose), 9)], dim=1)


def camera_angles(label: Tensor) -> tuple[Tensor, Tensor]:
    """Return yaw and pitch of cameras in radians, [N] each: the inverse of `look_at_pose`.

    They tell where the camera is, seen from the world's origin; where it looks, its roll and its
    intrinsics change nothing.

    Args:
        label: Camera labels, [N, 25].

    Raises:
        ValueError: A camera is at the origin.
    """
    x, y, z = label[:, :16].reshape(-1, 4, 4)[:, :3, 3].unbind(1)
    radius = torch.stack([x, y, z]).norm(dim=0)
    if not bool((radius > 0).all()):
        raise ValueError("label: a camera at the world's origin has no angles")
    return torch.atan2(x, z), -math.pi / 2 * (y / radius)


def check_camera(label: Tensor) -> None:
    """Check that labels, [25] or [N, 25], are cameras of EG3D's convention.

    Raises:
        ValueError: One is not, and why.
    """
    if label.ndim not in (1, 2) or label.shape[-1] != 25:
        raise ValueError(f"camera: expected 25 numbers each, got {list(label.shape)}")
    labels = label.detach().to("cpu", torch.float64).reshape(-1, 25)
    for index, one in enumerate(labels):
        problem = _pose_problem(one[:16].reshape(4, 4)) or _intrinsics_problem(one[16:])
        if not bool(one.isfinite().all()):
            problem = "holds numbers that are not finite"
        if problem:
            raise ValueError(f"camera{f' {index}' if len(labels) > 1 else ''}: {problem}")


def _pose_problem(pose: Tensor) -> str | None:
    """Say why a 4×4 matrix is no pose of a camera; None where it is one."""
    rotation, position = pose[:3, :3], pose[:3, 3]
    if not torch.allclose(pose[3], pose.new_tensor([0, 0, 0, 1]), rtol=0, atol=_LARGEST_ERROR):
        told = [round(x, 3) for x in pose[3].tolist()]
        return f"expected 0, 0, 0, 1 as the last row of camera-to-world, got {told}; transposed?"
    identity = torch.eye(3, dtype=pose.dtype)
    if not torch.allclose(rotation @ rotation.mT, identity, rtol=0, atol=_LARGEST_ERROR):
        return "its rotation is none: the rows are not of length 1 and at right angles"
    if torch.linalg.det(rotation) < 0:
        return (
            "its rotation is a mirror image; EG3D's axes are x right, y down, z into the scene (of"
            " y up, z into the scene, negate the second column)"
        )
    # The volume is at the origin; cameras beside it, or in it, may look past it.
    if position.norm() > 0 and rotation[:, 2] @ position > position.norm() / 2:
        return (
            "it looks away from the world's origin, as OpenGL's and NeRF's do, with y up and z"
            " backwards; negate the second and the third column of camera-to-world"
        )
    return None


def _intrinsics_problem(intrinsics: Tensor) -> str | None:
    """Say why nine numbers are no normalised intrinsics; None where they are."""
    fx, _, cx, lower, fy, cy, *last = intrinsics.tolist()
    if [lower, *last] != [0, 0, 0, 1]:
        return "expected intrinsics fx, skew, cx, 0, fy, cy, 0, 0, 1, got other zeros and ones"
    if max(abs(fx), abs(fy)) > _LONGEST_FOCAL or max(abs(cx), abs(cy)) > _LARGEST_CENTRE:
        return (
            f"focal length {fx:.6g} and centre {cx:.6g} are in pixels; divide the first two rows of"
            " the intrinsics by the image's size"
        )
    if not min(fx, fy) > 0:
        return f"expected positive focal lengths, got {fx:.6g} and {fy:.6g}"
    return None


def mirror_camera(label: Tensor) -> Tensor:
    """Return the labels [N, 25] of pictures flipped left to right, of the world mirrored in x."""
    pose, k = label[:, :16].reshape(-1, 4, 4), label[:, 16:].reshape(-1, 3, 3)
    # The world's x and the camera's x both change their sign.
    flip = label.new_tensor([-1.0, 1.0, 1.0, 1.0])
    pose = flip[:, None] * pose * flip
    k = k.clone()
    k[:, 0, 1] *= -1
    k[:, 0, 2] = 1 - k[:, 0, 2]
    return torch.cat([pose.flatten(1), k.flatten(1)], dim=1)


def camera_rays(label: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centres, row by row.

    Args:
        label: Camera labels, [N, 25].
        resolution: Pixels along each side.

    Returns:
        Origins and unit directions in the world, each [N, resolution², 3].
    """
    pose, k = label[:, :16].reshape(-1, 4, 4), label[:, 16:].reshape(-1, 3, 3)
    centres = (torch.arange(resolution, device=label.device, dtype=label.dtype) + 0.5) / resolution
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    u, v = u.reshape(1, -1), v.reshape(1, -1)  # [1, H*W]
    fx, fy, cx, cy, skew = (k[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    local = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # [N, H*W, 3]
    directions = torch.nn.functional.normalize(local @ pose[:, :3, :3].mT, dim=-1)
    return pose[:, None, :3, 3].expand_as(directions), directions


def project_points(label: Tensor, points: Tensor) -> Tensor:
    """Where world points [N, P, 3] fall in the image, [N, P, 2] as (x, y) in 0..1 of its side."""
    pose, k = label[:, :16].reshape(-1, 4, 4), label[:, 16:].reshape(-1, 3, 3)
    local = (points - pose[:, None, :3, 3]) @ pose[:, :3, :3]  # [N, P, 3]
    image = local @ k.mT
    return image[..., :2] / image[..., 2:]
