"""``ganedit generate``: pictures from seeds."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    NetworkOption,
    OutOption,
    OverwriteOption,
    SeedsOption,
    TruncationOption,
    parse_grid,
    parse_seeds,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Latent, OutputFolder

CHUNK = 16  # seeds at a time; noise maps of many large pictures would fill the memory


def generate(
    seeds: SeedsOption = "0-7",
    network: NetworkOption = "clay",
    trunc: TruncationOption = 0.7,
    trunc_cutoff: Annotated[
        int | None, typer.Option(min=0, help="Truncate only the layers below this one.")
    ] = None,
    noise: Annotated[
        Literal["const", "random", "none"],
        typer.Option(help="Noise maps: the generator's own, new ones for each seed, or none."),
    ] = "const",
    class_index: ClassOption = None,
    grid: Annotated[
        str | None,
        typer.Option(metavar="COLUMNSxROWS", help="Also write grid.png, a sheet of this size."),
    ] = None,
    save_latents: Annotated[
        bool, typer.Option("--save-latents", help="Also write a latent file for each seed.")
    ] = False,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Generate pictures from seeds: seed0000.png and so on.

    A seed's picture is the same at any time, with any other seeds beside it.

    Example: ganedit generate --seeds 0-7 --trunc 0.7 --grid 4x2
    """
    arguments = dict(locals())
    numbers = parse_seeds(seeds)
    columns = _grid_columns(grid, len(numbers)) if grid else 0

    from ganedit.checkpoints import load_network
    from ganedit.editing import class_label, sample
    from ganedit.io import OutputFolder

    suffixes = [".png", ".pt"] if save_latents else [".png"]
    names = [f"seed{number:04d}{suffix}" for number in numbers for suffix in suffixes]
    folder = OutputFolder(out, command="generate", overwrite=overwrite)
    folder.claim(names + (["grid.png"] if grid else []))
    model = load_network(network, device=device)
    label = None if class_index is None else class_label(model, class_index)
    draw = partial(
        sample,
        model,
        truncation_psi=trunc,
        truncation_cutoff=trunc_cutoff,
        noise=noise,
        label=label,
    )
    paths: list[Path] = []
    kept: list[Tensor] = []
    with console.progress("Generating", len(numbers)) as on_step:
        for start in range(0, len(numbers), CHUNK):
            latent = draw(numbers[start : start + CHUNK])
            written, images = _write_pictures(folder, model, latent, noise, save_latents)
            paths += written
            kept += images if grid else []
            on_step(start + len(latent), len(numbers), {})
    if grid:
        paths.append(_write_grid(folder, kept, columns))
    record = {
        "arguments": arguments,
        "seeds": numbers,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "results": [path.name for path in paths],
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _grid_columns(grid: str, count: int) -> int:
    columns, rows = parse_grid(grid)
    if columns * rows < count:
        raise typer.BadParameter(f"grid: {grid} is too small for {count} seeds")
    return columns


def _write_pictures(
    folder: "OutputFolder",
    network: "Network",
    latent: "Latent",
    noise: Literal["const", "random", "none"],
    save_latents: bool,
) -> "tuple[list[Path], list[Tensor]]":
    """Write a picture a row, and its latent when asked; return files and pictures."""
    from ganedit.editing import synthesize
    from ganedit.io import save_latent, write_image

    paths = []
    images = list(synthesize(network, latent, noise=noise))
    for index, (name, image) in enumerate(zip(latent.names, images, strict=True)):
        paths.append(folder.write(f"{name}.png", partial(write_image, image=image)))
        if save_latents:
            row = latent.row(index)
            paths.append(folder.write(f"{name}.pt", partial(save_latent, latent=row)))
    return paths, images


def _write_grid(folder: "OutputFolder", images: "list[Tensor]", columns: int) -> Path:
    import torch

    from ganedit.io import image_grid, write_image

    sheet = image_grid(torch.cat(images), columns=columns)
    return folder.write("grid.png", partial(write_image, image=sheet))
