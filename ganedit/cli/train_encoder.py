"""``ganedit train-encoder``: from pictures to latents, for any generator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    DeviceOption,
    NetworkOption,
    OverwriteOption,
    SeedOption,
    finite,
)
from ganedit.cli.viewpoints import check_flat
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network

_NO_CAMERA = (
    "an encoder would have to find cameras, too, which none here does; use 'ganedit project'"
)


def _weight(meaning: str) -> Any:
    """Return the option of a weight in the loss."""
    return typer.Option(min=0, max=1e6, callback=finite, help=meaning)


def train_encoder(
    data: Annotated[
        Path, typer.Option(help="Folder or zip of square pictures of the generator's size.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.safetensors", help="The encoder; a stopped training goes on."),
    ],
    network: NetworkOption = "clay",
    kind: Annotated[
        Literal["compact", "e4e", "psp"],
        typer.Option(
            help="A small network for small pictures, or e4e's or pSp's, which read 256 pixels and"
            " find latents of 512 numbers."
        ),
    ] = "compact",
    kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="Length, in thousands of pictures."),
    ] = 120.0,
    batch: Annotated[
        int,
        typer.Option(min=2, max=4096, help="Pictures a step: half data, half samples; even."),
    ] = 16,
    mirror: Annotated[
        bool, typer.Option(help="Also show the data's pictures flipped left to right.")
    ] = True,
    seed: SeedOption = 0,
    lr: Annotated[
        float,
        typer.Option(min=1e-9, max=1, callback=finite, help="Learning rate after warming up."),
    ] = 1e-3,
    weight_decay: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="AdamW's weight decay.")
    ] = 1e-4,
    loss: Annotated[
        Literal["auto", "clay", "lpips", "pixel"],
        typer.Option(help="Perceptual distance; auto takes clay for clay generators, else lpips."),
    ] = "auto",
    perceptual_weight: Annotated[
        float,
        _weight("Weight of that distance."),
    ] = 1.0,
    pixel_weight: Annotated[
        float,
        _weight("Weight of the mean squared pixel difference."),
    ] = 10.0,
    latent_weight: Annotated[
        float,
        _weight("Weight of the error of known latents (samples)."),
    ] = 0.1,
    delta_weight: Annotated[
        float,
        _weight("Weight of the offsets between layers (e4e)."),
    ] = 0.01,
    norm_weight: Annotated[
        float,
        _weight("Weight of the distance from the average latent."),
    ] = 0.002,
    identity_weight: Annotated[
        float,
        _weight("Weight of pSp's identity loss, for aligned faces of people; 0: none."),
    ] = 0.0,
    discriminator_weight: Annotated[
        float,
        _weight("Weight of e4e's latent discriminator; 0: none."),
    ] = 0.0,
    discriminator_lr: Annotated[
        float,
        typer.Option(min=1e-9, max=1, callback=finite, help="That discriminator's learning rate."),
    ] = 2e-5,
    r1_gamma: Annotated[
        float,
        _weight("That discriminator's R1 weight."),
    ] = 10.0,
    stages_start_kimg: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1e6,
            help="Progressive training (e4e): one latent for all layers until this kimg; by default"
            " all layers from the start.",
        ),
    ] = None,
    stage_kimg: Annotated[
        float,
        typer.Option(
            min=0.001, max=1e6, callback=finite, help="... then one layer more every so many kimg."
        ),
    ] = 4.0,
    held_out: Annotated[
        int,
        typer.Option(
            min=1, max=10_000, help="Last pictures of the data, kept for the figures (an eighth)."
        ),
    ] = 32,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Number format inside the networks.")
    ] = "bfloat16",
    vgg_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="torchvision's VGG16 weights; by default torch's cache."),
    ] = None,
    identity_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="ArcFace's weights, model_ir_se50.pth, for that loss; by default torch's cache.",
        ),
    ] = None,
    state_kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="kimg between states on disk."),
    ] = 4.0,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Train an encoder, which finds latents of a generator in one pass.

    Half of each batch are pictures of the data, half samples of the generator, whose latents are
    known. FILE.state.pt beside the result holds what a stopped training goes on from: give the same
    command again.

    Example: ganedit train-encoder --data clay.zip --network clay --out encoder.safetensors --kimg 1
    """
    options = dict(locals())
    from ganedit.cli.sources import open_network
    from ganedit.training.encoder import train_encoder as run
    from ganedit.training.encoder_config import EncoderTrainingConfig

    model = open_network(network, device=device)
    check_flat(model, why=_NO_CAMERA)
    renamed = {"lr": "learning_rate", "discriminator_lr": "discriminator_learning_rate"}
    fields = {renamed.get(name, name): value for name, value in options.items()}
    del fields["overwrite"], fields["loss"]
    fields["perceptual"] = _perceptual(model) if loss == "auto" else loss
    config = EncoderTrainingConfig(**fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    with console.progress("Training") as on_step:
        result = run(config, overwrite=overwrite, on_step=on_step, evaluate=_psnr)
    if result.reason == "interrupted":
        console.note(f"interrupted and saved at step {result.step}; the same command goes on")
        raise typer.Exit(console.INTERRUPTED)
    console.table("held-out pictures", ["figure", "value"], list(result.figures.items()))
    console.emit_paths([out])


def _perceptual(network: "Network") -> str:
    from ganedit.inversion import default_perceptual

    return default_perceptual(network)


def _psnr(images: "Tensor", targets: "Tensor") -> dict[str, float]:
    from ganedit.metrics.reconstruction import psnr

    return {"psnr": round(float(psnr(images, targets).mean()), 3)}
