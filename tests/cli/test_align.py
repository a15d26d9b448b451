import json
import math
from pathlib import Path

import pytest
import torch

from ganedit.io import read_image, write_image
from ganedit.io.alignments import load_alignment

FACES = [[[30, 30], [50, 34], [38, 48]], [[90, 40], [102, 40], [96, 50]]]


@pytest.fixture
def photo(tmp_path):
    y, x = torch.meshgrid(torch.arange(100), torch.arange(140), indexing="ij")
    waves = torch.stack([torch.sin(x / 15 + k) * torch.cos(y / 12) for k in range(3)])
    write_image(tmp_path / "photo.png", waves[None] * 0.8)
    (tmp_path / "points.json").write_text(json.dumps(FACES))
    return tmp_path / "photo.png"


@pytest.fixture
def points(photo):
    return ("--detector", photo.with_name("points.json"))


def test_a_face_goes_out_and_back(run, photo, points):
    result = run("align", photo, *points, "--size", "128")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [
        f"out/{name}" for name in ("photo-aligned.png", "photo-aligned.json", "run.json")
    ]
    assert "2 faces; took the largest" in result.stderr
    assert read_image("out/photo-aligned.png").shape == (1, 3, 128, 128)
    where = load_alignment("out/photo-aligned.json")
    assert (where.photo, where.size) == (str(photo), (140, 100))
    written = ("out/photo-aligned.png", "--alignment", "out/photo-aligned.json")
    back = run("paste", photo, *written)
    assert back.exit_code == 0, back.output
    difference = read_image("out/photo-pasted.png") - read_image(photo)
    assert difference.abs().max() < 10 / 255


def test_all_faces_are_numbered(run, photo, points):
    result = run("align", photo, *points, "--face", "all")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in Path("out").glob("*.png"))
    assert names == ["photo-aligned-1.png", "photo-aligned-2.png"]
    sides = [entry["side"] for entry in json.loads(Path("out/run.json").read_text())["results"]]
    assert sides[0] > sides[1]


def test_a_face_at_the_border_is_said(run, photo, points):
    photo.with_name("points.json").write_text(json.dumps([[5, 10], [35, 10], [20, 30]]))
    result = run("align", photo, *points)
    assert result.exit_code == 0, result.output
    assert "at the border" in result.stderr


def test_a_photo_without_a_face_does_not_stop_the_others(run, photo, points, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    photo.with_name("points.json").write_text(json.dumps({"photo.png": FACES, "broken.png": []}))
    result = run("align", tmp_path / "broken.png", photo, *points)
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert Path("out/photo-aligned.png").exists()
    photo.with_name("points.json").write_text("[]")
    result = run("align", photo, *points, "--out", "none")
    assert result.exit_code == 1
    assert "no face found" in result.stderr
    assert not list(Path("none").glob("*.png"))


def test_a_folder_is_aligned_with_all_in_it(run, fails, photo, points, tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in ("photo.png", "sub/photo.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    assert "faces of one photo, but there are 2" in fails("align", folder, *points)
    photo.with_name("points.json").write_text(json.dumps({"photo.png": FACES}))
    assert "name them with their folders" in fails("align", folder, *points)
    named = {"folder/photo.png": FACES[0], "sub/photo.png": FACES[1]}
    photo.with_name("points.json").write_text(json.dumps(named))
    result = run("align", folder, *points)
    assert result.exit_code == 0, result.output
    sides = {
        one["name"]: one["side"] for one in json.loads(Path("out/run.json").read_text())["results"]
    }
    assert sides["photo-aligned"] > sides["sub/photo-aligned"]
    assert load_alignment("out/sub/photo-aligned.json").photo == str(folder / "sub" / "photo.png")
    photo.with_name("points.json").write_text(json.dumps({"folder/photo.png": FACES[0]}))
    result = run("align", folder, *points, "--out", "some")
    assert result.exit_code == 1
    assert "has no landmarks of" in result.stderr
    assert Path("some/photo-aligned.png").exists()


def test_a_photo_of_people_names_the_detectors_for_them(fails, photo):
    assert "--detector FILE.task" in fails("align", photo)


@pytest.mark.parametrize("face", ["0", "-1", "second"])
def test_a_face_that_cannot_be_is_bad_usage(run, photo, points, face):
    assert run("align", photo, *points, "--face", face).exit_code == 2
    assert run("align", photo, *points, "--face", "3").exit_code == 1


@pytest.mark.parametrize("change", [{"quad": 3}, {"size": [1]}, {"photo": None}, {"format": "x"}])
def test_a_damaged_alignment_is_one_line(run, photo, points, change):
    assert run("align", photo, *points).exit_code == 0
    path = Path("out/photo-aligned.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    result = run("paste", photo, "out/photo-aligned.png", "--alignment", path)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "photo-aligned.json" in result.stderr


def test_the_seam_has_a_range(run, photo):
    common = ("paste", photo, photo, "--alignment", "a.json", "--feather")
    assert run(*common, math.nan).exit_code == 2
    assert run(*common, 0.6).exit_code == 2
