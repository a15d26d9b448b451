"""``--paste-back``: edited pictures put back into the photos that their latents came from."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.io import Alignment, Latent, OutputFolder

PasteBackOption = Annotated[
    bool,
    typer.Option(
        "--paste-back",
        help="Also put the result back into the photo that the edited latent was aligned from.",
    ),
]


def check_places(latents: "Sequence[Latent]") -> None:
    """Check, before any work, that results can be put back where latents came from.

    Args:
        latents: Those whose places count; the ones that were not aligned are passed over.

    Raises:
        GaneditError: None was aligned, or a photo is missing, broken, no regular file of this
            machine, or has another size.
    """
    import torch

    from ganedit.data.alignment import paste_into_photo

    places = {place for latent in latents for place in latent.alignment}
    if not places:
        raise GaneditError(
            "--paste-back: none of these latents came from an aligned photo; make one with"
            " 'ganedit project PHOTO --align auto'"
        )
    for place in places:
        _check_local(place.photo)
        paste_into_photo(place, torch.zeros(1, 3, 1, 1))  # checks all that writing will need


def _check_local(photo: str) -> None:
    """Refuse what a latent, which may come from anywhere, must not make this machine open.

    Raises:
        GaneditError: It is on a network share, where looking alone would sign in to the share's
            server; or is missing, a pipe or a device.
    """
    from ganedit.io.files import open_file

    if len(photo) > 1 and set(photo[:2]) <= {"/", "\\"}:
        raise GaneditError(
            f"{photo}: is on a network share, which is not opened because a latent says so; put the"
            " result back with 'ganedit paste PHOTO EDITED --alignment LATENT'"
        )
    open_file(Path(photo)).close()


def write_pasted(folder: "OutputFolder", name: str, place: "Alignment", picture: "Tensor") -> Path:
    """Write the photo that a latent came from, with a picture in its place.

    Args:
        folder: Where to.
        name: Of the file, without suffix and ``-pasted``.
        place: Where in which photo.
        picture: What an edit has come to, [1, 3, R, R] in [-1, 1].

    Returns:
        The path of ``NAME-pasted.png``, which has the photo's own size.

    Raises:
        GaneditError: The photo is missing, broken, or has another size than it had.
    """
    from ganedit.data.alignment import paste_into_photo
    from ganedit.io import write_image

    pasted = paste_into_photo(place, picture)
    return folder.write(f"{name}-pasted.png", partial(write_image, image=pasted))


def pasted_frames(
    place: "Alignment", frames: "Iterable[Tensor]", *, longest: int | None = None
) -> "Iterator[Tensor]":
    """Yield the photo that a latent came from, with one picture after the other in its place.

    Args:
        place: Where in which photo.
        frames: [1, 3, R, R] each, in [-1, 1].
        longest: A photo with a longer side, in pixels, is reduced to it; None reduces none.

    Yields:
        [1, 3, H, W] each, in [-1, 1].

    Raises:
        GaneditError: The photo is missing or broken.
    """
    import torch
    from torch.nn.functional import interpolate

    from ganedit.data.alignment import paste_back
    from ganedit.io import read_image

    photo = read_image(place.photo)
    quad = torch.tensor(place.quad, dtype=torch.float64)
    width, height = place.size
    scale = 1.0 if longest is None else min(1.0, longest / max(width, height))
    if scale < 1:
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        photo = interpolate(photo, size=size, mode="bilinear", antialias=True)
        quad = quad * torch.tensor([size[1] / width, size[0] / height])
    for frame in frames:
        yield paste_back(photo, frame, quad)
