"""Photos as commands take them: files, and folders with everything in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganedit.cli.results import photo_names
from ganedit.errors import GaneditError
from ganedit.memory import available_memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LARGEST_BATCH = 32  # a kill loses one batch
_BYTES_A_PIXEL = 8 << 10  # of a W+ step: 3 to 4 KB at 64 pixels, and room for wider generators


@dataclass(frozen=True)
class Photo:
    """A photo to work on.

    Attributes:
        path: Where it is, as the user typed it or as it was found.
        name: Of its results, relative to their folder and without suffix: ``anna``, ``2019/anna``.
        face: Which face of it, 1 is the largest; None leaves that to the run.
    """

    path: str
    name: str
    face: str | None = None


def list_photos(
    sources: Sequence[str], out: Path, *, suffixes: Sequence[str]
) -> tuple[list[Photo], bool]:
    """Return the photos, and whether a folder was among the sources.

    Args:
        sources: Photos, and folders: of a folder, every file that is a picture by content, or by
            suffix, is taken, in subfolders too; hidden files and ``out`` are not.
        out: Folder of the results.
        suffixes: Of the results of a photo.

    Raises:
        GaneditError: Two photos would share a result, a photo is a result's place, or a folder
            holds no pictures.
    """
    folders = [source for source in sources if Path(source).is_dir()]
    if not folders:
        names = photo_names(sources, out, suffixes=suffixes)
        return [Photo(*pair) for pair in zip(sources, names, strict=True)], False
    places = [place for source in sources for place in _places(source, out)]
    if not places:
        raise GaneditError(f"{folders[0]}: no pictures in this folder")
    stems = [inside.with_suffix("") for _, inside in places]
    clashing = _clashing([stem.as_posix() for stem in stems], suffixes)
    return [
        Photo(str(path), (inside if index in clashing else stem).as_posix())
        for index, ((path, inside), stem) in enumerate(zip(places, stems, strict=True))
    ], True


def batch_size(side: int, device: "torch.device") -> int:
    """Return how many photos of ``side`` pixels fit into half of the free memory, 32 at most."""
    import torch

    if device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(device)[0]
    else:
        free = available_memory()
    if free is None:
        free = 4 << 30
    return max(1, min(_LARGEST_BATCH, free // 2 // (_BYTES_A_PIXEL * side**2)))


def read_batches(
    photos: Sequence[Photo],
    *,
    read: "Callable[[Photo], Tensor]",
    size: int,
    on_bad: Callable[[Photo, str], None] | None,
) -> "Iterator[tuple[list[Photo], Tensor]]":
    """Yield photos and their pictures [n, 3, R, R], up to ``size`` at once, read when needed.

    Args:
        photos: In the order of the batches.
        read: Returns a photo as [1, 3, R, R].
        size: Of a batch.
        on_bad: Told the photos that cannot be read, and why; None raises at the first.

    Raises:
        GaneditError: A photo cannot be read, and there is no ``on_bad``.
    """
    import torch

    batch: list[tuple[Photo, Tensor]] = []
    for photo in photos:
        try:
            batch.append((photo, read(photo)))
        except GaneditError as error:
            if on_bad is None:
                raise
            on_bad(photo, str(error))
        if len(batch) == size:
            yield [item for item, _ in batch], torch.cat([image for _, image in batch])
            batch = []
    if batch:
        yield [item for item, _ in batch], torch.cat([image for _, image in batch])


def _places(source: str, out: Path) -> list[tuple[Path, Path]]:
    """Return each photo's path, and its path within the source, sorted by name."""
    root = Path(source)
    if not root.is_dir():
        return [(root, Path(root.name or "photo"))]
    results = out.resolve()
    found = []
    try:
        for path in root.rglob("*"):
            inside = path.relative_to(root)
            hidden = any(part.startswith((".", "__MACOSX")) for part in inside.parts)
            if not hidden and results not in path.resolve().parents and _is_picture(path):
                found.append((path, inside))
    except OSError as error:
        raise GaneditError(f"{root}: cannot be read ({error.strerror or error})") from error
    return sorted(found, key=lambda place: place[1].as_posix())


def _is_picture(path: Path) -> bool:
    """Return whether a file is a picture, or should be one: then its failure has to be told."""
    from ganedit.io import IMAGE_SUFFIXES, looks_like_picture

    return path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or looks_like_picture(path))


def _clashing(names: Sequence[str], suffixes: Sequence[str]) -> set[int]:
    """Return which names share a result with another: these keep the suffixes of their photos."""
    owners: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        for suffix in suffixes:
            owners.setdefault(f"{name}{suffix}".casefold(), []).append(index)
    return {index for shared in owners.values() if len(set(shared)) > 1 for index in shared}
