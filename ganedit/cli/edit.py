"""``ganedit edit``: move pictures along known directions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.direction_specs import Spec, find_moves, home_of, parse_direction, read_files
from ganedit.cli.edit_report import judge_all, open_judges, report, tell
from ganedit.cli.edit_results import Edit, draw, parse_strengths, result_names, write_edit
from ganedit.cli.heads import Heads, open_heads
from ganedit.cli.options import (
    SEED_LIMIT,
    ClassOption,
    DeviceOption,
    FpsOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    parse_numbers,
    refuse_given,
)
from ganedit.cli.pasting import PasteBackOption
from ganedit.cli.sources import is_file, keep_tuning

if TYPE_CHECKING:
    from ganedit.cli.direction_specs import Move
    from ganedit.io.directions import Directions

_LONGEST_CAPTION = 120


def edit(
    context: typer.Context,
    latents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LATENT",
            help="Latent files or seeds; by default the generator's mean face.",
        ),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="What to change, and how far in standard deviations (1 by default): NAME=1.5 of"
            " the generator's directions, FILE:3=-2 or FILE:NAME=2 of a file, FILE=1 of a file"
            " with one, b32.conv1.17=4 for a channel of a style layer. Several add up.",
        ),
    ] = None,
    directions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where names are looked up: a file of ganedit factorize or directions fit, or of"
            " InterFaceGAN, GANSpace, rosinality or e4e; by default the embedded one.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Move these latents, such as 0-3,8, instead of each direction's own; channels"
            " keep their layers.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="A:B:COUNT",
            help="Draw a sheet: -3:3:7 multiplies all degrees by seven numbers from -3 to 3; the"
            " last is the result.",
        ),
    ] = None,
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="Also write a video there and back: from the start, or of a sweep from its first"
            " number to its last.",
        ),
    ] = False,
    fps: FpsOption = 30,
    paste_back: PasteBackOption = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=SEED_LIMIT - 1, help="Edit this seed's head, not the mean face."
        ),
    ] = None,
    trunc: TruncationOption = 0.7,
    class_index: ClassOption = None,
    network: OptionalNetworkOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Move heads along directions: smile, age, or what a file calls them.

    Writes, for photo.pt: photo-edited.pt (the latent), photo-edited.png, photo-comparison.png,
    photo-slider.html (before and after, for a browser), with --sweep photo-strip.png (and of
    several latents strip.png), and with --video photo-edit.mp4. Prints whether it is the same
    person, and for clay heads what else changed.

    Example: ganedit edit --seed 3 --direction smile=1.5
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    del arguments["context"]
    specs = _parse(context, arguments)
    strengths = (1.0,) if sweep is None else parse_strengths(sweep, what="sweep")
    chosen = None if layers is None else parse_numbers(layers, what="layers", limit=1000)

    from ganedit.features.arcface import find_arcface
    from ganedit.io import OutputFolder

    files = read_files(specs, directions)
    inputs = [*(latents or []), *files]
    folder = OutputFolder(out, command="edit", overwrite=overwrite, inputs=inputs)
    heads = open_heads(arguments | {"network": network or _network(latents, files)})
    model = heads.model
    moves = find_moves(specs, model, files, directions=directions, layers=chosen)
    outputs = result_names(heads.names, strengths, video=video)
    folder.claim(outputs + [f"{name}-edited-pasted.png" for name in heads.pasted()])
    work = _joined(heads, specs, moves, strengths, fps if video else None)
    before, after = draw(work)
    judges = open_judges(model, None, None, find_arcface(None, model.generator.w_avg.device))
    results = judge_all(judges, work, before, after)
    paths = write_edit(folder, work, before, after, notes=[tell(one) for one in results])
    paths += keep_tuning(folder, model)
    record = {
        "arguments": arguments,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "directions": [move.told for move in moves],
        "strengths": strengths,
        "results": results,
    }
    paths.append(folder.finish(record))
    report(results)
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _parse(context: typer.Context, arguments: Mapping[str, Any]) -> list[Spec]:
    """Return what was asked for, after refusing options that would change nothing.

    Raises:
        typer.BadParameter: There is such an option, or nothing was asked for (exit code 2).
    """
    if not arguments["direction"]:
        raise typer.BadParameter("say what to change, as --direction smile=1.5")
    if not arguments["video"]:
        refuse_given(context, ["fps"], why="--fps is for --video")
    if not arguments["latents"] and arguments["seed"] is None:
        refuse_given(context, ["trunc"], why="the mean face has no seed to truncate")
    return [parse_direction(text) for text in arguments["direction"]]


def _network(latents: Sequence[str] | None, files: "Mapping[str, Directions]") -> str | None:
    """Return the generator of the directions where no latent file tells which one it is."""
    told = any(map(is_file, latents or ()))
    return None if told else home_of(files)


def _joined(
    heads: Heads,
    specs: Sequence[Spec],
    moves: "Sequence[Move]",
    strengths: Sequence[float],
    video: int | None,
) -> Edit:
    """Return all moves as one edit."""
    from ganedit.editing.directions import sum_changes

    pairs = zip(moves, specs, strict=True)
    text = ", ".join(f"{move.name} {spec.degree:+g}" for move, spec in pairs)
    caption = text if len(text) <= _LONGEST_CAPTION else text[:_LONGEST_CAPTION] + "…"
    change = sum_changes([move.change for move in moves])
    first = strengths[0] if len(strengths) > 1 else 0.0
    return Edit(heads, change, strengths, caption, video, first)
