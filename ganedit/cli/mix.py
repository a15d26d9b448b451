"""``ganedit mix``: a table of style mixtures."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    DeviceOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    parse_numbers,
)
from ganedit.cli.sources import open_latents

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.io import Latent


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
    trunc: TruncationOption = 0.7,
    network: OptionalNetworkOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Mix styles: every row with some layers of every column.

    Writes mix.png, a table of pictures with the rows at its left and the columns on top.

    Example: ganedit mix --rows 0-3 --columns 8-12 --layers 4-9
    """
    arguments = dict(locals())
    chosen = parse_numbers(layers, what="layers", limit=1000)

    from ganedit.editing import mix as mix_styles
    from ganedit.editing import synthesize
    from ganedit.io import OutputFolder, save_latent, write_image

    outputs = ["mix.png"] + (["mix.pt"] if save_latents else [])
    folder = OutputFolder(out, command="mix", overwrite=overwrite)
    folder.claim(outputs)
    sources = [_split(rows), _split(columns)]
    model, opened = open_latents(
        sources[0] + sources[1], network=network, device=device, truncation_psi=trunc
    )
    row_latent = _stack(opened[: len(sources[0])])
    column_latent = _stack(opened[len(sources[0]) :])
    mixed = mix_styles(row_latent, column_latent, layers=chosen)
    total = len(row_latent) + len(column_latent) + len(mixed)
    with console.progress("Rendering", total) as on_step:
        pictures = [
            list(synthesize(model, latent, on_step=on_step))
            for latent in (row_latent, column_latent, mixed)
        ]
    sheet = _table(*pictures)
    paths = [folder.write("mix.png", partial(write_image, image=sheet))]
    if save_latents:
        paths.append(folder.write("mix.pt", partial(save_latent, latent=mixed)))
    record = {
        "arguments": arguments,
        "layers": chosen,
        "generator": {"network": mixed.network, "fingerprint": mixed.fingerprint},
        "results": outputs,
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _split(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"{text!r} has an empty place; try 0-3 or photo.pt,7")
    return parts


def _stack(latents: "list[Latent]") -> "Latent":
    """Return one latent with the rows of all; noise maps are the generator's own."""
    import torch

    from ganedit.io import Latent

    return Latent(
        ws=torch.cat([latent.ws for latent in latents]),
        space="w+",
        fingerprint=latents[0].fingerprint,
        network=latents[0].network,
        names=tuple(name for latent in latents for name in latent.names),
    )


def _table(rows: "list[Tensor]", columns: "list[Tensor]", mixed: "list[Tensor]") -> "Tensor":
    """Return the sheet: an empty corner, the columns on top, each row before its mixtures."""
    import torch

    from ganedit.io import image_grid

    cells = [torch.ones_like(rows[0]), *columns]
    for index, row in enumerate(rows):
        cells += [row, *mixed[index * len(columns) : (index + 1) * len(columns)]]
    return image_grid(torch.cat(cells), columns=len(columns) + 1)
