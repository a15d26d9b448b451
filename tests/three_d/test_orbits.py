import math

import pytest
import torch

from ganedit.three_d import camera_angles
from ganedit.three_d.orbits import circle, poses, sweep
from tests.conftest import SPHERE

YAW, PITCH = (-0.5, 0.5), (-0.2, 0.1)


def test_a_circle_is_the_sine_of_yaw_and_the_cosine_of_pitch() -> None:
    yaw, pitch = camera_angles(circle(8, YAW, PITCH, **SPHERE))
    turn = torch.arange(8) * 2 * math.pi / 8
    torch.testing.assert_close(yaw, 0.5 * turn.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(pitch, -0.05 + 0.15 * turn.cos(), atol=1e-5, rtol=0)


def test_a_circle_ends_a_step_before_it_begins() -> None:
    labels = circle(100, YAW, PITCH, **SPHERE)
    steps = (labels.roll(-1, 0) - labels)[:, [3, 7, 11]].norm(dim=1)
    assert steps.min() > 0  # the first frame is not repeated
    assert steps[-1] <= steps.max()


def test_cameras_stand_at_the_radius_and_look_at_the_pivot() -> None:
    labels = circle(5, YAW, PITCH, radius=1.7, pivot=(0.1, 0, 0.3), focal=2.0)
    pose = labels[:, :16].reshape(-1, 4, 4)
    position, forward = pose[:, :3, 3], pose[:, :3, 2]
    torch.testing.assert_close(position.norm(dim=1), torch.full((5,), 1.7))
    towards = torch.nn.functional.normalize(torch.tensor([0.1, 0, 0.3]) - position, dim=1)
    torch.testing.assert_close(forward, towards, atol=1e-6, rtol=0)
    assert labels[:, 16].tolist() == [2.0] * 5


def test_a_sweep_goes_from_the_left_to_the_right_and_back_without_repeating_the_first() -> None:
    yaw, pitch = camera_angles(sweep(5, (-0.2, 0.4), PITCH, **SPHERE))
    torch.testing.assert_close(yaw, torch.linspace(-0.2, 0.4, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(pitch, torch.full((5,), -0.05), atol=1e-5, rtol=0)
    yaw, _ = camera_angles(sweep(6, (-0.2, 0.4), PITCH, back=True, **SPHERE))
    assert yaw[[0, 3]].tolist() == pytest.approx([-0.2, 0.4], abs=1e-5)
    assert (yaw.roll(-1) - yaw).abs().min() > 0.1
    assert len(yaw.round(decimals=4).unique()) == 4


def test_at_a_single_yaw_the_sweep_goes_down() -> None:
    yaw, pitch = camera_angles(sweep(3, (0.3, 0.3), PITCH, **SPHERE))
    assert yaw.tolist() == pytest.approx([0.3] * 3, abs=1e-5)
    assert pitch.tolist() == pytest.approx([-0.2, -0.05, 0.1], abs=1e-5)


def test_one_frame_is_the_middle() -> None:
    yaw, pitch = camera_angles(sweep(1, (-0.2, 0.4), PITCH, **SPHERE))
    assert (float(yaw), float(pitch)) == pytest.approx((0.1, -0.05), abs=1e-5)


@pytest.mark.parametrize("path", [circle, sweep])
@pytest.mark.parametrize(
    ("frames", "yaw"), [(0, YAW), (3, (0.5, -0.5)), (3, (math.nan, 1.0)), (3, (0.0, math.inf))]
)
def test_senseless_paths_are_refused(path, frames, yaw) -> None:
    with pytest.raises(ValueError, match="expected"):
        path(frames, yaw, PITCH, **SPHERE)


def test_angles_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[F\]"):
        poses([0.1, 0.2], [0.1], **SPHERE)
    with pytest.raises(ValueError, match=r"expected \[F\]"):
        poses([], [], **SPHERE)
