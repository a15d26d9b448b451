"""``ganedit mix``: a table of style mixtures."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    parse_numbers,
)
from ganedit.cli.pasting import PasteBackOption, check_places, write_pasted
from ganedit.cli.sources import keep_tuning, open_latents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Alignment, Latent


def mix(
    rows: Annotated[
        str, typer.Option(metavar="LIST", help="Latent files and seeds that keep their shape.")
    ],
    columns: Annotated[
        str,
        typer.Option(
            "--columns", "--cols", metavar="LIST", help="Latent files and seeds that give styles."
        ),
    ],
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            "--styles",
            metavar="LIST",
            help="Layers taken from the columns: the first ones carry pose, the last ones colour.",
        ),
    ],
    save_latents: Annotated[
        bool, typer.Option("--save-latents", help="Also write the latents of all mixtures.")
    ] = False,
    paste_back: PasteBackOption = False,
    trunc: TruncationOption = 0.7,
    class_index: ClassOption = None,
    network: OptionalNetworkOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Mix styles: every row with some layers of every column.

    Writes mix.png, a table of pictures with the rows at its left and the columns on top. A mixture
    keeps the noise maps of its row. With --paste-back, also mix-1-2-pasted.png for the first row
    with the second column: the row's photo with the mixture in it.

    Example: ganedit mix --rows 0-3 --columns 8-12 --layers 4-9
    """
    arguments = dict(locals())
    chosen = parse_numbers(layers, what="layers", limit=1000)

    from ganedit.editing import mix as mix_styles
    from ganedit.editing import stack
    from ganedit.io import OutputFolder, check_file_size, save_latent, write_image

    outputs = ["mix.png"] + (["mix.pt"] if save_latents else [])
    left, top = _split(rows), _split(columns)
    folder = OutputFolder(out, command="mix", overwrite=overwrite, inputs=left + top)
    folder.claim(outputs)
    model, opened = open_latents(
        left + top, network=network, device=device, truncation_psi=trunc, class_index=class_index
    )
    row_latents = [latent.row(i) for latent in opened[: len(left)] for i in range(len(latent))]
    column_latent = stack(opened[len(left) :])
    pastes = _plan_pastes(row_latents, len(column_latent)) if paste_back else []
    folder.claim([f"{name}-pasted.png" for name, _, _ in pastes])
    # Row by row, so that each row's noise maps serve all its mixtures without being copied.
    mixed = [mix_styles(row, column_latent, layers=chosen, network=model) for row in row_latents]
    if save_latents and len(mixed) > 1:
        check_file_size(out / "mix.pt", like=mixed[0], rows=sum(len(row) for row in mixed))
    beside = [part for pair in zip(row_latents, mixed, strict=True) for part in pair]
    pictures = _render(model, [column_latent, *beside])
    sheet = _table(pictures, len(column_latent))
    paths = [folder.write("mix.png", partial(write_image, image=sheet))]
    paths += [write_pasted(folder, name, place, pictures[at]) for name, place, at in pastes]
    if save_latents:
        paths.append(folder.write("mix.pt", partial(save_latent, latent=stack(mixed))))
        paths += keep_tuning(folder, model)
    record = {
        "arguments": arguments,
        "layers": chosen,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "results": [path.name for path in paths],
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _split(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"{text!r} has an empty place; try 0-3 or photo.pt,7")
    return parts


def _plan_pastes(rows: "Sequence[Latent]", columns: int) -> "list[tuple[str, Alignment, int]]":
    """Return a name, a place in a photo, and which of the rendered pictures goes there.

    Raises:
        GaneditError: No row came from an aligned photo, or a photo has changed.
    """
    check_places(rows)
    before = [columns + row * (columns + 1) + 1 for row in range(len(rows))]  # see _table
    return [
        (f"mix-{row + 1}-{column + 1}", latent.alignment[0], before[row] + column)
        for row, latent in enumerate(rows)
        for column in range(columns)
        if latent.alignment
    ]


def _render(model: "Network", parts: "Sequence[Latent]") -> "list[Tensor]":
    from ganedit.editing import synthesize

    pictures: list[Tensor] = []
    with console.progress("Rendering", len(parts)) as on_step:
        for done, part in enumerate(parts, start=1):
            pictures += synthesize(model, part)
            on_step(done, len(parts), {})
    return pictures


def _table(pictures: "list[Tensor]", columns: int) -> "Tensor":
    """Return the sheet: an empty corner before the columns, then each row before its mixtures."""
    import torch

    from ganedit.io import image_grid

    return image_grid(torch.cat([torch.ones_like(pictures[0]), *pictures]), columns=columns + 1)
