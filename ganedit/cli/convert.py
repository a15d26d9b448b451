"""``ganedit convert``: networks from one file format to another."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import OverwriteOption
from ganedit.errors import GaneditError

_FORMATS: dict[str, Literal["safetensors", "rosinality"]] = {
    ".safetensors": "safetensors",
    ".pt": "rosinality",
}


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A network file, name or address.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="FILE.safetensors is ganedit's format, FILE.pt is rosinality's."
        ),
    ],
    overwrite: OverwriteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Convert a network file to safetensors or to rosinality's layout, and prove it.

    The generator goes, and the discriminator where there is one, so that training can go on. Before
    OUT appears, both files have rendered the same latents, and the largest difference is printed.

    Example: ganedit convert clay clay.pt
    """
    to = _FORMATS.get(target.suffix.lower())
    if to is None:
        raise typer.BadParameter(f"OUT must end in {' or '.join(_FORMATS)}, got {target.name!r}")

    from ganedit.checkpoints import convert as convert_network
    from ganedit.checkpoints import open_checkpoint
    from ganedit.cli.sources import locate_network

    path = locate_network(source)
    _check_target(path, target, overwrite=overwrite)
    result = convert_network(open_checkpoint(path), target, to=to)
    for warning in result.warnings:
        console.warn(f"{target}: {warning}")
    if as_json:
        console.emit_json(vars(result))
        return
    console.note(f"largest difference of the pictures: {result.image_difference:.2g}")
    if result.score_difference is not None:
        console.note(f"largest difference of the scores: {result.score_difference:.2g}")
    console.emit_paths([result.path])


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse to replace the file that is read, and any other without ``--overwrite``."""
    if not target.exists():
        return
    if target.is_dir():
        raise GaneditError(f"{target}: is a folder; give the name of a file")
    if target.samefile(source):
        raise GaneditError(f"{target}: is the file to convert; choose another name")
    if not overwrite:
        raise GaneditError(f"{target}: exists; choose another name, or add --overwrite")
