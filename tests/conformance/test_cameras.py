"""Cameras, rays, plane samples and ray marching against EG3D's own numbers."""

from collections.abc import Callable

import pytest
import torch
from conformance_cases import Case
from torch import Tensor

from ganedit.ops import composite, triplane_sample
from ganedit.ops.composite import ray_weights
from ganedit.three_d import (
    RayOptions,
    camera_angles,
    camera_rays,
    check_camera,
    focal_of_fov,
    look_at_pose,
)
from ganedit.three_d.volume import box_limits, coarse_depths, fine_depths

Check = Callable[[Case, str, Tensor], None]
Judged = set[str]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("eg3d_cameras")


@pytest.fixture(scope="module")
def judged(case: Case) -> Judged:
    return set()


@pytest.fixture
def compare(case: Case, check: Check, judged: Judged) -> Callable[[str, Tensor], None]:
    def note(output: str, got: Tensor) -> None:
        judged.add(output)
        check(case, output, got)

    return note


Compare = Callable[[str, Tensor], None]


def pose(case: Case, *, at_origin: bool = False) -> Tensor:
    yaw, pitch, radius, *pivot = case.inputs["cameras"].unbind(1)
    centre = torch.stack(pivot, dim=1) * (0 if at_origin else 1)
    return look_at_pose(yaw, pitch, radius=radius, pivot=centre)


def label(case: Case) -> Tensor:
    return torch.cat([pose(case).flatten(1), case.inputs["intrinsics"].flatten(1)], dim=1)


def test_poses_are_those_of_the_look_at_sampler(case: Case, compare: Compare) -> None:
    compare("cam2world", pose(case))
    compare("cam2world_origin", pose(case, at_origin=True))


def test_focal_lengths_are_those_of_the_field_of_view_helper(case: Case, compare: Compare) -> None:
    found = torch.eye(3).repeat(4, 1, 1)
    found[:, :2, 2] = 0.5
    for index, degrees in enumerate(case.inputs["fov_degrees"].tolist()):
        found[index, 0, 0] = found[index, 1, 1] = focal_of_fov(degrees)
    compare("intrinsics_from_fov", found)


def test_labels_are_pose_then_intrinsics(case: Case, compare: Compare) -> None:
    compare("label", label(case))


def test_its_labels_pass_the_check_and_tell_their_angles(case: Case) -> None:
    stored = torch.from_numpy(case.arrays["out/label"])
    check_camera(stored)
    wanted = case.inputs["cameras"][:, :2]
    turns = torch.stack(camera_angles(stored), dim=1) - wanted
    turns[:, 0] = torch.remainder(turns[:, 0] + torch.pi, 2 * torch.pi) - torch.pi
    assert float(turns.abs().max()) < 2e-6


def test_rays_are_those_of_the_ray_sampler(case: Case, compare: Compare) -> None:
    origins, directions = camera_rays(label(case), case.settings["ray_resolution"])
    compare("ray_origins", origins)
    compare("ray_directions", directions)
    for size in case.settings["box_warps"]:
        entry, leave = box_limits(origins, directions, size)
        missed = leave < entry
        compare(f"ray_near_box{size:g}", entry.masked_fill(missed, -1))
        compare(f"ray_far_box{size:g}", leave.masked_fill(missed, -2))


def apart(planes: Tensor, points: Tensor, impl: str) -> Tensor:
    """Return the samples of each plane alone, [N, 3, P, C]: the others hold other channels."""
    n, count, channels, height, width = planes.shape
    spread = planes.new_zeros(n, count, count, channels, height, width)
    for index in range(count):
        spread[:, index, index] = planes[:, index]
    sampled = triplane_sample(spread.flatten(2, 3), points, impl=impl)  # type: ignore[arg-type]  # parametrised text
    return count * sampled.unflatten(2, (count, channels)).transpose(1, 2)


@pytest.mark.parametrize("impl", ["reference", "auto"])
def test_planes_lie_and_are_sampled_as_in_the_renderer(
    impl: str, case: Case, compare: Compare
) -> None:
    points = case.inputs["points"]
    # Planes that hold their own coordinates tell where a point falls on them.
    centres = (torch.arange(64) + 0.5) / 32 - 1
    ramps = torch.stack(torch.meshgrid(centres, centres, indexing="xy"))  # across, along
    compare("plane_projection", apart(ramps.expand(1, 3, 2, 64, 64), points, impl))
    for size in case.settings["box_warps"]:
        got = apart(case.inputs["planes"], points * (2 / size), impl)
        compare(f"plane_samples_box{size:g}", got)


@pytest.mark.parametrize("impl", ["reference", "auto"])
def test_rays_gather_what_the_marcher_gathers(impl: str, case: Case, compare: Compare) -> None:
    colours = case.inputs["march_colors"]
    densities, depths = (case.inputs[f"march_{name}"][..., 0] for name in ("densities", "depths"))
    found = composite(colours, densities, depths, impl=impl)  # type: ignore[arg-type]  # parametrised text
    feature, depth, opacity, _ = found
    depth = depth.nan_to_num(nan=torch.inf).clamp(depths.min(), depths.max())
    for ground, behind in (("black", 0), ("white", 1 - opacity[..., None])):
        compare(f"march_rgb_{ground}", (feature + behind) * 2 - 1)
        compare(f"march_depth_{ground}", depth[..., None])
        compare(f"march_weights_{ground}", ray_weights(densities, depths)[..., None])


def test_samples_lie_where_the_renderers_do(case: Case, compare: Compare) -> None:
    depths = case.inputs["march_depths"][..., 0]
    weights = torch.from_numpy(case.arrays["out/march_weights_black"])[..., 0]
    places = case.inputs["importance_u"]
    fine = fine_depths(depths, weights, places.shape[-1], places[None])
    compare("importance_depths", fine[..., None])
    start, end = case.settings["ray_start"], case.settings["ray_end"]
    jitter = case.inputs["strat_jitter"][..., 0]
    for name in ("linear", "disparity"):
        options = RayOptions(start, end, jitter.shape[-1], 0, 1.0, disparity=name == "disparity")
        limits = (torch.full((1, 3, 1), limit) for limit in (start, end))
        compare(f"stratified_depths_{name}", coarse_depths(*limits, options, jitter)[..., None])


def test_every_output_was_judged(case: Case, judged: Judged) -> None:
    if judged:  # of a run of the whole file
        assert judged == set(case.outputs)
