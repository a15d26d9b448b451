import math

import torch

from ganedit.three_d import camera_angles, check_camera
from ganedit.three_d.between import between_cameras
from ganedit.three_d.orbits import poses


def test_the_ends_are_both_cameras():
    start = poses([0.4], [-0.3], radius=2.7)
    end = poses([-0.7], [0.2], radius=2.5, pivot=(0, 0, 0.1), focal=3.0)
    found = between_cameras(start.expand(2, -1), end.expand(2, -1), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found, torch.cat([start, end]), rtol=0, atol=1e-5)


def test_the_way_is_an_arc_of_cameras_that_look_at_the_head():
    t = torch.linspace(0, 1, 7)
    start, end = (poses([yaw] * 7, [0.0] * 7) for yaw in (-0.6, 0.6))
    found = between_cameras(start, end, t)
    check_camera(found)
    yaw, pitch = camera_angles(found)
    torch.testing.assert_close(yaw, 1.2 * t - 0.6, rtol=0, atol=1e-5)
    torch.testing.assert_close(pitch, torch.zeros(7), rtol=0, atol=1e-5)
    # The middle one is in front and looks along z, as both ends' axes meet on the z axis.
    torch.testing.assert_close(found[3], poses([0.0], [0.0])[0], rtol=0, atol=1e-5)


def test_a_rolled_camera_rolls_back_on_the_way():
    start = poses([0.0], [0.0])
    roll = torch.eye(4)
    roll[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter of a turn
    rolled = torch.cat([(start[:, :16].view(4, 4) @ roll).view(1, 16), start[:, 16:]], dim=1)
    (half,) = between_cameras(start, rolled, torch.tensor([0.5]))[:, :16].view(1, 4, 4)
    expected = start[0, :16].view(4, 4)[:3, 1].double() @ half[:3, 1].double()
    assert math.isclose(float(expected), math.sqrt(0.5), abs_tol=1e-6)
    check_camera(torch.cat([half.view(1, 16), start[:, 16:]], dim=1))
