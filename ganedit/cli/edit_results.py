"""What edits become: latents, pictures, pages, strips and videos."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ganedit.cli import console
from ganedit.cli.pasting import write_pasted
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.cli.heads import Heads
    from ganedit.editing.changes import Change
    from ganedit.io import Latent, OutputFolder

STRIP = "strip.png"
_MOST_STRENGTHS = 100
_LARGEST_STRENGTH = 1000.0
_SECONDS = 1.5  # of a video, there and back each


def parse_strengths(text: str, *, what: str = "strength") -> tuple[float, ...]:
    """Return strengths of an edit: ``0.7``, ``-1,0,1``, or ``-1:1:5`` for five from -1 to 1.

    Args:
        text: As the user typed it.
        what: Name of the option, for errors.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    wanted = "a number, a list as -1,0,1, or FROM:TO:COUNT as -1:1:5"
    first, *rest = text.split(":")
    try:
        if rest:
            low, (high, count) = float(first), (float(rest[0]), int(":".join(rest[1:])))
            if not 2 <= count <= _MOST_STRENGTHS:
                raise typer.BadParameter(
                    f"{what}: {count} steps in {text[:60]!r}; 2 to {_MOST_STRENGTHS} can be drawn"
                )
            values = tuple(low + (high - low) * i / (count - 1) for i in range(count))
        else:
            values = tuple(float(part) for part in first.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{what}: {text[:60]!r} is not {wanted}") from error
    if len(values) > _MOST_STRENGTHS:
        raise typer.BadParameter(f"{what}: more than {_MOST_STRENGTHS} numbers")
    # NaN is not below anything, either.
    if not all(abs(value) <= _LARGEST_STRENGTH for value in values):
        raise typer.BadParameter(
            f"{what}: {text[:60]!r} is not {wanted}, between -{_LARGEST_STRENGTH:g} and"
            f" {_LARGEST_STRENGTH:g}"
        )
    return tuple(value + 0.0 for value in values)  # no negative zeros


@dataclass(frozen=True, eq=False)
class Edit:
    """An edit of some heads, and what is drawn of it.

    Attributes:
        heads: Before the edit.
        change: Of strength 1.
        strengths: To draw; the last one is the result.
        text: What was asked for, for captions.
        video: Frames a second of a video; None for none.
        start: Strength from which the video goes to the last one, and back.
    """

    heads: "Heads"
    change: "Change"
    strengths: Sequence[float]
    text: str
    video: int | None
    start: float = 0.0

    def at(self, strength: float) -> "Latent":
        """Return the latents after the edit of this strength."""
        from ganedit.editing.changes import apply_change

        return apply_change(self.heads.latent, self.change, strength)


def result_names(names: Sequence[str], strengths: Sequence[float], *, video: bool) -> list[str]:
    """Return the files that edits come to, but for pasted ones.

    Args:
        names: Of the edited latents.
        strengths: To draw.
        video: Whether there are videos.
    """
    suffixes = ["-edited.pt", "-edited.png", "-comparison.png", "-slider.html"]
    suffixes += ["-strip.png"] * (len(strengths) > 1) + ["-edit.mp4"] * video
    files = [f"{name}{suffix}" for name in names for suffix in suffixes]
    return files + [STRIP] * (len(strengths) > 1 and len(names) > 1)


def draw(edit: Edit) -> "tuple[list[Tensor], list[list[Tensor]]]":
    """Return the pictures before the edit, and those of every strength; [1, 3, R, R] each.

    Raises:
        GaneditError: A picture after the edit holds NaN: latents went too far, or are NaN.
    """
    latents = [edit.heads.latent, *(edit.at(strength) for strength in edit.strengths)]
    before, *after = _render(edit.heads.model, latents)
    for strength, pictures in zip(edit.strengths, after, strict=True):
        if not all(bool(picture.isfinite().all()) for picture in pictures):
            raise GaneditError(
                f"the edit goes beyond what the generator can draw, at strength {strength:g};"
                " nothing was written; edit less"
            )
    return before, after


def _render(model: "Network", latents: "Sequence[Latent]") -> "list[list[Tensor]]":
    from ganedit.editing import synthesize

    pictures = []
    with console.progress("Rendering", len(latents)) as on_step:
        for done, latent in enumerate(latents, start=1):
            pictures.append([picture.clamp(-1, 1) for picture in synthesize(model, latent)])
            on_step(done, len(latents), {})
    return pictures


def write_edit(
    folder: "OutputFolder",
    edit: Edit,
    before: "Sequence[Tensor]",
    after: "Sequence[Sequence[Tensor]]",
    *,
    notes: Sequence[str],
) -> list[Path]:
    """Write all results.

    Args:
        folder: Where to.
        edit: What was done.
        before: Of `draw`.
        after: Of `draw`.
        notes: A line for the page of each latent.
    """
    paths = []
    for index, note in enumerate(notes):
        pictures = [before[index], *(row[index] for row in after)]
        paths += _write_one(folder, edit, index, pictures, note)
    if len(edit.strengths) > 1 and len(notes) > 1:
        cells = [row[index] for index in range(len(notes)) for row in after]
        paths.append(_write_strip(folder, STRIP, cells, edit.strengths))
    return paths


def _write_one(
    folder: "OutputFolder",
    edit: Edit,
    index: int,
    pictures: "Sequence[Tensor]",
    note: str,
) -> list[Path]:
    """Write the results of one latent; its pictures come with the one before the edit first."""
    import torch

    from ganedit.io import labelled_grid, save_latent, write_image
    from ganedit.io.slider import write_slider

    name, place = edit.heads.names[index], edit.heads.places[index]
    before, after = pictures[0], pictures[-1]
    alignment = () if place is None else (place,)
    edited = edit.at(edit.strengths[-1]).row(index)
    edited = replace(edited, names=(f"{name}-edited",), alignment=alignment)
    caption = edit.text or "after"
    sheet = labelled_grid(torch.cat([before, after]), ("before", caption), columns=2, min_side=256)
    page = partial(write_slider, before=before, after=after, note=note)
    paths = [
        folder.write(f"{name}-edited.pt", partial(save_latent, latent=edited)),
        folder.write(f"{name}-edited.png", partial(write_image, image=after)),
        folder.write(f"{name}-comparison.png", partial(write_image, image=sheet)),
        folder.write(f"{name}-slider.html", partial(page, title=f"{name}: {caption}")),
    ]
    if len(edit.strengths) > 1:
        strip = _write_strip(folder, f"{name}-strip.png", pictures[1:], edit.strengths)
        paths.append(strip)
    if edit.video is not None:
        paths.append(_write_video(folder, f"{name}-edit.mp4", edit, index, edit.video))
    if edit.heads.paste and place is not None:
        paths.append(write_pasted(folder, f"{name}-edited", place, after))
    return paths


def _write_strip(
    folder: "OutputFolder", name: str, pictures: "Sequence[Tensor]", strengths: Sequence[float]
) -> Path:
    """Write a sheet with a column for each strength."""
    import torch

    from ganedit.io import labelled_grid, write_image

    captions = [f"{strength:g}" for strength in strengths] * (len(pictures) // len(strengths))
    sheet = labelled_grid(torch.cat(list(pictures)), captions, columns=len(strengths))
    return folder.write(name, partial(write_image, image=sheet))


def _write_video(folder: "OutputFolder", name: str, edit: Edit, index: int, fps: int) -> Path:
    """Write the way from the start to the edit and back; frames are made while it is written."""
    from ganedit.io import write_video

    last = edit.strengths[-1]
    strengths = list(there_and_back(last, round(_SECONDS * fps), first=edit.start))
    with console.progress(f"Rendering {name}", len(strengths)) as on_step:

        def frames() -> "Iterator[Tensor]":
            from ganedit.editing import synthesize

            for done, strength in enumerate(strengths, start=1):
                yield next(synthesize(edit.heads.model, edit.at(strength).row(index)))
                on_step(done, len(strengths), {})

        return folder.write(name, lambda file: write_video(file, frames(), fps=fps))


def there_and_back(last: float, frames: int, *, first: float = 0.0) -> "Iterator[float]":
    """Yield strengths from the first to the last one and back, slow at both; both are reached."""
    half = max(2, frames)
    for step in range(2 * half - 1):
        share = (1 - math.cos(math.pi * step / (half - 1))) / 2
        yield first + (last - first) * share
