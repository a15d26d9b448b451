"""``ganedit recycle``: blend two networks, then keep tuning the blend."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.blends import (
    ModeOption,
    Order,
    WidthOption,
    check_blendable,
    check_levels,
    choose_width,
    note_unrelated,
    told_perceptual,
)
from ganedit.cli.options import DeviceOption, SeedOption
from ganedit.cli.sources import open_network
from ganedit.cli.train import find_start, tell
from ganedit.cli.train_options import (
    AugmentOption,
    AugmentPOption,
    BatchOption,
    CondOption,
    DtypeOption,
    FreezeDOption,
    FreezeGOption,
    GammaOption,
    KimgOption,
    LearningRateOption,
    MaxMinutesOption,
    MirrorOption,
    SnapOption,
    StructureOption,
    StructureWeightOption,
    ThreadsOption,
    TickOption,
)
from ganedit.cli.viewpoints import check_flat
from ganedit.errors import GaneditError
from ganedit.version import __version__

if TYPE_CHECKING:
    from ganedit.checkpoints import Network

_IN_TWO_STEPS = (
    "recycle tunes networks that draw flat pictures; use 'ganedit blend', then 'ganedit train"
    " --family triplane --resume out/blend.safetensors'"
)


def recycle(
    a: Annotated[str, typer.Argument(metavar="A", help="A generator: a name, file or address.")],
    b: Annotated[
        str, typer.Argument(metavar="B", help="One that was fine-tuned from A, or its start.")
    ],
    data: Annotated[Path, typer.Option(help="Folder or zip of pictures to tune the blend on.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the blend and snapshots; an old run there goes on.")
    ],
    at: Annotated[
        int,
        typer.Option(
            metavar="RESOLUTION", help="Where to go over from one to the other, in pixels."
        ),
    ],
    mode: ModeOption = "hard",
    width: WidthOption = None,
    order: Annotated[
        Order, typer.Option(help="Whose layers are below: AB has A's shapes and B's texture.")
    ] = "AB",
    kimg: KimgOption = 100.0,
    max_minutes: MaxMinutesOption = None,
    seed: SeedOption = 0,
    batch: BatchOption = 16,
    mirror: MirrorOption = False,
    cond: CondOption = False,
    lr: LearningRateOption = None,
    gamma: GammaOption = None,
    augment: AugmentOption = None,
    augment_p: AugmentPOption = 0.0,
    freeze_d: FreezeDOption = 0,
    freeze_g: FreezeGOption = 0,
    structure_loss: StructureOption = 0,
    structure_weight: StructureWeightOption = 1.0,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    tick: TickOption = 4.0,
    snap: SnapOption = 10,
) -> None:
    """Blend two generators, then keep tuning the blend.

    Writes blend.safetensors, with the discriminator of the upper network or else of the lower one,
    and beside it what 'ganedit train' writes; the same command again goes on where it was stopped.

    Example: ganedit recycle clay clay-emoji --at 16 --data emoji.zip --out runs/recycled
    """
    options: dict[str, Any] = dict(locals())
    spread = choose_width(mode, width)
    from ganedit.blending import switch_shares
    from ganedit.training import TrainingConfig
    from ganedit.training import train as run
    from ganedit.training.config import field_of
    from ganedit.training.snapshots import BLEND_FILE, claim_folder

    apart = ("a", "b", "at", "mode", "width", "order")
    fields = {field_of(name): value for name, value in options.items() if name not in apart}
    config = TrainingConfig(init=out / BLEND_FILE, **fields)
    try:
        config.validate()
    except GaneditError as error:
        raise typer.BadParameter(str(error)) from error
    sources = (a, b) if order == "AB" else (b, a)
    lower, upper = (open_network(source, device="cpu") for source in sources)
    for each in (lower, upper):
        check_flat(each, why=_IN_TWO_STEPS)
    check_blendable(lower, upper)
    check_levels(lower, [at], option="--at")
    note_unrelated(lower, upper)
    _check_pictures(data)
    claim_folder(out)
    _write_blend(out, lower, upper, switch_shares(lower.generator, at, mode=mode, width=spread))
    find_start(config)
    with console.progress("Training") as on_step:
        result = run(config, on_step=on_step)
    tell(result)


def _check_pictures(data: Path) -> None:
    """Check that there is something to tune on, before anything is written.

    Raises:
        GaneditError: There is not.
    """
    from ganedit.data.sources import open_source

    with open_source(data) as source:
        if not source.picture_names():
            raise GaneditError(f"{data}: holds no pictures")


def _write_blend(out: Path, lower: "Network", upper: "Network", shares: Sequence[float]) -> None:
    """Write the blend into the folder of its training, unless that has begun already.

    Raises:
        GaneditError: The folder's blend is another one, or a file of somebody else.
    """
    from ganedit.blending import blend_networks
    from ganedit.checkpoints import load_discriminator, load_network, save_network
    from ganedit.training.snapshots import BLEND_FILE, RECYCLE
    from ganedit.training.state import STATE_FILE, has_discriminator

    path = out / BLEND_FILE
    facts: dict[str, Any] = {"made_by": f"ganedit {__version__}", "command": RECYCLE}
    facts |= told_perceptual([lower, upper])
    blend = blend_networks(lower, upper, shares, facts=facts)
    if (out / STATE_FILE).exists() and not path.exists():
        raise GaneditError(f"{out}: holds a training of no blend; choose another --out")
    if path.exists():
        there = load_network(path, device="cpu")
        if there.metadata["provenance"].get("command") != RECYCLE:
            raise GaneditError(f"{path}: was not made by {RECYCLE}; choose another --out")
        if (out / STATE_FILE).exists():
            if there.fingerprint != blend.fingerprint:
                raise GaneditError(
                    f"{path}: the run there tunes another blend; give the same networks and"
                    " levels, or choose another --out"
                )
            return
    critics = [each.source for each in (upper, lower) if has_discriminator(each.source)]
    provenance = blend.metadata["provenance"]
    save_network(
        path,
        blend.generator,
        discriminator=load_discriminator(critics[0]) if critics else None,
        provenance=provenance,
    )
