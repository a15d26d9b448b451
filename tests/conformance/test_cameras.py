"""Look-at poses, labels and rays against EG3D's own numbers."""

from collections.abc import Callable

import pytest
import torch
from conformance_cases import Case

from ganedit.three_d import camera_rays, look_at_pose

Check = Callable[[Case, str, torch.Tensor], None]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("eg3d_cameras")


def pose(case: Case, *, at_origin: bool = False) -> torch.Tensor:
    yaw, pitch, radius, *pivot = case.inputs["cameras"].unbind(1)
    centre = torch.stack(pivot, dim=1) * (0 if at_origin else 1)
    return look_at_pose(yaw, pitch, radius=radius, pivot=centre)


def label(case: Case) -> torch.Tensor:
    return torch.cat([pose(case).flatten(1), case.inputs["intrinsics"].flatten(1)], dim=1)


def test_poses_are_those_of_the_look_at_sampler(case: Case, check: Check) -> None:
    check(case, "cam2world", pose(case))
    check(case, "cam2world_origin", pose(case, at_origin=True))


def test_labels_are_pose_then_intrinsics(case: Case, check: Check) -> None:
    check(case, "label", label(case))


def test_rays_are_those_of_the_ray_sampler(case: Case, check: Check) -> None:
    origins, directions = camera_rays(label(case), case.settings["ray_resolution"])
    check(case, "ray_origins", origins)
    check(case, "ray_directions", directions)
