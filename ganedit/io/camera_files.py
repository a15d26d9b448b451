"""Camera files: ours, with EG3D's labels, and the ``transforms.json`` that NeRF tools read.

Inside ganedit a camera is a label of 25 numbers (`three_d.cameras`): camera-to-world with OpenCV's
axes, x right, y down, z into the scene, then intrinsics over the picture's size. A transforms.json
holds camera-to-world with OpenGL's axes, x right, y up, z backwards, and intrinsics in pixels.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import open_file, write_bytes

CONVENTION = {
    "name": "EG3D",
    "label": "camera-to-world, 4x4 row by row, then intrinsics, 3x3 row by row, over the picture's"
    " size",
    "camera": "OpenCV: x right, y down, z into the scene",
    "world": "y up, z out of the face; the head is around the origin",
    "angles": "degrees; yaw > 0 moves the camera to +x, pitch > 0 down: y = -2 r pitch / 180",
}
"""What the numbers of our files mean; each file says it."""

MAX_CAMERAS = 10_000

_FORMAT = "ganedit-cameras"
_VERSION = 1
_MAX_BYTES = 2**24
_LARGEST = 1e6
_LENSES = ("k1", "k2", "k3", "k4", "p1", "p2")  # distortions
_OPENGL = (1.0, -1.0, -1.0)  # from OpenCV's axes to OpenGL's, and back


@dataclass(frozen=True, eq=False)
class CameraFile:
    """The cameras in a file.

    Attributes:
        labels: EG3D's, float32 [F, 25].
        kind: ``ganedit`` or ``transforms``: what they were in the file.
    """

    labels: Tensor
    kind: Literal["ganedit", "transforms"]


def save_cameras(
    path: Path | str,
    labels: Tensor,
    *,
    views: Sequence[Mapping[str, Any]],
    video: Sequence[Mapping[str, Any]] = (),
    video_labels: Tensor | None = None,
    facts: Mapping[str, Any],
) -> None:
    """Write cameras as `load_cameras` reads them, with what else is told of them, atomically.

    Args:
        path: The .json file.
        labels: Of the views, [F, 25].
        views: What is told of each, such as its angles in degrees and its files.
        video: The same of the frames of a video, which are not read back.
        video_labels: Of these frames, [G, 25]; None where there are none.
        facts: What is told of all, such as the scale of depth.
    """
    head = {"format": _FORMAT, "version": _VERSION, "convention": CONVENTION, **facts}
    rows = {"views": _told(labels, views)}
    if video_labels is not None:
        rows["video_frames"] = _told(video_labels, video)
    write_bytes(path, _lines(head, rows))


def _told(labels: Tensor, facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**told, "label": row} for told, row in zip(facts, labels.float().tolist(), strict=True)
    ]


def save_transforms(
    path: Path | str, labels: Tensor, *, files: Sequence[str], resolution: int
) -> None:
    """Write a transforms.json for NeRF tools, atomically.

    Args:
        path: The .json file.
        labels: EG3D's, [F, 25].
        files: Of the pictures, one a camera, relative to the file.
        resolution: Side of the pictures in pixels.

    Raises:
        ValueError: The pixels of a camera are skewed, which this layout cannot say.
    """
    intrinsics = [_in_pixels(k, resolution) for k in labels[:, 16:].double().tolist()]
    shared = all(one == intrinsics[0] for one in intrinsics)
    flip = labels.new_tensor([*_OPENGL, 1.0]).double()
    poses = labels[:, :16].double().reshape(-1, 4, 4) * flip + 0.0  # no negative zeros
    frames = [
        {"file_path": file, **({} if shared else own), "transform_matrix": pose}
        for file, own, pose in zip(files, intrinsics, poses.tolist(), strict=True)
    ]
    head = {"camera_model": "OPENCV", "w": resolution, "h": resolution}
    write_bytes(path, _lines({**head, **(intrinsics[0] if shared else {})}, {"frames": frames}))


def _in_pixels(k: Sequence[float], resolution: int) -> dict[str, float]:
    """Return how a transforms.json tells intrinsics."""
    fx, skew, cx, _, fy, cy, *_ = k
    if skew:
        raise ValueError(f"labels: expected pixels without skew, got {skew:g}")
    return {
        "camera_angle_x": 2 * math.atan(0.5 / fx),
        "fl_x": fx * resolution,
        "fl_y": fy * resolution,
        "cx": cx * resolution,
        "cy": cy * resolution,
    }


def _lines(head: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Return an object as JSON with a line for each fact, and for each row of its lists."""
    parts = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, items in rows.items():
        lines = ",\n".join(f"  {json.dumps(item)}" for item in items)
        parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


# Reading


def load_cameras(path: Path | str) -> CameraFile:
    """Return the cameras in a file of ours, or in a transforms.json.

    Numbers are checked, but not whether they are cameras that see the head: `check_convention`.

    Raises:
        GaneditError: The file is missing, something else, damaged, or has lenses that distort or
            pictures that are not square.
    """
    path = Path(path)
    content = _read_json(path)
    kind: Literal["ganedit", "transforms"]
    try:
        if content.get("format") == _FORMAT:
            kind, rows = "ganedit", [_label(view) for view in _list(content, "views")]
        elif "frames" in content:
            kind, frames = "transforms", _list(content, "frames")
            rows = [_transform(_merged(content, frame)) for frame in frames]
        else:
            raise GaneditError(f"{path}: {_other(content)}; {_WANTED}")
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error
    return CameraFile(torch.tensor(rows, dtype=torch.float32), kind)


_WANTED = "expected a cameras.json of ganedit, or a transforms.json of NeRF tools"


def _read_json(path: Path) -> dict[str, Any]:
    with open_file(path) as file:
        try:
            content = file.read(_MAX_BYTES + 1) or b""
        except OSError as error:
            raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > _MAX_BYTES:
        raise GaneditError(f"{path}: is larger than {_MAX_BYTES >> 20} MB, too large for cameras")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: is no JSON; {_WANTED}") from error
    if not isinstance(value, dict):
        raise GaneditError(f"{path}: is another kind of JSON; {_WANTED}")
    return value


def _other(content: Mapping[str, Any]) -> str:
    if "labels" in content:
        return "looks like a dataset.json of EG3D, the labels of a dataset"
    if "camera_path" in content:
        return "looks like a camera path of nerfstudio's viewer"
    return "is another kind of JSON"


def _list(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"expected a list of {name}")
    if not 1 <= len(rows) <= MAX_CAMERAS:
        raise ValueError(f"has {len(rows)} cameras; expected 1 to {MAX_CAMERAS}")
    return rows


def _label(view: Mapping[str, Any]) -> list[float]:
    label = view.get("label")
    if not isinstance(label, list) or len(label) != 25:
        raise ValueError("expected a label of 25 numbers in each view")
    return [_number(x, "label") for x in label]


def _merged(content: Mapping[str, Any], frame: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frame with the intrinsics of the file where it has none of its own."""
    names = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y", *_LENSES)
    return {name: content[name] for name in names if name in content} | dict(frame)


def _transform(frame: Mapping[str, Any]) -> list[float]:
    """Return the label of a frame of a transforms.json."""
    matrix = frame.get("transform_matrix")
    if not isinstance(matrix, list) or len(matrix) not in (3, 4):
        raise ValueError("expected a transform_matrix of 4x4 numbers in each frame")
    pose = []
    for row in [*matrix, [0, 0, 0, 1]][:4]:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("expected a transform_matrix of 4x4 numbers in each frame")
        numbers = [_number(x, "transform_matrix") for x in row]
        pose += [x * sign for x, sign in zip(numbers, (*_OPENGL, 1.0), strict=True)]
    return pose + _intrinsics(frame)


def _intrinsics(frame: Mapping[str, Any]) -> list[float]:
    """Return the 9 intrinsics over the picture's size."""
    numbers = {
        name: _number(value, name)
        for name, value in frame.items()
        if name in (*_LENSES, "w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x")
    }
    if any(numbers.get(name) for name in _LENSES):
        raise ValueError("its lens distorts (k1, ...); undistort the pictures first")
    side = numbers.get("w", 1.0)
    if side <= 0 or numbers.get("h", side) != side:
        raise ValueError(
            f"its pictures are {numbers.get('w', 0):g}x{numbers.get('h', 0):g}; views are square"
        )
    if "fl_x" in numbers:
        if "w" not in numbers:
            raise ValueError("has fl_x, in pixels, but no w, the width of the pictures")
        fx = numbers["fl_x"] / side
    elif 0 < numbers.get("camera_angle_x", 0.0) < math.pi:
        fx = 0.5 / math.tan(numbers["camera_angle_x"] / 2)
    else:
        raise ValueError("expected fl_x and w, or camera_angle_x in radians between 0 and pi")
    fy = numbers["fl_y"] / side if "fl_y" in numbers else fx
    cx, cy = (numbers.get(name, side / 2) / side for name in ("cx", "cy"))
    return [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected numbers up to {_LARGEST:.0e}, got {value!r:.40}")
    return float(value)  # type: ignore[arg-type]
