"""``ganedit adapt``: a generator of another domain, from words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.clips import (
    ClipDownloadOption,
    ClipPreprocessOption,
    ClipWeightsOption,
    open_clip_model,
)
from ganedit.cli.distances import find_lpips
from ganedit.cli.options import (
    DeviceOption,
    JsonOption,
    NetworkOption,
    OverwriteOption,
    SeedOption,
    finite,
)
from ganedit.cli.sources import open_network
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network
    from ganedit.losses import PerceptualDistance
    from ganedit.training.adaptation_config import AdaptationConfig


def adapt(
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.safetensors", help="The new generator; a stopped training goes on."
        ),
    ],
    source: Annotated[
        str | None, typer.Option(help="What the generator's pictures show, such as photo.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="What they are to show, such as sketch.")
    ] = None,
    target_images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|ZIP", help="Pictures of the other domain, in place of the two texts."
        ),
    ] = None,
    network: NetworkOption = "clay",
    clip: Annotated[
        list[str] | None,
        typer.Option(
            "--clip",
            metavar="NAME",
            help="CLIP, as in clip-edit; give it twice for two of them, ViT-B-32 and ViT-B-16 in"
            " the paper; by default clay-clip for clay generators, else ViT-B-32:openai.",
        ),
    ] = None,
    clip_weights: ClipWeightsOption = None,
    clip_download: ClipDownloadOption = False,
    clip_preprocess: ClipPreprocessOption = "model",
    steps: Annotated[
        int,
        typer.Option(min=1, max=1_000_000, help="Length; more go further and lose diversity."),
    ] = 300,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="Pictures a step; by default 4, beyond 256 pixels a side 2."
        ),
    ] = None,
    lr: Annotated[
        float, typer.Option(min=1e-9, max=1, callback=finite, help="Adam's learning rate.")
    ] = 0.0016,
    adaptive: Annotated[
        bool,
        typer.Option(
            help="Train the layers that matter most for the target, or all; the first leaves more"
            " of the pictures as it was."
        ),
    ] = True,
    adaptive_layers: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="How many; by default two thirds of the convolutions."),
    ] = None,
    trunc: Annotated[
        float,
        typer.Option(
            min=0, max=2, callback=finite, help="Truncation psi of the pictures trained on."
        ),
    ] = 1.0,
    seed: SeedOption = 0,
    state_steps: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Steps between states on disk.")
    ] = 50,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Teach a generator another domain by words, without a picture of it.

    Every command takes the result, and it draws the latents of the old generator: a photo that was
    projected there becomes a sketch. FILE.png shows pictures before and after; FILE.state.pt holds
    what a stopped training goes on from: give the same command again.

    Example: ganedit adapt --source "a head" --target "a head with glasses" --out g.safetensors
    """
    options = dict(locals())
    config = _config(options)
    from ganedit.training.adaptation import adapt_generator

    model = open_network(network, device=device)
    clips = [
        open_clip_model(
            name,
            model,
            weights=clip_weights,
            download=clip_download,
            preprocess=clip_preprocess,
            device=device,
        )
        for name in config.clips
    ]
    for line in dict.fromkeys(line for one in clips for line in one.remarks(config.prompts)):
        console.warn(line)
    distance = _open_distance(model)
    with console.progress("Adapting") as on_step:
        result = adapt_generator(
            config, model, clips, distance=distance, overwrite=overwrite, on_step=on_step
        )
    if result.reason == "interrupted":
        console.note(f"interrupted and saved at step {result.step}; the same command goes on")
        raise typer.Exit(console.INTERRUPTED)
    _tell(result.figures, distance.name)
    paths = [out, config.preview_path]
    record = {"arguments": options, "figures": result.figures, "results": paths}
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _config(options: dict[str, Any]) -> "AdaptationConfig":
    """Return the options of the training.

    Raises:
        typer.BadParameter: They do not go together.
    """
    from ganedit.training.adaptation_config import AdaptationConfig

    renamed = {"lr": "learning_rate", "trunc": "truncation_psi"}
    apart = ("clip", "clip_weights", "clip_download", "clip_preprocess", "overwrite", "as_json")
    fields = {renamed.get(k, k): value for k, value in options.items() if k not in apart}
    config = AdaptationConfig(clips=tuple(options["clip"] or ("auto",)), **fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    if options["clip_weights"] is not None and len(config.clips) > 1:
        raise typer.BadParameter("--clip-weights is for one CLIP; give one --clip")
    return config


def _open_distance(network: "Network") -> "PerceptualDistance":
    """Return what tells how different samples are: clay's own, LPIPS, or plain pixels."""
    from ganedit.inversion import default_perceptual
    from ganedit.losses import load_perceptual

    device = network.generator.w_avg.device
    if default_perceptual(network) == "clay":
        return load_perceptual("clay", device=device)
    return find_lpips(None, device) or load_perceptual("pixel", device=device)


def _tell(figures: dict[str, float], distance: str) -> None:
    """Print what became of the samples, and warn when they are too much alike."""
    from ganedit.training.adaptation import COLLAPSED

    before, after = figures["diversity_before"], figures["diversity_after"]
    console.table(
        "samples of 64 seeds",
        ["figure", "before", "after"],
        [
            ("cosine with the target", figures["target_before"], figures["target_after"]),
            ("cosine of the change with the direction", "", figures["direction"]),
            (f"diversity ({distance} distance of two)", before, after),
        ],
    )
    if after < COLLAPSED * before:
        console.warn(
            f"the samples have become alike (diversity {after:.3g} of {before:.3g}); fewer --steps,"
            " a lower --lr or fewer --adaptive-layers keep more of it"
        )
