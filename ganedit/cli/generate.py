"""``ganedit generate``: pictures from seeds."""

import math
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
    finite,
    parse_grid,
    parse_seeds,
)
from ganedit.cli.sources import open_network
from ganedit.cli.viewpoints import PitchOption, YawOption, viewpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    yaw: YawOption = None,
    pitch: PitchOption = None,
    translate: Annotated[
        str,
        typer.Option(
            metavar="X,Y",
            help="Move what a StyleGAN3 network draws to the right and down, in picture widths;"
            " saved latents do not hold it.",
        ),
    ] = "0,0",
    rotate: Annotated[
        float,
        typer.Option(
            min=-360,
            max=360,
            callback=finite,
            help="Turn it first, degrees counter-clockwise; for StyleGAN3's configuration R.",
        ),
    ] = 0.0,
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
    shift = _parse_translation(translate)

    from ganedit.checkpoints import class_label
    from ganedit.editing import sample, synthesize
    from ganedit.io import OutputFolder

    suffixes = [".png", ".pt"] if save_latents else [".png"]
    names = [f"seed{number:04d}{suffix}" for number in numbers for suffix in suffixes]
    model = open_network(network, device=device)
    folder = OutputFolder(out, command="generate", overwrite=overwrite)
    folder.claim(names + (["grid.png"] if grid else []))
    transform, cameras = _transform(model, shift, rotate), viewpoint(model, yaw, pitch)
    render = partial(synthesize, model, noise=noise, transform=transform, cameras=cameras)
    if noise != "const" and not model.generator.noise_shapes:
        console.note("this generator has no noise maps; --noise is left out")
    label = None if class_index is None else class_label(model, class_index)
    draw = partial(sample, model, truncation_psi=trunc, truncation_cutoff=trunc_cutoff)
    paths: list[Path] = []
    kept: list[Tensor] = []
    with console.progress("Generating", len(numbers)) as on_step:
        for start in range(0, len(numbers), CHUNK):
            latent = draw(numbers[start : start + CHUNK], noise=noise, label=label)
            written, images = _write_pictures(folder, render, latent, save_latents)
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


def _parse_translation(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 10 and abs(y) <= 10):  # NaN compares as false
        raise typer.BadParameter(
            f"translate: {text!r} is not X,Y, two numbers from -10 to 10; try 0.25,0"
        )
    return x, y


def _transform(network: "Network", shift: tuple[float, float], rotate: float) -> "Tensor | None":
    """Return how to move the pictures, if at all."""
    from ganedit.generators import image_transform

    if rotate and network.generator.config.get("use_radial_filters") is False:
        console.warn(
            f"{network.source}: of StyleGAN3's configuration T, whose pictures follow translations"
            " only; --rotate changes what is drawn, too"
        )
    moved = any(shift) or rotate
    return image_transform(translate=shift, rotate=rotate) if moved else None


def _write_pictures(
    folder: "OutputFolder",
    render: "Callable[[Latent], Iterator[Tensor]]",
    latent: "Latent",
    save_latents: bool,
) -> "tuple[list[Path], list[Tensor]]":
    """Write a picture a row, and its latent when asked; return files and pictures."""
    from ganedit.io import save_latent, write_image

    paths = []
    images = list(render(latent))
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
