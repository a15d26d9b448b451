import json
import math

import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.io.camera_files import load_cameras, save_cameras, save_transforms
from ganedit.three_d.orbits import circle

LABELS = circle(5, (-0.5, 0.5), (-0.2, 0.1), radius=2.7123, pivot=(0.01, 0, 0.2), focal=4.2647)
FILES = [f"views/{i:03d}.png" for i in range(5)]


def save_ours(path) -> None:
    views = [{"yaw": 0.0, "picture": file} for file in FILES]
    save_cameras(path, LABELS, views=views, facts={"picture": {"width": 64}})


def forge(path, **changes) -> str:
    """Write a transforms.json of one camera with changes; return what reading it says."""
    save_transforms(path, LABELS[:1], files=FILES[:1], resolution=64)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(GaneditError) as error:
        load_cameras(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_our_files_bring_labels_back_to_the_bit(tmp_path) -> None:
    save_ours(tmp_path / "cameras.json")
    file = load_cameras(tmp_path / "cameras.json")
    assert file.kind == "ganedit"
    assert torch.equal(file.labels, LABELS)
    content = json.loads((tmp_path / "cameras.json").read_text())
    assert content["convention"]["name"] == "EG3D"
    assert content["views"][1]["picture"] == "views/001.png"


def test_transforms_bring_labels_back_to_the_bit(tmp_path) -> None:
    mixed = LABELS.clone()
    mixed[2, 16:18] = torch.tensor([3.123, 0.0])  # one camera has another lens
    mixed[2, 20] = 3.01
    for name, labels in (("shared", LABELS), ("own", mixed)):
        path = tmp_path / f"{name}.json"
        save_transforms(path, labels, files=FILES, resolution=67)
        file = load_cameras(path)
        assert file.kind == "transforms"
        assert torch.equal(file.labels, labels)
        assert ("fl_x" in json.loads(path.read_text())) == (name == "shared")


def test_transforms_are_camera_to_world_with_y_up_and_z_backwards(tmp_path) -> None:
    save_transforms(tmp_path / "t.json", LABELS, files=FILES, resolution=64)
    content = json.loads((tmp_path / "t.json").read_text())
    assert [frame["file_path"] for frame in content["frames"]] == FILES
    assert content["fl_x"] == pytest.approx(4.2647 * 64)
    assert content["camera_angle_x"] == pytest.approx(2 * math.atan(0.5 / 4.2647))
    assert (content["w"], content["h"], content["cx"], content["cy"]) == (64, 64, 32, 32)
    for frame in content["frames"]:
        right, up, backwards, position = torch.tensor(frame["transform_matrix"])[:3].T
        assert up[1] > 0.9
        assert backwards @ position > 0.9 * position.norm()
        torch.testing.assert_close(torch.linalg.cross(right, up), backwards)


def test_files_with_an_angle_of_view_only_are_read(tmp_path) -> None:
    frame = {"transform_matrix": torch.eye(4).tolist()}
    path = tmp_path / "blender.json"
    path.write_text(json.dumps({"camera_angle_x": 0.6911, "frames": [frame]}))
    label = load_cameras(path).labels[0]
    focal = 0.5 / math.tan(0.6911 / 2)
    assert label[16:].tolist() == pytest.approx([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])
    assert label[:16].tolist() == [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]


def test_skewed_pixels_cannot_be_told(tmp_path) -> None:
    labels = LABELS.clone()
    labels[0, 17] = 0.1
    with pytest.raises(ValueError, match="skew"):
        save_transforms(tmp_path / "t.json", labels, files=FILES, resolution=64)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frames": []}, "has 0 cameras"),
        ({"frames": [7]}, "expected a list of frames"),
        ({"frames": [{}]}, "transform_matrix of 4x4"),
        ({"frames": [{"transform_matrix": [[1, 0, 0, 0]] * 3 + [[0, 0, "1", 1]]}]}, "numbers"),
        ({"frames": [{"transform_matrix": [[math.nan] * 4] * 4}]}, "numbers up to"),
        ({"h": 48}, "64x48; views are square"),
        ({"k1": 0.1}, "distorts"),
        ({"w": None, "h": None}, "no w"),
        ({"fl_x": None, "camera_angle_x": 4}, "between 0 and pi"),
        ({"frames": None, "camera_path": []}, "nerfstudio's viewer"),
        ({"frames": None, "labels": []}, "dataset.json of EG3D"),
        ({"frames": None}, "expected a cameras.json of ganedit"),
    ],
)
def test_other_files_are_one_line(tmp_path, changes, told) -> None:
    assert told in forge(tmp_path / "t.json", **changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"9" * 5000,
        b'{"frames": 1e999}',
        b'{"format": "ganedit-cameras"}',
        b'{"format": "ganedit-cameras", "views": [{"label": [1]}]}',
    ],
)
def test_damaged_files_are_one_line(tmp_path, content) -> None:
    path = tmp_path / "cameras.json"
    path.write_bytes(content)
    with pytest.raises(GaneditError) as error:
        load_cameras(path)
    assert "\n" not in str(error.value)


def test_a_file_without_end_is_not_read(tmp_path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(GaneditError, match="too large"):
        load_cameras(path)
