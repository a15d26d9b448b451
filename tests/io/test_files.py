import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganedit.errors import GaneditError
from ganedit.io import file_digest, is_partial, sweep_partials, write_atomic, write_bytes
from ganedit.io.files import _machine


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GaneditError, match=r"result\.bin: no space left on the device"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device_is_one_line(tmp_path):
    def fill(partial: Path) -> None:
        partial.write_bytes(b"half")
        Path("/dev/full").write_bytes(bytes(100_000))

    with pytest.raises(GaneditError, match="no space left"):
        write_atomic(tmp_path / "result.bin", fill)
    assert names(tmp_path) == []


def test_an_interrupted_write_cleans_up(tmp_path):
    def interrupt(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "result.bin", interrupt)
    assert names(tmp_path) == []


def test_the_final_name_never_holds_half_a_file_when_the_process_is_killed(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from ganedit.io.files import write_atomic

def write(partial):
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

write_atomic(Path({str(tmp_path)!r}) / "result.bin", write)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "result.bin").exists()
    (left,) = tmp_path.iterdir()
    assert is_partial(left)
    write_bytes(tmp_path / "result.bin", b"whole")
    assert names(tmp_path) == ["result.bin"]


def test_missing_folders_are_made_and_the_suffix_is_kept(tmp_path):
    seen = []
    path = tmp_path / "a" / "b" / "picture.png"
    write_atomic(path, lambda partial: (seen.append(partial.suffix), partial.touch())[0])
    assert seen == [".png"]
    assert path.exists()


def test_nested_atomic_writes_rename_once(tmp_path):
    write_atomic(tmp_path / "a.txt", lambda partial: write_bytes(partial, b"content"))
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file/result.bin", "is a file"), ("folder", "is a folder"), ("x" * 300, "too long")],
)
def test_impossible_names_are_one_line(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    with pytest.raises(GaneditError, match=reason) as caught:
        write_bytes(tmp_path / name, b"content")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "folder" / "kept").exists()


def test_a_folder_that_refuses_is_one_line():
    with pytest.raises(GaneditError):
        write_bytes("/proc/ganedit/result.bin", b"content")


@pytest.mark.skipif(os.name != "posix", reason="asks for processes as POSIX does")
def test_only_what_dead_processes_of_this_machine_left_is_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    marks = [f"{_machine()}-{os.getpid()}", f"00000000-{gone.pid}", f"{_machine()}-{'9' * 40}", "x"]
    kept = {f".ganedit-partial-{mark}-abc.png" for mark in marks} | {"mine.png"}
    for name in kept | {f".ganedit-partial-{_machine()}-{gone.pid}-abc.png"}:
        (tmp_path / name).touch()
    sweep_partials(tmp_path)
    assert set(names(tmp_path)) == kept
    sweep_partials(tmp_path / "absent")


def test_a_digest_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the first test vector of FIPS 180
    assert file_digest(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")
