"""Perceptual distances as commands take them."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganedit.cli import console

if TYPE_CHECKING:
    import torch

    from ganedit.checkpoints import Network
    from ganedit.losses import PerceptualDistance

LossName = Literal["auto", "vgg16", "lpips", "clay", "pixel"]
LossOption = Annotated[
    LossName,
    typer.Option(
        "--loss",
        help="Perceptual distance: Image2StyleGAN's over VGG16, LPIPS over VGG16, the embedded one"
        " for clay heads, or plain pixels, which need no weights and give poorer likenesses; auto"
        " takes clay for clay generators, else lpips.",
    ),
]
VggOption = Annotated[
    str | None,
    typer.Option(
        "--vgg-weights",
        metavar="FILE|download",
        help="torchvision's VGG16 weights; by default torch's cache; download fetches them.",
    ),
]


def open_distances(
    loss: LossName, model: "Network", vgg_weights: str | None
) -> "tuple[PerceptualDistance, PerceptualDistance | None]":
    """Return the distance to minimise, and LPIPS to report where VGG16's weights are at hand.

    Raises:
        GaneditError: The weights are not on this machine, cannot be fetched, or are damaged.
    """
    from ganedit.features import download_vgg16
    from ganedit.inversion import default_perceptual
    from ganedit.losses import load_perceptual

    if vgg_weights == "download":
        with console.progress("Downloading VGG16") as on_step:
            vgg_weights = str(
                download_vgg16(on_progress=lambda done, total: on_step(done, total or done, {}))
            )
    name = default_perceptual(model) if loss == "auto" else loss
    device = model.generator.w_avg.device
    chosen = load_perceptual(name, vgg_weights=vgg_weights, device=device)
    if name == "lpips":
        return chosen, chosen
    return chosen, find_lpips(vgg_weights, device)


def find_lpips(vgg_weights: str | None, device: "torch.device") -> "PerceptualDistance | None":
    """Return LPIPS; None when no path is given and torch's cache holds no VGG16.

    Raises:
        GaneditError: The weights are not where they should be, or are damaged.
    """
    from ganedit.features import vgg16_cache_path
    from ganedit.losses import load_perceptual

    if vgg_weights is None and not vgg16_cache_path().is_file():
        return None
    return load_perceptual("lpips", vgg_weights=vgg_weights, device=device)
