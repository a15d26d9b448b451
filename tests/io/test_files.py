import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganedit.errors import GaneditError
from ganedit.io import file_digest, is_partial, sweep_partials, write_atomic, write_bytes
from ganedit.io.files import _machine, open_file, read_start
from ganedit.io.kinds import kind_of


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


def test_a_start_is_as_long_as_the_file_allows(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert read_start(path, 2) == b"ab"
    assert read_start(path, 20) == b"abc"


def test_what_cannot_be_read_is_one_line_and_blocks_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "hanging").symlink_to("nowhere")
    for name, words in {
        "folder": "is a folder",
        "empty": "the file is empty",
        "pipe": "is no regular file",
        "hanging": "no such file",
        "absent": "no such file",
        "folder/a\0b": "cannot be the name of a file",
        "empty/a": "cannot be read",
        "x" * 300: "cannot be read",
        "/dev/zero": "is no regular file",
    }.items():
        with pytest.raises(GaneditError, match=words) as caught:
            read_start(tmp_path / name, 10)
        assert str(caught.value).isprintable()
    with pytest.raises(GaneditError, match="is no regular file"):
        open_file(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"", "an empty file"),
        (
            b"\xef\xbb\xbf <HTML><title>Qu\xc3\xb6ta\n&lt;over</title>",
            "an HTML page titled 'Quöta <over'",
        ),
        (b"<html><title>" + b"\x1b[2J" * 50, "an HTML page"),
        (b"<html><title>\x1b[2J</title>", "an HTML page titled '?[2J'"),
        (b"<title" * 10_000, "something unknown that starts with '<title"),
        (b"<html>" + b"<title>" * 10_000, "an HTML page"),
        (b'[{"a": 1}]', "a JSON answer '[{\"a\": 1}]'"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"PK\3\4" + bytes(40), "a zip archive"),
        (b"\x10" + bytes(7) + b'{"a":', "a safetensors file"),
        (bytes(100), "something unknown"),
        ("grüße".encode(), "something unknown that starts with 'grüße'"),
    ],
)
def test_the_kind_of_a_file_in_words(start, kind):
    got = kind_of(start)
    assert got.startswith(kind)
    assert got.isprintable()
    assert len(got) < 130
