import json
from pathlib import Path

import pytest
import torch

from ganedit.data.alignment import quad_side
from ganedit.errors import GaneditError
from ganedit.features.landmarks import Face, choose_faces, clay_centres, find_faces, read_landmarks
from ganedit.io import read_image

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


def test_landmarks_come_from_a_file(tmp_path):
    path = tmp_path / "points.json"
    larger = [[2 * x, 2 * y] for x, y in CENTRES]
    path.write_text(json.dumps([{"landmarks": CENTRES}, larger]))
    faces = find_faces(torch.zeros(1, 3, 200, 300), detector=str(path))
    assert [quad_side(face.quad) for face in faces] == pytest.approx([320, 160])
    path.write_text(json.dumps(CENTRES))
    (face,) = read_landmarks(path)
    assert face.box == (80, 50, 120, 80)


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


def test_missing_detectors_say_how_to_get_them(tmp_path):
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(GaneditError, match=r"fetch https://.*face_landmarker\.task"):
        find_faces(image, detector="mediapipe")
    with pytest.raises(GaneditError, match="unknown detector"):
        find_faces(image, detector="dlib")
    model = tmp_path / "face_landmarker.task"
    model.write_bytes(b"")
    with pytest.raises(GaneditError, match=r"ganedit\[mediapipe\]|not a model"):
        find_faces(image, detector=str(model))
