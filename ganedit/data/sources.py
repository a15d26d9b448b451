"""Folders and zip files of pictures: their names, their bytes within limits, their labels."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.files import BROKEN_ZIP
from ganedit.io.images import IMAGE_SUFFIXES

LABELS_FILE = "dataset.json"
FACTORS_FILE = "factors.json"

# A member larger than this is refused from its declared size, before it is unpacked.
MAX_PICTURE_BYTES = 1 << 28
MAX_JSON_BYTES = 1 << 30

_LARGEST = 3e38  # float32 ends here

Label = int | list[float]
"""A class number, or the numbers of a condition (25 for an EG3D camera)."""


@dataclass(frozen=True)
class Source:
    """An open folder or zip file.

    Attributes:
        path: The folder or zip file.
        sizes: Bytes of each file by its name inside, with ``/`` between folders.
        archive: The open zip file; None for a folder.
    """

    path: Path
    sizes: Mapping[str, int]
    archive: zipfile.ZipFile | None = None

    def picture_names(self) -> list[str]:
        """Return the names of the picture files, sorted; without the shadows that macOS leaves."""
        return sorted(name for name in self.sizes if _is_picture(name))

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of a file.

        Raises:
            GaneditError: It is larger than ``limit`` bytes, damaged or encrypted.
        """
        if self.sizes[name] > limit:
            raise GaneditError(
                f"{self.path}: {name}: unpacks to {self.sizes[name] / 2**20:.0f} MiB, more than "
                f"{limit / 2**20:.0f}; not read"
            )
        if self.archive is None:
            try:
                return (self.path / name).read_bytes()
            except OSError as error:
                reason = error.strerror or error
                raise GaneditError(f"{self.path}: {name}: cannot be read ({reason})") from error
        try:
            return self.archive.read(name)  # stops at the declared size
        except BROKEN_ZIP as error:
            raise GaneditError(
                f"{self.path}: {name}: broken or encrypted in the zip file"
            ) from error


@contextmanager
def open_source(path: Path | str) -> Iterator[Source]:
    """Open a folder (with all its folders) or a zip file.

    Raises:
        GaneditError: There is nothing of this name, it cannot be read, or it is neither.
    """
    path = Path(path)
    if path.is_dir():
        yield Source(path, _folder_sizes(path))
        return
    with _open_zip(path) as archive:
        members = [entry for entry in archive.infolist() if not entry.is_dir()]
        yield Source(path, {entry.filename: entry.file_size for entry in members}, archive)


def read_labels(source: Source) -> dict[str, Label] | None:
    """Return the labels in a source's ``dataset.json`` by the names of the pictures.

    Returns:
        Class numbers, or lists of equally many finite numbers; None if there are no labels.

    Raises:
        GaneditError: The file is not of NVlabs' layout.
    """
    if LABELS_FILE not in source.sizes:
        return None
    try:
        document = json.loads(source.read(LABELS_FILE, limit=MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{source.path}: {LABELS_FILE} is not valid JSON") from error
    try:
        rows = document.get("labels") or []
        labels = {name.replace("\\", "/"): _label(label) for name, label in rows}
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _misshapen(source) from error
    if len({len(x) if isinstance(x, list) else None for x in labels.values()}) > 1:
        raise _misshapen(source)
    numbers = (x for label in labels.values() if isinstance(label, list) for x in label)
    if not all(abs(x) < _LARGEST for x in numbers):  # false for NaN, too
        raise GaneditError(f"{source.path}: {LABELS_FILE} holds labels that are not finite")
    return labels or None


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def _folder_sizes(path: Path) -> dict[str, int]:
    try:
        files = [file for file in path.rglob("*") if file.is_file()]
        return {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except BROKEN_ZIP as error:
        raise GaneditError(f"{path}: neither a folder nor a complete zip file") from error


def _label(value: Any) -> Label:
    """Return a label of the JSON file; a whole number stays one, for it names a class."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and value:
        return [float(number) for number in value]
    raise ValueError(f"label: expected a class number or a list of numbers, got {value!r:.40}")


def _misshapen(source: Source) -> GaneditError:
    return GaneditError(
        f'{source.path}: {LABELS_FILE} must hold {{"labels": [[name, label], ...]}} with labels '
        "that are all class numbers, or all lists of equally many numbers; mend or remove it"
    )
