"""Options that the commands which train generators share."""

from pathlib import Path
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
    Literal["ada", "fixed", "off"] | None,
    typer.Option(
        help="Augmentation: adaptive, with the fixed --augment-p, or none; by default ada, for"
        " volumes off."
    ),
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

FamilyOption = Annotated[
    Literal["stylegan2", "triplane"],
    typer.Option(
        help="Pictures, or volumes that are seen from cameras (EG3D), of data with camera labels;"
        " the options below --family are for the latter."
    ),
]
LiftOption = Annotated[
    float,
    typer.Option(
        min=0,
        help="kimg in which a volume started from a StyleGAN2 of clay heads (--resume) is only"
        " shown that one's pictures.",
    ),
]
LiftWeightOption = Annotated[
    float,
    typer.Option(
        min=0, max=1e6, help="Weight of these pictures in the adversarial training after that."
    ),
]
LiftDirectionsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Directions of that network, yaw and pitch among them; by default clay's embedded"
        " ones.",
    ),
]
PlaneResolutionOption = Annotated[
    int | None,
    typer.Option(min=8, max=4096, help="Side of the planes; by default the pictures', up to 256."),
]
PlaneChannelsOption = Annotated[
    int, typer.Option(min=3, max=1024, help="Channels of each of the three planes.")
]
BoxOption = Annotated[
    float, typer.Option(min=0.001, max=1e6, help="Side of the box of the planes, world units.")
]
DecoderOption = Annotated[
    int, typer.Option(min=1, max=4096, help="Width of the decoder's hidden layer.")
]
NeuralResolutionOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=4096,
        help="Rays along a side: all, a half or a quarter of the pixels; by default a half, from"
        " 512 pixels on a quarter.",
    ),
]
NeuralStartOption = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Rays along a side at the beginning.")
]
NeuralKimgOption = Annotated[
    float, typer.Option(min=0, help="kimg in which these grow to --neural-resolution.")
]
RayStartOption = Annotated[
    float, typer.Option(min=0, max=1e6, help="Depth of a ray's first sample, world units.")
]
RayEndOption = Annotated[float, typer.Option(min=0, max=1e6, help="Depth of its last sample.")]
CoarseOption = Annotated[
    int, typer.Option(min=4, max=1024, help="Samples of a ray in the first pass.")
]
FineOption = Annotated[
    int, typer.Option(min=0, max=1024, help="Samples in the second pass, where the first saw most.")
]
WhiteBackOption = Annotated[
    bool, typer.Option("--white-back", help="What no sample stops is white, not black.")
]
SwapOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="How often the mapping network is told another camera, at last."
    ),
]
SwapKimgOption = Annotated[float, typer.Option(min=0, help="kimg in which that falls from always.")]
DensityWeightOption = Annotated[
    float, typer.Option(min=0, max=1e6, help="Weight of the density penalty; 0 is off.")
]
DensityIntervalOption = Annotated[
    int, typer.Option(min=1, max=1048576, help="Steps from one density penalty to the next.")
]
DensityDistanceOption = Annotated[
    float, typer.Option(min=0, max=1e6, help="How far it looks, world units.")
]
FogOption = Annotated[
    float,
    typer.Option(
        min=0, max=1e6, help="Weight of the variance of depth along rays: surfaces, not fog; 0: no."
    ),
]
BlurSigmaOption = Annotated[
    float, typer.Option(min=0, max=1e3, help="Blur of all pictures at the beginning, pixels.")
]
BlurKimgOption = Annotated[float, typer.Option(min=0, help="kimg in which it fades.")]
