"""Directions as people see them: a table of what they do, a sheet of pictures."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ganedit.cli import console
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Latent, OutputFolder
    from ganedit.io.directions import Directions

RESULTS = ["directions.pt", "directions.png"]
"""What commands that find directions write."""

_MOST_EFFECTS = 4
_LONGEST_EFFECT = 26  # characters of a phrase
_MOST_CELLS = 2000
_SCORES = ("accuracy", "r2", "strength")


def describe(directions: "Directions") -> list[dict[str, Any]]:
    """Return what is known of each direction, JSON-able, with its effects by size."""
    import torch

    from ganedit.metrics.directions import purity

    told = []
    for index, name in enumerate(directions.names):
        effects = directions.effects[index] if directions.effects else {}
        share = purity(torch.tensor([[*effects.values(), 0.0]], dtype=torch.float64)).item()
        ordered = sorted(effects.items(), key=lambda item: -abs(item[1]))
        told.append(
            {
                "index": index,
                "name": name,
                "layers": list(directions.layers[index]) or "all",
                "scale": None if directions.scales is None else float(directions.scales[index]),
                "effects": {key: round(value, 6) for key, value in ordered},
                "purity": round(share, 4) or None,
                **({"facts": dict(directions.facts[index])} if directions.facts else {}),
            }
        )
    return told


def tell_effects(effects: Mapping[str, float]) -> list[str]:
    """Return the largest effects of `describe`, as ``smile +0.16`` and ``brows -0.051``."""
    largest = list(effects.items())[:_MOST_EFFECTS]
    return [f"{_short(name)} {value:+.2g}" for name, value in largest]


def _short(name: str) -> str:
    """Return a phrase that leaves room for its number beside a picture."""
    return name if len(name) <= _LONGEST_EFFECT else name[: _LONGEST_EFFECT - 1].rstrip() + "…"


def report(told: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of `describe` on stderr."""
    scores = [score for score in _SCORES if any(score in one.get("facts", {}) for one in told)]
    measured = any(one["effects"] for one in told)
    # Scores are of the model, before its direction is made unlike others and tried on pictures.
    titles = [score if score == "strength" else f"{score} of the model" for score in scores]
    columns = ["", "name", "layers", "scale", *titles]
    columns += ["moves, for each standard deviation", "purity"] * measured
    rows = []
    for one in told:
        row = [one["index"], one["name"], _ranges(one["layers"]), one["scale"]]
        row += [one.get("facts", {}).get(score) for score in scores]
        rows.append(row + [", ".join(tell_effects(one["effects"])), one["purity"]] * measured)
    console.table("", columns, rows)


def _ranges(layers: Sequence[int] | str) -> str:
    """Return layers as they are typed, such as ``0-3,8``."""
    if isinstance(layers, str):
        return layers
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and runs[-1][-1] == layer - 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def check_rows(rows: Sequence[int] | None, count: int, degrees: int) -> list[int]:
    """Return which directions are drawn: those asked for, or as many as a sheet holds.

    Raises:
        GaneditError: There is no such direction, or there are too many pictures.
    """
    chosen = list(range(min(count, 20))) if rows is None else list(rows)
    wrong = [row for row in chosen if not 0 <= row < count]
    if wrong:
        raise GaneditError(f"--rows: there is no direction {wrong[0]}; there are {count}, from 0")
    if len(chosen) * degrees > _MOST_CELLS:
        raise GaneditError(
            f"--rows: {len(chosen)} directions at {degrees} degrees are more than {_MOST_CELLS}"
            " pictures; draw fewer"
        )
    return chosen


def draw_sheet(
    model: "Network",
    directions: "Directions",
    latent: "Latent",
    *,
    rows: Sequence[int],
    degrees: Sequence[float],
) -> "Tensor":
    """Return a sheet with a row for each direction and a column for each degree, [1, 3, H, W].

    Args:
        model: The generator.
        directions: With scales.
        latent: What is moved, one row.
        rows: Directions to draw.
        degrees: In standard deviations.

    Raises:
        GaneditError: A picture becomes NaN.
    """
    import torch

    from ganedit.editing import synthesize
    from ganedit.editing.changes import apply_change
    from ganedit.editing.directions import direction_change
    from ganedit.io.sheets import labelled_table

    pictures = []
    with console.progress("Rendering", len(rows)) as on_step:
        for done, index in enumerate(rows, start=1):
            for degree in degrees:
                change = direction_change(directions, index, degree, num_ws=model.generator.num_ws)
                pictures += list(synthesize(model, apply_change(latent, change)))
            on_step(done, len(rows), {})
    cells = torch.cat(pictures)
    if not bool(cells.isfinite().all()):
        raise GaneditError("a picture of the sheet holds NaN; give smaller --degrees")
    told = describe(directions)
    texts = [
        "\n".join([f"{i}  {told[i]['name']}", *tell_effects(told[i]["effects"])]) for i in rows
    ]
    captions = [f"{degree:g}" for degree in degrees]
    return labelled_table(cells.clamp(-1, 1), texts, captions)


def finish(
    folder: "OutputFolder",
    model: "Network",
    directions: "Directions",
    sheet: "Tensor",
    arguments: Mapping[str, Any],
) -> None:
    """Write directions, their sheet and the run's record, and print what they do.

    Args:
        folder: Where `RESULTS` go.
        model: The generator.
        directions: As found and measured.
        sheet: Of `draw_sheet`.
        arguments: Of the command, ``as_json`` among them.
    """
    from ganedit.io import write_image
    from ganedit.io.directions import save_directions

    file, picture = RESULTS
    paths = [
        folder.write(file, partial(save_directions, directions=directions)),
        folder.write(picture, partial(write_image, image=sheet)),
    ]
    told = describe(directions)
    record = {
        "arguments": dict(arguments),
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "directions": told,
    }
    paths.append(folder.finish(record))
    report(told)
    console.emit_json(record) if arguments["as_json"] else console.emit_paths(paths)
