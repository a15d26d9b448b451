"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ganedit.errors import GaneditError

_REASONS = {
    errno.ENOSPC: "no space left on the device; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file grew larger than this system allows",
    errno.EACCES: "no permission to write here; choose another --out",
    errno.EPERM: "no permission to write here; choose another --out",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another --out",
    errno.EISDIR: "is a folder; choose another name",
    errno.ENOENT: "this folder cannot be made here; choose another --out",
    errno.ENAMETOOLONG: "the file name is too long",
}

_PARTIAL = ".ganedit-partial-"


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
        raise GaneditError(f"{path}: is a file, not a folder; choose another --out") from error
    except OSError as error:
        raise write_error(path, error) from error


def write_atomic(path: Path | str, writer: Callable[[Path], None]) -> None:
    """Write a file so that its name only ever holds the whole content.

    ``writer`` fills a hidden file in the same folder, with the same suffix; the content is then
    forced to the disk and renamed over ``path``. The hidden file is removed on any failure, an
    interruption included. Missing parent folders are made.

    Args:
        path: The final name; an existing file is replaced.
        writer: Called once with the path to fill.

    Raises:
        GaneditError: The system refused: no space, no permission, a folder of that name, ...
    """
    path = Path(path)
    if path.name.startswith(_PARTIAL):
        writer(path)  # within another atomic write, which will do the rest
        return
    make_folder(path.parent)
    partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(6)}{path.suffix}")
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


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
