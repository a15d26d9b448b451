"""What photos become: files under names made from the photos', figures, failures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganedit.cli import console
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.cli.photos import Photo
    from ganedit.io import DoneList, Latent, OutputFolder

SUFFIXES = (".pt", ".png", "-target.png", "-comparison.png")
"""Of the files that `write_photo` writes."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has come to.

    Attributes:
        results: Figures of each photo.
        paths: Files that were written.
        failed: Name, photo and reason of each that could not be projected.
        done: Of a folder; closed by `close`.
    """

    results: list[dict[str, Any]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    done: "DoneList | None" = None

    def add_failure(self, photo: "Photo", reason: str) -> None:
        """Note a photo that cannot be used."""
        told = reason if photo.path in reason else f"{photo.path}: {reason}"
        self.failed.append({"name": photo.name, "photo": photo.path, "reason": told})

    def close(self) -> None:
        """Remove the list of what is done, now that the run's record says it."""
        if self.done is not None:
            self.done.close()

    def tell_failures(self) -> None:
        """List what failed.

        Raises:
            GaneditError: Something did.
        """
        for one in self.failed[1:]:
            console.warn(f"failed: {one['reason']}")
        if self.failed:
            count = len(self.failed) + len(self.results)
            raise GaneditError(
                f"{len(self.failed)} of {count} photos failed: {self.failed[0]['reason']}"
            )


def finite_psnr(value: "Tensor") -> float:
    """Return a PSNR in dB as JSON can say it: that of equal pictures, infinite, as 99."""
    return round(min(float(value), 99.0), 3)


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
    inputs = {os.path.realpath(photo) for photo in photos}
    names = [Path(photo).stem or "photo" for photo in photos]
    for index, name in enumerate(names):
        for suffix in suffixes:
            result = f"{name}{suffix}"
            other = owners.setdefault(result.casefold(), index)
            if other != index:
                raise GaneditError(
                    f"{photos[other]} and {photos[index]}: both would be written to"
                    f" {out / result}; rename one, or give them two --out folders"
                )
            if os.path.realpath(out / result) in inputs:
                raise GaneditError(
                    f"{out / result}: is one of the photos and would be replaced by its own"
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
    from ganedit.io import save_latent

    (name,) = latent.names
    saved = folder.write(f"{name}{SUFFIXES[0]}", partial(save_latent, latent=latent))
    return [saved, *write_pictures(folder, name, target=target, image=image)]


def write_pictures(
    folder: "OutputFolder", name: str, *, target: "Tensor", image: "Tensor"
) -> list[Path]:
    """Write what `write_photo` writes, but the latent."""
    from ganedit.io import comparison_strip, write_image

    pictures = (image, target, comparison_strip(target, image))
    return [
        folder.write(f"{name}{suffix}", partial(write_image, image=picture))
        for suffix, picture in zip(SUFFIXES[1:], pictures, strict=True)
    ]
