"""``ganedit compose``: one latent of two pictures, joined by a mask."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.distances import LossOption, VggOption, open_distances
from ganedit.cli.masks import read_mask
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    SeedOption,
    finite,
)
from ganedit.cli.pasting import PasteBackOption, check_places, write_pasted
from ganedit.cli.sources import keep_tuning, open_label, open_latents, open_network
from ganedit.cli.starts import open_start
from ganedit.cli.viewpoints import check_flat
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.inversion import Projection
    from ganedit.io import Latent, OutputFolder
    from ganedit.losses import PerceptualDistance

NAME = "composed"
_TITLES = {
    "psnr_outside": "PSNR to A outside (dB)",
    "psnr_inside": "PSNR to B inside (dB)",
    "seam": "contrast along the seam",
    "seam_pasted": "... if B were pasted",
    "seam_photos": "... of A and B themselves",
    "distance": "perceptual distance",
    "deviation": "from average",
    "best_step": "best step",
    "seconds": "seconds",
}
_NO_CAMERA = (
    "photos are seen from cameras of their own; project them first, and compose the latents"
)
_TRUNCATION = 0.7  # of seeds, as generate's default


def compose(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Photo, latent file or seed: the picture outside.")
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Photo, latent file or seed: the picture inside.")
    ],
    mask: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A picture, cropped as the photos are: white where B counts, black where A does;"
            " middle grey is left to the generator.",
        ),
    ],
    feather: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            callback=finite,
            help="Blur of the mask, of the picture's side; near the seam neither picture counts.",
        ),
    ] = 0.05,
    space: Annotated[
        Literal["w", "w+"],
        typer.Option(help="One latent vector for all layers (w), or one for each (w+)."),
    ] = "w+",
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Optimisation steps; by default 100 from an encoder or a latent, else 500.",
        ),
    ] = None,
    loss: LossOption = "auto",
    pixel_weight: Annotated[
        float,
        typer.Option(
            min=0,
            max=1e6,
            callback=finite,
            help="Weight of the mean squared pixel difference; more keeps the colours of B, less"
            " fits them to A.",
        ),
    ] = 3.0,
    two_stage: Annotated[
        bool,
        typer.Option(
            "--two-stage", help="Optimise only latents first, and only noise maps afterwards."
        ),
    ] = False,
    paste_back: PasteBackOption = False,
    class_index: ClassOption = None,
    network: OptionalNetworkOption = None,
    vgg_weights: VggOption = None,
    seed: SeedOption = 0,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compose two pictures by a mask: A outside, B inside, and a seam that the generator draws.

    Writes composed.pt (the latent), composed.png, composed-comparison.png (A, B, the mask, B pasted
    into A, the result), and with --paste-back composed-pasted.png: the photo that A was aligned
    from.

    Example: ganedit compose examples/photo.jpg examples/photo-2.jpg --mask examples/mask.png
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    outputs = [f"{NAME}.pt", f"{NAME}.png", f"{NAME}-comparison.png"]
    outputs += [f"{NAME}-pasted.png"] if paste_back else []
    _check_two(a, b)

    from ganedit.io import OutputFolder

    folder = OutputFolder(out, command="compose", overwrite=overwrite, inputs=(a, b, mask))
    folder.claim(outputs)
    model, parts = _open_parts((a, b), network, class_index=class_index, device=device)
    label = open_label(model, class_index)
    if paste_back:
        check_places([part.latent for part in parts[:1] if part.latent is not None])
    shape = _checked_mask(mask, model, feather=feather)
    perceptual, _ = open_distances(loss, model, vgg_weights)
    settings: dict[str, Any] = {"space": space, "steps": steps, "pixel_weight": pixel_weight}
    settings |= {"two_stage": two_stage, "seeds": [seed], "label": label, "feather": feather}
    found, start = _optimise(model, parts, shape, perceptual, device=device, **settings)
    latent = _latent(found, model, parts)
    paths = _write(folder, latent, found, parts, shape)
    if latent.tuning is not None:
        paths += keep_tuning(folder, model)
    if paste_back:
        paths.append(write_pasted(folder, NAME, latent.alignment[0], found.images))
    figures = _figures(found, parts, shape, feather=feather)
    record = {
        "arguments": arguments,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "start": start,
        "loss": perceptual.name,
        "results": [{"name": NAME, **figures}],
    }
    paths.append(folder.finish(record))
    console.table("", ["figure", ""], [[title, figures[key]] for key, title in _TITLES.items()])
    console.emit_json(record) if as_json else console.emit_paths(paths)


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the two pictures: [1, 3, R, R] in [-1, 1], and its latent if it came as one."""

    picture: "Tensor"
    latent: "Latent | None" = None


def _check_two(a: str, b: str) -> None:
    """Refuse one file twice."""
    if os.path.realpath(a) == os.path.realpath(b):
        raise GaneditError(f"{a} and {b}: are one and the same; name two pictures to compose")


def _open_parts(
    sources: Sequence[str], network: str | None, *, class_index: int | None, device: str
) -> "tuple[Network, list[_Part]]":
    """Return the generator and both pictures as it takes them.

    Raises:
        GaneditError: A file is neither picture nor latent, the latents belong to different
            generators, or a file holds several.
    """
    from ganedit.editing import synthesize
    from ganedit.io import read_image, to_square

    named = [source for source in sources if not _is_photo(source)]
    opened: list[Latent] = []
    if named:
        class_of_seeds = None if all(Path(source).is_file() for source in named) else class_index
        model, opened = open_latents(
            named,
            network=network,
            device=device,
            truncation_psi=_TRUNCATION,
            class_index=class_of_seeds,
        )
    else:
        model = open_network(network or "clay", device=device)
    if len(named) < len(sources):
        check_flat(model, why=_NO_CAMERA)
    latents = dict(zip(named, opened, strict=True))
    place = model.generator.w_avg.device
    # B is seen as A is, so that their faces can meet.
    camera = opened[0].cameras if opened else None
    parts = []
    for source in sources:
        latent = latents.get(source)
        if latent is None:
            photo = to_square(read_image(source), model.generator.img_resolution)
            parts.append(_Part(photo.to(place)))
        elif len(latent) > 1:
            raise GaneditError(f"{source}: holds {len(latent)} latents; one is composed with one")
        else:
            drawn = next(synthesize(model, latent, cameras=camera))
            parts.append(_Part(drawn.clamp(-1, 1).to(place), latent))
    return model, parts


def _is_photo(source: str) -> bool:
    """Return whether a source is a picture by content, or should be one by its suffix."""
    from ganedit.io import IMAGE_SUFFIXES, looks_like_picture

    path = Path(source)
    return path.suffix.lower() in IMAGE_SUFFIXES or (path.is_file() and looks_like_picture(path))


def _checked_mask(path: Path, model: "Network", *, feather: float) -> "Tensor":
    """Return a mask, [1, 1, R, R]: 1 for white, 0 for black.

    Raises:
        GaneditError: It is missing or no picture, or leaves nothing of one of the photos.
    """
    from ganedit.inversion.composition import part_weights

    mask = read_mask(path, model)
    try:
        part_weights(mask, feather=feather)
    except GaneditError as error:
        raise GaneditError(f"{path}: {error}") from error
    return mask


def _optimise(
    model: "Network",
    parts: "Sequence[_Part]",
    mask: "Tensor",
    perceptual: "PerceptualDistance",
    *,
    device: str,
    label: "list[float] | None",
    **settings: Any,
) -> "tuple[Projection, str]":
    """Return what was found, and what the record calls its start."""
    from ganedit.inversion.composition import collage
    from ganedit.inversion.composition import compose as find_latent

    a, b = (part.picture for part in parts)
    start = open_start("auto", model, label=label, device=device)
    initial, source = start.find(collage(a, b, mask), [NAME]), start.source
    if initial is None and parts[0].latent is not None:
        initial, source = replace(parts[0].latent, offsets=None), "A"
    with console.progress("Composing") as show:
        found = find_latent(
            model,
            a,
            b,
            mask,
            perceptual=perceptual,
            initial=initial,
            cameras=None if parts[0].latent is None else parts[0].latent.cameras,
            label=label,
            on_step=lambda step, total, values: show(step, total, {"loss": values["loss"]}),
            **settings,
        )
    return found, source


def _latent(found: "Projection", model: "Network", parts: "Sequence[_Part]") -> "Latent":
    """Return what was found, with the tuning of the latents and A's place in its photo."""
    given = [part.latent for part in parts if part.latent is not None]
    latent = found.latent(model, names=[NAME])
    tuning = given[0].tuning if given else None
    place = () if parts[0].latent is None else parts[0].latent.alignment
    return replace(latent, tuning=tuning, alignment=place)


def _write(
    folder: "OutputFolder",
    latent: "Latent",
    found: "Projection",
    parts: "Sequence[_Part]",
    mask: "Tensor",
) -> list[Path]:
    """Write the latent, its picture, and the sheet."""
    import torch

    from ganedit.inversion.composition import collage
    from ganedit.io import labelled_grid, save_latent, write_image

    a, b = (part.picture for part in parts)
    # The mask's white is shown a little grey, to be seen on the sheet.
    pictures = [a, b, (mask * 1.8 - 1).expand_as(a), collage(a, b, mask), found.images]
    captions = ["A", "B", "mask", "pasted", "composed"]
    sheet = labelled_grid(torch.cat(pictures), captions, columns=5, min_side=192)
    return [
        folder.write(f"{NAME}.pt", partial(save_latent, latent=latent)),
        folder.write(f"{NAME}.png", partial(write_image, image=found.images)),
        folder.write(f"{NAME}-comparison.png", partial(write_image, image=sheet)),
    ]


def _figures(
    found: "Projection", parts: "Sequence[_Part]", mask: "Tensor", *, feather: float
) -> dict[str, Any]:
    """Return how like both pictures the result is, and how visible its seam."""
    from ganedit.inversion.composition import collage, part_psnr, part_weights, seam_contrast

    a, b = (part.picture for part in parts)
    outside, inside = part_weights(mask, feather=feather)
    figures = {
        "psnr_outside": part_psnr(found.images, a, outside).clamp(max=99),
        "psnr_inside": part_psnr(found.images, b, inside).clamp(max=99),
        "seam": seam_contrast(found.images, mask),
        "seam_pasted": seam_contrast(collage(a, b, mask), mask),
        "seam_photos": (seam_contrast(a, mask) + seam_contrast(b, mask)) / 2,
        "distance": found.distance,
        "deviation": found.deviation,
    }
    rounded = {key: round(float(value), 4) for key, value in figures.items()}
    return rounded | {"best_step": int(found.best_step), "seconds": round(found.seconds, 3)}
