"""``ganedit models``: the embedded models and their cards."""

from pathlib import Path
from typing import Annotated

import typer

from ganedit.cli import console
from ganedit.errors import GaneditError


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this model's card.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the embedded models, or show the card of one.

    A card says what the model was trained on, how to make it again, and how good it is.

    Example: ganedit models clay
    """
    from ganedit.assets import embedded

    known = embedded()
    if name is not None and name not in known:
        raise GaneditError(f"no embedded model {name!r}; there are {', '.join(known)}")
    facts = [
        {
            "name": asset.name,
            "kind": asset.kind,
            "megabytes": _megabytes(asset.weights),
            "weights": str(asset.weights),
            "card": str(asset.card),
        }
        for asset in known.values()
        if name in (None, asset.name)
    ]
    if as_json:
        console.emit_json(facts)
    elif name is not None:
        typer.echo(_read_card(known[name].card).rstrip())
    else:
        for fact in facts:
            size = f"{fact['megabytes']:.1f} MB" if fact["megabytes"] else "missing"
            typer.echo(f"{fact['name']:16}{fact['kind']:12}{size:>8}  {fact['card']}")


def _megabytes(path: Path) -> float | None:
    return round(path.stat().st_size / 1e6, 2) if path.is_file() else None


def _read_card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise GaneditError(f"{path}: the card cannot be read; reinstall ganedit") from error
