"""What ``ganedit project`` does with photos: they are read, projected and written in batches."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ganedit.cli import console
from ganedit.cli.crops import Crops
from ganedit.cli.photos import Photo, read_batches
from ganedit.cli.posing import Posing
from ganedit.cli.results import Outcome, finite_psnr, write_photo, write_pictures
from ganedit.cli.starts import Start
from ganedit.errors import GaneditError
from ganedit.memory import is_out_of_memory
from ganedit.progress import OnStep

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.features.arcface import ArcFace
    from ganedit.inversion import Projection
    from ganedit.io import Latent, OutputFolder
    from ganedit.losses import PerceptualDistance

_FRAMES = 150
_LEAST_FRAME, _LARGEST_FRAME = 256, 512

OnBad = Callable[[Photo, str], None]


@dataclass(frozen=True, eq=False)
class Work:
    """What is the same for all photos of a run.

    Attributes:
        model: To project into.
        start: Where from.
        posing: From where the photos were taken.
        settings: Of `ganedit.inversion.project`.
        crops: What of the photos.
        folder: Where to.
        suffixes: Of a photo's results.
        size: Photos at once.
        lpips: To report; None where its weights are missing.
        arcface: To report whether it is the same person; None where its weights are missing.
        seed: Of every photo.
        max_seconds: For all photos together.
        video: Write a video of the optimisation.
        tuning: Settings of `ganedit.inversion.tune`; None leaves the generator as it is.
        shared: Tune one generator to all photos together.
    """

    model: "Network"
    start: Start
    posing: Posing
    settings: "Mapping[str, Any]"
    crops: Crops
    folder: "OutputFolder"
    suffixes: tuple[str, ...]
    size: int
    lpips: "PerceptualDistance | None"
    arcface: "ArcFace | None"
    seed: int
    max_seconds: float | None
    video: bool
    tuning: "Mapping[str, Any] | None"
    shared: bool

    def files(self, photo: Photo) -> list[str]:
        """Return the names of a photo's results."""
        return [f"{photo.name}{suffix}" for suffix in self.suffixes]

    def masks(self, targets: "Tensor") -> "Tensor | None":
        """Return what counts of each of some photos, [N, 1, R, R]; None for all of it."""
        mask: Tensor | None = self.settings["mask"]
        return None if mask is None else mask.expand(len(targets), -1, -1, -1)

    @property
    def one_head(self) -> bool:
        """Whether all photos of a batch are views of one head."""
        return bool(self.settings["one_head"])

    @property
    def stages(self) -> int:
        """How often a photo is worked on by itself: projected, and perhaps tuned to."""
        return 1 if self.tuning is None or self.shared else 2


def project_files(work: Work, photos: Sequence[Photo]) -> Outcome:
    """Project photos that were named one by one: all can be read, or nothing is done.

    Raises:
        GaneditError: A photo cannot be used, or a result cannot be written.
    """
    photos = work.crops.spread(photos, on_bad=None)
    batches = list(read_batches(photos, read=work.crops.read, size=work.size, on_bad=None))
    names = [name for photo in photos for name in work.files(photo)]
    work.folder.claim(names)
    outcome = Outcome()
    waiting = []
    with console.progress("Projecting") as show:
        for index, (rows, targets) in enumerate(batches):
            on_step = _part(show, index, len(batches) + work.shared)
            batch = _project(work, rows, targets, len(photos), on_step)
            if work.shared:
                waiting.append(batch)
                continue
            batch = _tune_each(work, batch, len(photos), on_step)
            outcome.results.extend(_write_batch(work, batch, outcome))
        if work.shared:
            on_step = _part(show, len(batches), len(batches) + 1)
            for batch in _tune_together(work, waiting, outcome, on_step):
                outcome.results.extend(_write_batch(work, batch, outcome))
    return outcome


def project_folder(work: Work, photos: Sequence[Photo], decisive: "Mapping[str, Any]") -> Outcome:
    """Project what is not done yet; what fails is left out.

    Args:
        work: What to do.
        photos: As they were listed.
        decisive: All that decides a photo's result but the photo.

    Raises:
        GaneditError: A result cannot be written.
    """
    from ganedit.io import DoneList, photo_digest

    done = DoneList(work.folder.path, settings=decisive)
    outcome = Outcome(done=done)
    photos = work.crops.spread(photos, on_bad=outcome.add_failure)
    results = {p.name: done.find(p.name, Path(p.path), files=work.files(p)) for p in photos}
    todo = [photo for photo in photos if results[photo.name] is None]
    if len(todo) < len(photos):
        console.note(f"{len(photos) - len(todo)} of {len(photos)} photos are done already")
    work.folder.claim([name for photo in todo for name in work.files(photo)])
    batches = read_batches(todo, read=work.crops.read, size=work.size, on_bad=outcome.add_failure)
    with console.progress("Projecting", len(photos)) as show:
        for rows, targets in batches:
            before = sum(result is not None for result in results.values()) + len(outcome.failed)
            digests = {photo.name: photo_digest(Path(photo.path)) for photo in rows}
            on_step = _photos_done(show, before=before, batch=len(rows), count=len(photos))
            for batch in _project_halves(work, rows, targets, len(todo), on_step, outcome):
                for result in _write_batch(work, batch, outcome):
                    digest = digests[result["name"]]
                    files = [f"{result['name']}{suffix}" for suffix in work.suffixes]
                    files += [result["tuning"]] if result["tuning"] else []
                    result |= {"photo_sha256": digest}
                    results[result["name"]] = done.add(result, files=files)
    outcome.results.extend(result for result in results.values() if result is not None)
    return outcome


def _photos_done(show: OnStep, *, before: int, batch: int, count: int) -> OnStep:
    """Return what shows a batch's steps as photos done."""

    def on_step(step: int, total: int, values: "Mapping[str, Any]") -> None:
        show(before + batch * step // total, count, values)

    return on_step


class _PhotoError(GaneditError):
    """A photo, or another of its batch, cannot be projected; the run itself can go on."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """Photos that were projected together.

    Attributes:
        photos: Which.
        targets: Their pictures, [N, 3, R, R].
        latents: One a photo, of one row each; or one of one head.
        found: What the optimisation gave; after tuning, with the tuned generators' pictures.
        frames: Of the video, uint8.
        tunings: Files, one a latent, that tune a generator to its photo.
    """

    photos: Sequence[Photo]
    targets: "Tensor"
    latents: "Sequence[Latent]"
    found: "Projection"
    frames: "Sequence[Tensor]"
    tunings: Sequence[Path] = ()

    def latent_of(self, row: int) -> int:
        """Return which latent a photo belongs to."""
        return min(row, len(self.latents) - 1)

    def cameras(self, photos: slice) -> "Tensor | None":
        """Return from where some of the photos were taken, [N, 25]; None of flat pictures."""
        cameras = self.found.cameras
        return None if cameras is None else cameras[photos]


def _project_halves(
    work: Work,
    photos: Sequence[Photo],
    targets: "Tensor",
    count: int,
    on_step: OnStep,
    outcome: Outcome,
) -> Iterator[_Batch]:
    """Project a batch, or halves of it where it fails as a whole, down to the photo that does."""
    try:
        batch = _project(work, photos, targets, count, on_step)
        yield _tune_each(work, batch, count, on_step)
        return
    except _PhotoError as error:
        reason = str(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = "does not fit into the memory"
    if len(photos) == 1:
        outcome.add_failure(photos[0], reason)
        return
    half = len(photos) // 2
    for part in (slice(half), slice(half, None)):
        yield from _project_halves(work, photos[part], targets[part], count, on_step, outcome)


def _project(
    work: Work, photos: Sequence[Photo], targets: "Tensor", count: int, on_step: OnStep
) -> _Batch:
    """Project a batch.

    Args:
        work: What to do.
        photos: Of this batch.
        targets: Their pictures.
        count: Of all photos that share the time.
        on_step: Told how far it is.

    Raises:
        _PhotoError: The photos cannot be projected.
    """
    from ganedit.inversion import project as find_latents
    from ganedit.inversion.comparison import hide
    from ganedit.io import to_uint8

    frames: list[Tensor] = []
    show = _part(on_step, 0, work.stages)

    def keep_frames(step: int, total: int, values: "Mapping[str, Tensor]") -> None:
        show(step, total, values)
        if work.video and (step - 1) % -(-total // _FRAMES) == 0:
            frames.append(to_uint8(_frame_size(values["images"])))

    names = [photo.name for photo in photos]
    targets = targets.to(work.model.generator.w_avg.device)
    mask = work.settings["mask"]
    shown = targets if mask is None else hide(targets, mask)
    heads = 1 if work.one_head else len(photos)
    try:
        found = find_latents(
            work.model,
            targets,
            initial=work.start.find(shown[:heads], names[:heads]),
            # Of the whole photo: what a mask hides may still tell the pose.
            cameras=work.posing.find(names, targets),
            seeds=[work.seed] * heads,
            max_seconds=_share(work, len(photos), count),
            on_step=keep_frames,
            **work.settings,
        )
    except GaneditError as error:
        raise _PhotoError(str(error)) from error
    places = work.crops.alignments
    latent = replace(
        found.latent(work.model, names=names[:heads]),
        alignment=tuple(places[name] for name in names[:heads] if name in places),
    )
    latents = [latent.row(row) for row in range(heads)]
    return _Batch(photos, targets, latents, found, frames)


def _share(work: Work, photos: int, count: int) -> float | None:
    """Return the seconds that some of the photos have to be projected, or to be tuned to."""
    if work.max_seconds is None:
        return None
    return work.max_seconds * photos / count / (1 if work.tuning is None else 2)


def _tune_each(work: Work, batch: _Batch, count: int, on_step: OnStep) -> _Batch:
    """Tune a generator to each photo of a batch, where that is wanted."""
    if work.tuning is None or work.shared:
        return batch
    started = time.monotonic()
    tuned = []
    for row, latent in enumerate(batch.latents):
        show = _part(on_step, len(batch.latents) + row, 2 * len(batch.latents))
        photos = slice(None) if work.one_head else slice(row, row + 1)
        target = batch.targets[photos]
        limit = _share(work, len(target), count)
        name, cameras = latent.names[0], batch.cameras(photos)
        tuned.append(_tune(work, latent, target, name, limit, show, cameras=cameras))
    paths, images = zip(*tuned, strict=True)
    return _redrawn(work, batch, paths, images, seconds=time.monotonic() - started)


def _tune_together(
    work: Work, batches: Sequence[_Batch], outcome: Outcome, on_step: OnStep
) -> Iterator[_Batch]:
    """Tune one generator to the photos of all batches."""
    import torch

    from ganedit.editing import stack

    started = time.monotonic()
    latent = stack([latent for batch in batches for latent in batch.latents])
    targets = torch.cat([batch.targets for batch in batches])
    count = len(targets)
    limit = _share(work, count, count)
    cameras = None if latent.cameras is None else latent.cameras.to(targets.device)
    path, images = _tune(work, latent, targets, "shared", limit, on_step, cameras=cameras)
    outcome.paths.append(path)
    seconds = (time.monotonic() - started) / count
    for batch in batches:
        rows, images = images.split([len(batch.photos), len(images) - len(batch.photos)])
        taken = seconds * len(batch.photos)
        yield _redrawn(work, batch, [path] * len(rows), rows.split(1), seconds=taken)


def _tune(
    work: Work,
    latent: "Latent",
    targets: "Tensor",
    stem: str,
    max_seconds: float | None,
    on_step: OnStep,
    *,
    cameras: "Tensor | None",
) -> "tuple[Path, Tensor]":
    """Tune a generator to all rows of a latent, and write the tuning.

    Its name tells its content: latents of earlier runs keep theirs, whatever is written later.

    Returns:
        The file, and what the generator that it makes draws, [N, 3, R, R].

    Raises:
        _PhotoError: The photos cannot be tuned to.
    """
    import torch

    from ganedit.checkpoints import apply_tuning, load_tuning, pack_tuning, tuning_name
    from ganedit.inversion import tune
    from ganedit.inversion.cameras import Poses
    from ganedit.io import write_bytes

    assert work.tuning is not None
    try:
        tuned = tune(
            work.model,
            latent,
            targets,
            perceptual=work.settings["perceptual"],
            mask=work.settings["mask"],
            cameras=cameras,
            max_seconds=max_seconds,
            on_step=on_step,
            **work.tuning,
        )
        content = pack_tuning(tuned.differences, work.model, rank=work.tuning.get("rank"))
    except GaneditError as error:
        raise _PhotoError(str(error)) from error
    name = tuning_name(stem, hashlib.sha256(content).hexdigest())
    path = work.folder.write(name, lambda partial: write_bytes(partial, content))
    generator = apply_tuning(work.model, load_tuning(path)).generator
    poses = Poses(generator, cameras, photos=len(targets))
    images = []
    with torch.no_grad():
        for index in range(len(targets)):
            row = latent.row(min(index, len(latent) - 1))
            noise = None if row.noise is None else [x.to(targets.device) for x in row.noise]
            pose = poses.rows(slice(index, index + 1))
            images.append(pose.draw(row.ws.to(targets.device), noise=noise or "const"))
    return path, torch.cat(images)


def _redrawn(
    work: Work, batch: _Batch, paths: Sequence[Path], images: "Sequence[Tensor]", *, seconds: float
) -> _Batch:
    """Return a batch with the tunings of its photos and what they draw.

    Args:
        work: What was done.
        batch: As it was projected.
        paths: The tuning file of each photo.
        images: What it draws, [1, 3, R, R] each.
        seconds: That the tuning took.
    """
    import torch

    from ganedit.inversion.comparison import Comparison

    pictures = torch.cat(list(images))
    comparison = Comparison(work.settings["perceptual"], batch.targets, work.masks(batch.targets))
    with torch.no_grad():
        distance = comparison.distance(pictures)
    named = zip(batch.latents, paths, strict=True)
    return replace(
        batch,
        latents=[replace(latent, tuning=path.name) for latent, path in named],
        found=replace(
            batch.found,
            images=pictures,
            distance=distance,
            seconds=batch.found.seconds + seconds,
        ),
        tunings=[] if work.shared else list(paths),
    )


def _write_batch(work: Work, batch: _Batch, outcome: Outcome) -> list[dict[str, Any]]:
    """Write the results of a batch; returns the figures of each photo."""
    results = []
    outcome.paths.extend(batch.tunings)
    for row, photo in enumerate(batch.photos):
        outcome.paths.extend(_write_photo(work.folder, batch, row))
        facts = {"name": photo.name, "photo": photo.path, "loss": work.settings["perceptual"].name}
        tuning = batch.latents[batch.latent_of(row)].tuning  # beside the latent
        facts["tuning"] = tuning and (PurePosixPath(photo.name).parent / tuning).as_posix()
        results.append(facts | _figures(work, batch, row))
    return results


def _write_photo(folder: "OutputFolder", batch: _Batch, row: int) -> list[Path]:
    """Write the results of one photo but its tuning."""
    import torch

    from ganedit.inversion import draw_loss_curve
    from ganedit.io import from_uint8, write_image, write_video

    found, name = batch.found, batch.photos[row].name
    target, image = batch.targets[row : row + 1], found.images[row : row + 1]
    if batch.latent_of(row) == row:
        curve = draw_loss_curve(
            found.history[:, row].tolist(),
            best_step=int(found.best_step[row]),
            title=f"{name}: loss of each step",
        )
        paths = write_photo(folder, batch.latents[row], target=target, image=image)
        paths.append(folder.write(f"{name}-loss.png", partial(write_image, image=curve)))
    else:
        paths = write_pictures(folder, name, target=target, image=image)
    if batch.frames:
        still = _frame_size(target).cpu()
        last = _frame_size(image).cpu()
        moving = [from_uint8(frame[row]) for frame in batch.frames] + [last] * 15
        pairs = (torch.cat([still, frame], dim=3) for frame in moving)
        paths.append(folder.write(f"{name}.mp4", partial(write_video, frames=pairs)))
    return paths


def _frame_size(images: "Tensor") -> "Tensor":
    """Enlarge by a whole factor to 256 pixels a side, or reduce to 512, to be watchable."""
    from torch.nn.functional import interpolate

    side = images.shape[3]
    if side > _LARGEST_FRAME:
        return interpolate(images, size=(_LARGEST_FRAME, _LARGEST_FRAME), mode="area")
    return interpolate(images, scale_factor=-(-_LEAST_FRAME // side), mode="nearest")


def _figures(work: Work, batch: _Batch, row: int) -> dict[str, Any]:
    """Return the figures of one photo; None where weights are missing, or a part is masked."""
    from ganedit.inversion.composition import part_psnr
    from ganedit.metrics import identity_similarity, psnr

    found, lpips, arcface = batch.found, work.lpips, work.arcface
    latent = batch.latent_of(row)
    image, target = found.images[row : row + 1], batch.targets[row : row + 1]
    mask = work.settings["mask"]
    quality = psnr(image, target) if mask is None else part_psnr(image, target, mask)
    similar = identity = None
    if lpips is not None and mask is None:
        similar = round(float(lpips(image, target)), 6)
    if arcface is not None and mask is None:
        identity = round(float(identity_similarity(arcface, image, target)), 4)
    return {
        "distance": round(float(found.distance[row]), 6),
        "lpips": similar,
        "identity": identity,
        "psnr": finite_psnr(quality),
        "best_step": int(found.best_step[latent]),
        "domain_gap": round(float(found.domain_gap[row]), 3),
        "deviation": round(float(found.deviation[latent]), 3),
        "seconds": round(found.seconds / len(batch.photos), 3),
        **_angles(found, row),
    }


def _angles(found: "Projection", row: int) -> dict[str, float]:
    """Return from where a photo was taken, in degrees; nothing of flat pictures."""
    from ganedit.three_d.cameras import camera_angles

    if found.cameras is None:
        return {}
    yaw, pitch = (math.degrees(angle) for angle in camera_angles(found.cameras[row : row + 1]))
    told = {"yaw": round(yaw, 2), "pitch": round(pitch, 2)}
    if found.moved is not None:
        told |= dict(zip(("yaw_moved", "pitch_moved"), _degrees(found.moved[row]), strict=True))
    return told


def _degrees(radians: "Tensor") -> list[float]:
    return [round(math.degrees(angle), 2) for angle in radians.tolist()]


def _part(on_step: OnStep, index: int, count: int) -> OnStep:
    """Return what shows one of several equal stages as its share of a whole."""

    def show(step: int, total: int, values: "Mapping[str, Any]") -> None:
        on_step(index * total + step, count * total, {"loss": values["loss"].mean()})

    return show
