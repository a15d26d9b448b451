"""``ganedit directions``: directions from labelled latents, and what is in files of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.clips import (
    ClipDownloadOption,
    ClipOption,
    ClipPreprocessOption,
    ClipWeightsOption,
    open_chosen_clip,
)
from ganedit.cli.direction_sheets import (
    RESULTS,
    check_rows,
    describe,
    draw_sheet,
    finish,
    report,
)
from ganedit.cli.direction_specs import open_directions
from ganedit.cli.edit_report import clay_judge
from ganedit.cli.edit_results import parse_strengths
from ganedit.cli.factorize import DegreesOption, DrawnOption, RowsOption, drawn_head
from ganedit.cli.labels import Labels, choose_columns, clay_labels, read_labels
from ganedit.cli.meters import (
    HeadsOption,
    MeasureOption,
    PhrasesOption,
    measure_all,
    one_deviation,
    open_meter,
    with_effects,
)
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    parse_numbers,
    refuse_given,
)
from ganedit.cli.sources import is_file, open_label, open_latents, open_network
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.editing.fit_directions import LabelColumn
    from ganedit.io.directions import Directions
    from ganedit.metrics.directions import Meter

_HEADS_OF_A_ROUND = 100_000  # more than --heads can be


def fit(
    context: typer.Context,
    latents: Annotated[
        list[str] | None,
        typer.Argument(metavar="LATENT", help="For --labels: latent files or seeds."),
    ] = None,
    by: Annotated[
        Literal["auto", "clay", "clip"],
        typer.Option(
            help="What labels the samples: the network that reads the factors of clay heads, or a"
            " CLIP and prompts. auto takes clip with --prompt, else clay."
        ),
    ] = "auto",
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="For clip: what shall rise; a direction for each."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Labels of the LATENTs: a header, then a row of numbers for each, in their order"
            " or with their names in the first column. A column of two values is binary.",
        ),
    ] = None,
    factors: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Labels to fit, such as smile,glasses; all by default."),
    ] = None,
    unlike: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Labels that the directions must not move, such as yaw,light: they are made"
            " orthogonal to theirs. 'others' is everything that is labelled.",
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=0,
            max=20,
            help="For --unlike: rounds in which the directions are tried on pictures, and corrected"
            " by what they still move of the others; 2 is enough.",
        ),
    ] = 0,
    space: Annotated[
        Literal["auto", "w", "w+"],
        typer.Option(
            help="One vector for all layers (w), or one for each (w+), for which the samples mix"
            " a w for each layer: purer. auto takes w+, or what the LATENTs are."
        ),
    ] = "auto",
    samples: Annotated[
        int, typer.Option(min=20, max=100_000, help="Latents to draw and to label.")
    ] = 4000,
    seed_of_samples: Annotated[
        int, typer.Option("--sample-seed", min=0, max=2**31, help="Seed of the samples.")
    ] = 0,
    network: OptionalNetworkOption = None,
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
    """Find directions along which labels rise, and say how well they follow them.

    Many latents are drawn and labelled; a linear model (logistic for binary labels) predicts each
    label, and is judged on a fifth that it never saw. Its gradient is the direction. Writes
    directions.pt, for ganedit edit --direction, and directions.png, a sheet of them.

    Example: ganedit directions fit --factors smile,glasses --unlike yaw,light --samples 500
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    del arguments["context"]
    _check_sources(context, arguments)
    columns = parse_strengths(degrees, what="degrees")
    wanted = None if rows is None else parse_numbers(rows, what="rows")
    wishes = _names(factors), _names(unlike) or []

    from ganedit.checkpoints import label_batch
    from ganedit.io import OutputFolder

    inputs = [*(latents or []), *(phrases or []), labels or ""]
    folder = OutputFolder(out, command="directions fit", overwrite=overwrite, inputs=inputs)
    folder.claim(RESULTS)
    found = _label(arguments)
    model = found.model
    label = open_label(model, class_index)
    chosen = choose_columns(found.labels, *wishes)
    meter = open_meter(model, arguments, usual=prompt or ())
    own = _own_things(list(chosen[1]), meter, rounds)
    directions = _fit(found, chosen, arguments, meter, own, label_batch(model, label, 1))
    drawn = check_rows(wanted, len(directions), len(columns))
    head = drawn_head(model, seed, label)
    sheet = draw_sheet(model, directions, head, rows=drawn, degrees=columns)
    finish(folder, model, directions, sheet, arguments)


def _check_sources(context: typer.Context, arguments: Mapping[str, Any]) -> None:
    """Refuse options that would change nothing, and sources that contradict each other."""
    if arguments["labels"] is not None:
        refuse_given(
            context,
            ["by", "prompt", "samples", "seed_of_samples"],
            why="--labels says it all",
        )
        if not arguments["latents"]:
            raise typer.BadParameter("--labels: name the latents that they are of")
    elif arguments["latents"]:
        raise typer.BadParameter("LATENTs are for --labels; without it latents are drawn")
    if arguments["rounds"] and (not arguments["unlike"] or arguments["measure"] == "none"):
        raise typer.BadParameter("--rounds needs --unlike, and pictures that are measured")
    if arguments["by"] == "clay" and arguments["prompt"]:
        raise typer.BadParameter("--prompt is for --by clip")
    if arguments["by"] == "clip" and not arguments["prompt"]:
        raise typer.BadParameter("--by clip needs --prompt TEXT, one or several")


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Latents, [N, 1 or num_ws, w_dim], and what is known of them."""

    model: "Network"
    latents: "Tensor"
    labels: Labels


def _label(arguments: Mapping[str, Any]) -> _Labelled:
    """Return labelled latents: those given, or samples."""
    if arguments["labels"] is not None:
        return _open_labelled(arguments)
    from ganedit.checkpoints import label_batch
    from ganedit.editing.fit_directions import sample_latents, score_latents

    model = open_network(arguments["network"] or "clay", device=arguments["device"])
    batch = label_batch(model, open_label(model, arguments["class_index"]), 1)
    read = _open_reader(model, arguments)
    latents = sample_latents(
        model.generator,
        arguments["samples"],
        mixed=arguments["space"] != "w",
        seed=arguments["seed_of_samples"],
        label=batch,
    )
    with console.progress("Labelling", len(latents)) as on_step:
        scores = score_latents(model.generator, latents, read[0], on_step=on_step)
    return _Labelled(model, latents.cpu(), read[1](scores))


def _open_labelled(arguments: Mapping[str, Any]) -> _Labelled:
    import torch

    sources = arguments["latents"]
    files = all(map(is_file, sources))
    model, opened = open_latents(
        sources,
        network=arguments["network"],
        device=arguments["device"],
        truncation_psi=1.0,
        class_index=None if files else arguments["class_index"],  # files do not tell theirs
    )
    ws = torch.cat([latent.ws for latent in opened])  # [N, num_ws, w_dim]
    shared = bool((ws == ws[:, :1]).all())
    if arguments["space"] == "w" and not shared:
        raise GaneditError("--space w: these latents have a w of their own in each layer; leave it")
    names = [name for latent in opened for name in latent.names]
    labels = read_labels(Path(arguments["labels"]), names)
    return _Labelled(model, ws[:, :1] if shared else ws, labels)


def _open_reader(model: "Network", arguments: Mapping[str, Any]) -> Any:
    """Return what reads pictures, and what turns its readings into labels.

    Raises:
        GaneditError: The network draws no clay heads, or the CLIP cannot be had.
    """
    if arguments["prompt"] is None:
        features = clay_judge(model)
        if features is None:
            raise GaneditError(
                f"{model.source} draws no clay heads; say what shall rise by --prompt, or give"
                " latents and their --labels"
            )
        return lambda pictures: features.predict(pictures).factors, clay_labels
    from ganedit.metrics.directions import plain_names

    prompts = list(dict.fromkeys(arguments["prompt"]))
    clip = open_chosen_clip(model, arguments)
    for remark in clip.remarks(prompts):
        console.warn(remark)
    texts = clip.encode_texts(prompts)

    def named(scores: "Tensor") -> Labels:
        pairs = zip(plain_names(prompts), scores.unbind(1), strict=True)
        return {name: (values.double(), False) for name, values in pairs}

    return lambda pictures: clip.encode_images(pictures) @ texts.mT, named


def _own_things(names: Sequence[str], meter: "Meter | None", rounds: int) -> "list[int | None]":
    """Return which of the things that a meter reads each direction is named after.

    Raises:
        GaneditError: Rounds of correction are wanted, and nothing tells how to correct.
    """
    from ganedit.metrics.directions import plain_names

    if meter is None:
        if rounds:
            raise GaneditError("--rounds: nothing measures the directions; leave it, or get a CLIP")
        return [None] * len(names)
    things = plain_names(meter.names)  # prompts became names of directions in the same way
    own = [things.index(name) if name in things else None for name in names]
    if rounds and own == [None] * len(names):
        raise GaneditError(
            f"--rounds: {', '.join(names)[:60]}: what is measured is called otherwise"
            f" ({', '.join(things)[:60]}, ...); with --prompt add --measure clip, or leave --rounds"
        )
    return own


def _fit(
    found: _Labelled,
    chosen: "tuple[Sequence[LabelColumn], Mapping[str, Sequence[str]]]",
    arguments: Mapping[str, Any],
    meter: "Meter | None",
    own: "Sequence[int | None]",
    label: "Tensor | None",
) -> "Directions":
    """Return directions with scales, named by their labels, refined and measured."""
    from ganedit.editing.fit_directions import fit_directions, refine_directions
    from ganedit.generators.statistics import SAMPLES, map_samples
    from ganedit.io.directions import Directions

    model = found.model
    columns, apart = chosen
    labels = None if label is None else label.expand(SAMPLES, -1)  # the class that was labelled
    usual = map_samples(model.generator, labels)
    with console.progress("Fitting", len(columns)) as on_step:
        fitted = fit_directions(found.latents, columns, usual, unlike=apart, on_step=on_step)
    kept = [index for index, column in enumerate(columns) if column.name in apart]
    directions = Directions(
        vectors=fitted.vectors[kept],
        layers=((),) * len(kept),
        names=tuple(columns[index].name for index in kept),
        scales=fitted.scales[kept],
        fingerprint=model.fingerprint,
        network=model.home,
        method="fit",
        facts=tuple(fitted.facts[index] for index in kept),
    )
    if meter is None:
        return directions
    heads = arguments["heads"]
    unlike = [
        [directions.names.index(other) for other in apart[one] if other in apart]
        for one in directions.names
    ]
    for number in range(1, arguments["rounds"] + 1):
        # Other heads each time, so that what is measured in the end was not tuned on.
        seed = number * _HEADS_OF_A_ROUND
        effects = measure_all(model, directions, meter, heads=heads, label=label, first_seed=seed)
        steps = one_deviation(directions)
        vectors, scales = refine_directions(steps, effects, own, unlike, usual)
        directions = replace(directions, vectors=vectors, scales=scales)
    effects = measure_all(model, directions, meter, heads=heads, label=label)
    return with_effects(directions, meter, effects)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise typer.BadParameter(f"{text[:60]!r} has an empty place; try smile,glasses")
    return list(dict.fromkeys(names))


def list_directions(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Directions, of ganedit or of other projects; clay-directions are the embedded"
            " ones.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that is known as JSON, not a table.")
    ] = False,
) -> None:
    """Say what is in a file of directions.

    Reads those that ganedit wrote, rosinality's factor.pt, InterFaceGAN's boundaries (.npy),
    GANSpace's components (.npz), and tensors as in e4e's files.

    Example: ganedit directions list out/directions.pt
    """
    directions = open_directions(file)
    told = describe(directions)
    if as_json:
        record = {
            "method": directions.method,
            "generator": {
                "network": directions.network,
                "fingerprint": directions.fingerprint,
            },
            "directions": told,
        }
        console.emit_json(record)
        return
    made_for = directions.network or "a generator that the file does not tell"
    count = f"{len(directions)} direction{'s' * (len(directions) > 1)}"
    console.note(f"{count} ({directions.method}) for {made_for}")
    report(told)
