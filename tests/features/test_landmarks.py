import http.server
import json
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ganedit.data.alignment import quad_side
from ganedit.errors import GaneditError
from ganedit.features import landmarks as module
from ganedit.features.landmarks import (
    Face,
    check_detector,
    choose_faces,
    clay_centres,
    download_landmarker,
    find_faces,
    landmarker_cache_path,
    read_landmarks,
)
from ganedit.io import read_image
from ganedit.training.detector import random_scenes

PHOTO = Path(__file__).parents[2] / "examples" / "unaligned.jpg"
TRUE_SIDE = 0.42 * 512  # of the framing that examples/unaligned.jpg was rendered with
CENTRES = [[80.0, 50.0], [120.0, 50.0], [100.0, 80.0]]


def test_a_turned_clay_head_is_found_and_put_upright():
    faces = find_faces(read_image(PHOTO), detector="clay")
    assert len(faces) == 1
    (face,) = faces
    assert quad_side(face.quad) == pytest.approx(TRUE_SIDE, rel=0.1)
    middle = face.quad.mean(0)
    assert float((middle - torch.tensor([0.62 * 512, 0.45 * 512 - 30])).norm()) < 0.1 * TRUE_SIDE
    left, right, mouth = clay_centres(face.landmarks)
    assert left[0] < right[0]
    assert mouth[1] > (left[1] + right[1]) / 2
    assert 0 < face.score <= 1


def test_two_heads_are_found_and_one_of_them_upside_down():
    photo = read_image(PHOTO)
    both = torch.cat([photo, photo.flip(2, 3)], 3)
    upright, turned = sorted(find_faces(both), key=lambda face: float(face.quad[:, 0].mean()))
    assert upright.quad[0, 1] < upright.quad[1, 1]  # its top is above
    assert turned.quad[0, 1] > turned.quad[1, 1]


def test_what_is_no_head_is_not_taken_for_one():
    scenes = random_scenes(4, 128, torch.Generator().manual_seed(0))
    assert [find_faces(scene) for scene in scenes.split(1)] == [[]] * 4
    photo = read_image(PHOTO)
    assert find_faces(photo[..., :120, :]) == []  # the hair alone
    assert find_faces(photo[..., :1, :1]) == []
    assert find_faces(photo[..., :2, :]) == []


def test_landmarks_come_from_a_file(tmp_path):
    path = tmp_path / "points.json"
    larger = [[2 * x, 2 * y] for x, y in CENTRES]
    path.write_text(json.dumps([{"landmarks": CENTRES}, larger]))
    faces = find_faces(torch.zeros(1, 3, 200, 300), detector=str(path))
    assert [quad_side(face.quad) for face in faces] == pytest.approx([320, 160])
    path.write_text(json.dumps(CENTRES))
    (face,) = read_landmarks(path)
    assert face.box == (80.5, 50.5, 120.5, 80.5)  # a whole number is the centre of a pixel


def test_landmarks_of_several_photos_go_by_their_names(tmp_path):
    path = tmp_path / "points.json"
    larger = [[2 * x, 2 * y] for x, y in CENTRES]
    content = {"a.png": CENTRES, "new/a.png": [larger], "b.png": {"landmarks": larger}}
    path.write_text(json.dumps(content))
    sides = {
        photo: quad_side(read_landmarks(path, photo=photo)[0].quad)
        for photo in ("a.png", "/old/a.png", "/x/new/a.png", "b.png")
    }
    assert list(sides.values()) == pytest.approx([160, 160, 320, 320])
    with pytest.raises(GaneditError, match=r"points\.json: has no landmarks of c\.png"):
        read_landmarks(path, photo="c.png")
    check_detector(str(path), ["old/a.png", "new/a.png", "b.png"])
    with pytest.raises(GaneditError, match=r"a\.png could be old/a\.png and other/a\.png"):
        check_detector(str(path), ["old/a.png", "other/a.png"])
    path.write_text(json.dumps([CENTRES]))
    check_detector(str(path), ["a.png"])
    with pytest.raises(GaneditError, match="one photo, but there are 2"):
        check_detector(str(path), ["a.png", "b.png"])


def test_the_networks_are_read_once(monkeypatch):
    module._clay_networks.cache_clear()
    photo = read_image(PHOTO)
    (first,) = find_faces(photo)
    monkeypatch.setattr(module, "load_clay_detector", None)
    monkeypatch.setattr(module, "load_clay_features", None)
    (second,) = find_faces(photo)
    assert torch.equal(first.quad, second.quad)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[[1]]", "[[1, 2], [3]]", "[[1, 2], [3, 4]]", '[{"landmarks": "x"}]', "[NaN]"],
)
def test_broken_landmarks_are_one_line(tmp_path, text):
    path = tmp_path / "points.json"
    path.write_text(text)
    with pytest.raises(GaneditError, match=r"points\.json") as error:
        read_landmarks(path)
    assert "\n" not in str(error.value)


def test_a_face_is_chosen_by_size_or_number():
    faces = [Face(torch.zeros(3, 2), torch.zeros(4, 2)) for _ in range(3)]
    assert choose_faces(faces, "largest", name="a.png") == faces[:1]
    assert choose_faces(faces, "2", name="a.png") == faces[1:2]
    assert choose_faces(faces, "all", name="a.png") == faces
    with pytest.raises(GaneditError, match=r"a\.png: no face 4"):
        choose_faces(faces, "4", name="a.png")
    with pytest.raises(GaneditError, match=r"a\.png: no face found"):
        choose_faces([], "largest", name="a.png")


def test_missing_detectors_say_how_to_get_them(tmp_path, monkeypatch):
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(GaneditError, match=r"fetch https://.*face_landmarker\.task"):
        find_faces(image, detector=str(tmp_path / "absent.task"))
    with pytest.raises(GaneditError, match="unknown detector"):
        find_faces(image, detector="dlib")
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(GaneditError, match=r"ganedit\[mediapipe\]"):
        find_faces(image, detector=str(model))


class Landmarker:
    """Mediapipe's, as far as it is called; finds one small and one large face."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def detect(self, picture):
        assert picture["data"].shape == (100, 200, 3)
        assert picture["data"].dtype == "uint8"
        faces = []
        for size in (0.1, 0.2):
            points = [SimpleNamespace(x=0.5, y=0.5, z=0.0) for _ in range(478)]
            for index, x, y in [(33, -1, 0), (133, -1, 0), (362, 1, 0), (61, 0, 2), (291, 0, 2)]:
                points[index] = SimpleNamespace(x=0.5 + x * size / 2, y=0.5 + y * size, z=0.0)
            faces.append(points)
        return SimpleNamespace(face_landmarks=faces)


def test_faces_of_mediapipe_are_in_pixels(tmp_path, monkeypatch):
    vision = SimpleNamespace(
        FaceLandmarkerOptions=lambda **options: options,
        FaceLandmarker=SimpleNamespace(create_from_options=lambda options: Landmarker()),
    )
    tasks = SimpleNamespace(vision=vision, BaseOptions=lambda **options: options)
    package = SimpleNamespace(
        Image=lambda **parts: parts, ImageFormat=SimpleNamespace(SRGB="rgb"), tasks=tasks
    )
    monkeypatch.setitem(sys.modules, "mediapipe", package)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", tasks)
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"model")
    large, small = find_faces(torch.zeros(1, 3, 100, 200), detector=str(model))
    assert large.landmarks.shape == (478, 2)
    assert large.landmarks[33].tolist() == pytest.approx([80, 50])  # 0.4 of 200, 0.5 of 100
    assert large.landmarks[61].tolist() == pytest.approx([100, 90])
    assert quad_side(large.quad) == pytest.approx(2 * quad_side(small.quad))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served as the place of mediapipe's model; torch's cache is empty."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{running.server_port}/face_landmarker.task"
        monkeypatch.setattr(module, "MODEL_ADDRESS", address)
        yield folder / "face_landmarker.task"
        running.shutdown()
        thread.join()


@pytest.mark.network
def test_the_model_is_fetched_once(server):
    server.write_bytes(b"PK\3\4 a model")
    assert download_landmarker().read_bytes() == b"PK\3\4 a model"
    server.unlink()
    assert download_landmarker() == landmarker_cache_path()


@pytest.mark.network
def test_what_is_served_instead_of_the_model_is_refused(server, monkeypatch):
    server.write_bytes(b"<html>please log in</html>")
    with pytest.raises(GaneditError, match="something else than the model"):
        download_landmarker()
    server.write_bytes(b"PK\3\4" + bytes(5000))
    monkeypatch.setattr(module, "_MODEL_BYTES", 1000)
    with pytest.raises(GaneditError, match="no such model"):
        download_landmarker()
    server.unlink()
    with pytest.raises(GaneditError, match="answers 404"):
        download_landmarker()
    assert not landmarker_cache_path().exists()


def test_the_address_of_the_model_is_https():
    assert module.MODEL_ADDRESS.startswith("https://")


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_is_no_model_of_mediapipe_is_one_line(tmp_path, content):
    pytest.importorskip("mediapipe")
    model = tmp_path / "face_landmarker.task"
    if content is None:
        with zipfile.ZipFile(model, "w") as bundle:
            bundle.writestr("readme.txt", "no model")
    else:
        model.write_bytes(content)
    with pytest.raises(GaneditError, match="not a model of mediapipe's face landmarker") as error:
        find_faces(torch.zeros(1, 3, 64, 64), detector=str(model))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "points",
    [
        [[5000, 5000], [5040, 5000], [5020, 5040]],  # elsewhere
        [[-90000, -90000], [90000, -90000], [0, 90000]],  # the photo is a speck in it
        [[50, 50], [50.001, 50], [50, 50.001]],  # less than a pixel
    ],
)
def test_landmarks_of_another_photo_are_refused(tmp_path, points):
    path = tmp_path / "points.json"
    path.write_text(json.dumps(points))
    with pytest.raises(GaneditError, match="no part of a photo of 200x100 pixels"):
        find_faces(torch.zeros(1, 3, 100, 200), detector=str(path))
