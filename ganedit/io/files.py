"""Files: opened with care, and written whole or not at all."""

import contextlib
import errno
import functools
import hashlib
import lzma
import os
import platform
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from ganedit.errors import GaneditError

_REASONS = {
    errno.ENOSPC: "no space left on the device; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file grew larger than this system allows",
    errno.EACCES: "no permission to write here; choose another folder",
    errno.EPERM: "no permission to write here; choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another folder",
    errno.EISDIR: "is a folder; choose another name",
    errno.ENOENT: "this folder cannot be made here; choose another folder",
    errno.ENAMETOOLONG: "the file name is too long",
}

BROKEN_ZIP: tuple[type[Exception], ...] = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    ValueError,
    OverflowError,
    RuntimeError,
    MemoryError,
)
"""What reading a zip file raises on damaged, hostile, encrypted or unsupported bytes."""

_PARTIAL = ".ganedit-partial-"


def open_file(path: Path) -> FileIO:
    """Open a regular file for reading, unbuffered.

    Anything else is refused: a pipe would wait for ever for its writer, a device never ends.

    Raises:
        GaneditError: It is missing, a folder, no regular file, or the system refuses.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise GaneditError(f"{path}: is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise GaneditError(f"{path}: is no regular file")
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file") from error
    except ValueError as error:  # a zero byte
        raise GaneditError(f"{str(path)!r:.200}: cannot be the name of a file") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_start(path: Path, count: int) -> bytes:
    """Return the first ``count`` bytes of a regular file, or all where there are fewer.

    Raises:
        GaneditError: As `open_file`, or the file is empty.
    """
    with open_file(path) as file:
        try:
            start = file.read(count)
        except OSError as error:
            raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not start:
        raise GaneditError(f"{path}: the file is empty")
    return start


def write_error(path: Path, error: OSError) -> GaneditError:
    """Return the one-line error for a write to ``path`` that the system refused."""
    fallback = error.strerror or type(error).__name__
    return GaneditError(f"{path}: {_REASONS.get(error.errno or 0, fallback)}")


def make_folder(path: Path) -> None:
    """Create ``path`` and its parents where missing.

    Raises:
        GaneditError: The path is a file, or the system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise GaneditError(f"{path}: is a file, not a folder; choose another folder") from error
    except OSError as error:
        raise write_error(path, error) from error


def write_atomic(path: Path | str, writer: Callable[[Path], None]) -> None:
    """Write a file so that its name only ever holds the whole content.

    ``writer`` fills a hidden file in the same folder, with the same suffix; the content is then
    forced to the disk and renamed over ``path``. The hidden file is removed on any failure, an
    interruption included; what a killed process left is removed by the next write into that folder.
    Missing parent folders are made.

    Args:
        path: The final name; an existing file is replaced.
        writer: Called once with the path to fill.

    Raises:
        GaneditError: The system refused: no space, no permission, a folder of that name, ...
    """
    path = Path(path)
    if is_partial(path):
        writer(path)  # within another atomic write, which will do the rest
        return
    make_folder(path.parent)
    _sweep_once(path.parent.absolute())
    mark = f"{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"
    partial = path.with_name(f"{_PARTIAL}{mark}{path.suffix}")
    try:
        writer(partial)
        _force_to_disk(partial)
        partial.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically; see `write_atomic`."""

    def write(partial: Path) -> None:
        partial.write_bytes(content)

    write_atomic(path, write)


def is_partial(path: Path) -> bool:
    """Return whether the file is an unfinished one of `write_atomic`."""
    return path.name.startswith(_PARTIAL)


def sweep_partials(folder: Path) -> None:
    """Remove unfinished files in ``folder`` whose writer was killed.

    Only those of this machine, because elsewhere nobody can tell whether the process still runs.
    """
    if os.name != "posix":  # on Windows, os.kill would harm the process it asks for
        return
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if is_partial(path) and _is_abandoned(path):
                with contextlib.suppress(OSError):
                    path.unlink()


# Once a process and folder: looking through the folder at each of many files would be slow.
_sweep_once = functools.lru_cache(maxsize=256)(sweep_partials)


def _is_abandoned(path: Path) -> bool:
    machine, _, rest = path.name.removeprefix(_PARTIAL).partition("-")
    process = rest.partition("-")[0]
    if machine != _machine() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)  # sends nothing, and fails when there is no such process
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
