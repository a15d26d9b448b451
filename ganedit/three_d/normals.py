"""Normals of the surface that a depth picture shows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.three_d.cameras import camera_rays


def depth_normals(depth: Tensor, label: Tensor) -> Tensor:
    """Return unit normals in the camera's axes: x right, y up, z towards the camera.

    They are those of the surface through the points to the left and right, above and below.

    Args:
        depth: Distance along the ray in world units, [N, 1, r, r]; 0 where it is unknown.
        label: Cameras, [N, 25].

    Returns:
        [N, 3, r, r]; flat, (0, 0, 1), where the depth of a point or of a neighbour is unknown.
    """
    side = depth.shape[-1]
    origins, directions = camera_rays(label, side)
    points = origins + depth.flatten(1)[..., None] * directions  # [N, r*r, 3]
    rotation = label[:, :16].reshape(-1, 4, 4)[:, :3, :3]
    flip = depth.new_tensor([1.0, -1.0, -1.0])  # from OpenCV's axes to y up, z backwards
    local = (points - origins) @ rotation * flip
    grid = local.mT.unflatten(2, (side, side))  # [N, 3, r, r]
    wide = F.pad(grid, (1, 1, 1, 1), mode="replicate")
    right = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]
    up = wide[:, :, :-2, 1:-1] - wide[:, :, 2:, 1:-1]
    normals = F.normalize(torch.linalg.cross(right, up, dim=1), dim=1)
    known = (depth > 0).to(depth.dtype)
    around = -F.max_pool2d(-F.pad(known, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    flat = depth.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    return torch.where(around > 0, normals, flat)
