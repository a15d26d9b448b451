"""Training pictures from a folder or a zip, decoded once into memory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganedit.data.sources import (
    FACTORS_FILE,
    LABELS_FILE,
    MAX_PICTURE_BYTES,
    Source,
    open_source,
    read_labels,
)
from ganedit.errors import GaneditError
from ganedit.io.images import decode_image, to_uint8

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
        has_factors: Whether the truth of a ClayHeads archive lies beside the pictures.
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
        with open_source(self.path) as source:
            self.names = source.picture_names()
            if not self.names:
                raise GaneditError(f"{self.path}: holds no pictures")
            self._pixels = _decode_all(source, self.names)
            self.labels = _label_rows(source, self.names)
            self.has_factors = FACTORS_FILE in source.sizes
        self.resolution = self._pixels.shape[2]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    @property
    def label_kind(self) -> Literal["classes", "cameras"] | None:
        """What the labels are: one-hot classes, or other numbers, which are cameras."""
        if self.labels is None:
            return None
        one_hot = bool(((self.labels == 0) | (self.labels == 1)).all())
        return "classes" if one_hot else "cameras"

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


def _decode_all(source: Source, names: Sequence[str]) -> Tensor:
    """Return uint8 [N, 3, R, R]; the first picture decides the size."""
    path = source.path
    pixels = torch.empty(0)
    for row, name in enumerate(names):
        content = source.read(name, limit=MAX_PICTURE_BYTES)
        picture = decode_image(content, name=f"{path}: {name}")
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


def _label_rows(source: Source, names: Sequence[str]) -> Tensor | None:
    """Return the labels of the pictures in their order, float32 [N, c_dim]."""
    by_name = read_labels(source)
    if by_name is None:
        return None
    absent = next((name for name in names if name not in by_name), None)
    if absent is not None:
        raise GaneditError(f"{source.path}: {LABELS_FILE} has no label for {absent!r}")
    ordered = [by_name[name] for name in names]
    if not isinstance(ordered[0], int):
        return torch.tensor(ordered, dtype=torch.float32)
    classes = [label for label in ordered if isinstance(label, int)]
    low, high = min(classes), max(classes)
    if low < 0 or high >= _MAX_CLASSES:
        raise GaneditError(
            f"{source.path}: class numbers must be 0 to {_MAX_CLASSES - 1}, got {low} to {high}"
        )
    return torch.nn.functional.one_hot(torch.tensor(classes)).float()
