import math

import pytest
import torch
from torch import Tensor

from ganedit.three_d import (
    camera_angles,
    camera_label,
    camera_rays,
    check_camera,
    focal_of_fov,
    look_at_pose,
    mirror_camera,
    project_points,
    sample_cameras,
)
from tests.conftest import SPHERE


def cameras() -> Tensor:
    """Four cameras, of which the last is rolled and has skewed pixels off the centre."""
    yaw, pitch = torch.tensor([0.4, -0.3, 2.8, -1.0]), torch.tensor([0.1, -0.2, 0.3, 0.0])
    label = camera_label(look_at_pose(yaw, pitch, pivot=[0, 0, 0.2]))
    roll = torch.eye(4)
    roll[:2, :2] = torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    label[3, :16] = (label[3, :16].reshape(4, 4) @ roll).flatten()
    label[3, 17:19] = torch.tensor([0.3, 0.45])
    return label


def test_a_point_on_a_ray_projects_to_that_rays_pixel() -> None:
    label = cameras()
    origins, directions = camera_rays(label, 4)
    image = project_points(label, origins + 2.5 * directions)
    centres = (torch.arange(4) + 0.5) / 4
    expected = torch.cartesian_prod(centres, centres).flip(1)  # x fastest
    torch.testing.assert_close(image, expected.expand(4, 16, 2), atol=1e-5, rtol=0)


def test_positive_yaw_moves_the_camera_to_positive_x_and_positive_pitch_down() -> None:
    position = look_at_pose(torch.tensor([0.3, 0.0]), torch.tensor([0.0, 0.2]))[:, :3, 3]
    assert position[0, 0] > 0
    assert position[1, 1] < 0


def test_rotations_are_orthonormal() -> None:
    rotation = look_at_pose(torch.tensor([0.7]), torch.tensor([-0.4]))[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3)[None], atol=1e-6, rtol=0)


def test_angles_come_back_whatever_the_camera_looks_at() -> None:
    yaw = torch.linspace(-3.1, 3.1, 41)
    pitch = torch.linspace(-1.5, 1.5, 41)
    for radius, pivot in ((2.7, (0, 0, 0.2)), (0.4, (0.1, -0.3, 0))):
        found = camera_angles(camera_label(look_at_pose(yaw, pitch, radius=radius, pivot=pivot)))
        torch.testing.assert_close(torch.stack(found), torch.stack([yaw, pitch]), atol=2e-6, rtol=0)
    torch.testing.assert_close(torch.stack(camera_angles(cameras()))[:, 3], torch.tensor([-1.0, 0]))
    with pytest.raises(ValueError, match="origin has no angles"):
        camera_angles(camera_label(torch.eye(4)[None]))


def test_a_mirrored_camera_sees_the_mirrored_world_flipped() -> None:
    label, points = cameras(), torch.randn(1, 9, 3) * 0.3
    seen = project_points(label, points)
    mirrored = project_points(mirror_camera(label), points * torch.tensor([-1.0, 1.0, 1.0]))
    flipped = torch.stack([1 - seen[..., 0], seen[..., 1]], dim=-1)
    torch.testing.assert_close(mirrored, flipped, atol=1e-5, rtol=1e-5)
    check_camera(mirror_camera(label))
    torch.testing.assert_close(mirror_camera(mirror_camera(label)), label)


@pytest.mark.parametrize(
    ("distribution", "deviation", "largest"),
    [("gaussian", (0.3, 0.15), math.inf), ("uniform", (0.3 / 3**0.5, 0.15 / 3**0.5), 1.0)],
)
def test_samplers_draw_angles_of_the_asked_spread(
    distribution: str, deviation: tuple[float, float], largest: float
) -> None:
    label = sample_cameras(
        20_000,
        yaw_spread=0.3,
        pitch_spread=0.15,
        distribution=distribution,  # type: ignore[arg-type]  # parametrised text
        yaw=0.2,
        pitch=-0.1,
        **SPHERE | {"radius": 1.7},
        stream=torch.Generator().manual_seed(1),
    )
    check_camera(label[:100])
    moves = torch.stack(camera_angles(label)) - torch.tensor([[0.2], [-0.1]])
    torch.testing.assert_close(moves.std(dim=1), torch.tensor(deviation), rtol=0.03, atol=0)
    torch.testing.assert_close(moves.mean(dim=1), torch.zeros(2), rtol=0, atol=0.01)
    assert bool((moves.abs() <= torch.tensor([[0.3], [0.15]]) * largest + 1e-5).all())
    assert abs(float(torch.corrcoef(moves)[0, 1])) < 0.03
    torch.testing.assert_close(label[:, [3, 7, 11]].norm(dim=1), torch.full([20_000], 1.7))


def test_a_stream_gives_the_same_cameras_again_and_no_spread_the_mean() -> None:
    first, again = (
        sample_cameras(
            3, yaw_spread=0.3, pitch_spread=0.1, stream=torch.Generator().manual_seed(4), **SPHERE
        )
        for _ in range(2)
    )
    assert torch.equal(first, again)
    still = sample_cameras(2, yaw_spread=0, pitch_spread=0, yaw=0.4, pitch=-0.2, **SPHERE)
    pose = look_at_pose(torch.tensor([0.4]), torch.tensor([-0.2]), pivot=[0, 0, 0.2])
    torch.testing.assert_close(still, camera_label(pose).expand(2, -1))


@pytest.mark.parametrize("wrong", [{"yaw_spread": -1}, {"pitch_spread": math.nan}])
def test_spreads_are_numbers_from_zero(wrong: dict[str, float]) -> None:
    spreads = {"yaw_spread": 0.1, "pitch_spread": 0.1, **SPHERE, **wrong}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a number from 0"):
        sample_cameras(2, **spreads)
    with pytest.raises(ValueError, match="expected gaussian or uniform, got 'cauchy'"):
        sample_cameras(2, yaw_spread=0, pitch_spread=0, **SPHERE, distribution="cauchy")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("degrees", [0, 180, -3, math.nan])
def test_a_field_of_view_is_between_0_and_180(degrees: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 180"):
        focal_of_fov(degrees)


def changed(index: int | slice, value: float, *, factor: bool = False) -> Tensor:
    label = cameras()[0]
    label[index] = label[index] * value if factor else value
    return label


def opengl() -> Tensor:
    label = cameras()[0]
    label[:16].view(4, 4)[:, 1:3] *= -1
    return label


def transposed() -> Tensor:
    label = cameras()[0]
    label[:16] = label[:16].view(4, 4).T.flatten()
    return label


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (changed(5, math.nan), "not finite"),
        (changed(16, math.inf), "not finite"),
        (changed(15, 2), r"0, 0, 0, 1 as the last row .* got \[0.0, 0.0, 0.0, 2.0\]"),
        (transposed(), "transposed"),
        (changed(slice(0, 3), 1.01, factor=True), "rows are not of length 1"),
        (torch.cat([torch.zeros(15), changed(slice(0, 0), 0)[15:]]), "rows are not of length 1"),
        (changed(slice(1, 10, 4), -1, factor=True), "mirror image"),
        (opengl(), "negate the second and the third column"),
        (changed(slice(16, 22), 512, factor=True), "2183.53 and centre 256 are in pixels; divide"),
        (changed(slice(16, 21, 4), -1, factor=True), "positive focal lengths, got -4.2647"),
        (changed(24, 0), "got other zeros and ones"),
        (torch.zeros(16), r"expected 25 numbers each, got \[16\]"),
    ],
)
def test_what_is_no_camera_of_eg3d_is_told_apart(label: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_camera(label)
    assert "\n" not in str(error.value)


def test_every_camera_of_a_batch_is_checked() -> None:
    label = cameras()
    check_camera(label)
    check_camera(label[0])
    label[2, 15] = 3
    with pytest.raises(ValueError, match="camera 2: expected 0, 0, 0, 1"):
        check_camera(label)
