"""``ganedit dataset``: archives of square pictures to train on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import SEED_LIMIT, ArchiveOption, OverwriteOption

ResolutionOption = Annotated[
    int, typer.Option(min=4, max=4096, help="Side of the pictures in pixels.")
]


def clay(
    out: ArchiveOption,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="Number of heads.")] = 1000,
    seed: Annotated[
        int,
        typer.Option(min=0, max=SEED_LIMIT - 1, help="Seed of the first head; the next is one up."),
    ] = 0,
    resolution: ResolutionOption = 64,
    style: Annotated[
        Literal["clay", "emoji"], typer.Option(help="Shaded clay, or flat and yellow.")
    ] = "clay",
    overwrite: OverwriteOption = False,
) -> None:
    """Render a dataset of ClayHeads.

    Holds pictures, camera labels, factors and captions; the same command gives the same file.

    Example: ganedit dataset clay --count 64 --seed 0 --resolution 64 --out clay.zip
    """
    if seed + count > SEED_LIMIT:
        raise typer.BadParameter(f"seed: {seed} leaves fewer than {count} seeds")

    from ganedit.data.archive import (
        check_archive_path,
        clay_factor_names,
        clay_pictures,
        clay_processes,
        write_archive,
    )
    from ganedit.data.clayheads.render import COARSE

    if resolution % COARSE:
        raise typer.BadParameter(f"--resolution must be a multiple of {COARSE}, got {resolution}")
    check_archive_path(out, overwrite=overwrite)
    with console.progress("Rendering heads", count) as on_step:
        pictures = clay_pictures(
            count=count,
            seed=seed,
            resolution=resolution,
            style=style,
            processes=clay_processes(count, resolution),
            on_step=on_step,
        )
        write_archive(
            out, pictures, factor_names=clay_factor_names(), style=style, overwrite=overwrite
        )
    console.note(f"{count} heads of {resolution}x{resolution} pixels")
    console.emit_paths([out])


def folder(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder or zip file of pictures.")
    ],
    out: ArchiveOption,
    resolution: ResolutionOption = 64,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a dataset of your own pictures.

    They are cropped to their central square and resized; labels in a dataset.json come along. Files
    that cannot be read are listed and left out.

    Example: ganedit dataset folder examples --resolution 64 --out mine.zip
    """
    from ganedit.data.archive import check_archive_path, user_pictures, write_archive
    from ganedit.errors import GaneditError

    if out.resolve() == source.resolve():
        raise GaneditError(f"{out}: is the source itself; choose another --out")
    check_archive_path(out, overwrite=overwrite)
    bad: list[tuple[str, str]] = []
    try:
        with console.progress("Reading pictures") as on_step:
            pictures = user_pictures(
                source,
                resolution=resolution,
                on_bad=lambda name, reason: bad.append((name, reason)),
                on_step=on_step,
            )
            made = write_archive(out, pictures, overwrite=overwrite)
    finally:
        for name, reason in bad:
            console.warn(f"left out {name}: {reason}")
    if 0 < made.labelled < made.pictures:
        console.warn(
            f"{made.pictures - made.labelled} of {made.pictures} pictures have no label in "
            "dataset.json, so the archive has no labels"
        )
    console.note(
        f"{made.pictures} pictures of {resolution}x{resolution} pixels, {len(bad)} left out"
    )
    console.emit_paths([out])
