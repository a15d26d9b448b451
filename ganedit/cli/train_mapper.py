"""``ganedit train-mapper``: StyleCLIP's latent mapper, for any generator and any prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.clips import (
    ClipDownloadOption,
    ClipOption,
    ClipPreprocessOption,
    ClipWeightsOption,
    open_clip_model,
)
from ganedit.cli.options import (
    DeviceOption,
    NetworkOption,
    OverwriteOption,
    SeedOption,
    finite,
)
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network
    from ganedit.training.mapper_config import MapperTrainingConfig


def _weight(meaning: str) -> Any:
    """Return the option of a weight in the loss."""
    return typer.Option(min=0, max=1e6, callback=finite, help=meaning)


def train_mapper(
    prompt: Annotated[
        list[str],
        typer.Option(
            help="What the edit does, in words, such as 'smile face'; may be given several times,"
            " each with a weight after a colon."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.safetensors", help="The mapper; a stopped training goes on."),
    ],
    network: NetworkOption = "clay",
    clip: ClipOption = "auto",
    clip_weights: ClipWeightsOption = None,
    clip_download: ClipDownloadOption = False,
    clip_preprocess: ClipPreprocessOption = "model",
    neutral: Annotated[
        str | None,
        typer.Option(
            help="What the pictures show now, in words, such as 'face': the way from there to the"
            " prompts counts."
        ),
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Latents to train on, in place of samples."),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            min=16, max=100_000, help="Samples of the generator, which it is measured on, too."
        ),
    ] = 512,
    spread: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            callback=finite,
            help="Standard deviations by which samples are moved away from the mapped latents, at"
            " most, as projected photos are; 0: not at all.",
        ),
    ] = 1.6,
    kind: Annotated[
        Literal["levels", "single"],
        typer.Option(help="One network for each of three levels of layers, or one for all."),
    ] = "levels",
    coarse: Annotated[
        bool, typer.Option(help="Change layers 0 to 3: pose and shape of the head.")
    ] = True,
    medium: Annotated[bool, typer.Option(help="Change layers 4 to 7: features and hair.")] = True,
    fine: Annotated[bool, typer.Option(help="Change the layers from 8 on: colours.")] = True,
    kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="Length, in thousands of latents."),
    ] = 3.2,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="Latents a step; by default 8, beyond 256 pixels a side 2."
        ),
    ] = None,
    seed: SeedOption = 0,
    lr: Annotated[
        float,
        typer.Option(
            min=1e-9,
            max=1000,
            callback=finite,
            help="Adam's learning rate; the mapper's layers divide it by 100.",
        ),
    ] = 2.0,
    clip_weight: Annotated[
        float, _weight("Weight of what the prompts' score lacks, in its standard deviations.")
    ] = 2.0,
    identity: Annotated[
        Literal["auto", "clay", "arcface", "none"],
        typer.Option(
            help="Who a face is: as clay heads are read, or people by ArcFace; auto takes clay for"
            " clay generators, else ArcFace where its weights are."
        ),
    ] = "auto",
    identity_weight: Annotated[float, _weight("Weight of staying the same person.")] = 0.5,
    latent_weight: Annotated[
        float, _weight("Weight of the squared change of the latents.")
    ] = 0.004,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Number format inside the networks.")
    ] = "bfloat16",
    identity_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="ArcFace's weights, model_ir_se50.pth; by default torch's cache."
        ),
    ] = None,
    state_kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="kimg between states on disk."),
    ] = 0.8,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Train a mapper, which edits any latent in one pass, for one edit in words.

    FILE.state.pt beside the result holds what a stopped training goes on from: give the same
    command again. The result is for 'ganedit clip-edit --method mapper --mapper FILE'.

    Example: ganedit train-mapper --prompt "smile face" --out smile.safetensors --kimg 0.1
    """
    _train(dict(locals()))


def _train(options: dict[str, Any]) -> None:
    """Run the training and tell its figures."""
    from ganedit.cli.sources import open_latents, open_network
    from ganedit.training.mapper import train_mapper as run

    overwrite, latents = options.pop("overwrite"), options["latents"]
    device, name = options["device"], options["network"]
    if latents is None:
        network, rows = open_network(name, device=device), None
    else:
        network, (latent,) = open_latents(
            [str(latents)], network=name, device=device, truncation_psi=1.0
        )
        if latent.offsets is not None:
            raise GaneditError(
                f"{latents}: was edited in style space, which a mapper does not see; give the"
                " latents before that edit"
            )
        rows = latent.ws
    clip = open_clip_model(
        options["clip"],
        network,
        weights=options.pop("clip_weights"),
        download=options.pop("clip_download"),
        preprocess=options["clip_preprocess"],
        device=device,
    )
    if options["batch"] is None:
        options["batch"] = 8 if network.generator.img_resolution <= 256 else 2
    config = _config({**options, "clip": clip.name}, network)
    for line in clip.remarks(
        [*_texts(config.prompts), *([config.neutral] if config.neutral else [])]
    ):
        console.warn(line)
    with console.progress("Training") as on_step:
        result = run(
            config, network=network, clip=clip, latents=rows, overwrite=overwrite, on_step=on_step
        )
    if result.reason == "interrupted":
        console.note(f"interrupted and saved at step {result.step}; the same command goes on")
        raise typer.Exit(console.INTERRUPTED)
    console.table("held-out latents", ["figure", "value"], list(result.figures.items()))
    console.emit_paths([config.out])


def _config(options: dict[str, Any], network: "Network") -> "MapperTrainingConfig":
    """Return the options of the training.

    Raises:
        typer.BadParameter: One is out of range (exit code 2).
    """
    from ganedit.training.mapper_config import MapperTrainingConfig

    fields = {{"lr": "learning_rate"}.get(name, name): value for name, value in options.items()}
    fields["prompts"] = tuple(fields.pop("prompt"))
    if fields["identity"] == "auto":
        fields["identity"] = _identity(network, fields["identity_weights"])
    config = MapperTrainingConfig(**fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    return config


def _texts(prompts: tuple[str, ...]) -> list[str]:
    from ganedit.losses.clip import parse_prompt

    return [parse_prompt(prompt).text for prompt in prompts]


def _identity(network: "Network", weights: Path | None) -> Literal["clay", "arcface", "none"]:
    """Return whose faces a network's pictures show, and whether they can be told apart here."""
    from ganedit.features.arcface import arcface_path
    from ganedit.inversion import default_perceptual

    if weights is None and default_perceptual(network) == "clay":
        return "clay"
    if weights is not None or arcface_path().is_file():
        return "arcface"
    console.note(
        f"no identity loss: there are no ArcFace weights at {arcface_path()}; --identity-weights"
        " names them"
    )
    return "none"
