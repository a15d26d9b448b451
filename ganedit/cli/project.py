"""``ganedit project``: the latents whose pictures are closest to photos."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    JsonOption,
    NetworkOption,
    OutOption,
    OverwriteOption,
    SeedOption,
    finite,
)
from ganedit.cli.results import SUFFIXES, photo_names, write_photo
from ganedit.cli.sources import open_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.inversion import Projection
    from ganedit.io import Latent, OutputFolder
    from ganedit.losses import PerceptualDistance

_BATCH_PIXELS = 1 << 20
_FRAMES = 150
_LEAST_FRAME, _LARGEST_FRAME = 256, 512


def project(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Pictures to invert.")],
    network: NetworkOption = "clay",
    space: Annotated[
        Literal["w", "w+"],
        typer.Option(help="One latent vector for all layers (w), or one for each (w+)."),
    ] = "w+",
    steps: Annotated[
        int,
        typer.Option(min=1, max=100_000, help="Optimisation steps; 100 is a preview."),
    ] = 500,
    loss: Annotated[
        Literal["auto", "vgg16", "lpips", "clay", "pixel"],
        typer.Option(
            help="Perceptual distance: Image2StyleGAN's over VGG16, LPIPS over VGG16, the"
            " embedded one for clay heads, or plain pixels, which need no weights and give poorer"
            " likenesses; auto takes clay for clay generators, else lpips."
        ),
    ] = "auto",
    pixel_weight: Annotated[
        float,
        typer.Option(
            min=0, max=1e6, callback=finite, help="Weight of the mean squared pixel difference."
        ),
    ] = 10.0,
    optimize_noise: Annotated[
        bool, typer.Option(help="Also optimise the noise maps, which hold fine texture.")
    ] = True,
    class_index: ClassOption = None,
    seed: SeedOption = 0,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1e6, help="Time for the optimisation of all photos, in seconds."
        ),
    ] = None,
    vgg_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|download",
            help="torchvision's VGG16 weights; by default torch's cache; download fetches them.",
        ),
    ] = None,
    save_video: Annotated[
        bool, typer.Option("--save-video", help="Also write a video of the optimisation.")
    ] = False,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Project photos into a generator's latent space.

    Writes, for photo.jpg: photo.pt (the latent), photo.png (its picture), photo-target.png,
    photo-comparison.png, photo-loss.png, and with --save-video photo.mp4.

    Example: ganedit project examples/photo.jpg
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    names = photo_names(photos, out, suffixes=_suffixes(save_video))

    import torch

    from ganedit.io import OutputFolder, read_image, to_square

    model = open_network(network, device=device)
    label = _label(model, class_index)
    side = model.generator.img_resolution
    targets = torch.cat([to_square(read_image(photo), side) for photo in photos])
    perceptual, lpips = _distances(loss, model, vgg_weights)
    folder = OutputFolder(out, command="project", overwrite=overwrite)
    folder.claim([f"{name}{suffix}" for name in names for suffix in _suffixes(save_video)])
    settings: dict[str, Any] = {"perceptual": perceptual, "space": space, "steps": steps}
    settings |= {"pixel_weight": pixel_weight, "optimize_noise": optimize_noise, "label": label}
    _note_missing_noise(model, asked=optimize_noise)
    results, paths = [], []
    for rows in torch.arange(len(photos)).split(max(1, _BATCH_PIXELS // side**2)):
        limit = None if max_seconds is None else max_seconds * len(rows) / len(photos)
        batch = targets[rows].to(model.generator.w_avg.device)
        found, frames = _optimise(
            model, batch, settings | {"seeds": [seed] * len(rows), "max_seconds": limit}, save_video
        )
        latents = found.latent(model, names=[names[index] for index in rows.tolist()])
        for row, index in enumerate(rows.tolist()):
            paths += _write(folder, latents.row(row), found, batch, frames, row)
            figures = _figures(found, batch, row, lpips=lpips)
            _warn_if_far(photos[index], figures["domain_gap"])
            facts = {"name": names[index], "photo": photos[index], "loss": perceptual.name}
            results.append(facts | figures)
    record = {
        "arguments": arguments,
        "seeds": [seed] * len(photos),
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "results": results,
    }
    paths.append(folder.finish(record))
    _report(results)
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _label(model: "Network", class_index: int | None) -> list[float] | None:
    """Return the label of a class; None for an unconditional generator, which takes none."""
    from ganedit.checkpoints import class_label, label_batch

    label = None if class_index is None else class_label(model, class_index)
    label_batch(model, label, 1)  # says what is missing, before any work
    return label


def _note_missing_noise(model: "Network", *, asked: bool) -> None:
    if asked and not model.generator.noise_shapes:
        console.note("this generator has no noise maps; only its latents are optimised")


def _suffixes(video: bool) -> tuple[str, ...]:
    return (*SUFFIXES, "-loss.png", ".mp4") if video else (*SUFFIXES, "-loss.png")


def _distances(
    loss: Literal["auto", "vgg16", "lpips", "clay", "pixel"],
    model: "Network",
    vgg_weights: str | None,
) -> "tuple[PerceptualDistance, PerceptualDistance | None]":
    """Return the distance to minimise, and LPIPS to report where VGG16's weights are at hand."""
    from ganedit.features import download_vgg16, vgg16_cache_path
    from ganedit.inversion import default_perceptual
    from ganedit.losses import load_perceptual

    if vgg_weights == "download":
        with console.progress("Downloading VGG16") as on_step:
            vgg_weights = str(
                download_vgg16(on_progress=lambda done, total: on_step(done, total or done, {}))
            )
    name = default_perceptual(model) if loss == "auto" else loss
    device = model.generator.w_avg.device
    chosen = load_perceptual(name, vgg_weights=vgg_weights, device=device)
    if name == "lpips":
        return chosen, chosen
    if vgg_weights is None and not vgg16_cache_path().is_file():
        return chosen, None
    return chosen, load_perceptual("lpips", vgg_weights=vgg_weights, device=device)


def _optimise(
    model: "Network", targets: "Tensor", settings: "Mapping[str, Any]", video: bool
) -> "tuple[Projection, list[Tensor]]":
    """Return the projection and, for a video, some of the pictures on the way, uint8."""
    from ganedit.inversion import project as find_latents
    from ganedit.io import to_uint8

    frames: list[Tensor] = []
    with console.progress("Projecting", settings["steps"]) as show:

        def on_step(step: int, total: int, values: "Mapping[str, Tensor]") -> None:
            show(step, total, {"loss": values["loss"].mean()})
            if video and (step - 1) % -(-total // _FRAMES) == 0:
                frames.append(to_uint8(_frame_size(values["images"])))

        found = find_latents(model, targets, on_step=on_step, **settings)
    return found, frames


def _frame_size(images: "Tensor") -> "Tensor":
    """Enlarge by a whole factor to 256 pixels a side, or reduce to 512, to be watchable."""
    from torch.nn.functional import interpolate

    side = images.shape[3]
    if side > _LARGEST_FRAME:
        return interpolate(images, size=(_LARGEST_FRAME, _LARGEST_FRAME), mode="area")
    return interpolate(images, scale_factor=-(-_LEAST_FRAME // side), mode="nearest")


def _write(
    folder: "OutputFolder",
    latent: "Latent",
    found: "Projection",
    targets: "Tensor",
    frames: "list[Tensor]",
    row: int,
) -> list[Path]:
    """Write the results of one photo."""
    import torch

    from ganedit.inversion import draw_loss_curve
    from ganedit.io import from_uint8, write_image, write_video

    name = latent.names[0]
    target, image = targets[row : row + 1], found.images[row : row + 1]
    curve = draw_loss_curve(
        found.history[:, row].tolist(),
        best_step=int(found.best_step[row]),
        title=f"{name}: loss of each step",
    )
    paths = write_photo(folder, latent, target=target, image=image)
    paths.append(folder.write(f"{name}-loss.png", partial(write_image, image=curve)))
    if frames:
        still = _frame_size(target).cpu()
        last = _frame_size(image).cpu()
        moving = [from_uint8(frame[row]) for frame in frames] + [last] * 15
        pairs = (torch.cat([still, frame], dim=3) for frame in moving)
        paths.append(folder.write(f"{name}.mp4", partial(write_video, frames=pairs)))
    return paths


def _figures(
    found: "Projection", targets: "Tensor", row: int, *, lpips: "PerceptualDistance | None"
) -> dict[str, Any]:
    """Return the figures of one photo; LPIPS is None where VGG16's weights are missing."""
    from ganedit.metrics.reconstruction import psnr

    image, target = found.images[row : row + 1], targets[row : row + 1]
    return {
        "distance": round(float(found.distance[row]), 6),
        "lpips": None if lpips is None else round(float(lpips(image, target)), 6),
        "psnr": round(min(float(psnr(image, target)), 99.0), 3),
        "best_step": int(found.best_step[row]),
        "domain_gap": round(float(found.domain_gap[row]), 3),
        "seconds": round(found.seconds / len(targets), 3),
    }


def _warn_if_far(photo: str, gap: float) -> None:
    from ganedit.inversion import DOMAIN_GAP_LIMIT

    if gap > DOMAIN_GAP_LIMIT:
        console.warn(
            f"{photo}: {gap:.2f} times as far from this generator's pictures as its farthest are"
            f" from each other (up to {DOMAIN_GAP_LIMIT:g} is usual), so the likeness will be poor;"
            " crop it like the generator's pictures, or choose another --network"
        )


def _report(results: "Sequence[Mapping[str, Any]]") -> None:
    titles = {
        "name": "photo",
        "distance": f"{results[0]['loss']} distance",
        "lpips": "LPIPS",
        "psnr": "PSNR (dB)",
        "best_step": "best step",
        "seconds": "seconds",
    }
    if results[0]["lpips"] is None or results[0]["loss"] == "lpips":
        del titles["lpips"]
    rows = [[result[key] for key in titles] for result in results]
    if len(rows) > 1:
        averaged = set(titles) - {"name", "best_step"}
        columns = zip(titles, zip(*rows, strict=True), strict=True)
        rows.append([sum(c) / len(c) if key in averaged else "" for key, c in columns])
        rows[-1][0] = "mean"
    console.table("", list(titles.values()), rows)
