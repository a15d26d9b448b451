"""The files that a photo's latent becomes, under names made from the photo's."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.io import Latent, OutputFolder

SUFFIXES = (".pt", ".png", "-target.png", "-comparison.png")
"""Of the files that `write_photo` writes."""


def photo_names(photos: Sequence[str], out: Path, *, suffixes: Sequence[str]) -> list[str]:
    """Return the photos' stems, and refuse those whose results would overwrite something.

    Args:
        photos: Paths.
        out: Folder of the results.
        suffixes: What is added to a stem, for each result.

    Raises:
        GaneditError: Two photos would share a result, or a photo is a result's place.
    """
    owners: dict[str, int] = {}
    inputs = {Path(photo).resolve() for photo in photos}
    names = [Path(photo).stem or "photo" for photo in photos]
    for index, name in enumerate(names):
        for suffix in suffixes:
            result = f"{name}{suffix}"
            other = owners.setdefault(result.casefold(), index)
            if other != index:
                raise GaneditError(
                    f"{photos[other]} and {photos[index]}: both would be written to"
                    f" {out / result}; rename one, or project them into two folders"
                )
            if (out / result).resolve() in inputs:
                raise GaneditError(
                    f"{out / result}: is a photo to project and would be replaced by its own"
                    " results; choose another --out"
                )
    return names


def write_photo(
    folder: "OutputFolder", latent: "Latent", *, target: "Tensor", image: "Tensor"
) -> list[Path]:
    """Write one photo's latent, its picture, the photo as it was read, and both side by side.

    Args:
        folder: Where to.
        latent: Of one row, with its name.
        target: The photo, [1, 3, R, R] in [-1, 1].
        image: What the latent renders, [1, 3, R, R].

    Returns:
        The paths, in the order of `SUFFIXES`.
    """
    from ganedit.io import comparison_strip, save_latent, write_image

    (name,) = latent.names
    pictures = (image, target, comparison_strip(target, image))
    paths = [folder.write(f"{name}{SUFFIXES[0]}", partial(save_latent, latent=latent))]
    for suffix, picture in zip(SUFFIXES[1:], pictures, strict=True):
        paths.append(folder.write(f"{name}{suffix}", partial(write_image, image=picture)))
    return paths
