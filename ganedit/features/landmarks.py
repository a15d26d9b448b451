"""Faces in photos: landmarks from a file, from mediapipe, or of clay heads by search."""

import importlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.alignment import (
    LEAST_INSIDE,
    crop_quad,
    face_quad,
    quad_side,
    share_inside,
    square_quad,
)
from ganedit.data.clayheads.render import LANDMARKS
from ganedit.errors import GaneditError
from ganedit.features.clay import INPUT_SIDE, ClayFeatures, load_clay_features
from ganedit.features.clay_detector import (
    FRAME,
    STRIDE,
    ClayDetector,
    HeadMaps,
    load_clay_detector,
)
from ganedit.io.download import download
from ganedit.io.images import to_uint8

MODEL_ADDRESS = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
_MODEL_BYTES = 64 << 20  # more than this is no such model, which has some 4 MB

_MOST = 20  # faces in a photo


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo; places are pixels, the photo's corner at (0, 0).

    Attributes:
        landmarks: float64 [P, 2]: 68 points, mediapipe's 478, three centres (eyes and mouth), or a
            clay head's ``LANDMARKS``.
        quad: Corners of its crop, as `ganedit.data.alignment` orders them, float64 [4, 2].
        score: How surely it is one, 0..1; 1 where the detector does not say.
    """

    landmarks: Tensor
    quad: Tensor
    score: float = 1.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks."""
        low, high = self.landmarks.amin(0), self.landmarks.amax(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def find_faces(image: Tensor, *, detector: str = "auto", photo: str | None = None) -> list[Face]:
    """Return the faces in a photo, the largest first.

    Args:
        image: [1, 3, H, W] in [-1, 1].
        detector: ``clay`` or ``auto`` searches for clay heads; a path that ends in .json reads
            landmarks, one in .task runs mediapipe's face landmarker with that model; ``download``
            does so with the model that `download_landmarker` fetches.
        photo: The photo's file, which a file of several photos' landmarks is asked for.

    Raises:
        GaneditError: The detector is unknown, its file is missing or broken or of another photo, or
            mediapipe is not installed.
    """
    kind = _kind(detector)
    if kind == "clay":
        faces = find_clay_heads(image)
    elif kind == "landmarks":
        faces = read_landmarks(Path(detector), photo=photo)
    else:
        faces = _mediapipe_faces(image, _model(detector))
    height, width = image.shape[2:]
    for face in faces:
        if share_inside(face.quad, width, height) < LEAST_INSIDE or quad_side(face.quad) < 1:
            x, y = face.landmarks.mean(0).tolist()
            raise GaneditError(
                f"{detector}: the face at ({x:.0f}, {y:.0f}) is no part of a photo of"
                f" {width}x{height} pixels; give landmarks in pixels of that photo"
            )
    return sorted(faces, key=lambda face: -quad_side(face.quad))


def check_detector(detector: str, photos: Sequence[str]) -> None:
    """Check, before any work, what `find_faces` needs; ``download`` is fetched now.

    Args:
        detector: As `find_faces` takes it.
        photos: All photos' files.

    Raises:
        GaneditError: The detector is unknown, its file is missing or broken, mediapipe is not
            installed, or the faces of one photo would be taken for those of another, too.
    """
    kind = _kind(detector)
    if kind == "mediapipe":
        _import_mediapipe()
        _model(detector)
    if kind != "landmarks":
        return
    content = _read_json(Path(detector))
    if not _is_by_photo(content):
        if len(photos) > 1:
            raise GaneditError(
                f"{detector}: holds the faces of one photo, but there are {len(photos)}; give an"
                ' object of them by name, {"anna.jpg": [...], ...}'
            )
        return
    owners: dict[str, str] = {}
    for photo in photos:
        key = _key_of(photo, content)
        other = photo if key is None else owners.setdefault(key, photo)
        if other != photo:
            raise GaneditError(
                f"{detector}: {key} could be {other} and {photo}; name them with their folders"
            )


def _kind(detector: str) -> Literal["clay", "landmarks", "mediapipe"]:
    """Return what finds the faces.

    Raises:
        GaneditError: It is none of what `find_faces` knows.
    """
    suffix = Path(detector).suffix.lower()
    if detector in ("auto", "clay"):
        return "clay"
    if suffix == ".json":
        return "landmarks"
    if suffix == ".task" or detector == "download":
        return "mediapipe"
    raise GaneditError(
        f"{detector}: unknown detector; use clay, a FILE.json of landmarks, the FILE.task of"
        " mediapipe's face landmarker, or download, which fetches that"
    )


def choose_faces(faces: Sequence[Face], which: str, *, name: str) -> list[Face]:
    """Return the faces that are wanted.

    Args:
        faces: Of one photo, the largest first.
        which: ``largest``, ``all``, or a number: 1 is the largest.
        name: Of the photo, for errors.

    Raises:
        GaneditError: There is none, or no such one.
    """
    if not faces:
        raise GaneditError(
            f"{name}: no face found; try another --detector, or project its central square"
        )
    if which == "all":
        return list(faces)
    number = 1 if which == "largest" else int(which) if which.isdecimal() else 0
    if not 1 <= number <= len(faces):
        raise GaneditError(
            f"{name}: no face {which}; expected largest, all, or a number from 1 (the largest) to"
            f" {len(faces)}"
        )
    return [faces[number - 1]]


# Landmarks in a file


def read_landmarks(path: Path, *, photo: str | None = None) -> list[Face]:
    """Return the faces in a JSON file of landmarks.

    The file holds a face or a list of faces, each a list of (x, y): 68 points, mediapipe's 478, or
    the centres of the left eye, the right eye and the mouth; or an object with such a list as
    ``landmarks``. Or it is an object that has all this for each of several photos: the keys are
    their names, after as much of their folders as tells them apart. Whole numbers are centres of
    pixels, as dlib, OpenCV and FFHQ's script count.

    Args:
        path: The JSON file.
        photo: The photo's file; needed for an object of several.

    Raises:
        GaneditError: The file is missing, holds something else, or nothing for this photo.
    """
    content = _read_json(path)
    if _is_by_photo(content):
        key = None if photo is None else _key_of(photo, content)
        if key is None:
            raise GaneditError(f"{path}: has no landmarks of {photo or 'an unnamed photo'}")
        content = content[key]
    entries = content if isinstance(content, list) else [content]
    if entries and _is_point(entries[0]):
        entries = [entries]
    return [_face_of(entry, path) for entry in entries]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: not a JSON file") from error


def _is_by_photo(content: object) -> bool:
    """Return whether landmarks are those of several photos, by name."""
    return isinstance(content, dict) and "landmarks" not in content


def _key_of(photo: str, names: Collection[str]) -> str | None:
    """Return what names a photo, ``anna.jpg`` or ``2019/anna.jpg``; the longest goes first."""
    parts = Path(photo).parts
    ends = ["/".join(parts[index:]) for index in range(len(parts))]
    return next((name for name in (photo, *ends) if name in names), None)


def _is_point(value: object) -> bool:
    if not (isinstance(value, list) and len(value) == 2):
        return False
    return all(type(x) in (int, float) and abs(x) < 1e6 for x in value)


def _face_of(entry: object, path: Path) -> Face:
    points = entry.get("landmarks") if isinstance(entry, dict) else entry
    if not (isinstance(points, list) and all(_is_point(point) for point in points)):
        raise GaneditError(
            f"{path}: expected a list of (x, y) a face, in pixels; numbers between -1e6 and 1e6"
        )
    landmarks = torch.tensor(points, dtype=torch.float64).reshape(-1, 2) + 0.5
    try:
        return Face(landmarks, face_quad(landmarks))
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error


# mediapipe


def landmarker_cache_path() -> Path:
    """Return where `download_landmarker` keeps mediapipe's model: beside torch's own downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(MODEL_ADDRESS).name


def download_landmarker() -> Path:
    """Fetch the model of mediapipe's face landmarker, unless it is there, and return it.

    It has no known hash: what comes over https from its address is taken, if it is a zip archive,
    as these models are, of at most 64 MB.

    Raises:
        GaneditError: The network fails, or the file is something else.
    """

    def check_start(start: bytes) -> None:
        if not start.startswith(b"PK\3\4"):
            raise GaneditError(f"{MODEL_ADDRESS}: the server sent something else than the model")

    def check_size(done: int, total: int | None) -> None:
        if max(done, total or 0) > _MODEL_BYTES:
            raise GaneditError(f"{MODEL_ADDRESS}: more than {_MODEL_BYTES >> 20} MB, no such model")

    path = landmarker_cache_path()
    return download(MODEL_ADDRESS, path, check_start=check_start, on_progress=check_size)


def _model(detector: str) -> Path:
    """Return the file of mediapipe's model.

    Raises:
        GaneditError: It is missing, or cannot be fetched.
    """
    if detector == "download":
        return download_landmarker()
    if not Path(detector).is_file():
        raise GaneditError(
            f"{detector}: no such model; fetch {MODEL_ADDRESS}, or write download instead of the"
            " file"
        )
    return Path(detector)


def _import_mediapipe() -> tuple[Any, Any]:
    """Return mediapipe and its tasks.

    Raises:
        GaneditError: It is not installed.
    """
    try:
        mediapipe = importlib.import_module("mediapipe")
        return mediapipe, importlib.import_module("mediapipe.tasks.python")
    except ImportError as error:
        raise GaneditError(
            "mediapipe is not installed; pip install 'ganedit[mediapipe]', or give the landmarks"
            " as a FILE.json"
        ) from error


def _mediapipe_faces(image: Tensor, model: Path) -> list[Face]:
    """Return the faces that mediapipe's face landmarker finds.

    Raises:
        GaneditError: The package is missing, or it does not take the model.
    """
    mediapipe, tasks = _import_mediapipe()
    pixels = to_uint8(image)[0].numpy()
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    try:
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)), num_faces=_MOST
        )
        with tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
            found = landmarker.detect(picture).face_landmarks
    except (RuntimeError, ValueError, OSError) as error:
        raise GaneditError(
            f"{model}: not a model of mediapipe's face landmarker; fetch {MODEL_ADDRESS}"
        ) from error
    size = torch.tensor([image.shape[3], image.shape[2]], dtype=torch.float64)
    faces = []
    for points in found:
        places = torch.tensor([[point.x, point.y] for point in points], dtype=torch.float64)
        faces.append(Face(places * size, face_quad(places * size)))
    return faces


# Clay heads
#
# A place is (x, y, side, turn): centre and side of a head's frame in pixels of the photo, and its
# turn in radians, clockwise. The detector sees frames of one size, so it is shown the photo in
# several; then each head is shown to it upright, a little larger, smaller and turned, and what it
# says is averaged: a head is one in all of these views, a chance likeness is not.

_WORKING_SIDE = 512  # pixels of the photo's longer side that heads are measured in
_FINEST_SIDE = 320  # of the largest picture that is searched
_LARGEST = 1.25  # frame that is looked for, in shorter sides of the photo
_LIKELY = 0.3  # presence, 0..1, from which on a place is looked at again
_SURE = 0.6  # mean presence in all views that makes a head
_ROUNDS = 3
_VIEWS = [(size, turn) for size in (0.84, 1.0, 1.19) for turn in (-0.2, 0.0, 0.2)]
_VIEW_SIDE = 64  # pixels of a view, twice the frame's


@torch.no_grad()
def find_clay_heads(image: Tensor) -> list[Face]:
    """Return the clay heads in a picture of any size, the likeliest first.

    Heads whose frame takes a twelfth of the longer side or more, at any turn.

    Args:
        image: [1, 3, H, W] in [-1, 1].
    """
    detector, features = _clay_networks(image.device)
    ratio = min(1.0, _WORKING_SIDE / max(image.shape[2:]))
    small = _resized(image, ratio)
    places = _candidates(detector, small)
    if not len(places):
        return []
    for _ in range(_ROUNDS):
        places, presence = _measured(detector, small, places)
    faces: list[Face] = []
    for index in presence.argsort(descending=True).tolist():
        quad = _frame_quad(places[index]) / ratio
        if float(presence[index]) >= _SURE and not any(_overlap(quad, f.quad) for f in faces):
            faces.append(_read_head(features, image, quad, float(presence[index])))
    return faces


@lru_cache(maxsize=4)  # devices; both networks are small
def _clay_networks(device: torch.device) -> tuple[ClayDetector, ClayFeatures]:
    return load_clay_detector(device), load_clay_features(device)


def _resized(image: Tensor, ratio: float) -> Tensor:
    """Return a picture enlarged by ``ratio``, at least a pixel along each side."""
    if ratio == 1:
        return image
    height, width = (max(1, round(side * ratio)) for side in image.shape[2:])
    return F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)


def _candidates(detector: ClayDetector, image: Tensor) -> Tensor:
    """Return the likeliest places, none twice; [n, 4]."""
    height, width = image.shape[2:]
    finest = _FINEST_SIDE / max(height, width)
    coarsest = min(finest, FRAME / (_LARGEST * min(height, width)))
    found = []
    for level in range(1 + math.floor(2 * math.log2(finest / coarsest))):
        picture = _resized(image, coarsest * 2 ** (level / 2))
        scale = width / picture.shape[3], height / picture.shape[2]
        padding = (0, -picture.shape[3] % STRIDE, 0, -picture.shape[2] % STRIDE)
        maps = detector.predict(F.pad(picture, padding, mode="replicate"))
        found.append(_listed(maps, scale))
    places = torch.cat(found)
    places = places[places[:, 4] > _LIKELY]
    kept: list[Tensor] = []
    for place in places[places[:, 4].argsort(descending=True)]:
        if not any(_overlap(_frame_quad(place), _frame_quad(other)) for other in kept):
            kept.append(place)
        if len(kept) == _MOST:
            break
    return torch.stack(kept)[:, :4] if kept else places[:, :4]


def _listed(maps: HeadMaps, scale: tuple[float, float]) -> Tensor:
    """Return what maps of a picture say in pixels of the photo: places and presence, [n, 5]."""
    rows, columns = maps.presence.shape[1:]
    device = maps.presence.device
    x = STRIDE * (torch.arange(columns, device=device) + 0.5) + maps.offset[:, 0]
    y = STRIDE * (torch.arange(rows, device=device)[:, None] + 0.5) + maps.offset[:, 1]
    side = maps.side * math.sqrt(scale[0] * scale[1])
    listed = [x * scale[0], y * scale[1], side, maps.turn, maps.presence.sigmoid()]
    return torch.stack([values.flatten() for values in listed], 1)


def _measured(detector: ClayDetector, image: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return places [n, 4] and presences [n], each the mean of several views."""
    views = places.new_tensor(_VIEWS)
    shown = places[:, None].repeat(1, len(views), 1)  # [n, views, 4]
    shown[..., 2] *= views[:, 0]
    shown[..., 3] += views[:, 1]
    maps = detector.predict(_seen(image, shown.flatten(0, 1)))
    # The places of a view around its middle, which is the frame's.
    middle = slice(_VIEW_SIDE // STRIDE // 2 - 1, _VIEW_SIDE // STRIDE // 2 + 1)
    at = torch.tensor([-STRIDE / 2, STRIDE / 2], device=image.device)
    offset = maps.offset[:, :, middle, middle]
    x, y = at + offset[:, 0], at[:, None] + offset[:, 1]  # from the view's middle
    side, turn, presence = (
        values[:, middle, middle] for values in (maps.side, maps.turn, maps.presence.sigmoid())
    )
    cx, cy, frame, angle = (values[:, None, None] for values in shown.flatten(0, 1).unbind(1))
    pixel = frame / FRAME
    listed = [
        cx + pixel * (angle.cos() * x - angle.sin() * y),
        cy + pixel * (angle.sin() * x + angle.cos() * y),
        (pixel * side).log(),
        (angle + turn).cos(),
        (angle + turn).sin(),
    ]
    found = torch.stack(listed, 1).unflatten(0, shown.shape[:2])  # [n, views, 5, 2, 2]
    presence = presence.unflatten(0, shown.shape[:2])
    share = presence / presence.sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
    x, y, side, cos, sin = (found * share[:, :, None]).sum((1, 3, 4)).unbind(1)
    return torch.stack([x, y, side.exp(), torch.atan2(sin, cos)], 1), presence.mean((1, 2, 3))


def _seen(image: Tensor, places: Tensor) -> Tensor:
    """Return views [n, 3, 64, 64] with the places' frames upright in their middle."""
    height, width = image.shape[2:]
    at = (torch.arange(_VIEW_SIDE, device=image.device) + 0.5 - _VIEW_SIDE / 2) / FRAME
    views = image.new_empty(len(places), 3, _VIEW_SIDE, _VIEW_SIDE)
    levels = (places[:, 2] / FRAME).clamp(min=1).log2().mul(2).round()
    for level in levels.unique().tolist():
        index = (levels == level).nonzero()[:, 0]
        source = _resized(image, 2 ** (-level / 2))
        x, y, side, turn = places[index][..., None, None].unbind(1)
        right, down = side * turn.cos(), side * turn.sin()
        px, py = x + right * at - down * at[:, None], y + down * at + right * at[:, None]
        grid = torch.stack([px * 2 / width - 1, py * 2 / height - 1], -1)
        views[index] = F.grid_sample(
            source.expand(len(index), -1, -1, -1), grid, padding_mode="border", align_corners=False
        )
    return views


def _frame_quad(place: Tensor) -> Tensor:
    """Return the quad of a place, [4, 2]."""
    x, y, side, turn = place[:4].tolist()
    right = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64) * side / 2
    return square_quad(torch.tensor([x, y], dtype=torch.float64), right)


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two frames' centres are nearer than half of the larger side."""
    reach = max(quad_side(one), quad_side(other)) / 2
    return float((one.mean(0) - other.mean(0)).norm()) < reach


def _read_head(features: ClayFeatures, image: Tensor, quad: Tensor, presence: float) -> Face:
    """Return the head in a frame, with the landmarks that are read off its crop."""
    points = features.predict(crop_quad(image, quad, INPUT_SIDE)).landmarks[0].cpu().double()
    sides = torch.stack([quad[3] - quad[0], quad[1] - quad[0]])
    return Face(quad[0] + points @ sides, quad, presence)


def clay_centres(landmarks: Tensor) -> Tensor:
    """Return the picture's left eye, right eye and mouth of a clay head's landmarks, [3, 2]."""
    index = {name: place for place, name in enumerate(LANDMARKS)}
    names: Sequence[str] = ("right_eye", "left_eye", "mouth_left", "mouth_right")
    right, left, *corners = (landmarks[index[name]] for name in names)
    return torch.stack([right, left, torch.stack(corners).mean(0)])
