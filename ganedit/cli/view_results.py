"""What views become: pictures, sheets, videos, depth, normals, cameras and meshes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganedit.cli import console

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.editing.views import Volume
    from ganedit.generators import Views
    from ganedit.io import OutputFolder

SHEET_COLUMNS = 9
_SHEET_PIXELS = 2**22  # of all views, depths and normals together; more are reduced
_LEAST_CELL = 128  # but not to less than this, pixels along a side
_MIN_SIDE = 256  # of a video's pictures, pixels; smaller ones are enlarged by a whole factor
NORMALS_UNIT = "camera axes, x right, y up, z to the camera: 8-bit (n + 1) / 2; flat is 128,128,255"


@dataclass(frozen=True, eq=False)
class Plan:
    """What is rendered of every head.

    Attributes:
        stills: Labels of the views, [N, 25].
        path: Labels of a video's frames, [F, 25].
        videos: Suffixes of videos: ``.mp4``, ``.gif``.
        fps: Their frames a second.
        depth: Whether depth becomes files.
        normals: Whether normals are drawn, and become files.
        render: ``resolution``, ``samples`` and ``max_memory`` of `render_views`.
        mesh: Name of a mesh file; None for none.
        mesh_settings: ``resolution``, ``level``, ``behind`` and ``max_memory`` of `volume_mesh`.
    """

    stills: "Tensor"
    path: "Tensor"
    videos: Sequence[str]
    fps: int
    depth: bool
    normals: bool
    render: dict[str, Any]
    mesh: str | None
    mesh_settings: dict[str, Any]

    def names(self, prefix: str) -> list[str]:
        """Return the files of a head, whose names begin with ``prefix``."""
        names = [f"{prefix}{name}" for name in ("views.png", "cameras.json", "transforms.json")]
        names += [f"{prefix}views{suffix}" for suffix in self.videos]
        names += [name for files in self.files(prefix) for name in files.values()]
        return names + ([] if self.mesh is None else [f"{prefix}{self.mesh}"])

    def files(self, prefix: str) -> list[dict[str, str]]:
        """Return the files of each view: ``picture``, and as asked ``depth`` and ``normals``."""
        suffixes = {"picture": ".png"}
        suffixes |= {"depth": "-depth.png", "depth_npy": "-depth.npy"} if self.depth else {}
        suffixes |= {"normals": "-normals.png"} if self.normals else {}
        return [
            {kind: f"{prefix}views/{index:03d}{suffix}" for kind, suffix in suffixes.items()}
            for index in range(len(self.stills))
        ]


def write_head(
    folder: "OutputFolder", plan: Plan, volume: "Volume", prefix: str
) -> tuple[list[Path], dict[str, Any]]:
    """Write all files of a head.

    Returns:
        Their paths, and the figures for the record.

    Raises:
        GaneditError: A view does not fit into memory, or there is no surface for a mesh.
    """
    from ganedit.editing.views import depth_limits
    from ganedit.io.depth import depth_scale

    figures: dict[str, Any] = {}
    paths = []
    if plan.mesh is not None:  # first, because it may fail
        path, figures["mesh"] = _write_mesh(folder, plan, volume, f"{prefix}{plan.mesh}")
        paths.append(path)
    scale = depth_scale(_farthest(volume, plan.stills))
    written, cells = _write_views(folder, plan, volume, prefix, scale)
    limits = depth_limits([cell.depth for cell in cells], volume.generator)
    paths.append(_write_sheet(folder, plan, cells, prefix, limits))
    paths += written
    for suffix in plan.videos:
        paths.append(_write_video(folder, plan, volume, f"{prefix}views{suffix}", limits))
    paths += _write_cameras(folder, plan, cells[0], prefix, scale)
    figures["depth"] = [round(limit, 4) for limit in limits]
    return paths, figures


def _farthest(volume: "Volume", cameras: "Tensor") -> float:
    """Return a distance beyond which no camera sees anything, in world units."""
    generator = volume.generator
    distance = float(cameras[:, [3, 7, 11]].norm(dim=1).max())
    end = generator.rays.end
    reach = distance + generator.box_size * math.sqrt(3) / 2
    return reach if end == "auto" else max(reach, float(end))


@dataclass(frozen=True, eq=False)
class _Cell:
    """What is kept of a view for the sheet.

    Attributes:
        picture: uint8 [1, S, S, 3], at most as large as a cell of the sheet.
        depth: World units, [1, 1, s, s], no larger either.
        normals: uint8 [1, s, s, 3], if asked.
        sides: Pixels along a side of the picture and of the depth before they were reduced.
    """

    picture: "Tensor"
    depth: "Tensor"
    normals: "Tensor | None"
    sides: tuple[int, int]


def _write_views(
    folder: "OutputFolder", plan: Plan, volume: "Volume", prefix: str, scale: float
) -> tuple[list[Path], list[_Cell]]:
    """Render the views, and write each one's files before the next; return what the sheet needs."""
    from ganedit.editing.views import render_views
    from ganedit.io import write_image
    from ganedit.io.depth import write_depth_npy, write_depth_png

    rows = 2 + plan.normals
    side = max(_LEAST_CELL, math.isqrt(_SHEET_PIXELS // (len(plan.stills) * rows)))
    paths, cells = [], []
    with console.progress(f"Rendering {prefix}views", len(plan.stills)) as on_step:
        views = render_views(volume, plan.stills, **plan.render, on_step=on_step)
        for view, label, files in zip(views, plan.stills, plan.files(prefix), strict=True):
            normals = _normals(plan, view, label)
            writers: dict[str, Callable[[Path], None]] = {
                "picture": partial(write_image, image=view.image),
                "depth": partial(write_depth_png, depth=view.depth, scale=scale),
                "depth_npy": partial(write_depth_npy, depth=view.depth),
            }
            if normals is not None:
                writers["normals"] = partial(write_image, image=normals)
            paths += [folder.write(name, writers[kind]) for kind, name in files.items()]
            cells.append(_cell(view, normals, side))
    return paths, cells


def _cell(view: "Views", normals: "Tensor | None", side: int) -> _Cell:
    """Return a view reduced to at most ``side`` pixels along each side."""
    from torch.nn.functional import interpolate

    from ganedit.io import to_uint8

    picture, depth = view.image, view.depth
    sides = picture.shape[3], depth.shape[3]
    if sides[0] > side:
        picture = interpolate(picture, (side, side), mode="bilinear", antialias=True)
    if sides[1] > side:  # without mixing what is near with what is far or unknown
        depth = interpolate(depth, (side, side), mode="nearest-exact")
        if normals is not None:
            normals = interpolate(normals, (side, side), mode="nearest-exact")
    return _Cell(to_uint8(picture), depth, None if normals is None else to_uint8(normals), sides)


def _normals(plan: Plan, view: "Views", label: "Tensor") -> "Tensor | None":
    """Return a view's normals if they are asked for."""
    from ganedit.three_d.normals import depth_normals

    return depth_normals(view.depth, label[None]) if plan.normals else None


def _panels(
    image: "Tensor", depth: "Tensor", normals: "Tensor | None", limits: tuple[float, float]
) -> "list[Tensor]":
    """Return a view's picture, its depth in grey, and its normals if any; all of one size."""
    from torch.nn.functional import interpolate

    from ganedit.io.depth import depth_picture

    maps = [depth_picture(depth, *limits)] + ([] if normals is None else [normals])
    side = tuple(image.shape[2:])
    return [image.clamp(-1, 1), *(interpolate(x, side, mode="nearest") for x in maps)]


def _write_sheet(
    folder: "OutputFolder",
    plan: Plan,
    cells: Sequence[_Cell],
    prefix: str,
    limits: tuple[float, float],
) -> Path:
    """Write the views side by side, each above its depth."""
    import torch

    from ganedit.io import from_uint8, labelled_grid, to_uint8, write_image

    captions = _captions(tell_angles(plan.stills))
    columns = min(SHEET_COLUMNS, len(cells))
    rows = []
    for first in range(0, len(cells), columns):
        pictures = []
        for cell in cells[first : first + columns]:
            normals = None if cell.normals is None else from_uint8(cell.normals)
            panels = _panels(from_uint8(cell.picture), cell.depth, normals, limits)
            pictures.append(torch.cat(panels, dim=2))
        told = captions[first : first + columns]
        rows.append(to_uint8(labelled_grid(torch.cat(pictures), told, columns=columns)))
    sheet = from_uint8(torch.cat(rows, dim=1))
    return folder.write(f"{prefix}views.png", partial(write_image, image=sheet))


def _write_video(
    folder: "OutputFolder", plan: Plan, volume: "Volume", name: str, limits: tuple[float, float]
) -> Path:
    """Write the path as a video; its frames are made while it is written."""
    import torch

    from ganedit.editing.views import render_views
    from ganedit.io import write_gif, write_video

    write = write_video if name.endswith(".mp4") else write_gif
    with console.progress(f"Rendering {name}", len(plan.path)) as on_step:

        def frames() -> "Iterator[Tensor]":
            views = render_views(volume, plan.path, **plan.render, on_step=on_step)
            for view, label in zip(views, plan.path, strict=True):
                normals = _normals(plan, view, label)
                frame = torch.cat(_panels(view.image, view.depth, normals, limits), dim=3)
                factor = math.ceil(_MIN_SIDE / frame.shape[2])
                yield frame.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

        return folder.write(name, lambda file: write(file, frames(), fps=plan.fps))


def tell_angles(labels: "Tensor") -> list[dict[str, float]]:
    """Return where cameras are, in degrees."""
    from ganedit.three_d import camera_angles

    yaw, pitch = (angles.rad2deg().tolist() for angles in camera_angles(labels))
    return [
        {"yaw": round(y, 4) + 0.0, "pitch": round(p, 4) + 0.0}  # no negative zeros
        for y, p in zip(yaw, pitch, strict=True)
    ]


def _captions(angles: Sequence[dict[str, float]]) -> list[str]:
    """Return what is told of each view: the angles that differ."""
    names = [
        name for name in ("yaw", "pitch") if len({round(one[name], 2) for one in angles}) > 1
    ] or ["yaw", "pitch"]
    return [", ".join(f"{name} {round(one[name], 1) + 0.0:g}°" for name in names) for one in angles]


def _write_cameras(
    folder: "OutputFolder", plan: Plan, cell: _Cell, prefix: str, scale: float
) -> list[Path]:
    """Write the cameras of the views, for ganedit and for NeRF tools."""
    from ganedit.io.camera_files import save_cameras, save_transforms
    from ganedit.io.depth import DEPTH_UNIT

    side, rays = cell.sides
    facts: dict[str, Any] = {"picture": {"width": side, "height": side}}
    if plan.depth:
        facts["depth"] = {"width": rays, "height": rays, "unit": DEPTH_UNIT, "png_scale": scale}
    if plan.normals:
        facts["normals"] = NORMALS_UNIT
    files = plan.files(prefix)
    save = partial(
        save_cameras,
        labels=plan.stills,
        views=[{**a, **f} for a, f in zip(tell_angles(plan.stills), files, strict=True)],
        video=tell_angles(plan.path) if plan.videos else (),
        video_labels=plan.path if plan.videos else None,
        facts=facts,
    )
    pictures = [one["picture"] for one in files]
    nerf = partial(save_transforms, labels=plan.stills, files=pictures, resolution=side)
    return [
        folder.write(f"{prefix}cameras.json", save),
        folder.write(f"{prefix}transforms.json", nerf),
    ]


def _write_mesh(
    folder: "OutputFolder", plan: Plan, volume: "Volume", name: str
) -> tuple[Path, dict[str, Any]]:
    """Write the surface, and print what it is; return its path and the same for the record."""
    from ganedit.editing.views import volume_mesh
    from ganedit.io.meshes import write_mesh

    mesh = volume_mesh(volume, **plan.mesh_settings)
    path = folder.write(name, partial(write_mesh, mesh=mesh))
    figures = {
        "file": name,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": bool(mesh.watertight),
    }
    told = "watertight" if mesh.watertight else "not watertight"
    console.note(f"{path}: {figures['vertices']} vertices, {figures['faces']} faces, {told}")
    return path, figures
