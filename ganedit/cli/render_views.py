"""``ganedit render-views``: a head from around, as pictures, depth, a video and a mesh."""

import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.options import (
    DeviceOption,
    FpsOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    finite,
    parse_seeds,
    refuse_given,
)
from ganedit.cli.sources import is_file, open_latents, open_network
from ganedit.cli.view_results import Plan, write_head
from ganedit.cli.viewpoints import check_solid, read_cameras
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.generators import TriPlaneGenerator
    from ganedit.io import Latent


NETWORK = "clay-3d"
LARGEST = {"yaw-range": 360.0, "pitch-range": 90.0}
"""Degrees that `parse_range` takes."""
_MOST_SAMPLES = 1024
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def render_views(
    context: typer.Context,
    latents: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LATENT]...", help="Latent files or seeds of a tri-plane network."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="LIST", help="Heads of these seeds instead: 0-3,7."),
    ] = None,
    yaw_range: Annotated[
        str,
        typer.Option(
            metavar="DEG|A:B",
            help="How far around, degrees: 30 is from -30 to 30; positive moves the camera to the"
            " picture's right.",
        ),
    ] = "30",
    pitch_range: Annotated[
        str,
        typer.Option(
            metavar="DEG|A:B",
            help="How far up and down, degrees; positive moves the camera down. The height is"
            " linear in it, and 90 the pole, so that 30 looks like 19.5.",
        ),
    ] = "10",
    views: Annotated[
        int, typer.Option(min=1, max=200, help="Views on the sheet, from the left to the right.")
    ] = 7,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="Frames of the video.")] = 60,
    path: Annotated[
        Literal["circle", "sweep"],
        typer.Option(help="The video's way: around the middle, or from side to side and back."),
    ] = "circle",
    cameras: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Cameras instead: a cameras.json of this command, or a transforms.json of NeRF"
            " tools; --views of them go on the sheet, all into the video.",
        ),
    ] = None,
    depth: Annotated[
        bool, typer.Option("--depth", help="Also write each view's depth: 16-bit PNG, and .npy.")
    ] = False,
    normals: Annotated[
        bool, typer.Option("--normals", help="Also draw and write each view's normals.")
    ] = False,
    mesh: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Also write a coloured mesh into the folder: head.glb, .ply, .obj."
        ),
    ] = None,
    mesh_resolution: Annotated[
        int, typer.Option(min=8, max=1024, help="Points along each side of the mesh's grid.")
    ] = 256,
    mesh_level: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            help="Density of the surface before softplus; by default as seen, at most EG3D's 10.",
        ),
    ] = None,
    mesh_behind: Annotated[
        float | None,
        typer.Option(
            metavar="Z",
            callback=finite,
            help="Cut off what is behind this z of the world, such as a backdrop that hangs on to"
            " the head; 0 is through clay-3d's ears.",
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=8, max=4096, help="Rays along each side; the network's own number by default."
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="COARSE,FINE",
            help="Samples of each ray in the first and the second pass; the network's own by"
            " default.",
        ),
    ] = None,
    max_memory: Annotated[
        str,
        typer.Option(metavar="SIZE", help="What rendering may take beside the network: 2GB."),
    ] = "2GB",
    video: Annotated[
        bool | None,
        typer.Option(
            "--video/--no-video", help="Write an MP4, or none; the default is one, but for --gif."
        ),
    ] = None,
    gif: Annotated[bool, typer.Option("--gif", help="Write an animated GIF.")] = False,
    fps: FpsOption = 30,
    trunc: TruncationOption = 0.7,
    network: OptionalNetworkOption = None,
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Render a head from around: views, their depth, a video, its cameras, and a mesh.

    Writes views.png (the views side by side, each above its depth), views/000.png and so on,
    views.mp4 (picture beside depth), cameras.json, and transforms.json for NeRF tools. Of several
    heads, every name begins with the head's. Without LATENT, the head of seed 0 of clay-3d.

    Example: ganedit render-views --yaw-range 30
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    del arguments["context"]
    _check_options(context, arguments)
    limits = parse_range(yaw_range, "yaw-range"), parse_range(pitch_range, "pitch-range")
    memory, rays = parse_size(max_memory), _parse_samples(samples)

    from ganedit.editing.views import open_volume
    from ganedit.io import OutputFolder

    model, heads = _open_heads(arguments)
    render = {"resolution": resolution, "samples": rays, "max_memory": memory}
    stills, way = _cameras(_check_rays(model, render), arguments, limits)
    plan = Plan(
        stills=stills,
        path=way,
        videos=_videos(video, gif),
        fps=fps,
        depth=depth,
        normals=normals,
        render=render,
        mesh=mesh,
        mesh_settings={"level": mesh_level, "behind": mesh_behind, "max_memory": memory}
        | {"resolution": mesh_resolution},
    )
    inputs: list[str | Path] = [*(latents or []), *([cameras] if cameras else [])]
    folder = OutputFolder(out, command="render-views", overwrite=overwrite, inputs=inputs)
    prefixes = [""] if len(heads) == 1 else [f"{name}-" for name in heads]
    folder.claim([name for prefix in prefixes for name in plan.names(prefix)])
    results, paths = [], []
    for prefix, (name, latent) in zip(prefixes, heads.items(), strict=True):
        written, figures = write_head(folder, plan, open_volume(model, latent), prefix)
        paths += written
        files = [path.relative_to(out).as_posix() for path in written]
        results.append({"name": name, "files": files, **figures})
    record = {
        "arguments": arguments,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "results": results,
    }
    paths.append(folder.finish(record))
    console.emit_json(record) if as_json else console.emit_paths(paths)


def parse_range(text: str, what: str) -> tuple[float, float]:
    """Return the ends of a range of degrees in radians: ``30`` is -30 to 30, or ``A:B``.

    Args:
        text: As the user typed it.
        what: Name of the option: ``yaw-range`` or ``pitch-range``.

    Raises:
        typer.BadParameter: The text does not parse, or runs backwards (exit code 2).
    """
    first, colon, second = text.partition(":")
    largest = LARGEST[what]
    try:
        low, high = float(first), float(second if colon else first)
    except ValueError:
        low = high = math.nan
    low = low if colon else -low
    if not (abs(low) <= largest and abs(high) <= largest):  # NaN compares as false
        raise typer.BadParameter(
            f"{what}: {text[:60]!r} is neither degrees nor A:B, up to {largest:g}; try 30 or -10:40"
        )
    if low > high:
        raise typer.BadParameter(
            f"{what}: {text[:60]!r} runs backwards; the smaller angle goes first"
        )
    return math.radians(low), math.radians(high)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``2GB`` or ``500MB``, of 1024 each.

    Raises:
        typer.BadParameter: The text does not parse (exit code 2).
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]?B?)", text.strip().upper(), re.ASCII)
    size = int(float(match[1]) * _UNITS[match[2].removesuffix("B")]) if match else 0
    if size < 1:
        raise typer.BadParameter(f"max-memory: {text[:60]!r} is no size; try 500MB or 2GB")
    return size


def _parse_samples(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,4})\s*,\s*(\d{1,4})\s*", text, re.ASCII)
    coarse, fine = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (4 <= coarse <= _MOST_SAMPLES and fine <= _MOST_SAMPLES):
        raise typer.BadParameter(
            f"samples: {text[:60]!r} is not COARSE,FINE, from 4 and 0 to {_MOST_SAMPLES}; try 48,48"
        )
    return coarse, fine


def _videos(video: bool | None, gif: bool) -> list[str]:
    """Return the suffixes of the videos to write."""
    return [".mp4"] * (not gif if video is None else video) + [".gif"] * gif


def _check_options(context: typer.Context, arguments: Mapping[str, Any]) -> None:
    """Refuse options that say nothing, or that contradict each other.

    Raises:
        typer.BadParameter: Some do (exit code 2).
    """
    if arguments["latents"] and arguments["seeds"] is not None:
        raise typer.BadParameter("--seeds is for no LATENT; name seeds among the latents instead")
    if arguments["cameras"] is not None:
        given = ("yaw_range", "pitch_range", "frames", "path")
        refuse_given(context, given, why="--cameras says where they are")
    if not _videos(arguments["video"], arguments["gif"]):
        refuse_given(context, ("frames", "path", "fps"), why="there is no video")
    if arguments["mesh"] is None:
        settings = ("mesh_resolution", "mesh_level", "mesh_behind")
        refuse_given(context, settings, why="there is no --mesh")
    else:
        _check_mesh(arguments["mesh"], arguments["max_memory"])


def _check_mesh(name: str, max_memory: str) -> None:
    """Refuse names of meshes that cannot be written, and memory that is too little for any.

    Raises:
        typer.BadParameter: They are (exit code 2).
    """
    from ganedit.io.meshes import check_mesh_path
    from ganedit.three_d.mesh import MIN_MEMORY

    if name != Path(name).name:
        raise typer.BadParameter(f"mesh: {name[:60]!r} is no name; the folder is --out's")
    try:
        check_mesh_path(name)
    except GaneditError as error:
        raise typer.BadParameter(f"mesh: {error}") from error
    if parse_size(max_memory) < MIN_MEMORY:
        raise typer.BadParameter(
            f"max-memory: {max_memory} is too little for a mesh; allow {MIN_MEMORY >> 20}MB"
        )


def _check_rays(model: "Network", render: Mapping[str, Any]) -> "TriPlaneGenerator":
    """Return the generator, if it can render like this.

    Raises:
        GaneditError: It is 2-D.
        typer.BadParameter: A picture takes too much memory, or too many rays (exit code 2).
    """
    generator = check_solid(model, option="render-views")
    try:
        generator.check_rays(**render)
    except GaneditError as error:
        raise typer.BadParameter(f"--max-memory, --resolution: {error}") from error
    return generator


def _open_heads(arguments: Mapping[str, Any]) -> "tuple[Network, dict[str, Latent]]":
    """Return the generator, and the latent of each head by its name.

    Raises:
        GaneditError: A source cannot be used, the generator is 2-D, or two heads have one name.
    """
    from ganedit.editing import sample
    from ganedit.io import looks_like_picture

    sources, network = arguments["latents"], arguments["network"]
    settings = {"device": arguments["device"]}
    heads: dict[str, Latent] = {}
    if not sources:
        numbers = parse_seeds("0" if arguments["seeds"] is None else arguments["seeds"])
        model = open_network(network or NETWORK, **settings)
        check_solid(model, option="render-views")
        latent = sample(model, numbers, truncation_psi=arguments["trunc"])
        return model, {name: latent.row(row) for row, name in enumerate(latent.names)}
    for source in sources:
        if is_file(source) and looks_like_picture(Path(source)):
            raise GaneditError(
                f"{source}: is a picture, not a latent; project it first: ganedit project"
                f" {shlex.quote(source)} --network {network or NETWORK}"
            )
    if not any(map(is_file, sources)):
        network = network or NETWORK
    model, opened = open_latents(
        sources, network=network, truncation_psi=arguments["trunc"], **settings
    )
    for source, latent in zip(sources, opened, strict=True):
        for row in range(len(latent)):
            name = _name(source, latent, row)
            if name.casefold() in map(str.casefold, heads):
                raise GaneditError(
                    f"{source}: another head is called {name}, too; leave one out, or rename it"
                )
            heads[name] = latent.row(row)
    return model, heads


def _name(source: str, latent: "Latent", row: int) -> str:
    """Return what a head's results are called: by its file, or by its seed."""
    if not is_file(source):
        return latent.names[row]
    return Path(source).stem if len(latent) == 1 else f"{Path(source).stem}-{row}"


def _cameras(
    generator: "TriPlaneGenerator",
    arguments: Mapping[str, Any],
    limits: tuple[tuple[float, float], tuple[float, float]],
) -> "tuple[Tensor, Tensor]":
    """Return the labels of the views, and of the video's frames.

    Raises:
        GaneditError: The file of cameras is none, or they do not see the head.
    """
    from ganedit.three_d.orbits import circle, sweep

    count = arguments["views"]
    if arguments["cameras"] is not None:
        way = read_cameras(Path(arguments["cameras"]), generator)
        count = min(count, len(way))
        return way[[round(i * (len(way) - 1) / max(1, count - 1)) for i in range(count)]], way
    usual = generator.sphere
    stills = sweep(count, *limits, **usual)
    if arguments["path"] == "sweep":
        return stills, sweep(arguments["frames"], *limits, back=True, **usual)
    return stills, circle(arguments["frames"], *limits, **usual)
