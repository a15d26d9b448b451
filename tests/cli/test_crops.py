"""What ``--align`` of project and encode does with photos, without a network."""

import json
from pathlib import Path

import pytest
import torch

import ganedit.io
from ganedit.cli.crops import Crops
from ganedit.cli.photos import Photo
from ganedit.errors import GaneditError
from ganedit.features import landmarks
from ganedit.io import write_image

EXAMPLE = Path(__file__).parents[2] / "examples" / "unaligned.jpg"
FACES = [[[30, 30], [50, 30], [40, 48]], [[90, 40], [102, 40], [96, 50]]]


@pytest.fixture
def scene(tmp_path):
    """A photo of two faces; landmarks of it are beside it."""
    write_image(tmp_path / "scene.png", torch.zeros(1, 3, 100, 140))
    (tmp_path / "faces.json").write_text(json.dumps(FACES))
    return Photo(str(tmp_path / "scene.png"), "scene")


@pytest.fixture
def detector(scene):
    return str(Path(scene.path).with_name("faces.json"))


@pytest.fixture
def decoded(monkeypatch):
    """The photos that are decoded."""
    paths = []
    read = ganedit.io.read_image
    monkeypatch.setattr(ganedit.io, "read_image", lambda path: paths.append(path) or read(path))
    return paths


@pytest.mark.parametrize("face", ["largest", "2", "all"])
def test_a_photo_is_decoded_once(scene, detector, decoded, face):
    crops = Crops(16, detector=detector, face=face)
    photos = crops.spread([scene], on_bad=None)
    pictures = [crops.read(photo) for photo in photos]
    assert [picture.shape for picture in pictures] == [(1, 3, 16, 16)] * (2 if face == "all" else 1)
    assert decoded == [scene.path]


def test_faces_are_looked_for_on_the_device_of_the_run(scene, monkeypatch):
    looked = []

    def find(image, **settings):
        looked.append(image.device)
        centre, half = torch.tensor([50.0, 50.0]), torch.tensor([20.0, 0.0])
        return [landmarks.Face(centre[None], landmarks.square_quad(centre, half))]

    monkeypatch.setattr(landmarks, "find_faces", find)
    crop = Crops(16, detector="clay", face="largest", device="meta").read(scene)
    assert [device.type for device in looked] == ["meta"]
    assert crop.device.type == "cpu"


def test_a_face_at_the_border_is_said(scene, detector, capsys):
    Path(detector).write_text(json.dumps([[5, 10], [35, 10], [20, 30]]))
    Crops(16, detector=detector, face="largest").read(scene)
    assert "at the border" in capsys.readouterr().err


def test_a_photo_of_people_names_the_detectors_for_them(scene):
    with pytest.raises(GaneditError, match=r"--align FILE\.task .* or --align FILE\.json") as error:
        Crops(16, detector="clay", face="largest").read(scene)
    assert "cropped already" not in str(error.value)


def test_landmarks_of_one_photo_are_not_taken_for_another(scene, detector):
    other = Photo(str(EXAMPLE), "unaligned")
    crops = Crops(16, detector=detector, face="largest")
    with pytest.raises(GaneditError, match=r"faces of one photo, but there are 2"):
        crops.spread([scene, other], on_bad=lambda photo, why: None)
    Path(detector).write_text(json.dumps({"scene.png": FACES, "unaligned.jpg": FACES[1]}))
    for photo in crops.spread([scene, other], on_bad=None):
        crops.read(photo)
    places = [crops.alignments[name].quad[0] for name in ("scene", "unaligned")]
    assert places[0] != places[1]
