"""Dataset archives in NVlabs' layout: PNG files and dataset.json in one zip.

``00000/img00000000.png`` and so on; ``dataset.json`` holds ``{"labels": [[name, numbers], ...]}``
or ``{"labels": null}``; a label that is one whole number is a class. ClayHeads archives also hold
``factors.json`` (``names``, one row of ``factors`` a picture, and the ``style`` they were rendered
in) and ``captions.json`` (``captions``, one a picture).
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganedit.data.clayheads import FACTORS, render, sample_factors
from ganedit.data.sources import (
    FACTORS_FILE,
    LABELS_FILE,
    MAX_PICTURE_BYTES,
    open_source,
    read_labels,
)
from ganedit.data.workers import available_cores, in_processes
from ganedit.errors import GaneditError
from ganedit.io.files import BROKEN_ZIP, write_atomic
from ganedit.io.images import decode_image, encode_image, to_square
from ganedit.progress import OnStep

COMMENT = b"ganedit dataset"  # tells our own archives from others'
_WORTH_PROCESSES = 200 * 64**2  # pixels; some seconds of work, as long as new processes import
_MAX_PROCESSES = 16
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: equal pictures give an equal file


@dataclass(frozen=True)
class Picture:
    """One picture of an archive.

    Attributes:
        image: [1, 3, R, R] in [-1, 1].
        label: What conditions a generator: a class number, numbers (25 of a camera), or None.
        factors: One number a factor, or None.
        caption: The picture in words, or None.
    """

    image: Tensor
    label: int | Sequence[float] | None = None
    factors: Sequence[float] | None = None
    caption: str | None = None


@dataclass(frozen=True)
class ArchiveSummary:
    """What an archive came to hold.

    Attributes:
        pictures: How many pictures.
        labelled: How many of them came with a label; the archive has labels if all did.
    """

    pictures: int
    labelled: int


def write_archive(
    path: Path | str,
    pictures: Iterable[Picture],
    *,
    factor_names: Sequence[str] = (),
    style: Literal["clay", "emoji"] = "clay",
    overwrite: bool = False,
) -> ArchiveSummary:
    """Write a dataset archive, atomically.

    Labels, factors and captions are stored when every picture has them.

    Args:
        path: The .zip file; an archive that ganedit wrote earlier is replaced.
        pictures: Consumed one by one.
        factor_names: What the numbers in `Picture.factors` mean.
        style: How heads with factors were rendered; their landmarks depend on it.
        overwrite: Also replace a file that ganedit did not write.

    Returns:
        How many pictures there were, and how many of them had labels.

    Raises:
        GaneditError: A foreign file has this name, there are no pictures, or the disk refuses.
    """
    path = Path(path)
    check_archive_path(path, overwrite=overwrite)
    summary = ArchiveSummary(0, 0)

    def write(partial: Path) -> None:
        nonlocal summary
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            summary = _fill(archive, pictures, factor_names, style)
            archive.comment = COMMENT
        if not summary.pictures:
            raise GaneditError(f"{path}: no pictures to write")

    write_atomic(path, write)
    return summary


def check_archive_path(path: Path | str, *, overwrite: bool) -> None:
    """Check that an archive may be written to ``path``.

    Raises:
        GaneditError: It is a folder, does not end in .zip, or is a file of someone else.
    """
    path = Path(path)
    if path.suffix.lower() != ".zip":
        raise GaneditError(f"{path}: a dataset's name must end in .zip")
    if path.is_dir():
        raise GaneditError(f"{path}: is a folder; choose another --out")
    if path.exists() and not (overwrite or _is_ours(path)):
        raise GaneditError(f"{path}: not written by ganedit; choose another --out or --overwrite")


def _is_ours(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == COMMENT
    except BROKEN_ZIP:
        return False


def _fill(
    archive: zipfile.ZipFile, pictures: Iterable[Picture], factor_names: Sequence[str], style: str
) -> ArchiveSummary:
    names, labels, factors, captions = [], [], [], []
    for index, picture in enumerate(pictures):
        name = f"{index // 1000:05d}/img{index:08d}.png"
        names.append(name)
        _add(archive, name, encode_image(picture.image))
        if picture.label is not None:
            labels.append([name, _plain_label(picture.label)])
        if picture.factors is not None:
            factors.append([float(number) for number in picture.factors])
        if picture.caption is not None:
            captions.append(picture.caption)
    complete = len(names)
    _add_json(archive, LABELS_FILE, {"labels": labels if len(labels) == complete else None})
    if factors and len(factors) == complete:
        truth = {"names": list(factor_names), "style": style, "factors": factors}
        _add_json(archive, FACTORS_FILE, truth)
    if captions and len(captions) == complete:
        _add_json(archive, "captions.json", {"captions": captions})
    return ArchiveSummary(complete, len(labels))


def _plain_label(label: int | Sequence[float]) -> int | list[float]:
    """Return a label as JSON holds it; a class number must not become a float."""
    return label if isinstance(label, int) else [float(number) for number in label]


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _add_json(archive: zipfile.ZipFile, name: str, value: Mapping[str, Any]) -> None:
    _add(archive, name, json.dumps(value, ensure_ascii=False).encode())


# Sources of pictures


@dataclass(frozen=True)
class _Heads:
    """A batch of heads to render; no tensors, so that it can go to another process."""

    seeds: range
    resolution: int
    style: Literal["clay", "emoji"]


def clay_pictures(
    *,
    count: int,
    seed: int = 0,
    resolution: int = 64,
    style: Literal["clay", "emoji"] = "clay",
    batch_size: int = 16,
    processes: int = 1,
    on_step: OnStep | None = None,
) -> Iterator[Picture]:
    """Yield ClayHeads with cameras, factors and captions.

    Args:
        count: Number of heads.
        seed: Seed of the first head; head i has seed + i, whatever ``count`` and ``batch_size``.
        resolution: Side of a picture in pixels.
        style: ``clay`` or ``emoji``.
        batch_size: Heads rendered at a time.
        processes: How many processes render, `clay_processes` for instance; never changes a bit of
            the pictures. 1 is this one.
        on_step: Progress, called after each batch.

    Raises:
        GaneditError: One of several processes was killed.
    """
    batches = (
        _Heads(range(seed + start, seed + min(start + batch_size, count)), resolution, style)
        for start in range(0, count, batch_size)
    )
    rendered = (
        map(_render, batches)
        if processes == 1
        else in_processes(_render, batches, processes=processes)
    )
    done = 0
    for images, cameras, factors, captions in rendered:
        for index, caption in enumerate(captions):
            yield Picture(
                image=torch.from_numpy(images[index : index + 1]),
                label=cameras[index],
                factors=factors[index],
                caption=caption,
            )
        done += len(captions)
        if on_step:
            on_step(done, count, {})


def clay_processes(count: int, resolution: int) -> int:
    """Return how many processes render so many heads fastest: 1 where starting more costs more."""
    if count * resolution**2 < _WORTH_PROCESSES:
        return 1
    return max(1, min(available_cores(), _MAX_PROCESSES, count // 16))


def _render(
    heads: _Heads,
) -> tuple["np.ndarray[Any, Any]", list[list[float]], list[list[float]], tuple[str, ...]]:
    """Return pictures [N, 3, R, R] in [-1, 1], cameras, factors and captions."""
    factors = sample_factors(heads.seeds)
    made = render(factors, resolution=heads.resolution, style=heads.style)
    return made.image.numpy(), made.camera.tolist(), factors.tolist(), tuple(made.captions)


def clay_factor_names() -> tuple[str, ...]:
    """Return the names of the columns in a ClayHeads archive's factors.json."""
    return tuple(factor.name for factor in FACTORS)


def user_pictures(
    source: Path | str,
    *,
    resolution: int,
    on_bad: Callable[[str, str], None],
    on_step: OnStep | None = None,
) -> Iterator[Picture]:
    """Yield a user's pictures, cropped to their central square and resized.

    Labels are taken from a dataset.json in the source, when it has one.

    Args:
        source: A folder (searched through all its folders) or a zip file.
        resolution: Side of the results in pixels.
        on_bad: Called with name and reason for each file that cannot be used; it is skipped.
        on_step: Progress, called after each file.

    Raises:
        GaneditError: The source is missing, no folder and no zip, or holds no picture files; or
            its dataset.json is broken.
    """
    with open_source(source) as opened:
        names = opened.picture_names()
        if not names:
            raise GaneditError(f"{source}: holds no picture files (.png, .jpg, .webp, …)")
        labels = read_labels(opened) or {}
        for step, name in enumerate(names, 1):
            full = f"{opened.path}: {name}"
            try:
                content = opened.read(name, limit=MAX_PICTURE_BYTES)
                image = to_square(decode_image(content, name=full), resolution)
            except GaneditError as error:
                on_bad(name, str(error).removeprefix(f"{full}: "))
            else:
                yield Picture(image, label=labels.get(name))
            if on_step:
                on_step(step, len(names), {})
