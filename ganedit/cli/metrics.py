"""``ganedit metrics``: how entangled a generator's latents are."""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.distances import VggOption, open_distances
from ganedit.cli.options import ClassOption, DeviceOption, NetworkOption, SeedOption, finite
from ganedit.cli.sources import open_label, open_network
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.metrics import PathLengths
    from ganedit.metrics.disentanglement import Array, Readings

SpaceOption = Annotated[
    Literal["z", "w", "both"],
    typer.Option("--space", help="Space to measure; both takes the same random latents for each."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the figures as JSON on stdout, not as a table.")
]

# From there on, twice as many heads of clay change the mean R² by 0.001, the accuracies by 0.02.
_HEADS_A_NUMBER = 30


def ppl(
    network: NetworkOption = "clay",
    space: SpaceOption = "both",
    sampling: Annotated[
        Literal["full", "end"],
        typer.Option(help="Where on a path to measure: anywhere, or at its start only."),
    ] = "end",
    samples: Annotated[
        int,
        typer.Option(
            min=2,
            max=1_000_000,
            help="Random paths; published figures, with which these were not compared, take 50000.",
        ),
    ] = 1000,
    epsilon: Annotated[
        float,
        typer.Option(min=1e-5, max=1, callback=finite, help="Step along a path, in its length."),
    ] = 1e-4,
    distance: Annotated[
        Literal["auto", "lpips", "clay"],
        typer.Option(
            help="Distance of pictures: LPIPS over VGG16, or the embedded one for clay heads; auto"
            " takes clay for clay generators, else lpips."
        ),
    ] = "auto",
    vgg_weights: VggOption = None,
    crop: Annotated[
        bool,
        typer.Option(
            "--crop", help="Compare only where the face is in aligned photos, as StyleGAN 1 did."
        ),
    ] = False,
    class_index: ClassOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the perceptual path length in z and in w (Karras et al. 2019).

    It is small where pictures change evenly along paths between random latents. The table goes to
    stderr. Without --class, a conditional generator's classes are drawn at random.

    Example: ganedit metrics ppl --network clay --samples 1000
    """
    arguments = dict(locals())

    from ganedit.metrics import path_lengths

    model = open_network(network, device=device)
    labels = _labels(model, class_index, samples, seed)
    perceptual, _ = open_distances(distance, model, vgg_weights)
    with console.progress("Measuring paths", samples) as on_step:
        found = path_lengths(
            model.generator,
            perceptual,
            samples=samples,
            spaces=("z", "w") if space == "both" else (space,),
            sampling=sampling,
            epsilon=epsilon,
            crop=crop,
            labels=labels,
            seed=seed,
            on_step=on_step,
        )
    rows = [_path_row(name, perceptual.name, lengths) for name, lengths in found.items()]
    if as_json:
        _emit(model, arguments, rows)
    else:
        titles = [key.replace("_", " ") for key in rows[0]]
        console.table("", titles, [list(row.values()) for row in rows])


def _path_row(space: str, distance: str, found: "PathLengths") -> dict[str, Any]:
    return {
        "space": space,
        "distance": distance,
        "path_length": found.mean,
        "standard_error": found.standard_error,
        "samples": len(found.lengths),
        "kept": len(found.kept),
        "seconds": round(found.seconds, 2),
    }


def _emit(model: "Network", arguments: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    generator = {"network": model.home, "fingerprint": model.fingerprint}
    console.emit_json({"arguments": arguments, "generator": generator, "results": rows})


def _labels(model: "Network", class_index: int | None, samples: int, seed: int) -> "Tensor | None":
    """Return a label a sample, [samples, c_dim]; None for an unconditional generator.

    Raises:
        GaneditError: There is no such class, or the generator takes cameras.
    """
    import torch

    from ganedit.checkpoints import class_label, label_batch

    if class_index is not None:
        return label_batch(model, open_label(model, class_index), samples)
    if not model.generator.c_dim:
        return None
    class_label(model, 0)  # refuses cameras
    stream = torch.Generator().manual_seed(seed)
    classes = torch.randint(model.generator.c_dim, (samples,), generator=stream)
    return torch.eye(model.generator.c_dim)[classes].to(model.generator.w_avg.device)


def disentanglement(
    network: NetworkOption = "clay",
    space: SpaceOption = "both",
    samples: Annotated[
        int, typer.Option(min=200, max=1_000_000, help="Random heads to fit to and to judge by.")
    ] = 4000,
    class_index: ClassOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how far the factors of clay heads are mixed in z and in w.

    Linear separability (Karras et al. 2019) and DCI (Eastwood and Williams 2018), by the factors
    that the embedded clay-features reads off random heads. The tables go to stderr.

    Example: ganedit metrics disentanglement --network clay --samples 4000
    """
    arguments = dict(locals())

    from ganedit.features import load_clay_features
    from ganedit.inversion import default_perceptual
    from ganedit.metrics import read_heads

    model = open_network(network, device=device)
    if default_perceptual(model) != "clay":
        raise GaneditError(
            f"{network}: factors can be read only of clay heads; measure an embedded network, or"
            " one that was trained on a dataset of 'ganedit dataset clay'"
        )
    labels = _labels(model, class_index, samples, seed)
    features = load_clay_features(model.generator.w_avg.device)
    with console.progress("Reading heads", samples) as on_step:
        heads = read_heads(
            model.generator, features, samples=samples, labels=labels, seed=seed, on_step=on_step
        )
    spaces = {"z": heads.z, "w": heads.w}
    if space != "both":
        spaces = {space: spaces[space]}
    if samples < _HEADS_A_NUMBER * model.generator.w_dim:
        console.warn(
            f"{samples} heads are few for {model.generator.w_dim} latent numbers; the figures are"
            f" rough below {_HEADS_A_NUMBER * model.generator.w_dim}"
        )
    rows = _measure_spaces(heads, spaces)
    if as_json:
        _emit(model, arguments, rows)
    else:
        _report_spaces(rows)


def _measure_spaces(heads: "Readings", spaces: "Mapping[str, Array]") -> list[dict[str, Any]]:
    """Return the figures of each space, with what each attribute and factor adds to them."""
    from ganedit.metrics.disentanglement import attributes_of, dci, separability

    attributes, rows = attributes_of(heads), []
    with console.progress("Fitting", 2 * len(spaces)) as on_step:
        for index, (name, latents) in enumerate(spaces.items()):
            began = perf_counter()
            parted = separability(latents, attributes)
            on_step(2 * index + 1, 2 * len(spaces), {})
            told = dci(latents, heads.factors)
            on_step(2 * index + 2, 2 * len(spaces), {})
            rows.append(
                {
                    "space": name,
                    "separability": parted.score,
                    "accuracy": parted.accuracy,
                    "disentanglement": told.disentanglement,
                    "completeness": told.completeness,
                    "informativeness": told.informativeness,
                    "samples": len(latents),
                    "seconds": round(perf_counter() - began, 2),
                    "attributes": {
                        key: {"entropy": entropy, "accuracy": parted.accuracies[key]}
                        for key, entropy in parted.entropies.items()
                    },
                    "factors": dict(told.explained),
                }
            )
    return rows


def _report_spaces(rows: list[dict[str, Any]]) -> None:
    """Print tables with a column a space: of the measures, and of what they are made of."""
    spaces = [row["space"] for row in rows]
    measures = [key for key in rows[0] if key not in ("space", "attributes", "factors")]
    console.table("", ["measure", *spaces], [[key, *(r[key] for r in rows)] for key in measures])
    attributes = [
        [key, *(figure for row in rows for figure in row["attributes"][key].values())]
        for key in rows[0]["attributes"]
    ]
    titles = [f"{title}, {space}" for space in spaces for title in ("H(Y|X), nats", "accuracy")]
    console.table("", ["separability by", *titles], attributes)
    factors = [[key, *(row["factors"][key] for row in rows)] for key in rows[0]["factors"]]
    console.table("", ["factor", *(f"R², {space}" for space in spaces)], factors)
