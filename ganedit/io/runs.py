"""Output folders: results, and a run.json that says how they came about and whose they are."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.files import file_digest, make_folder, write_atomic, write_bytes
from ganedit.version import __version__

RECORD = "run.json"

_FORMAT = "ganedit-run"
_JOURNAL = ".ganedit-journal"


class OutputFolder:
    """A folder that ganedit writes results into without harming the files of others.

    ``run.json`` lists every file that ganedit owns there, with the SHA-256 of what it wrote. A
    command may replace such a file as long as nobody changed it since; any other file of the same
    name is refused unless ``overwrite`` is set. Until `finish`, a hidden journal holds the list, so
    that a killed run can be run again.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        command: str,
        overwrite: bool = False,
        inputs: Iterable[Path | str] = (),
    ) -> None:
        """Open the folder; nothing is made or written before `claim`.

        Args:
            path: The folder; made by `claim` when missing.
            command: Name of the command, for the record.
            overwrite: Also replace files that ganedit did not write.
            inputs: Files of the command, which its results never replace; other words than names
                of files, such as seeds, do no harm.
        """
        self.path = Path(path)
        self.command = command
        self.overwrite = overwrite
        self._started = time.monotonic()
        self._written: dict[str, str] = {}
        self._claimed: set[str] = set()
        self._inputs = {_real(path) for path in inputs}

    def claim(self, names: Iterable[str]) -> None:
        """Find every obstacle to writing these files, before any work is done.

        Args:
            names: Paths relative to the folder, with forward slashes.

        Raises:
            GaneditError: The folder is a file or cannot be written, or a file of one of these
                names is an input, or not ganedit's.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or not pure.parts or name == RECORD:
                raise ValueError(f"name: expected a path inside the folder, got {name!r}")
        make_folder(self.path)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise GaneditError(f"{self.path}: cannot be written; choose another folder")
        owned = self.read_owned()
        for name in wanted:
            if _real(self.path / name) in self._inputs:
                raise GaneditError(
                    f"{self.path / name}: is an input and would be replaced by a result; choose"
                    " another --out"
                )
        obstacles = [name for name in wanted if not self._may_write(name, owned)]
        if obstacles:
            rest = f" and {len(obstacles) - 1} more" if len(obstacles) > 1 else ""
            raise GaneditError(
                f"{self.path / obstacles[0]}{rest}: not written by ganedit, or changed since; "
                "choose another folder, or add --overwrite"
            )
        self._claimed.update(wanted)

    def write(self, name: str, writer: Callable[[Path], None]) -> Path:
        """Write one file, whole or not at all.

        Args:
            name: A claimed name; others are claimed now.
            writer: Called with the path to fill.

        Returns:
            The path of the file.
        """
        if name not in self._claimed:
            self.claim([name])

        def write_and_record(partial: Path) -> None:
            writer(partial)
            # Recorded before the rename: whenever a kill comes, the list covers what is there.
            self._written[name] = _digest(partial)
            with (self.path / _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps([name, self._written[name]]) + "\n")

        write_atomic(self.path / name, write_and_record)
        return self.path / name

    def finish(self, record: Mapping[str, Any]) -> Path:
        """Write ``run.json``.

        Args:
            record: Facts: arguments, seeds, fingerprints, results; what JSON does not know (paths)
                becomes text. Command, version, seconds and the owned files are added. The file is
                ASCII, so that names that are no UTF-8 survive as escapes.

        Returns:
            The path of the record.
        """
        make_folder(self.path)
        files = self.read_owned() | self._written
        content = {
            "format": _FORMAT,
            "command": self.command,
            "version": __version__,
            "seconds": round(time.monotonic() - self._started, 3),
            **record,
            "files": dict(sorted(files.items())),
        }
        text = json.dumps(content, indent=2, default=str) + "\n"
        write_bytes(self.path / RECORD, text.encode())
        with contextlib.suppress(OSError):
            (self.path / _JOURNAL).unlink(missing_ok=True)
        return self.path / RECORD

    def read_owned(self) -> dict[str, str]:
        """Return the files that earlier runs own, with their digests."""
        files = self._read_record()
        for line in _read_text(self.path / _JOURNAL).splitlines():
            with contextlib.suppress(ValueError, TypeError):  # a kill may cut the last line
                name, digest = json.loads(line)
                files[str(name)] = str(digest)
        return files

    def _read_record(self) -> dict[str, str]:
        path = self.path / RECORD
        text = _read_text(path)
        if not text and not path.exists():
            return {}
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and record.get("format") == _FORMAT:
            files = record.get("files")
            return {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}
        if self.overwrite:
            return {}
        raise GaneditError(
            f"{path}: not written by ganedit; choose another folder, or add --overwrite"
        )

    def _may_write(self, name: str, owned: Mapping[str, str]) -> bool:
        path = self.path / name
        try:
            if path.is_dir():
                raise GaneditError(f"{path}: is a folder; choose another folder")
            if self.overwrite or not (path.exists() or path.is_symlink()):
                return True
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True  # its writing fails, not that of all others
            raise GaneditError(f"{path}: cannot be written ({error.strerror or error})") from error
        return not path.is_symlink() and owned.get(name) == _digest(path)


def _read_text(path: Path) -> str:
    """Return the text of a file, empty when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def _real(path: Path | str) -> str:
    """Return where links lead, or what is no name of a file as it is."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def _digest(path: Path) -> str:
    try:
        return f"sha256:{file_digest(path)}"
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
