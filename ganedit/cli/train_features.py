"""``ganedit train-features``: the clay world's perceptual network."""

import math
from pathlib import Path
from typing import Annotated

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption, OverwriteOption, SeedOption


def train_features(
    data: Annotated[
        list[Path],
        typer.Option(help="Archive made by 'ganedit dataset clay'; several are joined."),
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    kimg: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="Length, in thousands of pictures seen.")
    ] = 160.0,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures a step.")] = 64,
    lr: Annotated[float, typer.Option(min=1e-6, max=1, help="Learning rate at the start.")] = 2e-3,
    seed: SeedOption = 0,
    test_heads: Annotated[
        int,
        typer.Option(min=2, max=100_000, help="Unseen heads that the figures are measured on."),
    ] = 500,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Train a feature network that reads factors and landmarks off ClayHeads.

    Its inner maps are the perceptual space of the clay world. Heads of the archives' styles are
    read, clay or emoji or both; the figures on unseen ones are printed, and stored in the file.

    Example: ganedit train-features --data clay.zip --out features.safetensors --kimg 1
    """
    from ganedit.data.clayheads import read_truth
    from ganedit.training.features import (
        UNSEEN_SEED,
        check_features_path,
        save_clay_features,
        score_clay_features,
        train_clay_features,
    )

    if math.isnan(kimg) or math.isnan(lr):
        raise typer.BadParameter("--kimg and --lr must be numbers, got nan")
    check_features_path(out, overwrite=overwrite)
    with console.progress("Training features") as on_step:
        features = train_clay_features(
            data, kimg=kimg, batch=batch, learning_rate=lr, seed=seed, device=device,
            on_step=on_step,
        )  # fmt: skip
    seeds = range(UNSEEN_SEED, UNSEEN_SEED + test_heads)
    styles = dict.fromkeys(read_truth(archive).style for archive in data)
    scores = [score_clay_features(features, seeds, style=style) for style in styles]
    for score in scores:
        console.table(
            f"{test_heads} unseen {score.style} heads",
            ("factor", "R²"),
            [(name, f"{value:.3f}") for name, value in score.r2.items()],
        )
        console.note(
            f"hair style right {score.hair_style_accuracy:.1%}, landmarks off by "
            f"{score.landmark_pixels:.2f} pixels of {score.resolution}"
        )
    save_clay_features(out, features, scores)
    console.emit_paths([out])
