"""``ganedit encode``: photos to latents in one pass of an encoder."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli import console
from ganedit.cli.crops import AlignOption, Crops, FaceOption, check_face
from ganedit.cli.distances import find_lpips
from ganedit.cli.editability import measure_deviation
from ganedit.cli.options import (
    DeviceOption,
    JsonOption,
    NetworkOption,
    OutOption,
    OverwriteOption,
)
from ganedit.cli.photos import Photo, list_photos, read_batches
from ganedit.cli.results import SUFFIXES, Outcome, finite_psnr, write_photo
from ganedit.cli.sources import open_encoder, open_network
from ganedit.cli.viewpoints import check_flat
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ganedit.checkpoints import LoadedEncoder, Network
    from ganedit.io import Latent
    from ganedit.losses import PerceptualDistance

_BATCH_PIXELS = 1 << 20
_NO_CAMERA = (
    "encoders find no camera, without which its latents are not told from a photo; use 'ganedit"
    " project'"
)


def encode(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO|FOLDER...", help="Pictures to encode, or folders with all in them."
        ),
    ],
    network: NetworkOption = "clay",
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|URL",
            help="Encoder of this generator; auto takes the one in the generator's own file (pSp,"
            " e4e, SAM) or the embedded one.",
        ),
    ] = "auto",
    age: Annotated[
        int | None,
        typer.Option(
            metavar="YEARS",
            min=0,
            max=100,
            help="For SAM's encoder: the age that the people are to have, 0 to 100.",
        ),
    ] = None,
    align: AlignOption = None,
    face: FaceOption = "largest",
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Encode photos into a generator's latent space, in a fraction of a second each.

    Writes, for photo.jpg: photo.pt (the latent), photo.png (its picture), photo-target.png and
    photo-comparison.png, as project does, which takes longer and comes closer. Of a folder, photos
    that cannot be used are left out and listed at the end, with exit code 1.

    Example: ganedit encode examples/photo.jpg
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    check_face(face, align)
    listed, folders = list_photos(photos, out, suffixes=SUFFIXES)

    from ganedit.io import OutputFolder

    model = open_network(network, device=device)
    reader = _fitting_encoder(model, encoder, device=device, age=age)
    perceptual, measure = _distance(model), measure_deviation(model.generator)
    side, place = model.generator.img_resolution, model.generator.w_avg.device
    crops = Crops(side, detector=align, face=face, device=place)
    outcome = Outcome()
    on_bad = outcome.add_failure if folders else None
    found = crops.spread(listed, on_bad=on_bad)
    batches = read_batches(found, read=crops.read, size=_batch(model, reader), on_bad=on_bad)
    ready = batches if folders else list(batches)  # one bad photo that was named stops the rest
    folder = OutputFolder(out, command="encode", overwrite=overwrite)
    folder.claim([f"{photo.name}{suffix}" for photo in found for suffix in SUFFIXES])
    with console.progress("Encoding", len(found)) as show:
        for rows, targets in ready:
            targets = targets.to(place)
            latents, images, seconds = _encode(model, reader, targets, age)
            for (row, photo), deviation in zip(enumerate(rows), measure(latents.ws), strict=True):
                latent = _placed(latents.row(row), photo, crops)
                target, image = targets[row : row + 1], images[row : row + 1]
                outcome.paths.extend(write_photo(folder, latent, target=target, image=image))
                facts = {"name": photo.name, "photo": photo.path, "seconds": seconds}
                facts |= {"deviation": deviation, **_figures(image, target, perceptual)}
                outcome.results.append(facts)
            show(len(outcome.results) + len(outcome.failed), len(found), {})
    record = {
        "arguments": arguments,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "encoder": {"source": reader.source, "architecture": reader.architecture},
        "loss": None if perceptual is None else perceptual.name,
        "results": outcome.results,
        "failed": outcome.failed,
    }
    outcome.paths.append(folder.finish(record))
    _report(outcome.results, perceptual)
    console.emit_json(record) if as_json else console.emit_paths(outcome.paths)
    outcome.tell_failures()


def _placed(latent: "Latent", photo: Photo, crops: Crops) -> "Latent":
    """Return a photo's latent with its name and, if it was aligned, its place."""
    place = crops.alignments.get(photo.name)
    return replace(latent, names=(photo.name,), alignment=() if place is None else (place,))


def _fitting_encoder(
    model: "Network", source: str, *, device: str, age: int | None
) -> "LoadedEncoder":
    """Return the encoder that the user named, or the one at hand for this generator.

    Raises:
        GaneditError: There is none, it does not fit, or the age does not fit it.
    """
    check_flat(model, why=_NO_CAMERA)
    from ganedit.checkpoints import find_encoder
    from ganedit.inversion import check_encoder
    from ganedit.inversion.encode import check_age

    found = find_encoder(model) if source == "auto" else source
    if found is None:
        raise GaneditError(
            f"{model.source}: no encoder for this generator is at hand; name one with --encoder,"
            " train one with 'ganedit train-encoder', or use 'ganedit project'"
        )
    encoder = open_encoder(found, device=device)
    check_encoder(model, encoder)
    check_age(encoder, age)
    return encoder


def _batch(model: "Network", encoder: "LoadedEncoder") -> int:
    """Return how many photos go through both networks at once."""
    side = max(model.generator.img_resolution, encoder.resolution)
    return int(max(1, _BATCH_PIXELS // side**2))


def _encode(
    model: "Network", encoder: "LoadedEncoder", targets: "Tensor", age: int | None
) -> "tuple[Latent, Tensor, float]":
    """Return latents, their pictures, and the seconds that both took a photo."""
    import torch

    from ganedit.inversion import encode as find_latents
    from ganedit.io import Latent

    started = time.monotonic()
    with torch.no_grad():
        ws = find_latents(model, encoder, targets, age=age)
        images = model.generator.synthesize(ws)
    if not bool(images.isfinite().all()):
        raise GaneditError(f"{encoder.source}: the encoder gives values that are not finite")
    latents = Latent(
        ws=ws.cpu(), space=encoder.space, fingerprint=model.fingerprint, network=model.home
    )
    return latents, images, round((time.monotonic() - started) / len(targets), 4)


def _distance(model: "Network") -> "PerceptualDistance | None":
    """Return the distance to report; None where its weights are not on this machine."""
    from ganedit.inversion import default_perceptual
    from ganedit.losses import load_perceptual

    name, place = default_perceptual(model), model.generator.w_avg.device
    return find_lpips(None, place) if name == "lpips" else load_perceptual(name, device=place)


def _figures(
    image: "Tensor", target: "Tensor", perceptual: "PerceptualDistance | None"
) -> dict[str, Any]:
    """Return the figures of one photo."""
    import torch

    from ganedit.metrics.reconstruction import psnr

    with torch.no_grad():
        distance = None if perceptual is None else round(float(perceptual(image, target)), 6)
    return {"distance": distance, "psnr": finite_psnr(psnr(image, target))}


def _report(
    results: "Sequence[Mapping[str, Any]]", perceptual: "PerceptualDistance | None"
) -> None:
    if not results:
        return
    titles = {"name": "photo", "psnr": "PSNR (dB)", "seconds": "seconds"}
    if perceptual is not None:
        titles["distance"] = f"{perceptual.name} distance"
    if results[0]["deviation"] is not None:
        titles["deviation"] = "from average"
    rows = [[result[key] for key in titles] for result in results]
    if len(rows) > 1:
        columns = list(zip(*rows, strict=True))[1:]
        rows.append(["mean", *(sum(column) / len(column) for column in columns)])
    console.table("", list(titles.values()), rows)
