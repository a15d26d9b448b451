"""Photos cropped like a generator's pictures: the central square, or a face that is found."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli import console
from ganedit.cli.photos import Photo
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganedit.features.landmarks import Face
    from ganedit.io import Alignment

_LONGEST_NAME = 200  # bytes, of the 255 that systems give a file; results have suffixes
_LEAST_OUTSIDE = 0.02  # of a crop, that is worth a warning

AlignOption = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="auto|clay|FILE|download",
        help="Find a face and crop it like the generator's pictures: clay heads are searched for; a"
        " FILE.json holds landmarks, a FILE.task is mediapipe's model, and download fetches that.",
    ),
]
FaceOption = Annotated[
    str,
    typer.Option(
        "--face",
        metavar="N|largest|all",
        help="Which face is cropped: 1 is the largest; all crops each, and numbers the results"
        " from 1.",
    ),
]


def check_face(face: str, align: str | None) -> None:
    """Check what `FaceOption` says.

    Args:
        face: What it says.
        align: What finds faces; None where the option that says it is missing.

    Raises:
        typer.BadParameter: It says nothing known, or there is no ``--align`` (exit code 2).
    """
    if face not in ("largest", "all") and not (face.isdecimal() and int(face) > 0):
        raise typer.BadParameter(f"--face: {face!r} is none of largest, all and a number from 1")
    if face != "largest" and align is None:
        raise typer.BadParameter("--face is for --align; add it")


def no_face(photo: str, *, detector: str, option: str) -> GaneditError:
    """Return the error of a photo in which nothing was found.

    Args:
        photo: Its file.
        detector: What looked for faces.
        option: The option that names it.
    """
    if detector not in ("auto", "clay"):
        return GaneditError(f"{photo}: no face found by {detector}; try another {option}")
    return GaneditError(
        f"{photo}: no face found, and only clay heads were looked for; people are found with"
        f" {option} FILE.task (mediapipe's model) or {option} FILE.json (landmarks)"
    )


def warn_at_border(photo: str, image: "Tensor", face: "Face") -> None:
    """Say how much of a face's crop lies outside of its photo, if it is worth a word.

    Args:
        photo: The photo's file.
        image: The photo, [1, 3, H, W].
        face: To be cropped.
    """
    from ganedit.data.alignment import share_inside

    outside = 1 - share_inside(face.quad, image.shape[3], image.shape[2])
    if outside > _LEAST_OUTSIDE:
        console.warn(
            f"{photo}: the face is at the border; {outside:.0%} of its crop is filled with a"
            " reflection"
        )


class Crops:
    """How the photos of a run are cropped.

    Attributes:
        alignments: Where each crop that was read is in its photo, by the name of its results; none
            of a central square.
    """

    def __init__(
        self,
        side: int,
        *,
        detector: str | None,
        face: str,
        device: "torch.device | str" = "cpu",
    ) -> None:
        """Prepare to crop.

        Args:
            side: Of the crops, in pixels.
            detector: As `ganedit.features.landmarks.find_faces` takes it; None takes the central
                square.
            face: ``largest``, ``all``, or a number from 1, the largest.
            device: Where faces are looked for.
        """
        self.alignments: dict[str, Alignment] = {}
        self._side = side
        self._detector = detector
        self._face = face
        self._device = device
        self._found: dict[str, list[Face]] = {}
        self._open: tuple[str, Tensor] | None = None

    def spread(
        self, photos: Sequence[Photo], *, on_bad: Callable[[Photo, str], None] | None
    ) -> list[Photo]:
        """Return one entry a result: a photo's faces one by one when all are wanted.

        Args:
            photos: As they were listed.
            on_bad: Told the photos without a face, and why; None raises at the first.

        Raises:
            GaneditError: The detector cannot do these photos; one shows no face, and there is no
                ``on_bad``; or two results would get the same name.
        """
        from ganedit.features.landmarks import check_detector

        if self._detector is not None:
            check_detector(self._detector, [photo.path for photo in photos])
        if self._detector is None or self._face != "all":
            return list(photos)
        spread = []
        with console.progress("Finding faces", len(photos)) as show:
            for done, photo in enumerate(photos, start=1):
                try:
                    count = len(self._faces(photo, self._picture(photo)))
                except GaneditError as error:
                    if on_bad is None:
                        raise
                    on_bad(photo, str(error))
                    count = 0
                spread += [
                    replace(photo, name=f"{photo.name}-{face}", face=str(face))
                    for face in range(1, count + 1)
                ]
                show(done, len(photos), {})
        owners: dict[str, Photo] = {}
        for photo in spread:
            other = owners.setdefault(photo.name.casefold(), photo)
            if other is not photo:
                raise GaneditError(
                    f"{other.path} and {photo.path}: faces of both would be called {photo.name};"
                    " rename one"
                )
        return spread

    def read(self, photo: Photo) -> "Tensor":
        """Return a photo as the generator's pictures are, [1, 3, side, side]; on the CPU.

        Raises:
            GaneditError: It cannot be read, or shows no such face.
        """
        from ganedit.data.alignment import alignment_of, crop_quad
        from ganedit.features.landmarks import choose_faces
        from ganedit.io import read_image, to_square

        if len(os.fsencode(Path(photo.name).name)) > _LONGEST_NAME:
            raise GaneditError(
                f"{photo.path}: its name is too long to name results by; shorten it to"
                f" {_LONGEST_NAME} bytes"
            )
        if self._detector is None:
            return to_square(read_image(photo.path), self._side)
        image = self._picture(photo)
        faces = self._faces(photo, image)
        if photo.face is None or int(photo.face) == len(faces):
            self._open = None  # no other face of it comes next, and photos are large
        if len(faces) > 1 and self._face == "largest":
            console.note(
                f"{photo.path}: {len(faces)} faces found; --face 2 takes the second largest,"
                " --face all each"
            )
        (face,) = choose_faces(faces, photo.face or self._face, name=photo.path)
        warn_at_border(photo.path, image, face)
        place = alignment_of(os.path.realpath(photo.path), image, face.quad)
        self.alignments[photo.name] = place
        return crop_quad(image, face.quad, self._side)

    def _picture(self, photo: Photo) -> "Tensor":
        """Return a photo, [1, 3, H, W]; the last one is not decoded again."""
        from ganedit.io import read_image

        if self._open is None or self._open[0] != photo.path:
            self._open = None  # never two of them in memory
            self._open = photo.path, read_image(photo.path)
        return self._open[1]

    def _faces(self, photo: Photo, image: "Tensor") -> "list[Face]":
        from ganedit.features.landmarks import find_faces

        assert self._detector is not None
        if photo.path not in self._found:
            shown = image.to(self._device)
            faces = find_faces(shown, detector=self._detector, photo=photo.path)
            if not faces:
                raise no_face(photo.path, detector=self._detector, option="--align")
            self._found[photo.path] = faces
        return self._found[photo.path]
