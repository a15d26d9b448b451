"""``ganedit train``: a StyleGAN2 from a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import DeviceOption, SeedOption, parse_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from ganedit.generators import Generator


def train(
    data: Annotated[Path, typer.Option(help="Folder or zip of square pictures of one size.")],
    out: Annotated[Path, typer.Option(help="Folder for snapshots; an old run there goes on.")],
    kimg: Annotated[
        float, typer.Option(min=0, help="Length, in thousands of images seen.")
    ] = 25_000.0,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop and save after this many minutes.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Run to continue from, while --out does not hold one itself."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start from this snapshot's weights (fine-tuning).")
    ] = None,
    seed: SeedOption = 0,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Images a step.")] = 16,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Also show the pictures flipped left to right.")
    ] = False,
    cond: Annotated[
        bool, typer.Option("--cond", help="Condition on the data's labels (classes, cameras).")
    ] = False,
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
    lr: Annotated[
        float | None,
        typer.Option(
            min=1e-9, max=1, help="Learning rate; by default 0.0025 (0.002 from 1024 px)."
        ),
    ] = None,
    beta1: Annotated[
        float, typer.Option(min=0, max=0.9999, help="First coefficient of Adam.")
    ] = 0.0,
    beta2: Annotated[
        float, typer.Option(min=0, max=0.999999, help="Second coefficient of Adam.")
    ] = 0.99,
    gamma: Annotated[
        float | None,
        typer.Option(
            min=0, max=1e6, help="R1 weight; by default 0.0002 * resolution squared / batch."
        ),
    ] = None,
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
    augment: Annotated[
        Literal["ada", "fixed", "off"],
        typer.Option(help="Augmentation: adaptive, with the fixed --augment-p, or none."),
    ] = "ada",
    augment_p: Annotated[
        float,
        typer.Option(min=0, max=1, help="Probability of each augmentation (ada: at the start)."),
    ] = 0.0,
    target: Annotated[
        float, typer.Option(min=0, max=1, help="Mean sign of D(real) that ada keeps.")
    ] = 0.6,
    ada_interval: Annotated[
        int, typer.Option(min=1, max=1048576, help="Steps between adjustments of ada.")
    ] = 4,
    ada_kimg: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="kimg in which p may go from 0 to 1; by default 500, with --init 100."
        ),
    ] = None,
    freezed: Annotated[
        int,
        typer.Option(
            min=0, max=100, help="Discriminator layers that stay, from the highest resolution."
        ),
    ] = 0,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Number format inside the networks; auto measures which is faster."),
    ] = "auto",
    device: DeviceOption = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads; by default torch's choice.")
    ] = None,
    tick: Annotated[
        float, typer.Option(min=0.001, help="kimg from one line of figures to the next.")
    ] = 4.0,
    snap: Annotated[
        int, typer.Option(min=1, max=1048576, help="Ticks from one snapshot to the next.")
    ] = 10,
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

    Writes network-snapshot-*.safetensors, sample grids, stats.jsonl and a state to resume from:
    the same command again goes on where the run was stopped or killed.

    Example: ganedit train --data clay.zip --out runs/clay --mirror --kimg 400
    """
    options = dict(locals())
    columns, rows = parse_grid(grid)
    if evaluate == 1:
        raise typer.BadParameter("--evaluate must be 0 or at least 2, got 1")
    from ganedit.errors import GaneditError
    from ganedit.training import plan
    from ganedit.training import train as run
    from ganedit.training.config import TrainingConfig, field_of

    apart = ("resume", "evaluate", "dry_run", "grid")
    fields = {field_of(name): value for name, value in options.items() if name not in apart}
    config = TrainingConfig(grid_columns=columns, grid_rows=rows, **fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    if dry_run:
        console.emit_json(plan(config))
        return
    measure = _clay_measure(data, evaluate, device=device) if evaluate else None
    with console.progress("Training") as on_step:
        result = run(config, resume=resume, on_step=on_step, evaluate=measure)
    if result.reason == "interrupted":
        console.note(f"interrupted and saved at {result.images} images; the same command goes on")
    figures = {"images": result.images, **result.figures}
    console.table("", ["figure", "value"], list(figures.items()))
    console.emit_paths([result.snapshot])
    if result.reason == "interrupted":
        raise typer.Exit(console.INTERRUPTED)


def _clay_measure(
    data: Path, count: int, *, device: str
) -> "Callable[[Generator], dict[str, float]]":
    from ganedit.data.dataset import ImageDataset
    from ganedit.metrics import clay_frechet

    distance = clay_frechet(ImageDataset(data), count=count, device=device)
    return lambda generator: {"frechet_clay": distance(generator)}
