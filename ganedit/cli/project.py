"""``ganedit project``: the latents whose pictures are closest to photos."""

import time
from dataclasses import dataclass, field, replace
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
from ganedit.cli.photos import batch_size, list_photos, read_batches
from ganedit.cli.results import SUFFIXES, write_photo
from ganedit.cli.sources import open_network
from ganedit.cli.starts import open_start
from ganedit.errors import GaneditError
from ganedit.progress import OnStep
from ganedit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.cli.photos import Photo
    from ganedit.cli.starts import Start
    from ganedit.inversion import Projection
    from ganedit.io import Alignment, DoneList, Latent, OutputFolder
    from ganedit.losses import PerceptualDistance

_TUNING = "-tuning.safetensors"
_FRAMES = 150
_LEAST_FRAME, _LARGEST_FRAME = 256, 512


def project(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO|FOLDER...", help="Pictures to invert, or folders with all in them."
        ),
    ],
    network: NetworkOption = "clay",
    space: Annotated[
        Literal["w", "w+"],
        typer.Option(help="One latent vector for all layers (w), or one for each (w+)."),
    ] = "w+",
    init: Annotated[
        str,
        typer.Option(
            metavar="START",
            help="Where to start: encoder; search, the closest of many samples; mean, the average;"
            " seed:N; or a latent file. auto is encoder where one is at hand, else search.",
        ),
    ] = "auto",
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Optimisation steps; by default 100 from an encoder or a latent file, else 500.",
        ),
    ] = None,
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
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A picture, cropped as the photos are, that is black where they do not count;"
            " the generator fills that in.",
        ),
    ] = None,
    optimize_noise: Annotated[
        bool, typer.Option(help="Also optimise the noise maps, which hold fine texture.")
    ] = True,
    two_stage: Annotated[
        bool,
        typer.Option(
            "--two-stage", help="Optimise only latents first, and only noise maps afterwards."
        ),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Then tune the generator to each photo; the change is a file beside the latent,"
            " and every command that gets the latent applies it.",
        ),
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="With --tune: keep the change at this rank, in a smaller file."
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="auto|clay|FILE",
            help="Find a face and crop it like the generator's pictures: clay heads are"
            " searched for; a FILE.json holds landmarks, a FILE.task is mediapipe's model.",
        ),
    ] = None,
    face: Annotated[
        str,
        typer.Option(metavar="N|largest", help="With --align: which face; 1 is the largest."),
    ] = "largest",
    class_index: ClassOption = None,
    seed: SeedOption = 0,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1e6, help="Time for the optimisation of all photos, in seconds."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Photos at once; by default what the memory holds."),
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
    photo-comparison.png, photo-loss.png, with --save-video photo.mp4, and with --tune
    photo-tuning.safetensors.

    Of a folder, photos that cannot be used are left out and listed at the end, with exit code 1;
    the same command again goes on where the last one was stopped, and skips what is done.

    Example: ganedit project examples/photo.jpg
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    _check_usage(two_stage=two_stage, optimize_noise=optimize_noise, tune=tune, rank=rank)
    _check_face(face, align)
    suffixes = _suffixes(save_video, tune=tune)
    found, folders = list_photos(photos, out, suffixes=suffixes)

    from ganedit.io import OutputFolder

    model = open_network(network, device=device)
    label = _label(model, class_index)
    start = open_start(init, model, label=label, device=device)
    perceptual, lpips = _distances(loss, model, vgg_weights)
    settings: dict[str, Any] = {"perceptual": perceptual, "space": space, "label": label}
    settings |= {"pixel_weight": pixel_weight, "optimize_noise": optimize_noise}
    settings |= {"two_stage": two_stage, "mask": mask and _read_mask(mask, model), "steps": steps}
    settings |= {key: value for key, value in start.settings.items() if settings.get(key) is None}
    _note_missing_noise(model, asked=optimize_noise)
    folder = OutputFolder(out, command="project", overwrite=overwrite)
    asked: dict[str, Any] = {"seed": seed, "max_seconds": max_seconds, "video": save_video}
    asked |= {"tune": tune, "rank": rank, "align": align, "face": face}
    work = _Work(model, start, settings, folder, suffixes, lpips, **asked)
    size = batch or batch_size(model.generator.img_resolution, model.generator.w_avg.device)
    record = {
        "arguments": arguments,
        "seeds": [seed] * len(found),
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "start": start.source,
    }
    if folders:
        outcome = _project_folder(work, found, size, _decisive(arguments, record, mask))
    else:
        outcome = _project_files(work, found, size)
    record |= {"results": outcome.results, "failed": outcome.failed}
    outcome.paths.append(folder.finish(record))
    outcome.close()
    _report(outcome.results)
    console.emit_json(record) if as_json else console.emit_paths(outcome.paths)
    outcome.tell_failures(len(found))


def _check_usage(*, two_stage: bool, optimize_noise: bool, tune: bool, rank: int | None) -> None:
    if two_stage and not optimize_noise:
        raise typer.BadParameter("--two-stage needs noise maps; leave out --no-optimize-noise")
    if rank is not None and not tune:
        raise typer.BadParameter("--rank is for --tune; add it")


def _check_face(face: str, align: str | None) -> None:
    if face != "largest" and not (face.isdecimal() and int(face) > 0):
        raise typer.BadParameter(f"--face: {face!r} is neither largest nor a number from 1")
    if face != "largest" and align is None:
        raise typer.BadParameter("--face is for --align; add it")


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for all photos of a run."""

    model: "Network"
    start: "Start"
    settings: "Mapping[str, Any]"
    folder: "OutputFolder"
    suffixes: tuple[str, ...]
    lpips: "PerceptualDistance | None"
    seed: int
    max_seconds: float | None
    video: bool
    tune: bool
    rank: int | None
    align: str | None
    face: str
    alignments: "dict[str, Alignment]" = field(default_factory=dict)

    def read(self, photo: "Photo") -> "Tensor":
        """Return a photo as the generator's pictures are, [1, 3, R, R]."""
        from ganedit.io import read_image, to_square

        side = self.model.generator.img_resolution
        image = read_image(photo.path)
        if self.align is None:
            return to_square(image, side)
        crop, self.alignments[photo.name] = _aligned(
            image, photo, side, detector=self.align, face=self.face
        )
        return crop

    def files(self, photo: "Photo") -> list[str]:
        """Return the names of a photo's results."""
        return [f"{photo.name}{suffix}" for suffix in self.suffixes]


def _aligned(
    image: "Tensor", photo: "Photo", side: int, *, detector: str, face: str
) -> "tuple[Tensor, Alignment]":
    """Return a face of a photo, cropped like the generator's pictures, and where it is.

    Raises:
        GaneditError: There is no such face.
    """
    from ganedit.data.alignment import alignment_of, crop_quad
    from ganedit.features.landmarks import choose_faces, find_faces

    faces = find_faces(image, detector=detector)
    if not faces:
        raise GaneditError(f"{photo.path}: no face found; leave out --align if it is cropped")
    if len(faces) > 1 and face == "largest":
        console.note(f"{photo.path}: {len(faces)} faces found; --face 2 takes the second largest")
    quad = choose_faces(faces, face, name=photo.path)[0].quad
    place = alignment_of(str(Path(photo.path).resolve()), image, quad)
    return crop_quad(image, quad, side), place


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What a run has come to."""

    results: list[dict[str, Any]]
    paths: list[Path]
    failed: list[dict[str, str]]
    done: "DoneList | None" = None

    def close(self) -> None:
        """Remove the list of what is done, now that the run's record says it."""
        if self.done is not None:
            self.done.close()

    def tell_failures(self, count: int) -> None:
        """List what failed.

        Raises:
            GaneditError: Something did.
        """
        for one in self.failed[1:]:
            console.warn(f"failed: {one['reason']}")
        if self.failed:
            raise GaneditError(
                f"{len(self.failed)} of {count} photos failed: {self.failed[0]['reason']}"
            )


def _project_files(work: _Work, photos: "Sequence[Photo]", size: int) -> _Outcome:
    """Project photos that were named one by one: all can be read, or nothing is done."""
    batches = list(read_batches(photos, read=work.read, size=size, on_bad=None))
    work.folder.claim([name for photo in photos for name in work.files(photo)])
    outcome = _Outcome([], [], [])
    with console.progress("Projecting") as show:
        for rows, targets in batches:
            results, paths = _project_batch(work, rows, targets, len(photos), show)
            outcome.results.extend(results)
            outcome.paths.extend(paths)
    return outcome


def _project_folder(
    work: _Work, photos: "Sequence[Photo]", size: int, decisive: "Mapping[str, Any]"
) -> _Outcome:
    """Project what is not done yet; what fails is left out."""
    from ganedit.io import DoneList, photo_digest

    done = DoneList(work.folder.path, settings=decisive)
    results = {p.name: done.find(p.name, Path(p.path), files=work.files(p)) for p in photos}
    todo = [photo for photo in photos if results[photo.name] is None]
    if len(todo) < len(photos):
        console.note(f"{len(photos) - len(todo)} of {len(photos)} photos are done already")
    work.folder.claim([name for photo in todo for name in work.files(photo)])
    outcome = _Outcome([], [], [], done)

    def on_bad(photo: "Photo", reason: str) -> None:
        told = reason if photo.path in reason else f"{photo.path}: {reason}"
        outcome.failed.append({"name": photo.name, "photo": photo.path, "reason": told})

    with console.progress("Projecting", len(photos)) as show:
        for rows, targets in read_batches(todo, read=work.read, size=size, on_bad=on_bad):
            before = sum(result is not None for result in results.values()) + len(outcome.failed)
            digests = {photo.name: photo_digest(Path(photo.path)) for photo in rows}

            on_step = _photos_done(show, before=before, batch=len(rows), count=len(photos))
            for found, paths in _project_halves(work, rows, targets, len(todo), on_step, on_bad):
                outcome.paths.extend(paths)
                for result in found:
                    digest = digests[result["name"]]
                    results[result["name"]] = done.add({**result, "photo_sha256": digest})
    outcome.results.extend(result for result in results.values() if result is not None)
    return outcome


def _photos_done(show: OnStep, *, before: int, batch: int, count: int) -> OnStep:
    """Return what shows a batch's steps as photos done."""

    def on_step(step: int, total: int, values: "Mapping[str, Any]") -> None:
        show(before + batch * step // total, count, values)

    return on_step


def _project_halves(
    work: _Work,
    photos: "Sequence[Photo]",
    targets: "Tensor",
    count: int,
    on_step: OnStep,
    on_bad: "Callable[[Photo, str], None]",
) -> "Iterator[tuple[list[dict[str, Any]], list[Path]]]":
    """Project a batch, or halves of it where it fails as a whole, down to the photo that does."""
    import torch

    try:
        yield _project_batch(work, photos, targets, count, on_step)
        return
    except _PhotoError as error:
        reason = str(error)
    except torch.OutOfMemoryError:
        reason = "does not fit into the memory"
    if len(photos) == 1:
        on_bad(photos[0], reason)
        return
    half = len(photos) // 2
    for part in (slice(half), slice(half, None)):
        yield from _project_halves(work, photos[part], targets[part], count, on_step, on_bad)


class _PhotoError(GaneditError):
    """A photo, or another of its batch, cannot be projected; the run itself can go on."""


def _project_batch(
    work: _Work, photos: "Sequence[Photo]", targets: "Tensor", count: int, on_step: OnStep
) -> "tuple[list[dict[str, Any]], list[Path]]":
    """Project a batch and write its results; returns figures and paths.

    Args:
        work: What to do.
        photos: Of this batch.
        targets: Their pictures.
        count: Of all photos that share the time.
        on_step: Told how far it is.
    """
    parts = 1 + (len(photos) if work.tune else 0)
    limit = None if work.max_seconds is None else work.max_seconds * len(photos) / count / parts
    names = [photo.name for photo in photos]
    batch = targets.to(work.model.generator.w_avg.device)
    settings = {
        **work.settings,
        "initial": work.start.find(batch, names),
        "seeds": [work.seed] * len(photos),
        "max_seconds": limit,
    }
    part = _part(on_step, 0, parts)
    found, frames = _optimise(work.model, batch, settings, part, video=work.video)
    found_latent = found.latent(work.model, names=names)
    places = tuple(work.alignments[name] for name in names if name in work.alignments)
    found_latent = replace(found_latent, alignment=places)
    latents = [found_latent.row(row) for row in range(len(photos))]
    results: list[dict[str, Any]] = []
    paths: list[Path] = []
    if work.tune:
        latents, found, paths = _tune(work, latents, found, batch, limit, on_step)
    for row, photo in enumerate(photos):
        paths += _write(work.folder, latents[row], found, batch, frames, row)
        figures = _figures(found, batch, row, lpips=work.lpips)
        facts = {"name": photo.name, "photo": photo.path, "loss": work.settings["perceptual"].name}
        results.append(facts | figures)
    return results, paths


def _tune(
    work: _Work,
    latents: "Sequence[Latent]",
    found: "Projection",
    targets: "Tensor",
    limit: float | None,
    on_step: OnStep,
) -> "tuple[list[Latent], Projection, list[Path]]":
    """Tune the generator to each photo of a batch.

    Returns:
        The latents, which name their tunings; the projection with the tuned generator's pictures
        and distances; and the tuning files.
    """
    import torch

    from ganedit.checkpoints.tuning import Tuning, apply_tuning, save_tuning
    from ganedit.inversion.pivotal_tuning import tune

    started = time.monotonic()
    perceptual = work.settings["perceptual"]
    tuned_latents, images, paths = [], [], []
    for row, latent in enumerate(latents):
        part = _part(on_step, 1 + row, 1 + len(latents))
        target = targets[row : row + 1]
        result = tune(
            work.model, latent, target, perceptual=perceptual, max_seconds=limit, on_step=part
        )
        stored: list[Tuning] = []

        def write(path: Path, changes: Any = result.differences, kept: Any = stored) -> None:
            kept.append(save_tuning(path, changes, work.model, rank=work.rank))

        paths.append(work.folder.write(f"{latent.names[0]}{_TUNING}", write))
        generator = apply_tuning(work.model, stored[0]).generator
        noise = None if latent.noise is None else tuple(x.to(target.device) for x in latent.noise)
        with torch.no_grad():
            images.append(generator.synthesize(latent.ws.to(target.device), noise=noise or "const"))
        tuned_latents.append(replace(latent, tuning=paths[-1].name))
    pictures = torch.cat(images)
    with torch.no_grad():
        distance = perceptual(pictures, targets)
    seconds = found.seconds + time.monotonic() - started
    return tuned_latents, replace(found, images=pictures, distance=distance, seconds=seconds), paths


def _part(on_step: OnStep, index: int, count: int) -> OnStep:
    """Return what shows one of several stages as its share of a whole."""

    def show(step: int, total: int, values: "Mapping[str, Any]") -> None:
        shown = {"loss": values["loss"].mean()}
        on_step(index * total + step, count * total, shown)

    return show


_UNDECISIVE = {"photos", "network", "init", "mask", "batch", "out", "overwrite", "device"}
_UNDECISIVE |= {"as_json", "vgg_weights"}


def _decisive(
    arguments: "Mapping[str, Any]", record: "Mapping[str, Any]", mask: Path | None
) -> dict[str, Any]:
    """Return all that decides a photo's result but the photo itself."""
    from ganedit.io import photo_digest

    told = {key: value for key, value in arguments.items() if key not in _UNDECISIVE}
    return {
        **told,
        "version": __version__,
        "fingerprint": record["generator"]["fingerprint"],
        "start": record["start"],
        "mask": mask and photo_digest(mask),
    }


def _read_mask(path: Path, model: "Network") -> "Tensor":
    """Return a mask, [1, 1, R, R]: 1 where the picture is lighter than middle grey, else 0."""
    from ganedit.io import read_image, to_square

    grey = to_square(read_image(path), model.generator.img_resolution).mean(dim=1, keepdim=True)
    mask = (grey > 0).float()
    if not bool(mask.any()):
        raise GaneditError(f"{path}: is black all over; a mask is white where the photo counts")
    return mask.to(model.generator.w_avg.device)


def _label(model: "Network", class_index: int | None) -> list[float] | None:
    """Return the label of a class; None for an unconditional generator, which takes none."""
    from ganedit.checkpoints import class_label, label_batch

    label = None if class_index is None else class_label(model, class_index)
    label_batch(model, label, 1)  # says what is missing, before any work
    return label


def _note_missing_noise(model: "Network", *, asked: bool) -> None:
    if asked and not model.generator.noise_shapes:
        console.note("this generator has no noise maps; only its latents are optimised")


def _suffixes(video: bool, *, tune: bool) -> tuple[str, ...]:
    suffixes = (*SUFFIXES, "-loss.png")
    return suffixes + (".mp4",) * video + (_TUNING,) * tune


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
    model: "Network",
    targets: "Tensor",
    settings: "Mapping[str, Any]",
    show: OnStep,
    *,
    video: bool,
) -> "tuple[Projection, list[Tensor]]":
    """Return the projection and, for a video, some of the pictures on the way, uint8.

    Raises:
        _PhotoError: The photos cannot be projected.
    """
    from ganedit.inversion import project as find_latents
    from ganedit.io import to_uint8

    frames: list[Tensor] = []

    def on_step(step: int, total: int, values: "Mapping[str, Tensor]") -> None:
        show(step, total, values)
        if video and (step - 1) % -(-total // _FRAMES) == 0:
            frames.append(to_uint8(_frame_size(values["images"])))

    try:
        return find_latents(model, targets, on_step=on_step, **settings), frames
    except GaneditError as error:
        raise _PhotoError(str(error)) from error


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
        "deviation": round(float(found.deviation[row]), 3),
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
    if not results:
        return
    for result in results:
        _warn_if_far(result["photo"], result["domain_gap"])
    titles = {
        "name": "photo",
        "distance": f"{results[0]['loss']} distance",
        "lpips": "LPIPS",
        "psnr": "PSNR (dB)",
        "deviation": "from average",
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
