import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganedit import __version__
from ganedit.errors import GaneditError
from ganedit.io import OutputFolder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(folder: OutputFolder, name: str, text: str) -> Path:
    return folder.write(name, lambda path: path.write_text(text) and None)


def test_a_run_leaves_its_files_and_a_record(tmp_path):
    folder = OutputFolder(tmp_path / "out", command="generate")
    folder.claim(["a.txt"])
    assert put(folder, "a.txt", "1") == tmp_path / "out" / "a.txt"
    folder.finish({"seeds": [1], "arguments": {"out": tmp_path}})
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["command"] == "generate"
    assert record["version"] == __version__
    assert record["seeds"] == [1]
    assert record["seconds"] >= 0
    assert list(record["files"]) == ["a.txt"]
    assert names(tmp_path / "out") == ["a.txt", "run.json"]


def test_the_same_command_replaces_its_own_results(tmp_path):
    for text in ("1", "2"):
        folder = OutputFolder(tmp_path, command="generate")
        folder.claim(["a.txt"])
        put(folder, "a.txt", text)
        folder.finish({})
    assert (tmp_path / "a.txt").read_text() == "2"


def test_ownership_accumulates_over_commands(tmp_path):
    for name in ("a.txt", "b.txt"):
        folder = OutputFolder(tmp_path, command=name)
        put(folder, name, "1")
        folder.finish({})
    OutputFolder(tmp_path, command="again").claim(["a.txt", "b.txt"])
    assert set(json.loads((tmp_path / "run.json").read_text())["files"]) == {"a.txt", "b.txt"}


def test_a_foreign_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "b.txt").write_text("mine")
    folder = OutputFolder(tmp_path, command="generate")
    with pytest.raises(GaneditError, match=r"b\.txt: not written by ganedit"):
        folder.claim(["a.txt", "b.txt"])
    assert names(tmp_path) == ["b.txt"]
    overwriting = OutputFolder(tmp_path, command="generate", overwrite=True)
    overwriting.claim(["a.txt", "b.txt"])
    put(overwriting, "b.txt", "new")
    assert (tmp_path / "b.txt").read_text() == "new"


def test_a_result_that_the_user_changed_is_the_users(tmp_path):
    folder = OutputFolder(tmp_path, command="generate")
    put(folder, "a.txt", "1")
    folder.finish({})
    (tmp_path / "a.txt").write_text("improved by hand")
    with pytest.raises(GaneditError, match="changed since"):
        OutputFolder(tmp_path, command="generate").claim(["a.txt"])


def test_a_foreign_record_is_refused(tmp_path):
    for text in ("not json", '{"some": "thing"}', "[" * 100_000):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(GaneditError, match=r"run\.json: not written by ganedit"):
            OutputFolder(tmp_path, command="generate").claim(["a.txt"])
        OutputFolder(tmp_path, command="generate", overwrite=True).claim(["a.txt"])


def test_links_are_not_followed(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "a.txt").symlink_to(tmp_path / "target")
    with pytest.raises(GaneditError, match="not written by ganedit"):
        OutputFolder(tmp_path, command="generate").claim(["a.txt"])
    put(OutputFolder(tmp_path, command="generate", overwrite=True), "a.txt", "new")
    assert (tmp_path / "target").read_text() == "mine"


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    for path in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(GaneditError, match="file"):
            OutputFolder(path, command="generate").claim(["a.txt"])


def test_a_result_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(GaneditError, match="is a folder"):
        OutputFolder(tmp_path, command="generate", overwrite=True).claim(["a.txt"])


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(GaneditError, match="cannot be written"):
        OutputFolder(tmp_path, command="generate").claim(["a.txt"])


@pytest.mark.parametrize("name", ["/etc/x", "../x", "", "run.json"])
def test_names_outside_the_folder_are_programming_errors(tmp_path, name):
    with pytest.raises(ValueError, match="inside"):
        OutputFolder(tmp_path, command="generate").claim([name])


def test_a_killed_run_can_be_run_again_and_foreign_files_stay_safe(tmp_path):
    script = f"""
import os, signal
from ganedit.io.runs import OutputFolder
folder = OutputFolder({str(tmp_path)!r}, command="generate")
folder.claim(["a.txt", "b.txt", "c.txt"])
folder.write("a.txt", lambda path: path.write_text("1") and None)
folder.write("b.txt", lambda path: (path.write_text("half"), os.kill(os.getpid(), 9))[0])
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "1"
    assert not (tmp_path / "b.txt").exists()
    OutputFolder(tmp_path, command="generate").claim(["a.txt", "b.txt", "c.txt"])
    (tmp_path / "c.txt").write_text("mine")
    with pytest.raises(GaneditError, match=r"c\.txt"):
        OutputFolder(tmp_path, command="generate").claim(["a.txt", "c.txt"])


def test_a_name_that_is_no_utf8_is_recorded_and_owned(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    for text in ("1", "2"):
        folder = OutputFolder(tmp_path, command="project")
        folder.claim([name])
        try:
            put(folder, name, text)
        except GaneditError:
            pytest.skip("this file system takes UTF-8 names only")
        folder.finish({"photo": name})
    assert (tmp_path / name).read_text() == "2"
    assert json.loads((tmp_path / "run.json").read_text())["photo"] == name
