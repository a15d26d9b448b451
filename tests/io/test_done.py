import json
from pathlib import Path

from ganedit.io import DoneList, photo_digest


def finished(folder, settings=None):
    return DoneList(folder, settings=settings or {"steps": 3})


def test_what_was_added_is_found_with_the_same_photo_and_settings(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    (tmp_path / "a.pt").write_bytes(b"latent")
    entry = {"name": "a", "photo_sha256": photo_digest(photo), "psnr": 20.0}
    added = finished(tmp_path).add(entry)
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) == added
    assert finished(tmp_path, {"steps": 4}).find("a", photo, files=["a.pt"]) is None
    assert finished(tmp_path).find("a", photo, files=["a.pt", "a.png"]) is None
    assert finished(tmp_path).find("b", photo, files=[]) is None
    photo.write_bytes(b"two")
    assert finished(tmp_path).find("a", photo, files=["a.pt"]) is None


def test_a_line_that_a_kill_cut_is_forgotten_and_spoils_no_other(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    state = tmp_path / ".ganedit-done"
    for name in "ab":
        finished(tmp_path).add({"name": name, "photo_sha256": photo_digest(photo)})
    state.write_bytes(state.read_bytes()[:-9])
    done = finished(tmp_path)
    assert done.find("b", photo, files=[]) is None
    done.add({"name": "c", "photo_sha256": photo_digest(photo)})
    again = finished(tmp_path)
    assert [again.find(name, photo, files=[]) is not None for name in "abc"] == [True, False, True]
    done.close()
    assert not state.exists()


def test_nonsense_is_nothing_done(tmp_path):
    for text in ("[1, 2]", '{"results": 3}', '{"results": [1, {"name": 4}]}', "{", "[" * 99999):
        (tmp_path / "run.json").write_text(text)
        (tmp_path / ".ganedit-done").write_text(text)
        assert finished(tmp_path).find("a", tmp_path / "run.json", files=[]) is None


def test_a_finished_record_takes_over(tmp_path):
    photo = Path(tmp_path / "a.jpg")
    photo.write_bytes(b"one")
    done = finished(tmp_path)
    entry = done.add({"name": "a", "photo_sha256": photo_digest(photo)})
    (tmp_path / "run.json").write_text(json.dumps({"results": [entry]}))
    done.close()
    assert finished(tmp_path).find("a", photo, files=[]) == entry
