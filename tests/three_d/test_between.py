import math

import torch

from ganedit.three_d import camera_angles, check_camera
from ganedit.three_d.between import between_cameras
from ganedit.three_d.orbits import poses
from tests.conftest import SPHERE


def test_the_ends_are_both_cameras():
    start = poses([0.4], [-0.3], **SPHERE)
    end = poses([-0.7], [0.2], radius=2.5, pivot=(0, 0, 0.1), focal=3.0)
    found = between_cameras(start.expand(2, -1), end.expand(2, -1), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found, torch.cat([start, end]), rtol=0, atol=1e-5)


def test_the_way_is_an_arc_of_cameras_that_look_at_the_head():
    t = torch.linspace(0, 1, 7)
    start, end = (poses([yaw] * 7, [0.0] * 7, **SPHERE) for yaw in (-0.6, 0.6))
    found = between_cameras(start, end, t)
    check_camera(found)
    yaw, pitch = camera_angles(found)
    torch.testing.assert_close(yaw, 1.2 * t - 0.6, rtol=0, atol=1e-5)
    torch.testing.assert_close(pitch, torch.zeros(7), rtol=0, atol=1e-5)
    # The middle one is in front and looks along z, as both ends' axes meet on the z axis.
    torch.testing.assert_close(found[3], poses([0.0], [0.0], **SPHERE)[0], rtol=0, atol=1e-5)


def test_a_camera_that_looks_past_the_head_keeps_looking_there():
    """Turned by 100 degrees: what is beside the origin on its axis lies behind it."""
    start = poses([0.0], [0.0], **SPHERE | {"pivot": (0, 0, 0)})
    turn = torch.eye(4)
    cosine, sine = math.cos(math.radians(100)), math.sin(math.radians(100))
    turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = cosine, sine, -sine, cosine
    past = torch.cat([(start[:, :16].view(4, 4) @ turn).view(1, 16), start[:, 16:]], dim=1)
    check_camera(past)
    t = torch.linspace(0, 1, 5)
    found = between_cameras(past.expand(5, -1), start.expand(5, -1), t)
    check_camera(found)
    torch.testing.assert_close(found[[0, -1]], torch.cat([past, start]), rtol=0, atol=1e-5)
    axis = found[:, [2, 6, 10]]  # z of the camera
    assert ((axis[1:] * axis[:-1]).sum(1) > 0.5).all()


def test_a_rolled_camera_rolls_back_on_the_way():
    start = poses([0.0], [0.0], **SPHERE)
    roll = torch.eye(4)
    roll[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter of a turn
    rolled = torch.cat([(start[:, :16].view(4, 4) @ roll).view(1, 16), start[:, 16:]], dim=1)
    (half,) = between_cameras(start, rolled, torch.tensor([0.5]))[:, :16].view(1, 4, 4)
    expected = start[0, :16].view(4, 4)[:3, 1].double() @ half[:3, 1].double()
    assert math.isclose(float(expected), math.sqrt(0.5), abs_tol=1e-6)
    check_camera(torch.cat([half.view(1, 16), start[:, 16:]], dim=1))
