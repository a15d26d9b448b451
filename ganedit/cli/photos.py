"""Photos as commands take them: files, and folders with everything in them."""

import os
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
            suffix, is taken, in subfolders too; hidden files and results in ``out`` are not.
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
    found: dict[Path, _Place] = {}  # a photo that is named and in a folder counts once
    for source in sources:
        for place in _places(source, out):
            found.setdefault(place.source / place.inside, place)
    if not found:
        raise GaneditError(
            f"{folders[0]}: no pictures in this folder (results in {out} do not count)"
        )
    places = list(found.values())
    names = _names(places, out, suffixes)
    photos = [Photo(str(place.path), name) for place, name in zip(places, names, strict=True)]
    _check_untouched(photos, out, suffixes)
    return photos, True


def batch_size(side: int, device: "torch.device", more: int = 0) -> int:
    """Return how many photos of ``side`` pixels fit into half of the free memory, 32 at most.

    Args:
        side: In pixels.
        device: Where they are worked on.
        more: Bytes that each takes beside its pixels.
    """
    import torch

    if device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(device)[0]
    else:
        free = available_memory()
    if free is None:
        free = 4 << 30
    return max(1, min(_LARGEST_BATCH, free // 2 // (_BYTES_A_PIXEL * side**2 + more)))


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


@dataclass(frozen=True)
class _Place:
    """Where a photo was found.

    Attributes:
        path: As the user typed it, or within the folder that the user typed.
        source: The folder that the user typed, or that of the photo, resolved.
        inside: The photo's path in it.
    """

    path: Path
    source: Path
    inside: Path

    def name(self, *, foldered: bool, suffixed: bool) -> str:
        """Return a name of its results: the stem, perhaps with the source's name or the suffix."""
        inside = self.inside if suffixed else self.inside.with_suffix("")
        return (self.source.name / inside if foldered else inside).as_posix()


def _places(source: str, out: Path) -> list[_Place]:
    """Return the photos of one source, sorted by name."""
    root = Path(source)
    if not root.is_dir():
        return [_Place(root, _real(root.parent), Path(root.name or "photo"))]
    folder = _real(root)
    is_result = _result_test(folder, out)
    found = []
    try:
        for path in root.rglob("*"):
            inside = path.relative_to(root)
            hidden = any(part.startswith((".", "__MACOSX")) for part in inside.parts)
            if not hidden and not is_result(path) and _is_picture(path):
                found.append(_Place(path, folder, inside))
    except OSError as error:
        raise GaneditError(f"{root}: cannot be read ({error.strerror or error})") from error
    return sorted(found, key=lambda place: place.inside.as_posix())


def _result_test(folder: Path, out: Path) -> Callable[[Path], bool]:
    """Return what tells whether a file of a folder is a result, and so no photo.

    Args:
        folder: With photos, resolved.
        out: Of results. Within the folder it holds nothing else. Where it is the folder, or around
            it, results are what ganedit noted there as its own.
    """
    results = _real(out)
    if folder in results.parents:
        return lambda path: results in _real(path).parents
    if results not in (folder, *folder.parents):
        return lambda path: False

    from ganedit.io import OutputFolder

    # Whose a run.json is will be checked before writing; here, one of others names no results.
    owned = OutputFolder(out, command="", overwrite=True).read_owned()
    places = {results / name for name in owned}
    return lambda path: _real(path.parent) / path.name in places


def _is_picture(path: Path) -> bool:
    """Return whether a file is a picture, or should be one: then its failure has to be told."""
    from ganedit.io import IMAGE_SUFFIXES, looks_like_picture

    return path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or looks_like_picture(path))


def _names(places: Sequence[_Place], out: Path, suffixes: Sequence[str]) -> list[str]:
    """Return each photo's name: its stem, and more only where two photos would share a result.

    Photos of two sources get the sources' names in front, photos of one keep their suffixes.

    Args:
        places: Of the photos.
        out: Folder of the results.
        suffixes: Of the results of a photo.

    Raises:
        GaneditError: Two still share a result.
    """
    foldered: set[int] = set()
    suffixed: set[int] = set()
    while True:
        names = [
            place.name(foldered=index in foldered, suffixed=index in suffixed)
            for index, place in enumerate(places)
        ]
        clashes = _clashes(names, suffixes)
        if not clashes:
            return names
        of_two = {
            index
            for shared in clashes
            if len({places[index].source for index in shared}) > 1
            for index in shared
        } - foldered
        others = {index for shared in clashes for index in shared} - of_two
        if not of_two and others <= suffixed:
            (first, result), (second, _), *_ = clashes[0].items()
            raise GaneditError(
                f"{places[first].path} and {places[second].path}: both would be written to"
                f" {out / result}; rename one, or give them two --out folders"
            )
        foldered |= of_two
        suffixed |= others


def _clashes(names: Sequence[str], suffixes: Sequence[str]) -> list[dict[int, str]]:
    """Return, for each file that several names share, its name by the index of each of these.

    The file is one even where the names differ in upper and lower case: some systems ignore that.
    """
    owners: dict[str, dict[int, str]] = {}
    for index, name in enumerate(names):
        for suffix in suffixes:
            result = f"{name}{suffix}"
            owners.setdefault(result.casefold(), {})[index] = result
    return [shared for shared in owners.values() if len(shared) > 1]


def _check_untouched(photos: Sequence[Photo], out: Path, suffixes: Sequence[str]) -> None:
    """Check that no photo would be replaced by a result.

    Raises:
        GaneditError: One would be.
    """
    inputs = {_real(Path(photo.path)) for photo in photos}
    for photo in photos:
        for suffix in suffixes:
            result = out / f"{photo.name}{suffix}"
            if _real(result) in inputs:
                raise GaneditError(
                    f"{result}: is one of the photos and would be replaced by results;"
                    " choose another --out"
                )


def _real(path: Path) -> Path:
    """Return where links lead; unlike `Path.resolve`, also of links that lead in a circle."""
    return Path(os.path.realpath(path))
