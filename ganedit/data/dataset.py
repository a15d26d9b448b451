"""Training pictures from a folder or a zip, decoded once into memory."""

import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.images import IMAGE_SUFFIXES, decode_image, to_uint8

LABELS_FILE = "dataset.json"

# A picture file larger than this is refused from its declared size, before it is unpacked.
MAX_FILE_BYTES = 1 << 28
_MAX_LABEL_BYTES = 1 << 30
_MAX_CLASSES = 1 << 16


class ImageDataset:
    """Square pictures of one size, and their labels if there are any.

    The layout is that of NVlabs' tools: pictures anywhere below the folder or inside the zip,
    and optionally ``dataset.json`` with ``{"labels": [[name, label], ...]}``, where a label is
    a class number or a list of numbers (25 for an EG3D camera).

    Attributes:
        path: Where the pictures came from.
        names: Their names inside the folder or zip, sorted.
        resolution: Side of every picture in pixels.
        labels: float32 [N, c_dim], or None. Class numbers are one-hot.
    """

    def __init__(self, path: str | Path) -> None:
        """Read and decode everything.

        Args:
            path: A folder or a `.zip` file.

        Raises:
            GaneditError: Nothing to read, a damaged or oversized member, sizes that differ or
                are not square, labels that do not fit, or too little memory.
        """
        self.path = Path(path)
        with _open_source(self.path) as source:
            self.names = sorted(name for name in source.sizes if _is_picture(name))
            if not self.names:
                raise GaneditError(f"{self.path}: holds no pictures")
            self._pixels = _decode_all(self.path, source, self.names)
            self.labels = _read_labels(self.path, source, self.names)
        self.resolution = self._pixels.shape[2]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    def batch(self, indices: Tensor | Sequence[int], mirror: Tensor | None = None) -> Tensor:
        """Return pictures as floats.

        Args:
            indices: Which pictures, int64 [N].
            mirror: bool [N]: those to flip left to right; None flips none.

        Returns:
            float32 [N, 3, R, R] in [-1, 1].
        """
        pixels = self._pixels[torch.as_tensor(indices)]
        if mirror is not None and bool(mirror.any()):
            pixels[mirror] = pixels[mirror].flip(3)
        return pixels.float().div_(127.5).sub_(1)


def _is_picture(name: str) -> bool:
    """Tell a picture from other files and from the shadows that macOS leaves beside it."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


class _Source:
    """File names with declared sizes in bytes, and a reader, for a folder or a zip."""

    def __init__(self, root: Path | zipfile.ZipFile, sizes: dict[str, int]) -> None:
        self.root = root
        self.sizes = sizes

    def read(self, name: str, limit: int) -> bytes:
        if self.sizes[name] > limit:
            raise GaneditError(
                f"{name}: unpacks to {self.sizes[name] / 2**20:.0f} MiB, more than "
                f"{limit / 2**20:.0f}; not read"
            )
        if isinstance(self.root, zipfile.ZipFile):
            with self.root.open(name) as file:
                return file.read(limit)
        return (self.root / name).read_bytes()


@contextmanager
def _open_source(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        try:
            files = [file for file in path.rglob("*") if file.is_file()]
            yield _Source(path, {f.relative_to(path).as_posix(): f.stat().st_size for f in files})
        except OSError as error:
            raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
        return
    if not path.exists():
        raise GaneditError(f"{path}: no such file or folder")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if not i.is_dir()]
            yield _Source(archive, {i.filename: i.file_size for i in members})
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,  # a compression method that this Python lacks
        RuntimeError,  # an encrypted member
    ) as error:
        reason = str(error) or type(error).__name__
        raise GaneditError(f"{path}: not a readable zip of pictures ({reason})") from error


def _decode_all(path: Path, source: _Source, names: Sequence[str]) -> Tensor:
    """Return uint8 [N, 3, R, R]; the first picture decides the size."""
    pixels = torch.empty(0)
    for row, name in enumerate(names):
        picture = decode_image(source.read(name, MAX_FILE_BYTES), name=f"{path}: {name}")
        height, width = picture.shape[2:]
        if row == 0:
            if height != width:
                raise GaneditError(
                    f"{path}: {name} is {width}x{height}, not square; "
                    "`ganedit dataset folder` crops pictures"
                )
            pixels = _allocate(path, len(names), height)
        if (height, width) != pixels.shape[2:]:
            side = pixels.shape[2]
            raise GaneditError(
                f"{path}: {name} is {width}x{height}, but {names[0]} is {side}x{side}; "
                "`ganedit dataset folder` makes pictures one size"
            )
        pixels[row] = to_uint8(picture)[0].permute(2, 0, 1)
    return pixels


def _allocate(path: Path, count: int, side: int) -> Tensor:
    wanted = count * 3 * side * side
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > 0.8 * memory:
        raise GaneditError(
            f"{path}: {count} pictures of {side}x{side} need {wanted / 2**30:.1f} GiB of memory, "
            f"this machine has {memory / 2**30:.1f}; use fewer or smaller pictures"
        )
    return torch.empty(count, 3, side, side, dtype=torch.uint8)


def _read_labels(path: Path, source: _Source, names: Sequence[str]) -> Tensor | None:
    if LABELS_FILE not in source.sizes:
        return None
    try:
        parsed = json.loads(source.read(LABELS_FILE, _MAX_LABEL_BYTES))
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: {LABELS_FILE} is not valid JSON") from error
    rows = parsed.get("labels") if isinstance(parsed, dict) else None
    if rows is None:
        return None
    try:
        by_name: dict[str, Any] = {name.replace("\\", "/"): label for name, label in rows}
        ordered = [by_name[name] for name in names]
        labels = torch.tensor(ordered)
    except KeyError as error:
        raise GaneditError(f"{path}: {LABELS_FILE} has no label for {error}") from error
    except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise GaneditError(
            f'{path}: {LABELS_FILE} must hold {{"labels": [[name, label], ...]}} with labels '
            "that are all class numbers, or all lists of equally many numbers"
        ) from error
    return _encode_labels(path, labels)


def _encode_labels(path: Path, labels: Tensor) -> Tensor:
    if labels.ndim == 1 and not labels.is_floating_point():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= _MAX_CLASSES:
            raise GaneditError(
                f"{path}: class numbers must be 0 to {_MAX_CLASSES - 1}, got {low} to {high}"
            )
        return torch.nn.functional.one_hot(labels.long()).float()
    if labels.ndim != 2 or not math.prod(labels.shape):
        raise GaneditError(f"{path}: a label must be a class number or a list of numbers")
    if not bool(labels.isfinite().all()):
        raise GaneditError(f"{path}: {LABELS_FILE} holds labels that are not finite")
    return labels.float()
