"""``ganedit train-clip``: a CLIP of the clay world."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption, OverwriteOption, SeedOption, finite
from ganedit.errors import GaneditError


def train_clip(
    data: Annotated[Path, typer.Option(help="Archive made by 'ganedit dataset clay'.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.safetensors", help="The CLIP; a stopped training goes on."),
    ],
    kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="Length, in thousands of pictures."),
    ] = 240.0,
    batch: Annotated[int, typer.Option(min=2, max=4096, help="Pictures a step.")] = 64,
    captions: Annotated[int, typer.Option(min=1, max=16, help="Captions a picture.")] = 3,
    claims_weight: Annotated[
        float,
        typer.Option(
            min=0,
            max=1e6,
            callback=finite,
            help="Weight of reading all that can be said off a picture, which finds small things,"
            " such as a smile, sooner; 0: none.",
        ),
    ] = 3.0,
    seed: SeedOption = 0,
    lr: Annotated[
        float,
        typer.Option(min=1e-9, max=1, callback=finite, help="Learning rate after warming up."),
    ] = 2e-3,
    weight_decay: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="AdamW's weight decay.")
    ] = 0.05,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Number format inside the networks.")
    ] = "bfloat16",
    test_heads: Annotated[
        int, typer.Option(min=32, max=4096, help="Unseen heads that the figures are measured on.")
    ] = 256,
    state_kimg: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, callback=finite, help="kimg between states on disk."),
    ] = 8.0,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Train a small CLIP on clay heads and on what people would type about them.

    It knows no other words and no other pictures. FILE.state.pt beside the result holds what a
    stopped training goes on from: give the same command again.

    Example: ganedit train-clip --data clay.zip --out clip.safetensors --kimg 1
    """
    options = dict(locals())
    from ganedit.training.clip import train_clip as run
    from ganedit.training.clip_config import ClipTrainingConfig
    from ganedit.training.clip_scores import score_clip
    from ganedit.training.features import UNSEEN_SEED

    del options["test_heads"], options["overwrite"]
    config = ClipTrainingConfig(learning_rate=options.pop("lr"), **options)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    with console.progress("Training") as on_step:
        result = run(config, overwrite=overwrite, on_step=on_step)
    if result.clip is None:
        console.note(f"interrupted and saved at step {result.step}; the same command goes on")
        raise typer.Exit(console.INTERRUPTED)
    scores = score_clip(result.clip, range(UNSEEN_SEED, UNSEEN_SEED + test_heads))
    console.table(
        f"{test_heads} unseen heads",
        ["prompt", "told from its opposite"],
        [(prompt, f"{share:.1%}") for prompt, share in scores.prompts.items()],
    )
    console.note(
        f"own caption found first {scores.top1:.1%}, among five {scores.top5:.1%}; likeliest of the"
        f" short captions true {scores.true1:.1%} (by chance {scores.chance:.1%})"
    )
    console.emit_paths([out])
