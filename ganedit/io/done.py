"""What a long run has finished so far, so that the same run, started again, goes on from there."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.files import file_digest, make_folder, write_error
from ganedit.io.runs import RECORD

_STATE = ".ganedit-done"


class DoneList:
    """The photos of a folder run that are done, with their figures.

    A hidden file beside the results holds one line of JSON a photo, forced to the disk before the
    next photo counts; a line that a kill cut short is not there. When the run ends, its
    ``run.json`` takes over, so that the same command later does only what is new.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, Any]) -> None:
        """Read what was done.

        Args:
            folder: Of the results.
            settings: All that decides a result but the photo; what was done with others is not
                done.
        """
        text = json.dumps(settings, sort_keys=True, default=str)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self._path = folder / _STATE
        self._folder = folder
        self._results: dict[str, dict[str, Any]] = {}
        for result in (*_read_record(folder / RECORD), *_read_lines(self._path)):
            if result.get("settings") == self.key and isinstance(result.get("name"), str):
                self._results[result["name"]] = result

    def find(self, name: str, photo: Path, *, files: list[str]) -> dict[str, Any] | None:
        """Return the figures of a photo that is done.

        Args:
            name: Of its results.
            photo: Its file, whose content has to be the same as then.
            files: Names of its results, which have to be there.
        """
        result = self._results.get(name)
        if result is None or not all((self._folder / file).is_file() for file in files):
            return None
        return result if result.get("photo_sha256") == photo_digest(photo) else None

    def add(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Note a photo whose results are written; returns its figures with the settings' mark.

        Args:
            result: Its figures, with ``name`` and ``photo_sha256``.
        """
        marked = {**result, "settings": self.key}
        make_folder(self._folder)
        try:
            with self._path.open("ab") as state:
                if state.tell() and not _ends_a_line(self._path):
                    state.write(b"\n")
                state.write(json.dumps(marked, default=str).encode() + b"\n")
                state.flush()
                os.fsync(state.fileno())
        except OSError as error:
            raise write_error(self._path, error) from error
        return marked

    def close(self) -> None:
        """Forget the hidden file, once ``run.json`` holds the results."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def photo_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return None


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as state:
        state.seek(-1, os.SEEK_END)
        return state.read(1) == b"\n"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in _read(path).splitlines():
        with contextlib.suppress(ValueError, RecursionError):  # a kill may cut the last line
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def _read_record(path: Path) -> list[dict[str, Any]]:
    try:
        record = json.loads(_read(path) or "{}")
    except (ValueError, RecursionError):
        return []  # whose it is, and whether it may be replaced, is OutputFolder's to say
    results = record.get("results") if isinstance(record, dict) else None
    rows = results if isinstance(results, list) else []
    return [row for row in rows if isinstance(row, dict)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
