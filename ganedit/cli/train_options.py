"""Options that the commands which train generators share."""

from typing import Annotated, Literal

import typer

KimgOption = Annotated[float, typer.Option(min=0, help="Length, in thousands of images seen.")]
MaxMinutesOption = Annotated[
    float | None, typer.Option(min=0, help="Stop and save after this many minutes.")
]
BatchOption = Annotated[int, typer.Option(min=1, max=4096, help="Images a step.")]
MirrorOption = Annotated[
    bool, typer.Option("--mirror", help="Also show the pictures flipped left to right.")
]
CondOption = Annotated[
    bool, typer.Option("--cond", help="Condition on the data's labels (classes, cameras).")
]
LearningRateOption = Annotated[
    float | None,
    typer.Option(min=1e-9, max=1, help="Learning rate; by default 0.0025 (0.002 from 1024 px)."),
]
GammaOption = Annotated[
    float | None,
    typer.Option(min=0, max=1e6, help="R1 weight; by default 0.0002 * resolution squared / batch."),
]
AugmentOption = Annotated[
    Literal["ada", "fixed", "off"],
    typer.Option(help="Augmentation: adaptive, with the fixed --augment-p, or none."),
]
AugmentPOption = Annotated[
    float,
    typer.Option(min=0, max=1, help="Probability of each augmentation (ada: at the start)."),
]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(help="Number format inside the networks; auto measures which is faster."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads; by default torch's choice.")
]
TickOption = Annotated[
    float, typer.Option(min=0.001, help="kimg from one line of figures to the next.")
]
SnapOption = Annotated[
    int, typer.Option(min=1, max=1048576, help="Ticks from one snapshot to the next.")
]
FreezeDOption = Annotated[
    int,
    typer.Option(
        "--freeze-d",
        "--freezed",
        min=0,
        max=100,
        help="Fine-tuning: discriminator layers that stay, from the highest resolution.",
    ),
]
FreezeGOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=100,
        help="Fine-tuning: only this many of the generator's highest resolutions train, without"
        " path lengths; 0: all, and the mapping network.",
    ),
]
StructureOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=100,
        help="Fine-tuning: resolutions, from 8 pixels on, whose features are held to those of the"
        " start.",
    ),
]
StructureWeightOption = Annotated[
    float, typer.Option(min=0, max=1e6, help="Weight of the structure loss.")
]
