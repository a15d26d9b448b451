"""``ganedit project``: the latents whose pictures are closest to photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.crops import AlignOption, Crops, FaceOption, check_face
from ganedit.cli.distances import LossOption, VggOption, open_distances
from ganedit.cli.masks import read_mask
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
from ganedit.cli.photos import batch_size, list_photos
from ganedit.cli.posing import check_posing, open_posing, ray_bytes
from ganedit.cli.projecting import Work, project_files, project_folder
from ganedit.cli.results import SUFFIXES, Outcome
from ganedit.cli.sources import open_label, open_network
from ganedit.cli.starts import Start, open_start
from ganedit.cli.viewpoints import PitchOption, YawOption, is_solid
from ganedit.errors import GaneditError
from ganedit.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network

_TUNING_OPTIONS = {
    "rank": "rank",
    "tune_steps": "steps",
    "tune_stop": "stop_distance",
    "locality_weight": "locality_weight",
}
"""Options of tuning, and what `ganedit.inversion.tune` calls them."""


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
    loss: LossOption = "auto",
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
    camera: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="For a tri-plane network: from where the photos were taken, one camera a photo or"
            " one for all; what render-views writes, or a transforms.json. By default read off clay"
            " heads, else the front.",
        ),
    ] = None,
    yaw: YawOption = None,
    pitch: PitchOption = None,
    optimize_camera: Annotated[
        bool, typer.Option("--optimize-camera", help="Move the cameras too, to where they fit.")
    ] = False,
    one_head: Annotated[
        bool,
        typer.Option(
            "--one-head",
            help="For a tri-plane network: all photos show the same head from different sides, and"
            " get one latent.",
        ),
    ] = False,
    optimize_noise: Annotated[
        bool | None,
        typer.Option(
            help="Also optimise the noise maps, which hold fine texture; the default, but not of"
            " tri-plane networks.",
            show_default=False,
        ),
    ] = None,
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
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="With --tune: one generator for all photos of the run, so that their latents can"
            " be interpolated and mixed.",
        ),
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="With --tune: keep the change at this rank, in a smaller file."
        ),
    ] = None,
    tune_steps: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="With --tune: updates at most; 350 by default."),
    ] = None,
    tune_stop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1e6,
            metavar="DISTANCE",
            help="With --tune: stop at this perceptual distance; pivotal tuning's authors stop at"
            " an LPIPS of 0.06.",
        ),
    ] = None,
    locality_weight: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1e6,
            help="With --tune: weight of what holds other heads in place, for large edits; the"
            " authors' is 0.1, and doubles the time; by default 0.",
        ),
    ] = None,
    align: AlignOption = None,
    face: FaceOption = "largest",
    class_index: ClassOption = None,
    seed: SeedOption = 0,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1e6, help="Time for the optimisation of all photos, in seconds."
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(
            help="What the steps are computed in; bfloat16 is faster where the processor has it,"
            " and nearly as exact (docs/performance.md)."
        ),
    ] = "float32",
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Photos at once; by default what the memory holds."),
    ] = None,
    vgg_weights: VggOption = None,
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
    photo-tuning-DIGEST.safetensors.

    Of a folder, photos that cannot be used are left out and listed at the end, with exit code 1;
    the same command again goes on where the last one was stopped, and skips what is done.

    Example: ganedit project examples/photo.jpg
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    _check_usage(arguments)
    suffixes = (*SUFFIXES, "-loss.png") + (".mp4",) * save_video
    found, folders = list_photos(photos, out, suffixes=suffixes)
    _check_folders(arguments, folders=folders)

    import torch

    from ganedit.features.arcface import find_arcface
    from ganedit.io import OutputFolder

    model = open_network(network, device=device)
    side, place = model.generator.img_resolution, model.generator.w_avg.device
    label = open_label(model, class_index)
    start = open_start(init, model, label=label, device=device)
    posing = open_posing(model, arguments, [photo.name for photo in found])
    perceptual, lpips = open_distances(loss, model, vgg_weights)
    settings = _settings(arguments, start)
    settings |= {"perceptual": perceptual, "label": label, "dtype": getattr(torch, dtype)}
    settings |= {"mask": mask and _counting(mask, model)}
    _note_missing(model, init, start, noise=optimize_noise)
    inputs = [init, mask or "", camera or ""]
    work = Work(
        model=model,
        start=start,
        posing=posing,
        settings=settings,
        crops=Crops(side, detector=align, face=face, device=place),
        folder=OutputFolder(out, command="project", overwrite=overwrite, inputs=inputs),
        suffixes=suffixes,
        size=len(found) if one_head else batch or batch_size(side, place, ray_bytes(model)),
        lpips=lpips,
        arcface=find_arcface(None, place),
        seed=seed,
        max_seconds=max_seconds,
        video=save_video,
        tuning=_tuning(arguments) if tune else None,
        shared=shared,
    )
    record = _record(arguments, work, count=len(found))
    decisive = _decisive(record, mask)
    outcome = project_folder(work, found, decisive) if folders else project_files(work, found)
    _close(work, outcome, record, as_json=as_json)


def _check_folders(arguments: "Mapping[str, Any]", *, folders: bool) -> None:
    if folders and arguments["shared"]:
        raise typer.BadParameter("--shared is for photos that are named, not for whole folders")
    check_posing(arguments, folders=folders)


def _check_usage(arguments: "Mapping[str, Any]") -> None:
    """Check that options come with those that they are for.

    Raises:
        typer.BadParameter: One does not.
    """
    check_face(arguments["face"], arguments["align"])
    if arguments["mask"] is not None and arguments["align"] is not None:
        raise typer.BadParameter(
            "--mask does not turn with --align; crop the face by 'ganedit align' first, then"
            " project the crop with its mask"
        )
    if arguments["two_stage"] and arguments["optimize_noise"] is False:
        raise typer.BadParameter("--two-stage needs noise maps; leave out --no-optimize-noise")
    for key in (*_TUNING_OPTIONS, "shared"):
        if arguments[key] not in (None, False) and not arguments["tune"]:
            raise typer.BadParameter(f"--{key.replace('_', '-')} is for --tune; add it")
        if isinstance(arguments[key], float):
            finite(arguments[key])


def _settings(arguments: "Mapping[str, Any]", start: Start) -> dict[str, Any]:
    """Return the settings of `ganedit.inversion.project` that the user and the start gave."""
    names = ("space", "pixel_weight", "optimize_noise", "two_stage", "steps", "one_head")
    settings = {name: arguments[name] for name in names}
    settings["optimize_cameras"] = arguments["optimize_camera"]
    if arguments["two_stage"]:
        settings["optimize_noise"] = True
    given = {key: value for key, value in start.settings.items() if settings.get(key) is None}
    return settings | given


def _tuning(arguments: "Mapping[str, Any]") -> dict[str, Any]:
    """Return the settings of `ganedit.inversion.tune` that the user gave."""
    given = {name: arguments[key] for key, name in _TUNING_OPTIONS.items()}
    return {name: value for name, value in given.items() if value is not None}


def _record(arguments: "Mapping[str, Any]", work: Work, *, count: int) -> dict[str, Any]:
    """Return what is known of a run before it starts."""
    return {
        "arguments": arguments,
        "seeds": [work.seed] * count,
        "generator": {"network": work.model.home, "fingerprint": work.model.fingerprint},
        "start": work.start.source,
        **({} if work.posing.source is None else {"camera": work.posing.source}),
    }


def _close(work: Work, outcome: Outcome, record: dict[str, Any], *, as_json: bool) -> None:
    """Write the record of a run and tell what has come of it.

    Raises:
        GaneditError: A photo failed.
    """
    record |= {"results": outcome.results, "failed": outcome.failed}
    outcome.paths.append(work.folder.finish(record))
    outcome.close()
    _report(outcome.results)
    console.emit_json(record) if as_json else console.emit_paths(outcome.paths)
    outcome.tell_failures()


_UNDECISIVE = {"photos", "network", "init", "mask", "camera", "batch", "out", "overwrite", "device"}
_UNDECISIVE |= {"as_json", "vgg_weights"}


def _decisive(record: "Mapping[str, Any]", mask: Path | None) -> dict[str, Any]:
    """Return all that decides a photo's result but the photo itself."""
    from ganedit.io import photo_digest

    arguments = record["arguments"]
    told = {key: value for key, value in arguments.items() if key not in _UNDECISIVE}
    align = Path(arguments["align"] or "")  # of auto and clay there is no file
    return {
        **told,
        "align_sha256": photo_digest(align) if align.is_file() else None,
        "version": __version__,
        "fingerprint": record["generator"]["fingerprint"],
        "start": record["start"],
        "camera": record.get("camera"),
        "mask": mask and photo_digest(mask),
    }


def _counting(path: Path, model: "Network") -> "Tensor":
    """Return what of the photos counts, [1, 1, R, R]: 1 where a mask is lighter than middle grey.

    Raises:
        GaneditError: The mask is missing or no picture, or leaves nothing.
    """
    mask = (read_mask(path, model) > 0.5).float()
    if not bool(mask.any()):
        raise GaneditError(f"{path}: is black all over; a mask is white where the photo counts")
    if bool(mask.all()):
        console.note(f"{path}: is white all over, so it hides nothing")
    return mask


def _note_missing(model: "Network", init: str, start: Start, *, noise: bool | None) -> None:
    if init == "auto" and start.source == "search" and is_solid(model):
        console.note("there is no encoder for this network; the start is searched for")
    if noise is not False and not model.generator.noise_shapes:
        console.note("this generator has no noise maps; only its latents are optimised")


def warn_if_far(photo: str, gap: float) -> None:
    """Say that a photo is unlike the generator's pictures, when it is.

    Args:
        photo: Its file.
        gap: `ganedit.inversion.Projection.domain_gap` of it.
    """
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
        warn_if_far(result["photo"], result["domain_gap"])
    titles = {
        "name": "photo",
        "distance": f"{results[0]['loss']} distance",
        "lpips": "LPIPS",
        "identity": "identity",
        "psnr": "PSNR (dB)",
        "deviation": "from average",
        "yaw": "yaw (deg)",
        "pitch": "pitch (deg)",
        "yaw_moved": "moved (yaw)",
        "pitch_moved": "moved (pitch)",
        "best_step": "best step",
        "seconds": "seconds",
    }
    if results[0]["loss"] == "lpips":
        del titles["lpips"]
    columns = {key: [result.get(key) for result in results] for key in titles}
    columns = {key: column for key, column in columns.items() if set(column) != {None}}
    if len(results) > 1:
        columns = {key: [*column, _foot(key, column)] for key, column in columns.items()}
    rows = zip(*columns.values(), strict=True)
    console.table("", [titles[key] for key in columns], rows)


_NO_MEAN = {"best_step", "yaw", "pitch", "yaw_moved", "pitch_moved"}


def _foot(key: str, column: "Sequence[Any]") -> Any:
    """Return what stands below a column: its mean, empty where a photo lacks the figure."""
    if key == "name":
        return "mean"
    return None if key in _NO_MEAN or None in column else sum(column) / len(column)
