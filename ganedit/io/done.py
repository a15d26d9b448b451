"""What a long run has finished so far, so that the same run, started again, goes on from there."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.files import file_digest, make_folder, write_error
from ganedit.io.runs import RECORD

_STATE = ".ganedit-done"
_TEXTS = ("name", "photo", "photo_sha256", "loss")
_FIGURES = ("distance", "psnr", "best_step", "domain_gap", "deviation", "seconds")
_OPTIONAL_FIGURES = ("lpips", "identity")  # None where their weights were missing


class DoneList:
    """The photos of a folder run that are done, with their figures.

    A hidden file beside the results holds one line of JSON a photo, forced to the disk before the
    next photo counts; a line that a kill cut short, or that lacks a figure, is not there. When the
    run ends, its ``run.json`` takes over, so that the same command later does only what is new.

    Each line keeps the SHA-256 of the photo and of all its results: other runs may have written
    into the folder since, and a kill may come between two files of a photo.
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
            if result.get("settings") == self.key and _is_whole(result):
                self._results[result["name"]] = result

    def find(self, name: str, photo: Path, *, files: Iterable[str]) -> dict[str, Any] | None:
        """Return the figures of a photo that is done, None of others.

        Reads the photo and all its results: at the start of a run, that is the whole folder once.

        Args:
            name: Of its results.
            photo: Its file, whose content has to be the same as then.
            files: Names of results, which have to be among those of then. All of these have to be
                there with the content of then.
        """
        result = self._results.get(name)
        if result is None or result["photo_sha256"] != photo_digest(photo):
            return None
        then = result["files_sha256"]
        now = self._digests(then)
        whole = then.keys() >= set(files) and None not in now.values()
        return result if whole and now == then else None

    def add(self, result: Mapping[str, Any], *, files: Iterable[str]) -> dict[str, Any]:
        """Note a photo whose results are written.

        Args:
            result: What `ganedit project` tells of it, with ``photo_sha256``.
            files: Names of all its results.

        Returns:
            The same with the marks by which `find` knows it.
        """
        marked = {**result, "settings": self.key, "files_sha256": self._digests(files)}
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

    def _digests(self, files: Iterable[str]) -> dict[str, str | None]:
        return {file: photo_digest(self._folder / file) for file in files}


def photo_digest(path: Path) -> str | None:
    """Return the SHA-256 of a regular file, None where it cannot be read."""
    try:
        return file_digest(path) if path.is_file() else None
    except (OSError, ValueError):
        return None


def _is_whole(result: Mapping[str, Any]) -> bool:
    """Return whether a line says all that is told of a photo."""
    return (
        all(isinstance(result.get(key), str) for key in _TEXTS)
        and all(isinstance(result.get(key), (int, float)) for key in _FIGURES)
        and all(isinstance(result.get(key), (int, float, NoneType)) for key in _OPTIONAL_FIGURES)
        and isinstance(result.get("files_sha256"), dict)
    )


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
