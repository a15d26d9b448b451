import torch

from ganedit.three_d import camera_rays
from ganedit.three_d.normals import depth_normals
from ganedit.three_d.orbits import poses
from tests.conftest import SPHERE

RADIUS = 0.25  # of a ball around the world's origin


def see_ball(label: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth [N, 1, r, r] of a ball, 0 beside it, and its true normals in the world [N, 3, r, r]."""
    origins, directions = camera_rays(label, side)
    along = -(origins * directions).sum(-1)
    below = along.square() - origins.square().sum(-1) + RADIUS**2
    depth = torch.where(below > 0, along - below.clamp(min=0).sqrt(), 0.0)
    points = origins + depth[..., None] * directions
    normals = torch.nn.functional.normalize(points, dim=-1)
    return depth.unflatten(1, (1, side, side)), normals.mT.unflatten(2, (side, side))


def test_normals_of_a_ball_are_its_own_from_any_camera() -> None:
    label = poses([0.0, 0.6], [0.0, -0.3], **SPHERE)
    depth, truth = see_ball(label, 64)
    normals = depth_normals(depth, label)
    rotation = label[:, :16].reshape(-1, 4, 4)[:, :3, :3]
    world = torch.einsum(
        "nij,njhw->nihw", rotation, normals * torch.tensor([1, -1, -1])[:, None, None]
    )
    facing = (depth[:, 0] > 0) & (normals[:, 2] > 0.5) & (normals[:, 2] < 1)
    cosine = (world * truth).sum(1)[facing]
    assert len(cosine) > 1000
    assert cosine.min() > 0.99


def test_where_depth_is_unknown_normals_are_flat() -> None:
    label = poses([0.0], [0.0], **SPHERE)
    depth, _ = see_ball(label, 32)
    normals = depth_normals(depth, label)
    unknown = (depth == 0)[0, 0]
    assert unknown.any()
    assert normals[0, :, unknown].mT.tolist() == [[0, 0, 1]] * int(unknown.sum())
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(1, 32, 32))
