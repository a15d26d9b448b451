"""``ganedit blend``: a third network out of two."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.blends import (
    ModeOption,
    Order,
    WidthOption,
    caption,
    check_blendable,
    check_levels,
    choose_width,
    note_unrelated,
    told_perceptual,
)
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    parse_seeds,
)
from ganedit.cli.sources import fit_latent, is_file, open_label, open_network
from ganedit.errors import GaneditError
from ganedit.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Latent, OutputFolder

_NETWORK, _SHEET = "blend.safetensors", "blend.png"
_MOST_ROWS = 64


def blend(
    a: Annotated[str, typer.Argument(metavar="A", help="A generator: a name, file or address.")],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Another of the same architecture, best fine-tuned from A."
        ),
    ],
    at: Annotated[
        int | None,
        typer.Option(
            metavar="RESOLUTION",
            help="Where to go over from one to the other, in pixels: 16 takes the layers of 4 and 8"
            " pixels from A, and those from 16 on from B.",
        ),
    ] = None,
    mode: ModeOption = "hard",
    width: WidthOption = None,
    order: Annotated[
        Order, typer.Option(help="Whose layers are below: AB has A's shapes and B's texture.")
    ] = "AB",
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="In place of --at: the share of the upper network at resolutions, such as"
            " 8=0.2,16=1; others have that of the resolution below them, and the first ones 0.",
        ),
    ] = None,
    features: Annotated[
        bool,
        typer.Option(
            "--features",
            help="Swap features of two networks that both run, not weights: the upper one keeps its"
            " own small pictures. Gives the sheet only, since it is no single network.",
        ),
    ] = False,
    rows: Annotated[
        str, typer.Option(metavar="LIST", help="Latent files and seeds that the sheet shows.")
    ] = "0-3",
    trunc: TruncationOption = 0.7,
    class_index: ClassOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Blend two generators: the shapes of one, the texture of the other.

    Writes blend.safetensors, a generator that every command takes and that draws A's latents, and
    blend.png: a row for each head, a column for A, for each level to go over at, and for B.

    Example: ganedit blend clay clay-emoji --at 16
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    told = _check_usage(arguments)
    sources = _split(rows)

    from ganedit.io import OutputFolder, write_image

    folder = OutputFolder(out, command="blend", overwrite=overwrite, inputs=[a, b, *sources])
    folder.claim([_SHEET] if features else [_NETWORK, _SHEET])
    opened = [open_network(source, device=device) for source in (a, b)]
    lower, upper = opened if order == "AB" else opened[::-1]
    check_blendable(lower, upper)
    check_levels(lower, told or [], option="--levels")
    check_levels(lower, [] if at is None else [at], option="--at")
    heads = _open_rows(lower, upper, sources, arguments)
    note_unrelated(lower, upper)
    record: dict[str, Any] = {"arguments": arguments}
    paths: list[Path] = []
    if features:
        sheet = _draw(_swaps(lower, upper, heads))
    else:
        columns, shares = _plan(lower, upper, heads, arguments, told)
        sheet = _draw(columns)
        path, facts = _write(folder, lower, upper, shares)
        paths.append(path)
        record |= facts
    paths.append(folder.write(_SHEET, partial(write_image, image=sheet)))
    record["results"] = [path.name for path in paths]
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def parse_levels(text: str) -> dict[int, float]:
    """Return the shares of a list such as ``8=0.2,16=1``.

    Raises:
        typer.BadParameter: The text does not parse, or a share is not from 0 to 1 (exit code 2).
    """
    shares: dict[int, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})\s*=\s*(\S{1,30})\s*", part, re.ASCII)
        try:
            level, share = int(match[1]), float(match[2])  # type: ignore[index]  # caught below
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(
                f"levels: {part.strip()[:60]!r} is not RESOLUTION=SHARE; try 8=0.2,16=1"
            ) from error
        if not 0 <= share <= 1:  # never true of nan
            raise typer.BadParameter(f"levels: the share {match[2]} of {level} is not from 0 to 1")  # type: ignore[index]
        if level in shares:
            raise typer.BadParameter(f"levels: {level} is there twice")
        shares[level] = share
    return shares


def _check_usage(arguments: Mapping[str, Any]) -> dict[int, float] | None:
    """Check that options go together; returns what ``--levels`` says.

    Raises:
        typer.BadParameter: They do not.
    """
    at, mode, width, levels = (arguments[key] for key in ("at", "mode", "width", "levels"))
    choose_width(mode, width)
    if arguments["features"]:
        if mode != "hard" or levels is not None:
            raise typer.BadParameter("--features has no shares; leave out --mode and --levels")
        if at is not None:
            raise typer.BadParameter("--features shows every level; leave out --at")
        return None
    if levels is None:
        if at is None:
            raise typer.BadParameter("where do the networks meet? give --at 16, or --levels")
        return None
    if at is not None or mode != "hard":
        raise typer.BadParameter("--levels says all shares; leave out --at and --mode")
    return parse_levels(levels)


def _split(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"rows: {text!r} has an empty place; try 0-3 or photo.pt,7")
    return parts


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the sheet shows.

    Attributes:
        sources: Latent files and seeds, in the order of the rows.
        files: The latents of those that are files.
        truncation_psi: Of the seeds.
        class_index: Of the seeds, for the networks that take classes.
    """

    sources: Sequence[str]
    files: "Mapping[str, Latent]"
    truncation_psi: float
    class_index: int | None

    def latents(self, network: "Network") -> "Iterator[Latent]":
        """Yield the rows' latents; seeds are mapped by the network itself."""
        from ganedit.editing import sample

        for source in self.sources:
            if source in self.files:
                yield self.files[source]
            else:
                label = open_label(network, self.class_index if network.generator.c_dim else None)
                psi = self.truncation_psi
                yield sample(network, parse_seeds(source), truncation_psi=psi, label=label)


Column = tuple[str, Callable[[], "list[Tensor]"]]


def _open_rows(
    lower: "Network", upper: "Network", sources: Sequence[str], arguments: Mapping[str, Any]
) -> _Rows:
    """Return what the sheet shows.

    Raises:
        GaneditError: A latent is of another network or of a tuned one, or the class does not fit.
        typer.BadParameter: There are too many rows.
    """
    from ganedit.io import read_latent

    files = {}
    count = 0
    for source in sources:
        if re.fullmatch(r"[\d-]+", source, re.ASCII) and not is_file(source):
            count += len(parse_seeds(source))
            continue
        files[source] = fit_latent(read_latent(source), lower, source)
        count += len(files[source])
        if files[source].tuning is not None:
            raise GaneditError(
                f"{source}: was made by a tuned generator, which is in no blend; give latents of"
                f" {lower.source} itself"
            )
        if arguments["features"] and files[source].offsets is not None:
            raise GaneditError(f"{source}: moves styles, which --features does not; leave it out")
    if count > _MOST_ROWS:
        raise typer.BadParameter(f"rows: {count} are too many for a sheet; at most {_MOST_ROWS}")
    index = arguments["class_index"]
    if index is not None and len(files) == len(set(sources)):
        raise GaneditError("--class is for seeds, and all rows here are files; leave it out")
    classes = [each for each in (lower, upper) if each.generator.c_dim]
    for each in (classes or [lower]) if len(files) < len(set(sources)) else []:
        open_label(each, index)  # says what is missing, before any work
    return _Rows(sources, files, arguments["trunc"], index)


def _plan(
    lower: "Network",
    upper: "Network",
    heads: _Rows,
    arguments: Mapping[str, Any],
    told: Mapping[int, float] | None,
) -> tuple[list[Column], tuple[float, ...]]:
    """Return the columns of the sheet, and the shares of the network to be written."""
    from ganedit.blending import level_shares, levels, positions, switch_shares

    at, mode = arguments["at"], arguments["mode"]
    width = choose_width(mode, arguments["width"])
    count = len(positions(lower.generator))
    drawn = [(caption(lower), (0.0,) * count)]
    for level in levels(lower.generator):
        if level == at or level > levels(lower.generator)[0]:
            shares = switch_shares(lower.generator, level, mode=mode, width=width)
            drawn.append((f"at {level}" + " (written)" * (level == at), shares))
    if told is None:
        written = switch_shares(lower.generator, at, mode=mode, width=width)
    else:
        written = level_shares(lower.generator, told)
        drawn.append(("--levels (written)", written))
    drawn.append((caption(upper), (1.0,) * count))
    return [(text, partial(_blended, lower, upper, heads, x)) for text, x in drawn], written


def _swaps(lower: "Network", upper: "Network", heads: _Rows) -> list[Column]:
    """Return the columns of a sheet of swapped features.

    Raises:
        GaneditError: The networks cannot swap them.
    """
    from ganedit.blending import check_swappable, levels

    check_swappable(lower.generator)
    first, *later = levels(lower.generator)
    names = {level: f"at {level}" for level in later} | {first: caption(upper)}
    swapped = [(names[x], partial(_swapped, lower, upper, heads, x)) for x in (*later, first)]
    return [(caption(lower), partial(_swapped, lower, lower, heads, first)), *swapped]


def _blended(
    lower: "Network", upper: "Network", heads: _Rows, shares: Sequence[float]
) -> "list[Tensor]":
    """Return the pictures of a blend, [1, 3, R, R] each."""
    from ganedit.blending import blend as mix
    from ganedit.editing import synthesize

    # The blend draws latents of the lower network, whatever its own fingerprint would be.
    model = replace(lower, generator=mix(lower.generator, upper.generator, shares))
    return [x for latent in heads.latents(model) for x in synthesize(model, latent)]


def _swapped(lower: "Network", upper: "Network", heads: _Rows, at: int) -> "list[Tensor]":
    """Return the pictures of two networks that swap features, [1, 3, R, R] each."""
    from ganedit.blending import swap_features

    device = lower.generator.w_avg.device
    pictures = []
    for latent in heads.latents(lower):
        for row in (latent.row(index) for index in range(len(latent))):
            noise = None if row.noise is None else [x.to(device) for x in row.noise]
            one, other = lower.generator, upper.generator
            pictures.append(swap_features(one, other, row.ws.to(device), at=at, noise=noise).cpu())
    return pictures


def _draw(columns: Sequence[Column]) -> "Tensor":
    """Return the sheet; no two blends are in memory at once."""
    import torch

    from ganedit.io import labelled_grid

    drawn = []
    with console.progress("Drawing", len(columns)) as on_step:
        for done, (_, draw) in enumerate(columns, start=1):
            drawn.append(draw())
            on_step(done, len(columns), {})
    cells = [picture.clamp(-1, 1) for row in zip(*drawn, strict=True) for picture in row]
    captions = [name for name, _ in columns] * len(drawn[0])
    return labelled_grid(torch.cat(cells), captions, columns=len(columns))


def _write(
    folder: "OutputFolder", lower: "Network", upper: "Network", shares: Sequence[float]
) -> tuple[Path, dict[str, Any]]:
    """Write the blended network; returns its path, and what the record says of it."""
    from ganedit.blending import blend_networks
    from ganedit.checkpoints import save_network

    facts = {"made_by": f"ganedit {__version__}", "command": "ganedit blend"}
    facts |= told_perceptual([lower, upper])
    model = blend_networks(lower, upper, shares, facts=facts)
    provenance = model.metadata["provenance"]
    save = partial(save_network, generator=model.generator, provenance=provenance)
    path = folder.write(_NETWORK, save)
    names = ("blended_from", "shares", "adapted_from")
    told = {name: provenance[name] for name in names}
    return path, {"generator": {"network": str(path), "fingerprint": model.fingerprint}, **told}
