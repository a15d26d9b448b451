import pytest
import torch

from ganedit.three_d.conventions import check_convention
from ganedit.three_d.orbits import circle, poses
from tests.conftest import SPHERE

LABELS = circle(9, (-0.5, 0.5), (-0.2, 0.2), **SPHERE)
OPENGL = torch.tensor([1.0, -1, -1, 1])
Z_UP = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def with_poses(change) -> torch.Tensor:
    pose = change(LABELS[:, :16].reshape(-1, 4, 4))
    return torch.cat([pose.flatten(1), LABELS[:, 16:]], dim=1)


@pytest.mark.parametrize("kind", ["ganedit", "transforms"])
def test_what_orbits_make_is_of_the_convention(kind) -> None:
    check_convention(LABELS, kind=kind)
    check_convention(poses([0.0], [0.0], **SPHERE), kind=kind)
    check_convention(poses([3.1, -1.5, 0.2], [1.4, -1.4, 1.2], **SPHERE), kind=kind)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (lambda pose: pose * OPENGL, "ganedit", r"look like y up, z backwards \(OpenGL's\)"),
        (lambda pose: pose * OPENGL, "transforms", r"look like y down, z into .* \(OpenCV's\)"),
        (torch.linalg.inv, "ganedit", "world-to-camera"),
        (torch.linalg.inv, "transforms", "world-to-camera"),
        (lambda pose: pose.mT, "ganedit", "transposed"),
        (lambda pose: pose * torch.tensor([-1.0, 1, 1, 1]), "ganedit", "mirror"),
        (lambda pose: Z_UP @ pose, "transforms", "z up"),
    ],
)
def test_other_conventions_are_named(change, kind, told) -> None:
    with pytest.raises(ValueError, match=told):
        check_convention(with_poses(change), kind=kind)


def test_intrinsics_in_pixels_are_named() -> None:
    labels = LABELS.clone()
    labels[:, 16:22] *= 512
    with pytest.raises(ValueError, match="pixels"):
        check_convention(labels, kind="ganedit")


def test_a_camera_at_the_origin_is_refused() -> None:
    labels = LABELS.clone()
    labels[3, [3, 7, 11]] = 0
    with pytest.raises(ValueError, match="origin"):
        check_convention(labels, kind="ganedit")
