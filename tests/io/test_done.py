import json

import pytest

from ganedit.io import DoneList, photo_digest

FIGURES = {
    "photo": "a.jpg",
    "loss": "clay",
    "distance": 0.1,
    "lpips": None,
    "identity": 0.9,
    "psnr": 20.0,
    "best_step": 3,
    "domain_gap": 0.5,
    "deviation": 1.0,
    "seconds": 2.5,
}


def finished(folder, settings=None):
    return DoneList(folder, settings=settings or {"steps": 3})


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def entry(photo):
    return {"name": "a", "photo_sha256": photo_digest(photo), **FIGURES}


def test_what_was_added_is_found_with_the_same_photo_and_settings(tmp_path, photo, entry):
    (tmp_path / "a.pt").write_bytes(b"latent")
    added = finished(tmp_path).add(entry, files=["a.pt"])
    assert added.items() > entry.items()
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) == added
    assert finished(tmp_path, {"steps": 4}).find("a", photo, files=["a.pt"]) is None
    assert finished(tmp_path).find("b", photo, files=["a.pt"]) is None
    photo.write_bytes(b"two")
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) is None


def test_results_have_to_be_there_as_they_were(tmp_path, photo, entry):
    files = ["a.pt", "a.png"]
    for file in files:
        (tmp_path / file).write_text(file)
    added = finished(tmp_path).add(entry, files=files)
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) == added
    assert finished(tmp_path).find("a", photo, files=[*files, "a.mp4"]) is None
    (tmp_path / "a.png").unlink()
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) is None
    (tmp_path / "a.png").write_text("another run's")
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) is None
    (tmp_path / "a.png").write_text("a.png")
    assert finished(tmp_path).find("a", photo, files=files) == added


def test_runs_with_other_settings_in_between_undo_what_they_replace(tmp_path, photo, entry):
    for settings in ("w+", "w"):
        (tmp_path / "a.pt").write_text(settings)
        finished(tmp_path, {"space": settings}).add(entry, files=["a.pt"])
    assert finished(tmp_path, {"space": "w+"}).find("a", photo, files=["a.pt"]) is None
    assert finished(tmp_path, {"space": "w"}).find("a", photo, files=["a.pt"]) is not None


def test_a_result_that_was_gone_when_it_was_noted_is_not_done(tmp_path, photo, entry):
    finished(tmp_path).add(entry, files=["a.pt"])
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) is None


def test_a_line_that_a_kill_cut_is_forgotten_and_spoils_no_other(tmp_path, photo, entry):
    state = tmp_path / ".ganedit-done"
    for name in "ab":
        finished(tmp_path).add({**entry, "name": name}, files=[])
    state.write_bytes(state.read_bytes()[:-9])
    done = finished(tmp_path)
    assert done.find("b", photo, files=[]) is None
    done.add({**entry, "name": "c"}, files=[])
    again = finished(tmp_path)
    assert [again.find(name, photo, files=[]) is not None for name in "abc"] == [True, False, True]
    done.close()
    assert not state.exists()


@pytest.mark.parametrize(
    ("key", "value"), [("psnr", None), ("domain_gap", "far"), ("loss", 3), ("identity", "same")]
)
def test_a_line_without_a_figure_is_ignored(tmp_path, photo, entry, key, value):
    finished(tmp_path).add({**entry, key: value}, files=[])
    assert finished(tmp_path).find("a", photo, files=[]) is None
    finished(tmp_path).add({k: v for k, v in entry.items() if k != "seconds"}, files=[])
    assert finished(tmp_path).find("a", photo, files=[]) is None
    finished(tmp_path).add(entry, files=[])
    assert finished(tmp_path).find("a", photo, files=[]) is not None


def test_nonsense_is_nothing_done(tmp_path):
    for text in ("[1, 2]", '{"results": 3}', '{"results": [1, {"name": 4}]}', "{", "[" * 99999):
        (tmp_path / "run.json").write_text(text)
        (tmp_path / ".ganedit-done").write_text(text)
        assert finished(tmp_path).find("a", tmp_path / "run.json", files=[]) is None


def test_a_finished_record_takes_over(tmp_path, photo, entry):
    done = finished(tmp_path)
    added = done.add(entry, files=[])
    (tmp_path / "run.json").write_text(json.dumps({"results": [added]}))
    done.close()
    assert finished(tmp_path).find("a", photo, files=[]) == added
