"""``ganedit train``: a StyleGAN2 from a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption, SeedOption, parse_grid
from ganedit.cli.sources import is_file, locate_network
from ganedit.cli.train_options import (
    AugmentOption,
    AugmentPOption,
    BatchOption,
    BlurKimgOption,
    BlurSigmaOption,
    BoxOption,
    CoarseOption,
    CondOption,
    DecoderOption,
    DensityDistanceOption,
    DensityIntervalOption,
    DensityWeightOption,
    DtypeOption,
    FamilyOption,
    FineOption,
    FogOption,
    FreezeDOption,
    FreezeGOption,
    GammaOption,
    KimgOption,
    LearningRateOption,
    LiftDirectionsOption,
    LiftOption,
    LiftWeightOption,
    MaxMinutesOption,
    MirrorOption,
    NeuralKimgOption,
    NeuralResolutionOption,
    NeuralStartOption,
    PlaneChannelsOption,
    PlaneResolutionOption,
    RayEndOption,
    RayStartOption,
    SnapOption,
    StructureOption,
    StructureWeightOption,
    SwapKimgOption,
    SwapOption,
    ThreadsOption,
    TickOption,
    WhiteBackOption,
)
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganedit.generators import Generator
    from ganedit.training import TrainingConfig, TrainingResult


def train(
    data: Annotated[Path, typer.Option(help="Folder or zip of square pictures of one size.")],
    out: Annotated[Path, typer.Option(help="Folder for snapshots; an old run there goes on.")],
    kimg: KimgOption = 25_000.0,
    max_minutes: MaxMinutesOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|NAME|FILE|URL",
            help="A run's folder to continue from, while --out does not hold one itself; or a"
            " network to start from (fine-tuning), like --init.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|URL", help="Start from this network's weights (fine-tuning)."
        ),
    ] = None,
    seed: SeedOption = 0,
    batch: BatchOption = 16,
    mirror: MirrorOption = False,
    cond: CondOption = False,
    z_dim: Annotated[int, typer.Option(min=1, max=4096, help="Width of the input latent z.")] = 512,
    w_dim: Annotated[
        int, typer.Option(min=1, max=4096, help="Width of the intermediate latent w.")
    ] = 512,
    map_layers: Annotated[
        int, typer.Option(min=1, max=32, help="Layers of the mapping network.")
    ] = 2,
    channel_base: Annotated[
        int,
        typer.Option(
            min=16, max=1048576, help="Channels of a layer: this, divided by its resolution, ..."
        ),
    ] = 16384,
    channel_max: Annotated[
        int, typer.Option(min=1, max=4096, help="... but at most this many.")
    ] = 512,
    mbstd_group: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Images a group of the minibatch deviation; by default the largest divisor of "
            "--batch up to 4.",
        ),
    ] = None,
    lr: LearningRateOption = None,
    beta1: Annotated[
        float, typer.Option(min=0, max=0.9999, help="First coefficient of Adam.")
    ] = 0.0,
    beta2: Annotated[
        float, typer.Option(min=0, max=0.999999, help="Second coefficient of Adam.")
    ] = 0.99,
    gamma: GammaOption = None,
    r1_interval: Annotated[
        int, typer.Option(min=1, max=1048576, help="Steps from one R1 penalty to the next.")
    ] = 16,
    pl_weight: Annotated[
        float, typer.Option(min=0, max=1e6, help="Path length weight; 0 is off.")
    ] = 2.0,
    pl_interval: Annotated[
        int, typer.Option(min=1, max=1048576, help="Steps between path length penalties.")
    ] = 4,
    pl_decay: Annotated[
        float, typer.Option(min=0, max=1, help="Rate at which the mean path length follows.")
    ] = 0.01,
    pl_batch_shrink: Annotated[
        int,
        typer.Option(
            min=1, max=4096, help="The path length penalty sees batch / this many images."
        ),
    ] = 2,
    style_mixing: Annotated[
        float, typer.Option(min=0, max=1, help="Probability that a picture mixes two latents.")
    ] = 0.9,
    ema_kimg: Annotated[
        float | None,
        typer.Option(
            min=0, help="Half-life of the averaged generator in kimg; by default batch * 10 / 32."
        ),
    ] = None,
    ema_rampup: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="That half-life is at most this share of the images seen; 0: any."
        ),
    ] = 0.05,
    augment: AugmentOption = None,
    augment_p: AugmentPOption = 0.0,
    target: Annotated[
        float, typer.Option(min=0, max=1, help="Mean sign of D(real) that ada keeps.")
    ] = 0.6,
    ada_interval: Annotated[
        int, typer.Option(min=1, max=1048576, help="Steps between adjustments of ada.")
    ] = 4,
    ada_kimg: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="kimg in which p may go from 0 to 1; by default 500, fine-tuning 100.",
        ),
    ] = None,
    freeze_d: FreezeDOption = 0,
    train_d_blocks: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="Fine-tuning: only this many of the discriminator's last blocks train, and what"
            " follows them (Cartoon-StyleGAN's FreezeD); 0: all.",
        ),
    ] = 0,
    freeze_g: FreezeGOption = 0,
    freeze_style: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="Fine-tuning: first latents that come from the mapping network of the start.",
        ),
    ] = 0,
    structure_loss: StructureOption = 0,
    structure_weight: StructureWeightOption = 1.0,
    keep_factors: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Fine-tuning, clay world: factors such as smile,brows that a picture should share"
            " with the start's picture of the same latent.",
        ),
    ] = None,
    keep_weight: Annotated[
        float, typer.Option(min=0, max=1e6, help="Weight of what --keep-factors compares.")
    ] = 10.0,
    keep_latents: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Latents of the start, of projected photos, on which they are compared, too.",
        ),
    ] = None,
    keep_reader: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What reads these factors, a file of 'ganedit train-features'; by default the"
            " embedded network, which reads clay heads.",
        ),
    ] = None,
    family: FamilyOption = "stylegan2",
    lift_kimg: LiftOption = 0.0,
    lift_weight: LiftWeightOption = 0.0,
    lift_directions: LiftDirectionsOption = None,
    plane_resolution: PlaneResolutionOption = None,
    plane_channels: PlaneChannelsOption = 32,
    box_size: BoxOption = 1.0,
    decoder_features: DecoderOption = 64,
    neural_resolution: NeuralResolutionOption = None,
    neural_start: NeuralStartOption = None,
    neural_kimg: NeuralKimgOption = 1000.0,
    ray_start: RayStartOption = 2.25,
    ray_end: RayEndOption = 3.3,
    coarse_samples: CoarseOption = 48,
    fine_samples: FineOption = 48,
    white_back: WhiteBackOption = False,
    swap_probability: SwapOption = 0.5,
    swap_kimg: SwapKimgOption = 1000.0,
    density_weight: DensityWeightOption = 0.25,
    density_interval: DensityIntervalOption = 4,
    density_distance: DensityDistanceOption = 0.004,
    fog_weight: FogOption = 0.0,
    blur_sigma: BlurSigmaOption = 0.0,
    blur_kimg: BlurKimgOption = 200.0,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    tick: TickOption = 4.0,
    snap: SnapOption = 10,
    grid: Annotated[
        str, typer.Option(metavar="COLUMNSxROWS", help="Size of the sample grids.")
    ] = "8x5",
    evaluate: Annotated[
        int,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Images for the Fréchet distance at snapshots, in the clay space; 0: no.",
        ),
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show options and sizes, and stop.")
    ] = False,
) -> None:
    """Train a StyleGAN2 with adaptive augmentation.

    With --resume it is fine-tuned from a network of any known family of StyleGAN2.

    Writes network-snapshot-*.safetensors, sample grids, stats.jsonl and a state to resume from:
    the same command again goes on where the run was stopped or killed.

    Example: ganedit train --data clay.zip --out runs/clay --mirror --kimg 400
    """
    options = dict(locals())
    columns, rows = parse_grid(grid)
    folder, options["init"] = _starting_point(resume, init)
    if evaluate == 1:
        raise typer.BadParameter("--evaluate must be 0 or at least 2, got 1")
    from ganedit.training import TrainingConfig, plan
    from ganedit.training import train as run
    from ganedit.training.config import field_of

    apart = ("resume", "evaluate", "dry_run", "grid")
    fields = {field_of(name): value for name, value in options.items() if name not in apart}
    config = TrainingConfig(grid_columns=columns, grid_rows=rows, **fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    find_start(config, resume=folder)
    if dry_run:
        console.emit_json(plan(config, resume=folder))
        return
    measure = _clay_measure(data, evaluate, device=device) if evaluate else None
    with console.progress("Training") as on_step:
        result = run(config, resume=folder, on_step=on_step, evaluate=measure)
    tell(result)


def tell(result: "TrainingResult") -> None:
    """Print how a training ended.

    Raises:
        typer.Exit: It was interrupted.
    """
    if result.reason == "interrupted":
        console.note(f"interrupted and saved at {result.images} images; the same command goes on")
    figures = {"images": result.images, **result.figures}
    console.table("", ["figure", "value"], list(figures.items()))
    console.emit_paths([result.snapshot])
    if result.reason == "interrupted":
        raise typer.Exit(console.INTERRUPTED)


def _starting_point(resume: str | None, init: str | None) -> tuple[Path | None, str | None]:
    """Return the run to continue from, and the network to start from.

    Both are there for a run whose start is elsewhere now.

    Raises:
        typer.BadParameter: Both options name a network.
    """
    if resume is None:
        return None, init
    from ganedit.training.state import STATE_FILE

    path = Path(resume)
    if path.name == STATE_FILE:
        path = path.parent
    if is_file(str(path / STATE_FILE)):
        return path, init
    if init is not None:
        raise typer.BadParameter(
            f"--resume {resume} holds no {STATE_FILE}, so that both --resume and --init name a"
            " network to start from; give one of them"
        )
    return None, resume


def find_start(config: "TrainingConfig", *, resume: Path | None = None) -> None:
    """Fetch the network to start from, if need be, and note when it has no discriminator.

    Args:
        config: Of the training.
        resume: Folder of a run that it goes on from.

    Raises:
        GaneditError: There is no such network, or it cannot be read.
    """
    if config.init is None:
        return
    from ganedit.training.state import STATE_FILE, has_discriminator

    source = str(config.init)
    try:
        locate_network(source)
    except GaneditError as error:
        told = f"{error}; a training starts from a network, or a run's folder with {STATE_FILE}"
        raise GaneditError(told) from error
    begun = resume is not None or (config.out / STATE_FILE).exists()
    keeps = config.freeze_d or config.train_d_blocks  # of none: refused later
    if not (has_discriminator(source) or begun or keeps):
        console.note(
            f"{source} has no discriminator: a new, untrained one is trained beside its generator"
        )


def _clay_measure(
    data: Path, count: int, *, device: str
) -> "Callable[[Generator], dict[str, float]]":
    from ganedit.data.dataset import ImageDataset
    from ganedit.metrics import clay_frechet

    distance = clay_frechet(ImageDataset(data), count=count, device=device)
    return lambda generator: {"frechet_clay": distance(generator)}
