"""CLIPs as commands take them: names of open_clip's models, files, what to fetch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli.sources import fetching
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network
    from ganedit.features.clip import Clip

ClipOption = Annotated[
    str,
    typer.Option(
        "--clip",
        metavar="NAME",
        help="CLIP that reads the prompts: the embedded clay-clip; a model of open_clip and its"
        " weights, such as ViT-B-32:openai; a file of train-clip; auto takes clay-clip for clay"
        " generators, else ViT-B-32:openai.",
    ),
]
ClipWeightsOption = Annotated[
    str | None,
    typer.Option(
        "--clip-weights",
        metavar="FILE",
        help="Weights for a model of open_clip; by default those in open_clip's own caches.",
    ),
]
ClipDownloadOption = Annotated[
    bool,
    typer.Option("--clip-download", help="Fetch the CLIP's weights if they are not here."),
]
ClipPreprocessOption = Annotated[
    Literal["model", "reference"],
    typer.Option(
        "--clip-preprocess",
        help="Show the CLIP its pictures as it was trained on them, or as StyleCLIP's own code does"
        " (without normalisation).",
    ),
]

_REAL = "ViT-B-32:openai"  # StyleCLIP's own


def open_clip_model(
    name: str,
    network: "Network",
    *,
    weights: str | None,
    download: bool,
    preprocess: Literal["model", "reference"],
    device: str,
) -> "Clip":
    """Return a CLIP, with a bar on stderr while it is fetched.

    Args:
        name: See `load_clip`; ``auto`` is the embedded one for networks of the clay world, else
            StyleCLIP's, as it is whenever weights are given without a name.
        network: The generator whose pictures it will see.
        weights: A file for a model of open_clip.
        download: Fetch weights that are not on this machine.
        preprocess: See `Clip`.
        device: As ``--device`` takes it.

    Raises:
        GaneditError: There is no such model, its weights are not here, damaged, or not for it.
    """
    from ganedit.features import load_clip
    from ganedit.features.clay_clip import CLAY_CLIP
    from ganedit.inversion import default_perceptual
    from ganedit.runtime import resolve_device

    if name == "auto":
        ours = weights is None and default_perceptual(network) == "clay"
        name = CLAY_CLIP if ours else _REAL
    if weights is not None and (name == CLAY_CLIP or name.endswith(".safetensors")):
        raise GaneditError(
            f"--clip-weights: {name} brings its own; name the model that {weights} is for, such as"
            f" --clip {_REAL}"
        )
    with fetching("Fetching the CLIP, MB") as on_progress:
        return load_clip(
            name,
            weights=weights,
            preprocess=preprocess,
            fetch=download,
            device=resolve_device(device),
            on_progress=on_progress,
        )


def open_chosen_clip(model: "Network", arguments: Mapping[str, Any]) -> "Clip":
    """Return the CLIP that a command's options choose; see `open_clip_model`.

    Args:
        model: The generator whose pictures it will see.
        arguments: Of the command: ``clip``, ``clip_weights``, ``clip_download``,
            ``clip_preprocess`` and ``device``.

    Raises:
        GaneditError: See `open_clip_model`.
    """
    return open_clip_model(
        arguments["clip"],
        model,
        weights=arguments["clip_weights"],
        download=arguments["clip_download"],
        preprocess=arguments["clip_preprocess"],
        device=arguments["device"],
    )
