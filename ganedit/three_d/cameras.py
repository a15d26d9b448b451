"""EG3D's camera convention: 25-number labels, look-at poses, rays and projection.

A label is the 4×4 camera-to-world matrix row by row, then the 3×3 intrinsics row by row, normalised
by the image size (principal point 0.5). Camera axes follow OpenCV (x right, y down, z into the
scene); in the world y is up. Source: Chan et al., Efficient Geometry-aware 3D Generative
Adversarial Networks, 2022, supplement "Camera model".
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FFHQ_FOCAL = 4.2647  # focal length over image width, as in the FFHQ and AFHQ labels of EG3D


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


def camera_label(pose: Tensor, *, focal: float = FFHQ_FOCAL) -> Tensor:
    """Labels [N, 25] of camera-to-world matrices [N, 4, 4] with a square pixel and this focal."""
    intrinsics = pose.new_tensor([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])
    return torch.cat([pose.flatten(1), intrinsics.expand(len(pose), 9)], dim=1)


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
