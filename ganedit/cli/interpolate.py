"""``ganedit interpolate``: between latents, as a video, a strip, or one weighted picture."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    ClassOption,
    DeviceOption,
    FpsOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    parse_weights,
    refuse_given,
)
from ganedit.cli.pasting import PasteBackOption, check_places, pasted_frames
from ganedit.cli.sources import keep_tuning, open_latents
from ganedit.cli.viewpoints import OrbitOption, PitchOption, YawOption, orbit_cameras, viewpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.editing import LatentPath
    from ganedit.io import Latent, OutputFolder

STRIP_PICTURES = 9
# How long a photo's longer side is in these, in pixels; None is as long as it is.
PASTED = {
    "combination-pasted.png": None,
    "interpolation-pasted.mp4": 1920,
    "interpolation-pasted.gif": 640,
    "interpolation-strip-pasted.png": 512,
}
PATH_OPTIONS = ("frames", "mode", "easing", "loop", "orbit", "video", "gif", "strip", "fps")


def interpolate(
    context: typer.Context,
    latents: Annotated[
        list[str], typer.Argument(metavar="LATENT", help="Latent files or seeds, in order.")
    ],
    frames: Annotated[
        int, typer.Option(min=2, max=10_000, help="Frames from one latent to the next.")
    ] = 60,
    mode: Annotated[
        Literal["lerp", "slerp"],
        typer.Option(help="Straight lines, or arcs around the generator's average."),
    ] = "lerp",
    easing: Annotated[
        Literal["linear", "smooth", "smoother", "in", "out"],
        typer.Option(help="Pace between two latents; smooth rests at each."),
    ] = "linear",
    loop: Annotated[
        bool, typer.Option("--loop", help="Also go from the last latent back to the first.")
    ] = False,
    yaw: YawOption = None,
    pitch: PitchOption = None,
    orbit: OrbitOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="One picture instead of a path: a weight for each latent, with the sum 1.",
        ),
    ] = None,
    video: Annotated[
        bool, typer.Option("--video", help="Write an MP4; the default unless another is asked.")
    ] = False,
    gif: Annotated[bool, typer.Option("--gif", help="Write an animated GIF.")] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Write a strip of nine pictures along the path.")
    ] = False,
    save_latents: Annotated[
        bool, typer.Option("--save-latents", help="Also write the latents of all frames.")
    ] = False,
    paste_back: PasteBackOption = False,
    fps: FpsOption = 30,
    trunc: TruncationOption = 0.7,
    class_index: ClassOption = None,
    network: OptionalNetworkOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Interpolate between latents, or combine them by weights.

    Takes two or more, and uses their own generator. Seeds stand for what generate makes of them.
    --paste-back takes the photo of the first latent that came from an aligned one, and writes every
    picture and video a second time, as that photo: interpolation-pasted.mp4, ... A tri-plane
    network is seen from the cameras that the latents remember, from one's to the next one's, else
    from the front.

    Example: ganedit interpolate 3 42 --frames 30 --easing smooth --gif
    """
    arguments = {name: value for name, value in locals().items() if name != "context"}
    numbers = None if weights is None else parse_weights(weights)
    if numbers is not None:
        refuse_given(context, PATH_OPTIONS, why="--weights makes one picture, not a path")

    from ganedit.editing import combine, plan_path
    from ganedit.io import OutputFolder, check_file_size

    pictures = _picture_names(numbers is not None, video, gif, strip)
    outputs = pictures + [_pasted(name) for name in pictures if paste_back]
    if save_latents or numbers is not None:
        outputs.append("interpolation.pt" if numbers is None else "combination.pt")
    folder = OutputFolder(out, command="interpolate", overwrite=overwrite, inputs=latents)
    folder.claim(outputs)
    model, keys = open_latents(
        latents, network=network, device=device, truncation_psi=trunc, class_index=class_index
    )
    path: Latent | LatentPath
    if numbers is not None:
        path = combine(keys, numbers)
    else:
        centre = model.generator.w_avg
        path = plan_path(keys, frames=frames, mode=mode, easing=easing, loop=loop, centre=centre)
    if paste_back:
        check_places([path.rows(0, 1)])
    if save_latents:
        check_file_size(out / outputs[-1], like=path.rows(0, 1), rows=len(path))
    cameras = _cameras(model, keys, len(path), arguments)
    paths = [_write(folder, name, model, path, fps, cameras) for name in outputs]
    if any(name.endswith(".pt") for name in outputs):
        paths += keep_tuning(folder, model)
    record = {
        "arguments": arguments,
        "frames": len(path),
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "results": [path.name for path in paths],
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _picture_names(combined: bool, video: bool, gif: bool, strip: bool) -> list[str]:
    if combined:
        return ["combination.png"]
    wanted = {
        "interpolation.mp4": video or not (gif or strip),
        "interpolation.gif": gif,
        "interpolation-strip.png": strip,
    }
    return [name for name, asked in wanted.items() if asked]


def _pasted(name: str) -> str:
    """Return the name of an output that shows whole photos instead."""
    return f"{Path(name).stem}-pasted{Path(name).suffix}"


def _write(
    folder: "OutputFolder",
    name: str,
    network: "Network",
    path: "Latent | LatentPath",
    fps: int,
    cameras: "Tensor | None",
) -> Path:
    """Write one output; a video's latents and frames are made while it is written."""
    import torch

    from ganedit.editing import synthesize
    from ganedit.io import image_grid, save_latent, write_gif, write_image, write_video

    if name.endswith(".pt"):
        return folder.write(name, partial(save_latent, latent=path.rows(0, len(path))))
    if name.endswith(".png"):
        count = min(STRIP_PICTURES, len(path))
        steps = [round(i * (len(path) - 1) / max(1, count - 1)) for i in range(count)]
        stills = (
            next(synthesize(network, path.rows(step, step + 1), cameras=_of_frame(cameras, step)))
            for step in steps
        )
        sheet = image_grid(torch.cat(list(_in_place(name, path, stills))), columns=count)
        return folder.write(name, partial(write_image, image=sheet))
    write = write_video if name.endswith(".mp4") else write_gif
    with console.progress(f"Rendering {name}", len(path)) as on_step:
        drawn = synthesize(network, path, cameras=cameras, on_step=on_step)
        frames = _in_place(name, path, drawn)
        return folder.write(name, lambda file: write(file, frames, fps=fps))


def _of_frame(cameras: "Tensor | None", frame: int) -> "Tensor | None":
    """Return the camera of a frame, of one for all or one each."""
    return cameras if cameras is None or len(cameras) == 1 else cameras[frame : frame + 1]


def _cameras(
    model: "Network", keys: "Sequence[Latent]", frames: int, arguments: Mapping[str, Any]
) -> "Tensor | None":
    """Return the camera of all frames or of each, [1 or F, 25]; None for those of the latents.

    Raises:
        GaneditError: A camera is asked for, and the network draws flat pictures.
    """
    yaw, pitch, orbit = (arguments[key] for key in ("yaw", "pitch", "orbit"))
    if orbit is not None:
        return orbit_cameras(model, frames, orbit, yaw=yaw, pitch=pitch)
    if yaw is None and pitch is None and arguments["paste_back"]:
        rows = (key.row(index) for key in keys for index in range(len(key)))
        return next((row.cameras for row in rows if row.alignment), None)  # the photo's own
    return viewpoint(model, yaw, pitch)


def _in_place(
    name: str, path: "Latent | LatentPath", frames: "Iterable[Tensor]"
) -> "Iterable[Tensor]":
    """Return the frames of an output; of a pasted one, as the photo that they belong into."""
    if name not in PASTED:
        return frames
    (place,) = path.rows(0, 1).alignment
    return pasted_frames(place, frames, longest=PASTED[name])
