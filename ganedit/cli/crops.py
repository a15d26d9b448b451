"""Photos cropped like a generator's pictures: the central square, or a face that is found."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli import console
from ganedit.cli.photos import Photo
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.features.landmarks import Face
    from ganedit.io import Alignment


AlignOption = Annotated[
    str | None,
    typer.Option(
        "--align",
        metavar="auto|clay|FILE",
        help="Find a face and crop it like the generator's pictures: clay heads are searched for; a"
        " FILE.json holds landmarks, a FILE.task is mediapipe's model.",
    ),
]
FaceOption = Annotated[
    str,
    typer.Option(
        "--face",
        metavar="N|largest|all",
        help="With --align: which face; 1 is the largest; all makes photo-1.pt, photo-2.pt and so"
        " on.",
    ),
]


def check_face(face: str, align: str | None) -> None:
    """Check what `FaceOption` says.

    Raises:
        typer.BadParameter: It says nothing known, or there is no ``--align`` (exit code 2).
    """
    if face not in ("largest", "all") and not (face.isdecimal() and int(face) > 0):
        raise typer.BadParameter(f"--face: {face!r} is none of largest, all and a number from 1")
    if face != "largest" and align is None:
        raise typer.BadParameter("--face is for --align; add it")


class Crops:
    """How the photos of a run are cropped.

    Attributes:
        alignments: Where each crop that was read is in its photo, by the name of its results; none
            of a central square.
    """

    def __init__(self, side: int, *, detector: str | None, face: str) -> None:
        """Prepare to crop.

        Args:
            side: Of the crops, in pixels.
            detector: As `ganedit.features.landmarks.find_faces` takes it; None takes the central
                square.
            face: ``largest``, ``all``, or a number from 1, the largest.
        """
        self.alignments: dict[str, Alignment] = {}
        self._side = side
        self._detector = detector
        self._face = face
        self._found: dict[str, list[Face]] = {}

    def spread(
        self, photos: Sequence[Photo], *, on_bad: Callable[[Photo, str], None] | None
    ) -> list[Photo]:
        """Return one entry a result: a photo's faces one by one when all are wanted.

        Args:
            photos: As they were listed.
            on_bad: Told the photos without a face, and why; None raises at the first.

        Raises:
            GaneditError: A photo shows no face, and there is no ``on_bad``; or two results would
                get the same name.
        """
        if self._detector is None or self._face != "all":
            return list(photos)
        spread = []
        with console.progress("Finding faces", len(photos)) as show:
            for done, photo in enumerate(photos, start=1):
                try:
                    count = len(self._faces(photo))
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
        """Return a photo as the generator's pictures are, [1, 3, side, side].

        Raises:
            GaneditError: It cannot be read, or shows no such face.
        """
        from ganedit.data.alignment import alignment_of, crop_quad
        from ganedit.features.landmarks import choose_faces
        from ganedit.io import read_image, to_square

        image = read_image(photo.path)
        if self._detector is None:
            return to_square(image, self._side)
        faces = self._faces(photo)
        if len(faces) > 1 and self._face == "largest":
            console.note(
                f"{photo.path}: {len(faces)} faces found; --face 2 takes the second largest,"
                " --face all each"
            )
        (face,) = choose_faces(faces, photo.face or self._face, name=photo.path)
        place = alignment_of(str(Path(photo.path).resolve()), image, face.quad)
        self.alignments[photo.name] = place
        return crop_quad(image, face.quad, self._side)

    def _faces(self, photo: Photo) -> "list[Face]":
        from ganedit.features.landmarks import find_faces
        from ganedit.io import read_image

        assert self._detector is not None
        if photo.path not in self._found:
            faces = find_faces(read_image(photo.path), detector=self._detector)
            if not faces:
                raise GaneditError(
                    f"{photo.path}: no face found; leave out --align if it is cropped already"
                )
            self._found[photo.path] = faces
        return self._found[photo.path]
