"""``ganedit factorize``: directions that a generator itself tells, measured and named."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.clips import (
    ClipDownloadOption,
    ClipOption,
    ClipPreprocessOption,
    ClipWeightsOption,
)
from ganedit.cli.direction_sheets import RESULTS, check_rows, draw_sheet, finish
from ganedit.cli.edit_results import parse_strengths
from ganedit.cli.meters import (
    HeadsOption,
    MeasureOption,
    PhrasesOption,
    measure_all,
    open_meter,
    with_effects,
)
from ganedit.cli.options import (
    SEED_LIMIT,
    ClassOption,
    DeviceOption,
    JsonOption,
    NetworkOption,
    OutOption,
    OverwriteOption,
    parse_numbers,
)
from ganedit.cli.sources import open_label, open_network

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io.directions import Directions
    from ganedit.metrics.directions import Meter

DegreesOption = Annotated[
    str,
    typer.Option(
        "--degrees",
        metavar="LIST|A:B:COUNT",
        help="Columns of the sheet, in standard deviations: a list, or -3:3:7 for seven from -3 to"
        " 3.",
    ),
]
RowsOption = Annotated[
    str | None,
    typer.Option(
        "--rows",
        metavar="LIST",
        help="Directions on the sheet, such as 0-4; by default the first twenty.",
    ),
]
DrawnOption = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, max=SEED_LIMIT - 1, help="Draw this seed's head, not the mean face."
    ),
]


def factorize(
    network: NetworkOption = "clay",
    method: Annotated[
        Literal["sefa", "rosinality", "ganspace"],
        typer.Option(
            help="From the weights that turn latents into styles: SeFa, or rosinality's variant of"
            " it; or the principal components of many latents (GANSpace)."
        ),
    ] = "sefa",
    layers: Annotated[
        str,
        typer.Option(
            metavar="all|LIST",
            help="For sefa: the convolutions that are factorised, such as 0-1 for pose or 6-13 for"
            " colour, counted from 0 as in genforce's code; their latents are moved. For the"
            " others: the latents that are moved.",
        ),
    ] = "all",
    count: Annotated[
        int, typer.Option(help="Directions to find: the strongest ones, 1 to the length of w.")
    ] = 10,
    measure: MeasureOption = "auto",
    phrases: PhrasesOption = None,
    heads: HeadsOption = 32,
    degrees: DegreesOption = "-3:3:7",
    rows: RowsOption = None,
    seed: DrawnOption = None,
    class_index: ClassOption = None,
    clip: ClipOption = "auto",
    clip_weights: ClipWeightsOption = None,
    clip_download: ClipDownloadOption = False,
    clip_preprocess: ClipPreprocessOption = "model",
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the directions in which a generator's pictures vary most, and say what each does.

    Writes directions.pt, for ganedit edit --direction, and directions.png, a sheet with a row for
    each direction. Each is measured on some heads, named by what moves most, and turned so that
    this rises: smile, or smile+yaw where nothing has half of the change.

    Example: ganedit factorize --network clay --count 5
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    columns = parse_strengths(degrees, what="degrees")
    chosen = None if layers == "all" else parse_numbers(layers, what="layers", limit=1000)
    wanted = None if rows is None else parse_numbers(rows, what="rows")

    from ganedit.checkpoints import label_batch
    from ganedit.io import OutputFolder

    folder = OutputFolder(out, command="factorize", overwrite=overwrite, inputs=phrases or [])
    folder.claim(RESULTS)
    model = open_network(network, device=device)
    label = open_label(model, class_index)
    batch = label_batch(model, label, 1)
    directions = _find(model, method, {"layers": chosen, "count": count}, batch)
    drawn = check_rows(wanted, len(directions), len(columns))
    meter = open_meter(model, arguments)
    if meter is not None:
        effects = measure_all(model, directions, meter, heads=heads, label=batch)
        directions = _named(directions, meter, effects)
    sheet = draw_sheet(
        model, directions, drawn_head(model, seed, label), rows=drawn, degrees=columns
    )
    finish(folder, model, directions, sheet, arguments)


def _find(
    model: "Network", method: str, settings: Mapping[str, Any], label: "Tensor | None"
) -> "Directions":
    """Return directions with scales, not yet measured.

    Raises:
        GaneditError: A layer does not exist, or there are not so many directions.
    """
    from ganedit.editing.directions import bind_directions
    from ganedit.editing.factorize import closed_form, ganspace, sefa
    from ganedit.io.directions import Directions

    if method == "ganspace":
        with console.progress("Mapping latents") as on_step:
            found = ganspace(model.generator, label=label, on_step=on_step, **settings)
    else:
        found = {"sefa": sefa, "rosinality": closed_form}[method](model.generator, **settings)
    count, everywhere = len(found.directions), len(found.layers) == model.generator.num_ws
    directions = Directions(
        vectors=found.directions[:, None],
        layers=(() if everywhere else found.layers,) * count,
        names=tuple(f"{method}-{index}" for index in range(count)),
        fingerprint=model.fingerprint,
        network=model.home,
        method=method,
        facts=tuple({"strength": float(strength)} for strength in found.strengths),
    )
    return bind_directions(directions, model)


def _named(directions: "Directions", meter: "Meter", effects: "Tensor") -> "Directions":
    """Return directions called by what they move most, and turned so that this rises."""
    from ganedit.metrics.directions import name_directions, rising

    signs = rising(effects)[:, None]
    turned = replace(
        directions,
        vectors=directions.vectors * signs[:, None],
        names=name_directions(effects, meter.names),
    )
    return with_effects(turned, meter, effects * signs)


def drawn_head(model: "Network", seed: int | None, label: "list[float] | None") -> Any:
    """Return the latent that is drawn: of a seed, or the mean one."""
    from ganedit.editing import sample

    psi = 0.0 if seed is None else 0.7
    return sample(model, [seed or 0], truncation_psi=psi, label=label)
