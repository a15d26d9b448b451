"""Faces in photos: landmarks from a file, from mediapipe, or of clay heads by search."""

import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.alignment import (
    MESH_POINTS,
    centre_quad,
    crop_quad,
    face_quad,
    quad_side,
    square_quad,
)
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.data.clayheads.render import CAMERA_RADIUS, LANDMARKS, landmark_positions, render
from ganedit.errors import GaneditError
from ganedit.features.clay import INPUT_SIDE, ClayFeatures, load_clay_features
from ganedit.io.images import to_uint8
from ganedit.three_d import camera_label, look_at_pose, project_points

MODEL_ADDRESS = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)


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


def find_faces(image: Tensor, *, detector: str = "auto") -> list[Face]:
    """Return the faces in a photo, the largest first.

    Args:
        image: [1, 3, H, W] in [-1, 1].
        detector: ``clay`` or ``auto`` searches for clay heads; a path that ends in .json reads
            landmarks, one in .task runs mediapipe's face landmarker with that model.

    Raises:
        GaneditError: The detector is unknown, its file is missing or broken, or mediapipe is not
            installed.
    """
    suffix = Path(detector).suffix.lower()
    if detector in ("auto", "clay"):
        faces = find_clay_heads(image, load_clay_features(image.device))
    elif suffix == ".json":
        faces = read_landmarks(Path(detector))
    elif suffix == ".task" or detector == "mediapipe":
        faces = _mediapipe_faces(image, Path(detector))
    else:
        raise GaneditError(
            f"{detector}: unknown detector; use clay, a FILE.json of landmarks, or the FILE.task"
            " of mediapipe's face landmarker"
        )
    return sorted(faces, key=lambda face: -quad_side(face.quad))


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


def read_landmarks(path: Path) -> list[Face]:
    """Return the faces in a JSON file of landmarks.

    The file holds a face or a list of faces, each a list of (x, y): 68 points, mediapipe's 478, or
    the centres of the left eye, the right eye and the mouth; or an object with such a list as
    ``landmarks``.

    Raises:
        GaneditError: The file is missing, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: not a JSON file") from error
    entries = content if isinstance(content, list) else [content]
    if entries and _is_point(entries[0]):
        entries = [entries]
    return [_face_of(entry, path) for entry in entries]


def _is_point(value: object) -> bool:
    if not (isinstance(value, list) and len(value) == 2):
        return False
    return all(type(x) in (int, float) and abs(x) < 1e6 for x in value)


def _face_of(entry: object, path: Path) -> Face:
    points = entry.get("landmarks") if isinstance(entry, dict) else entry
    if not (isinstance(points, list) and all(_is_point(point) for point in points)):
        raise GaneditError(f"{path}: expected a list of (x, y) a face, in pixels")
    landmarks = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    try:
        return Face(landmarks, face_quad(landmarks))
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error


# mediapipe


def _mediapipe_faces(image: Tensor, model: Path) -> list[Face]:
    """Return the faces that mediapipe's face landmarker finds.

    Raises:
        GaneditError: The package or its model is missing.
    """
    if model.suffix.lower() != ".task" or not model.is_file():
        raise GaneditError(
            f"{model}: no such model; fetch {MODEL_ADDRESS} and name the file with --detector"
        )
    try:
        mediapipe: Any = importlib.import_module("mediapipe")
        tasks: Any = importlib.import_module("mediapipe.tasks.python")
    except ImportError as error:
        raise GaneditError(
            "mediapipe is not installed; pip install 'ganedit[mediapipe]', or give the landmarks"
            " as a FILE.json"
        ) from error
    options = tasks.vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(model)), num_faces=20
    )
    pixels = to_uint8(image)[0].numpy()
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    try:
        with tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
            found = landmarker.detect(picture).face_landmarks
    except (RuntimeError, ValueError) as error:
        raise GaneditError(f"{model}: not a model of mediapipe's face landmarker") from error
    size = torch.tensor([image.shape[3], image.shape[2]], dtype=torch.float64)
    faces = []
    for points in found:
        places = torch.tensor([[point.x, point.y] for point in points[:MESH_POINTS]])
        landmarks = places.double() * size
        faces.append(Face(landmarks, face_quad(landmarks)))
    return faces


# Clay heads
#
# A candidate is (x, y, half, angle): centre and half a side of a crop in pixels of the photo, and
# its turn in radians, clockwise. In a clay head's own framing, the landmarks that the network
# reads are those that follow from the factors it reads; elsewhere the two disagree. Candidates are
# searched for agreement, and judged by rendering the factors and comparing that with the crop.

_WORKING_SIDE = 384  # pixels that the photo is reduced to
_HALVES = (0.2, 0.29, 0.41, 0.58, 0.82)  # of the photo's shorter side, half of it
_ANGLES = (-0.4, 0.0, 0.4)
_STRIDE = 0.55  # of a candidate's half side
_LINES = 20  # places that are followed
_CHILDREN = 6  # variations of each in a round
_ROUNDS = 4
_SPREAD = 0.16  # of the first variations: shares of the half side, its logarithm, radians
_CLOSE = 3  # of them that are compared with renderings, round after round
_TRUSTED = 3.0  # distance to its rendering below which a crop is a head


@dataclass(frozen=True, eq=False)
class _Reading:
    """What the network reads off N crops, and how far that disagrees with itself, [N]."""

    factors: Tensor
    landmarks: Tensor
    disagreement: Tensor


@torch.no_grad()
def find_clay_heads(image: Tensor, features: ClayFeatures) -> list[Face]:
    """Return the clay heads in a picture of any size, the likeliest first.

    Heads that fill a tenth to nearly all of the picture, turned by up to about 40 degrees.

    Args:
        image: [1, 3, H, W] in [-1, 1].
        features: The network that reads clay heads.
    """
    height, width = image.shape[2:]
    ratio = min(1.0, _WORKING_SIDE / max(height, width))
    small = image
    if ratio < 1:
        size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        small = F.interpolate(image, size=size, mode="area")
    candidates = _grid(small)
    lines = _distant(candidates, _read(features, small, candidates).disagreement)
    lines = _followed(features, small, lines)
    distances = _distances(features, small, lines)
    close = distances.argsort()[:_CLOSE]
    lines, distances = _refined(features, small, lines[close], distances[close])
    faces: list[Face] = []
    for index in distances.argsort().tolist():
        place = lines[index]
        if distances[index] < _TRUSTED and not any(_overlaps(place / ratio, f) for f in faces):
            faces.append(_face_at(features, image, place, ratio, float(distances[index])))
    return faces


def _grid(image: Tensor) -> Tensor:
    """Return candidates all over a picture, [N, 4]."""
    height, width = image.shape[2:]
    quad = centre_quad(width, height)
    found = [(width / 2, height / 2, quad_side(quad) / 2, 0.0)]
    for share in _HALVES:
        half = share * min(height, width) / 2 * 1.2
        columns = _places(width, half)
        rows = _places(height, half)
        found += [(x, y, half, angle) for angle in _ANGLES for y in rows for x in columns]
    return torch.tensor(found, device=image.device)


def _places(size: int, half: float) -> list[float]:
    """Return centres along a side, so that a head may touch the border."""
    first = min(0.6 * half, size / 2)
    count = max(1, math.ceil((size - 2 * first) / (_STRIDE * half))) + 1
    return torch.linspace(first, size - first, count).tolist()


def _crops(image: Tensor, candidates: Tensor) -> Tensor:
    """Return the crops [N, 3, 64, 64] of candidates, each from a fitting reduction."""
    height, width = image.shape[2:]
    axis = (torch.arange(INPUT_SIDE, device=image.device) + 0.5) / (INPUT_SIDE / 2) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    crops = image.new_empty(len(candidates), 3, INPUT_SIDE, INPUT_SIDE)
    levels = (candidates[:, 2] / (INPUT_SIDE / 2)).clamp(min=1).log2().mul(2).round()
    for level in levels.unique():
        index = (levels == level).nonzero()[:, 0]
        factor = 2 ** (float(level) / 2)
        size = (max(1, round(height / factor)), max(1, round(width / factor)))
        small = F.interpolate(image, size=size, mode="area") if level else image
        cx, cy, half, angle = candidates[index][..., None, None].unbind(1)
        right, down = half * angle.cos(), half * angle.sin()
        px, py = cx + right * x - down * y, cy + down * x + right * y
        grid = torch.stack([px * 2 / width - 1, py * 2 / height - 1], -1)
        crops[index] = F.grid_sample(
            small.expand(len(index), -1, -1, -1), grid, padding_mode="reflection",
            align_corners=False,
        )  # fmt: skip
    return crops


def _read(features: ClayFeatures, image: Tensor, candidates: Tensor) -> _Reading:
    parts = [features.predict(_crops(image, part)) for part in candidates.split(64)]
    factors = torch.cat([part.factors for part in parts])
    landmarks = torch.cat([part.landmarks for part in parts])
    yaw, pitch = factors[:, FACTOR_INDEX["yaw"]], factors[:, FACTOR_INDEX["pitch"]]
    camera = camera_label(look_at_pose(yaw, pitch, radius=CAMERA_RADIUS))
    expected = project_points(camera, landmark_positions(factors))
    return _Reading(factors, landmarks, (landmarks - expected).norm(dim=-1).mean(1))


def _distant(candidates: Tensor, disagreement: Tensor) -> Tensor:
    """Return the best candidates that are not each other's neighbours, [n, 4]."""
    kept: list[Tensor] = []
    for index in disagreement.argsort().tolist():
        place = candidates[index]
        if all(_apart(place, other) for other in kept):
            kept.append(place)
        if len(kept) == _LINES:
            break
    return torch.stack(kept)


def _apart(one: Tensor, other: Tensor) -> bool:
    far = float((one[:2] - other[:2]).norm()) > 0.5 * float(torch.minimum(one[2], other[2]))
    return far or abs(math.log(float(one[2]) / float(other[2]))) > 0.3


def _followed(features: ClayFeatures, image: Tensor, lines: Tensor) -> Tensor:
    """Return each candidate after rounds of small random changes that keep what agrees most."""
    random = torch.Generator().manual_seed(0)
    spread = _SPREAD
    for _ in range(_ROUNDS):
        noise = torch.randn(len(lines), _CHILDREN, 4, generator=random).to(lines) * spread
        noise[:, 0] = 0  # the parent
        children = _varied(lines, noise)
        read = _read(features, image, children.flatten(0, 1))
        best = read.disagreement.unflatten(0, (len(lines), _CHILDREN)).argmin(1)
        lines = children[torch.arange(len(lines)), best]
        spread *= 0.65
    return lines


def _distances(features: ClayFeatures, image: Tensor, candidates: Tensor) -> Tensor:
    """Return how far crops are from renderings of what was read off them, [N]; heads only."""
    crops = _crops(image, candidates)
    heads = render(features.predict(crops).factors, resolution=INPUT_SIDE, supersample=1)
    solid = heads.depth.isfinite().to(crops.dtype)
    total = crops.new_zeros(len(crops))
    for one, other in zip(features(crops), features(heads.image), strict=True):
        share = F.adaptive_avg_pool2d(solid, one.shape[-1])
        gap = (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(1, keepdim=True)
        total += (gap * share).sum((1, 2, 3)) / share.sum((1, 2, 3)).clamp(min=1)
    return total


def _refined(
    features: ClayFeatures, image: Tensor, places: Tensor, distances: Tensor
) -> tuple[Tensor, Tensor]:
    """Return candidates closer to their renderings, and how close; [n, 4] and [n]."""
    random = torch.Generator().manual_seed(0)
    # A head that looks aside resembles one that is tilted: try tilts and sizes before the rest.
    tilts = [[0.0, 0.0, size, tilt] for size in (-0.12, 0.1) for tilt in (-0.36, -0.18, 0.18, 0.36)]
    rounds = [torch.tensor(tilts).expand(len(places), -1, -1)]
    for spread in (0.1, 0.07, 0.05, 0.035):
        rounds.append(torch.randn(len(places), 6, 4, generator=random) * spread)
    for noise in rounds:
        children = torch.cat([places[:, None], _varied(places, noise.to(places))], 1)
        found = _distances(features, image, children[:, 1:].flatten(0, 1))
        found = torch.cat([distances[:, None], found.unflatten(0, (len(places), -1))], 1)
        best = found.argmin(1)
        places = children[torch.arange(len(best)), best]
        distances = found.amin(1)
    return places, distances


def _varied(places: Tensor, noise: Tensor) -> Tensor:
    """Return candidates [n, k, 4] around candidates [n, 4]; noise [n, k, 4]."""
    children = places[:, None].expand_as(noise).clone()
    children[..., :2] += noise[..., :2] * places[:, None, 2:3]
    children[..., 2] *= noise[..., 2].exp()
    children[..., 3] += noise[..., 3]
    return children


def _overlaps(place: Tensor, face: Face) -> bool:
    middle = face.quad.mean(0)
    reach = max(float(place[2]), quad_side(face.quad) / 2)
    return float((place[:2].double().cpu() - middle).norm()) < reach


def _face_at(
    features: ClayFeatures, image: Tensor, place: Tensor, ratio: float, distance: float
) -> Face:
    """Return the head at a candidate [4] of the photo that was reduced by ``ratio``."""
    x, y, half, angle = place.double().tolist()
    turned = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    centre = torch.tensor([x, y], dtype=torch.float64) / ratio
    quad = square_quad(centre, turned * half / ratio)
    crop = crop_quad(image, quad, INPUT_SIDE)
    points = features.predict(crop).landmarks[0].double().cpu()
    sides = torch.stack([quad[3] - quad[0], quad[1] - quad[0]])
    return Face(quad[0] + points @ sides, quad, max(0.0, 1 - distance / (2 * _TRUSTED)))


def clay_centres(landmarks: Tensor) -> Tensor:
    """Return the picture's left eye, right eye and mouth of a clay head's landmarks, [3, 2]."""
    index = {name: place for place, name in enumerate(LANDMARKS)}
    names: Sequence[str] = ("right_eye", "left_eye", "mouth_left", "mouth_right")
    right, left, *corners = (landmarks[index[name]] for name in names)
    return torch.stack([right, left, torch.stack(corners).mean(0)])
