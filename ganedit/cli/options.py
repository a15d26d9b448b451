"""Options that mean the same in every command, and the parsers of their values."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, overload

import typer

MAX_SEEDS = 100_000
SEED_LIMIT = 2**32  # torch's CPU generator uses the low 32 bits of a seed


@overload
def finite(value: float) -> float: ...
@overload
def finite(value: None) -> None: ...
def finite(value: float | None) -> float | None:
    """Return the value of a number option, unless it is NaN or infinite; a typer callback.

    An option that was not given, None, passes.

    Raises:
        typer.BadParameter: It is (exit code 2). Ranges alone let NaN through.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


NetworkOption = Annotated[
    str,
    typer.Option(
        "--network",
        metavar="NAME|FILE|URL",
        help="Generator: an embedded model's name, a checkpoint of any StyleGAN, or where to fetch"
        " one: https://..., hf://owner/repo/file; #sha256=... may follow.",
    ),
]
OptionalNetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="NAME|FILE|URL",
        help="Generator, as a name, file or address; by default the one that the latents were made"
        " with.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for the results.")]
ArchiveOption = Annotated[
    Path, typer.Option("--out", metavar="FILE.zip", help="The archive to write.")
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Also replace files that ganedit did not write."),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1, mps."
    ),
]
SeedsOption = Annotated[
    str, typer.Option("--seeds", metavar="LIST", help="Seeds and ranges of seeds: 0-7,42.")
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, max=SEED_LIMIT - 1, help="Seed of every random choice."),
]
TruncationOption = Annotated[
    float,
    typer.Option(
        "--trunc",
        min=-10,
        max=10,
        callback=finite,
        help="Truncation psi: 0 is the average picture, 1 is untouched; 0.7 is varied and clean.",
    ),
]
ClassOption = Annotated[
    int | None,
    typer.Option(
        "--class", min=0, help="Class of the pictures, for a class-conditional generator."
    ),
]
FpsOption = Annotated[
    int, typer.Option("--fps", min=1, max=120, help="Frames a second of the video or GIF.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the run's record as JSON instead of the paths.")
]


def parse_numbers(text: str, *, what: str = "seeds", limit: int = SEED_LIMIT) -> tuple[int, ...]:
    """Return the numbers of a list such as ``0-7,42``, in order, each once.

    Args:
        text: Whole numbers and rising ranges, joined by commas.
        what: Name of the option, for errors.
        limit: Every number must be below it.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})(?:\s*-\s*(\d{1,20}))?\s*", part, re.ASCII)
        if not match:
            raise typer.BadParameter(
                f"{what}: {part.strip()!r} is neither a whole number nor a range; try 0-7,42"
            )
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise typer.BadParameter(f"{what}: the range {part.strip()!r} runs backwards")
        if last >= limit:
            raise typer.BadParameter(f"{what}: {last} is too large; numbers end at {limit - 1}")
        if len(numbers) + last - first >= MAX_SEEDS:
            raise typer.BadParameter(f"{what}: more than {MAX_SEEDS} numbers")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return tuple(numbers)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a list such as ``0-7,42``; see `parse_numbers`."""
    return parse_numbers(text)


def parse_grid(text: str) -> tuple[int, int]:
    """Return (columns, rows) of a size such as ``4x2``.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text.strip().lower(), re.ASCII)
    if not match:
        raise typer.BadParameter(f"grid: {text!r} is not COLUMNSxROWS; try 4x2")
    return int(match[1]), int(match[2])


def parse_weights(text: str) -> tuple[float, ...]:
    """Return the numbers of a list such as ``0.5,0.3,0.2``.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"weights: {text!r} is no list of numbers; try 0.5,0.5") from error


def refuse_given(context: typer.Context, names: Iterable[str], *, why: str) -> None:
    """Refuse options that were typed although they would change nothing.

    Args:
        context: Of the running command.
        names: Names of its parameters.
        why: Start of the error.

    Raises:
        typer.BadParameter: One of them was typed (exit code 2).
    """
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(f"{why}; leave out {flags}")
