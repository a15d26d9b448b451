"""Two networks as blending commands take them: checked, and drawn level by level."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network

Order = Literal["AB", "BA"]
Mode = Literal["hard", "logistic", "pinkney-hard"]

ModeOption = Annotated[
    Mode,
    typer.Option(
        help="How: at once; smoothly, with a share for every layer; or at once as the authors'"
        " code does, which is one resolution later than it says."
    ),
]
WidthOption = Annotated[
    float | None,
    typer.Option(
        min=1e-3,
        max=1e3,
        help="For logistic: how smoothly, in layers, of which a resolution has two; 1 by"
        " default, and more is smoother.",
    ),
]


def choose_width(mode: Mode, width: float | None) -> float | None:
    """Return the width of a logistic switch; None for the other modes.

    Raises:
        typer.BadParameter: There is one for another mode (exit code 2).
    """
    if mode == "logistic":
        return 1.0 if width is None else width
    if width is not None:
        raise typer.BadParameter("--width is for --mode logistic; add it")
    return None


def check_blendable(a: "Network", b: "Network") -> None:
    """Check that two networks have one architecture; sizes that differ are shown as a table.

    Raises:
        GaneditError: They have not.
    """
    from ganedit.blending import differences

    rows = differences(a.generator, b.generator)
    if rows and rows[0][0] == "family":
        raise GaneditError(
            f"{a.source} and {b.source} cannot be blended: one is a {rows[0][1]} network, the other"
            f" a {rows[0][2]} one; take networks of one family"
        )
    if rows:
        console.table("", ["what differs", a.source, b.source], rows)
        raise GaneditError(
            f"{a.source} and {b.source} cannot be blended: {len(rows)}"
            f" {'thing differs' if len(rows) == 1 else 'things differ'}, {rows[0][0]} first; take"
            " networks of one architecture, best one that was fine-tuned from the other"
        )


def note_unrelated(a: "Network", b: "Network") -> None:
    """Say that two networks have no ancestor in common, when they have not."""
    from ganedit.blending import related

    if not related(a, b):
        console.warn(
            f"{a.source} and {b.source} do not say that one was fine-tuned from the other; layers"
            " of strangers do not fit together"
        )


def check_levels(network: "Network", wanted: Iterable[int], *, option: str) -> None:
    """Check that a network has these resolutions.

    Raises:
        GaneditError: It has not.
    """
    from ganedit.blending import levels

    known = levels(network.generator)
    for level in wanted:
        if level not in known:
            raise GaneditError(
                f"{option}: {level} is no level of {network.source}; it has"
                f" {', '.join(map(str, known))}"
            )


def told_perceptual(networks: Sequence["Network"]) -> Mapping[str, Any]:
    """Return what a blend's provenance says of how its pictures are compared."""
    from ganedit.inversion import default_perceptual

    clay = all(default_perceptual(network) == "clay" for network in networks)
    return {"perceptual": "clay"} if clay else {}


def caption(network: "Network") -> str:
    """Return a short name of a network."""
    return Path(network.source).stem or network.source
