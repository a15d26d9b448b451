"""What directions are measured by, as commands choose it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.clips import open_chosen_clip
from ganedit.cli.edit_report import clay_judge
from ganedit.cli.sources import is_file
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io.directions import Directions
    from ganedit.metrics.directions import Meter

MeasureOption = Annotated[
    Literal["auto", "clay", "clip", "none"],
    typer.Option(
        "--measure",
        help="What says which things a direction moves: the factors of clay heads, phrases as a"
        " CLIP sees them, or nothing. auto takes clay for clay generators, else a CLIP that is on"
        " this machine.",
    ),
]
PhrasesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--phrases",
        metavar="TEXT|FILE",
        help="For clip: what may move, such as 'a smiling face'; may be repeated. A file holds one"
        " a line. By default a dozen about faces.",
    ),
]
HeadsOption = Annotated[
    int,
    typer.Option(
        "--heads", min=1, max=10_000, help="Pictures on which a direction is measured: seeds 0 on."
    ),
]

_FACE_PHRASES = (
    "a smiling face",
    "an angry face",
    "a face with an open mouth",
    "an old face",
    "the face of a child",
    "the face of a man",
    "the face of a woman",
    "a face with glasses",
    "a face with a beard",
    "a bald head",
    "a face with long hair",
    "a face with blond hair",
    "a face with dark skin",
    "a face seen from the side",
)
_MOST_PHRASES = 1000
_LARGEST_FILE = 2**20


def open_meter(
    model: "Network", arguments: Mapping[str, Any], *, usual: Sequence[str] = ()
) -> "Meter | None":
    """Return what measures directions of a network; None for nothing.

    Args:
        model: The network.
        arguments: ``measure``, ``phrases``, ``device``, and the options of `clips`.
        usual: Phrases for a CLIP when the user gives none.

    Raises:
        GaneditError: What was asked for by name cannot be had.
        typer.BadParameter: Phrases for something else than a CLIP.
    """
    from ganedit.metrics.directions import clay_meter, clip_meter

    measure, phrases = arguments["measure"], arguments["phrases"]
    if phrases and measure in ("clay", "none"):
        raise typer.BadParameter(f"--phrases are for a CLIP, not for --measure {measure}")
    if measure == "none":
        return None
    features = None if phrases or measure == "clip" else clay_judge(model)
    if features is not None:
        return clay_meter(features)
    if measure == "clay":
        raise GaneditError(
            f"--measure clay: {model.source} draws no clay heads; take --measure clip, or none"
        )
    texts = read_phrases(phrases) if phrases else list(dict.fromkeys(usual)) or _phrases_for(model)
    try:
        clip = open_chosen_clip(model, arguments)
    except GaneditError as error:
        if measure == "clip" or phrases or arguments["clip"] != "auto":
            raise
        console.note(f"the directions are neither measured nor named: {error}")
        return None
    for remark in clip.remarks(texts):
        console.warn(remark)
    return clip_meter(clip, texts)


def read_phrases(given: Sequence[str]) -> list[str]:
    """Return phrases, each once; those that name a file are read from it, one a line.

    Raises:
        GaneditError: A file is no text or too large, or there is no phrase, or there are too many.
    """
    phrases: dict[str, None] = {}
    for one in given:
        phrases.update(dict.fromkeys(_lines(Path(one)) if is_file(one) else [one.strip()]))
    phrases.pop("", None)
    if not phrases:
        raise GaneditError("--phrases: there is none; give some text")
    if len(phrases) > _MOST_PHRASES:
        raise GaneditError(f"--phrases: {len(phrases)}, but at most {_MOST_PHRASES} are possible")
    return list(phrases)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise GaneditError(f"{path}: larger than 1 MB; no list of phrases")
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise GaneditError(f"{path}: no text in UTF-8; write one phrase a line") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def _phrases_for(model: "Network") -> list[str]:
    from ganedit.inversion import default_perceptual
    from ganedit.metrics.edits import EDIT_CASES

    if default_perceptual(model) == "clay":
        return [case.prompt for case in EDIT_CASES]
    return list(_FACE_PHRASES)


def measure_all(
    model: "Network",
    directions: "Directions",
    meter: "Meter",
    *,
    heads: int,
    label: "Tensor | None",
    first_seed: int = 0,
) -> "Tensor":
    """Return what directions do for each standard deviation, [K, F]; see `measure_effects`.

    Args:
        model: Their generator.
        directions: With scales.
        meter: Says what moves.
        heads: Pictures on which they are tried.
        label: Of a conditional generator, [1, c_dim].
        first_seed: Of these pictures.

    Raises:
        GaneditError: Pictures become NaN.
    """
    from ganedit.metrics.directions import measure_effects

    with console.progress("Measuring", len(directions)) as on_step:
        effects = measure_effects(
            model.generator,
            one_deviation(directions),
            directions.layers,
            meter,
            heads=heads,
            label=label,
            first_seed=first_seed,
            on_step=on_step,
        )
    if not bool(effects.isfinite().all()):
        raise GaneditError(
            f"{model.source}: its pictures hold NaN along these directions; is it trained?"
        )
    return effects


def one_deviation(directions: "Directions") -> "Tensor":
    """Return vectors as long as one standard deviation, [K, 1 or num_ws, w_dim]."""
    assert directions.scales is not None
    return directions.vectors * directions.scales[:, None, None]


def with_effects(directions: "Directions", meter: "Meter", effects: "Tensor") -> "Directions":
    """Return directions with what they were seen to do, [K, F]."""
    told = tuple(dict(zip(meter.names, row, strict=True)) for row in effects.tolist())
    facts = directions.facts or ({},) * len(directions)
    facts = tuple({**entry, "unit": meter.unit} for entry in facts)
    return replace(directions, effects=told, facts=facts)
