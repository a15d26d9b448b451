import torch

from ganedit.three_d import camera_label, camera_rays, look_at_pose, project_points


def test_a_point_on_a_ray_projects_to_that_rays_pixel() -> None:
    label = camera_label(look_at_pose(torch.tensor([0.4, -0.3]), torch.tensor([0.1, -0.2])))
    origins, directions = camera_rays(label, 4)
    image = project_points(label, origins + 2.5 * directions)
    centres = (torch.arange(4) + 0.5) / 4
    expected = torch.cartesian_prod(centres, centres).flip(1)  # x fastest
    torch.testing.assert_close(image, expected.expand(2, 16, 2), atol=1e-5, rtol=0)


def test_positive_yaw_moves_the_camera_to_positive_x_and_positive_pitch_down() -> None:
    position = look_at_pose(torch.tensor([0.3, 0.0]), torch.tensor([0.0, 0.2]))[:, :3, 3]
    assert position[0, 0] > 0
    assert position[1, 1] < 0


def test_rotations_are_orthonormal() -> None:
    rotation = look_at_pose(torch.tensor([0.7]), torch.tensor([-0.4]))[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3)[None], atol=1e-6, rtol=0)
