"""Dataset archives in NVlabs' layout: PNG files and dataset.json in one zip.

``00000/img00000000.png`` and so on; ``dataset.json`` holds ``{"labels": [[name, numbers], ...]}``
or ``{"labels": null}``. ClayHeads archives also hold ``factors.json`` (``names`` and one row of
``factors`` a picture) and ``captions.json`` (``captions``, one a picture).
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from torch import Tensor

from ganedit.data.clayheads import FACTORS, render, sample_factors
from ganedit.errors import GaneditError
from ganedit.io.files import write_atomic
from ganedit.io.images import IMAGE_SUFFIXES, decode_image, encode_image, to_square

COMMENT = b"ganedit dataset"  # tells our own archives from others'
MAX_PICTURE_BYTES = 2**29

# What zipfile raises on hostile bytes, besides OSError.
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    ValueError,
    OverflowError,
    RuntimeError,
    MemoryError,
)

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: equal pictures give an equal file


@dataclass(frozen=True)
class Picture:
    """One picture of an archive.

    Attributes:
        image: [1, 3, R, R] in [-1, 1].
        label: Numbers that condition a generator (25 camera numbers), or None.
        factors: One number a factor, or None.
        caption: The picture in words, or None.
    """

    image: Tensor
    label: Sequence[float] | None = None
    factors: Sequence[float] | None = None
    caption: str | None = None


OnStep = Callable[[int, int, Mapping[str, Any]], None]


def write_archive(
    path: Path | str,
    pictures: Iterable[Picture],
    *,
    factor_names: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Write a dataset archive, atomically.

    Labels, factors and captions are stored when every picture has them.

    Args:
        path: The .zip file; an archive that ganedit wrote earlier is replaced.
        pictures: Consumed one by one.
        factor_names: What the numbers in `Picture.factors` mean.
        overwrite: Also replace a file that ganedit did not write.

    Returns:
        The number of pictures.

    Raises:
        GaneditError: A foreign file has this name, there are no pictures, or the disk refuses.
    """
    path = Path(path)
    check_archive_path(path, overwrite=overwrite)
    count = 0

    def write(partial: Path) -> None:
        nonlocal count
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            count = _fill(archive, pictures, factor_names)
            archive.comment = COMMENT
        if not count:
            raise GaneditError(f"{path}: no pictures to write")

    write_atomic(path, write)
    return count


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
    except (OSError, *_BROKEN_ZIP):
        return False


def _fill(
    archive: zipfile.ZipFile, pictures: Iterable[Picture], factor_names: Sequence[str]
) -> int:
    names, labels, factors, captions = [], [], [], []
    for index, picture in enumerate(pictures):
        name = f"{index // 1000:05d}/img{index:08d}.png"
        names.append(name)
        _add(archive, name, encode_image(picture.image))
        if picture.label is not None:
            labels.append([name, [float(number) for number in picture.label]])
        if picture.factors is not None:
            factors.append([float(number) for number in picture.factors])
        if picture.caption is not None:
            captions.append(picture.caption)
    complete = len(names)
    _add_json(archive, "dataset.json", {"labels": labels if len(labels) == complete else None})
    if factors and len(factors) == complete:
        _add_json(archive, "factors.json", {"names": list(factor_names), "factors": factors})
    if captions and len(captions) == complete:
        _add_json(archive, "captions.json", {"captions": captions})
    return complete


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _add_json(archive: zipfile.ZipFile, name: str, value: Mapping[str, Any]) -> None:
    _add(archive, name, json.dumps(value, ensure_ascii=False).encode())


# Sources of pictures


def clay_pictures(
    *,
    count: int,
    seed: int = 0,
    resolution: int = 64,
    style: Literal["clay", "emoji"] = "clay",
    batch_size: int = 16,
    on_step: OnStep | None = None,
) -> Iterator[Picture]:
    """Yield ClayHeads with cameras, factors and captions.

    Args:
        count: Number of heads.
        seed: Seed of the first head; head i has seed + i, whatever ``count`` and ``batch_size``.
        resolution: Side of a picture in pixels.
        style: ``clay`` or ``emoji``.
        batch_size: Heads rendered at a time.
        on_step: Progress, called after each batch.
    """
    for start in range(0, count, batch_size):
        end = min(start + batch_size, count)
        factors = sample_factors(range(seed + start, seed + end))
        heads = render(factors, resolution=resolution, style=style)
        for index, caption in enumerate(heads.captions):
            yield Picture(
                image=heads.image[index : index + 1],
                label=heads.camera[index].tolist(),
                factors=factors[index].tolist(),
                caption=caption,
            )
        if on_step:
            on_step(end, count, {})


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
        GaneditError: The source is missing, no folder and no zip, or holds no picture files.
    """
    source = Path(source)
    if source.is_dir():
        read = _folder_reader(source)
        names = sorted(
            path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
        )
        yield from _good_pictures(source, names, read, resolution, on_bad, on_step)
        return
    with _open_zip(source) as archive:
        names = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
        read = _zip_reader(archive)
        yield from _good_pictures(source, names, read, resolution, on_bad, on_step)


def _open_zip(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except FileNotFoundError as error:
        raise GaneditError(f"{source}: no such folder or zip file") from error
    except OSError as error:
        raise GaneditError(f"{source}: cannot be read ({error.strerror or error})") from error
    except _BROKEN_ZIP as error:
        raise GaneditError(f"{source}: neither a folder nor a complete zip file") from error


def _folder_reader(source: Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = source / name
        try:
            size = path.stat().st_size
            if size > MAX_PICTURE_BYTES:
                raise GaneditError(f"{name}: {size // 2**20} MB is too large for a picture")
            return path.read_bytes()
        except OSError as error:
            raise GaneditError(f"{name}: cannot be read ({error.strerror or error})") from error

    return read


def _zip_reader(archive: zipfile.ZipFile) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        size = archive.getinfo(name).file_size  # unpacking stops at this size
        if size > MAX_PICTURE_BYTES:
            raise GaneditError(f"{name}: {size // 2**20} MB is too large for a picture")
        try:
            return archive.read(name)
        except (OSError, *_BROKEN_ZIP) as error:
            raise GaneditError(f"{name}: broken or encrypted in the zip file") from error

    return read


def _good_pictures(
    source: Path,
    names: Sequence[str],
    read: Callable[[str], bytes],
    resolution: int,
    on_bad: Callable[[str, str], None],
    on_step: OnStep | None,
) -> Iterator[Picture]:
    candidates = [name for name in names if _is_picture_name(name)]
    if not candidates:
        raise GaneditError(f"{source}: holds no picture files (.png, .jpg, .webp, …)")
    labels = _read_labels(source, read) if "dataset.json" in names else {}
    for step, name in enumerate(candidates, 1):
        try:
            image = to_square(decode_image(read(name), name=name), resolution)
        except GaneditError as error:
            on_bad(name, str(error).removeprefix(f"{name}: "))
        else:
            yield Picture(image, label=labels.get(name))
        if on_step:
            on_step(step, len(candidates), {})


def _is_picture_name(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def _read_labels(source: Path, read: Callable[[str], bytes]) -> dict[str, list[float]]:
    try:
        rows = json.loads(read("dataset.json")).get("labels") or []
        return {
            str(name): [float(number) for number in (numbers if _many(numbers) else [numbers])]
            for name, numbers in rows
        }
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise GaneditError(f"{source}: its dataset.json is broken; mend or remove it") from error


def _many(value: object) -> bool:
    return isinstance(value, list)
