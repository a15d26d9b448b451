"""Surfaces out of volumes: marching cubes on a density, with colours at the vertices.

The recipe is EG3D's (gen_samples.py): a grid of densities over the volume's box, its border cut off
because volumes hide their backdrop in walls there, and the surface where the density before
softplus is 10. Cubes: Lewiner et al., Efficient implementation of Marching Cubes' cases with
topological guarantees, 2003, as scikit-image has it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.meshes import Mesh

EG3D_LEVEL = 10.0  # before softplus
EG3D_BORDER = 30 / 256  # of the box's side, at each face
MAX_RESOLUTION = 1024
MIN_MEMORY = 2**26  # bytes
MAX_MEMORY = 2**29  # when nobody says how many

_POINT_BYTES = 2048  # of a tri-plane decoder with 32 channels for one point
_GRID_BYTES = 32  # of one density on its way to a surface: eight numbers
_LEVEL_RAYS = 32  # along a side
_LEVEL_SAMPLES = 128  # of each
_COLOUR_SAMPLES = 12
_COLOUR_REACH = 0.15  # of the box's side
_NEAREST = 5e-4  # of a step: no vertex is nearer to a point, so that no two fall together

Field = Callable[[Tensor], Tensor]
"""What a volume holds at points [P, 3] in world units: densities [P], or colours [P, 3]."""


def extract_mesh(
    density: Field,
    colour: Field,
    *,
    box_size: float,
    resolution: int = 256,
    level: float | None = None,
    border: float = EG3D_BORDER,
    behind: float | None = None,
    max_memory: int = MAX_MEMORY,
    device: torch.device | str = "cpu",
) -> Mesh:
    """Return the surface of a volume, closed where the volume is cut.

    It is the connected piece that encloses the most; the others are left out.

    Args:
        density: Gives densities before softplus, [P].
        colour: Gives sRGB, [P, 3] in about 0..1; asked at the vertices and below.
        box_size: Side of the volume's box around the origin, in world units.
        resolution: Points along the box's side, 8 to 1024, its faces included.
        level: The density of the surface, before softplus; None takes `find_level`.
        border: Part of the box's side that is cut off at each face, 0 to below 0.5.
        behind: Cut off all with a smaller z than this, in world units; None cuts the border only.
        max_memory: Bytes that the work takes beside the mesh, from 2**26 on, whatever the
            resolution; a point is taken to need 2048 of them.
        device: Where ``density`` and ``colour`` want their points.

    Returns:
        The mesh on the CPU.

    Raises:
        GaneditError: No density passes the level, or one is not finite, or a colour is not.
        ValueError: A setting is outside its range.
    """
    _check_settings(box_size, resolution, level, border, behind, max_memory)
    density, colour = _on_device(density, device), _on_device(colour, device)
    if level is None:
        level = find_level(density, box_size=box_size, border=border)
    grid = _grid(box_size, resolution, border, behind)
    points = max(1, max_memory // 2 // _POINT_BYTES)
    layers = max(1, max_memory // 4 // (_GRID_BYTES * grid.size[1] * grid.size[2]))
    blocks = _blocks(density, grid, layers=layers, points=points)
    vertices, faces = _largest_piece(*_march(blocks, level))
    world = grid.positions(torch.from_numpy(vertices))
    mesh = Mesh(world, torch.from_numpy(faces), torch.zeros_like(world))
    reach = _COLOUR_REACH * box_size
    return replace(mesh, colours=_colours(density, colour, mesh, reach=reach, points=points))


def _on_device(field: Field, device: torch.device | str) -> Field:
    """Return the same from and to the CPU, in float32."""
    return lambda points: field(points.to(device)).detach().float().cpu()


def find_level(
    density: Field,
    *,
    box_size: float,
    border: float = EG3D_BORDER,
) -> float:
    """Return the density of the surface that is seen from the front, at most EG3D's 10.

    Rays run from the front to the back through the middle quarter of the box. Where a half of the
    light is stopped, there is a ray's surface; the median of the densities there is the level.
    Networks that were trained for long have sharp surfaces, of far more than 10; volumes that are
    softer, with fewer samples or less training, may hold no 10 at all.

    Args:
        density: As for `extract_mesh`.
        box_size: As for `extract_mesh`.
        border: As for `extract_mesh`.

    Raises:
        GaneditError: No ray is stopped by half, or densities are not finite.
    """
    across = torch.linspace(-box_size / 4, box_size / 4, _LEVEL_RAYS)
    front = box_size * (0.5 - border)
    along = torch.linspace(front, -front, _LEVEL_SAMPLES)
    points = torch.cartesian_prod(across, across, along)
    densities = torch.cat([density(part) for part in points.split(_LEVEL_SAMPLES**2)])
    densities = densities.view(-1, _LEVEL_SAMPLES)
    step = 2 * front / (_LEVEL_SAMPLES - 1)
    stopped = (torch.nn.functional.softplus(densities - 1) * step).cumsum(dim=1)
    behind = stopped >= math.log(2)
    place = behind.int().argmax(dim=1, keepdim=True)  # the first
    found = densities.gather(1, place)[behind[:, -1]]
    _check_finite(densities)
    if not len(found):
        raise GaneditError(
            "there is no surface: light passes through the volume, whose densities reach only"
            f" {float(densities.max()):.4g} (before softplus); choose a level below that"
        )
    return min(EG3D_LEVEL, float(found.median()))


def _check_settings(
    box_size: float,
    resolution: int,
    level: float | None,
    border: float,
    behind: float | None,
    max_memory: int,
) -> None:
    if not 0 < box_size < math.inf:
        raise ValueError(f"box_size: expected a positive length, got {box_size}")
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise ValueError(f"resolution: expected 8 to {MAX_RESOLUTION}, got {resolution}")
    if level is not None and not math.isfinite(level):
        raise ValueError(f"level: expected a finite number, got {level}")
    if not 0 <= border < 0.5:
        raise ValueError(f"border: expected 0 to below 0.5, got {border}")
    if behind is not None and not math.isfinite(behind):
        raise ValueError(f"behind: expected a finite z, got {behind}")
    if max_memory < MIN_MEMORY:
        raise ValueError(f"max_memory: expected at least {MIN_MEMORY} bytes, got {max_memory}")


@dataclass(frozen=True)
class _Grid:
    """The points that are left of the box's grid.

    Attributes:
        start: World position of the first, along each axis.
        size: Number along x, y and z.
        step: Distance of two.
    """

    start: tuple[float, float, float]
    size: tuple[int, int, int]
    step: float

    def positions(self, index: Tensor) -> Tensor:
        """Return world positions, float32 [P, 3], of places counted in points, [P, 3]."""
        start = torch.tensor(self.start, dtype=torch.float64, device=index.device)
        return (start + self.step * index).float()


def _grid(box_size: float, resolution: int, border: float, behind: float | None) -> _Grid:
    step = box_size / (resolution - 1)
    cut = int(border * resolution)
    start = -box_size / 2 + cut * step
    count = resolution - 2 * cut
    back = 0
    if behind is not None:
        back = max(0, math.ceil((behind - start) / step))
        if not back < count:
            end = start + (count - 1) * step
            raise GaneditError(
                f"cutting behind z = {behind:g} leaves nothing of a volume that reaches from"
                f" {start:.3g} to {end:.3g}; choose a smaller z"
            )
    return _Grid((start, start, start + back * step), (count, count, count - back), step)


def _blocks(density: Field, grid: _Grid, *, layers: int, points: int) -> Iterator[Tensor]:
    """Yield the densities at a few x at a time, each [x, y, z]."""
    ny, nz = grid.size[1:]
    for first in range(0, grid.size[0], layers):
        count = min(layers, grid.size[0] - first)
        block = torch.empty(count * ny * nz)
        for start in range(0, len(block), points):
            flat = torch.arange(start, min(start + points, len(block)))
            x, y, z = flat // (ny * nz) + first, flat // nz % ny, flat % nz
            at = grid.positions(torch.stack([x, y, z], dim=1).double())
            block[start : start + points] = density(at)
        yield block.view(count, ny, nz)


class _Surface:
    """A surface that grows slab by slab along x.

    A vertex between two points depends on their densities only, so those in the layer that two
    slabs share are the same numbers in both, and are joined by them.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._vertices: list[NDArray[np.float64]] = []
        self._faces: list[NDArray[np.int64]] = []
        self._count = 0
        self._layers = 0
        self._seam = np.zeros(0, np.uint64), np.zeros(0, np.int64)

    def add(self, slab: NDArray[np.float32]) -> None:
        """Add what lies in a slab [x, y, z]; its first layer is the last of the one before."""
        top = len(slab) - 1
        seam = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        if (slab > 0).any() and not (slab > 0).all():
            local, corners, _, _ = marching_cubes(slab, 0.0, gradient_direction="ascent")
            index = self._join(local)
            self._vertices[-1][:, 0] += self._layers
            faces = index[corners]
            self._faces.append(faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)])
            seam = _keys(local[local[:, 0] == top]), index[local[:, 0] == top]
        self._seam = seam
        self._layers += top

    def _join(self, local: NDArray[np.float32]) -> NDArray[np.int64]:
        """Add the vertices of a slab that are not there yet; return the place of each."""
        index = np.full(len(local), -1, np.int64)
        if len(self._seam[0]):
            order = np.argsort(self._seam[0])
            keys, places = self._seam[0][order], self._seam[1][order]
            bottom = np.flatnonzero(local[:, 0] == 0)
            wanted = _keys(local[bottom])
            found = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            same = keys[found] == wanted
            index[bottom[same]] = places[found[same]]
        fresh = index < 0
        index[fresh] = self._count + np.arange(fresh.sum())
        self._count += int(fresh.sum())
        self._vertices.append(local[fresh].astype(np.float64))
        return index

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return vertices [V, 3], counted in layers of all slabs, and faces [F, 3]."""
        return np.concatenate(self._vertices), np.concatenate(self._faces)


def _keys(vertices: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return y and z as one number each, bit by bit."""
    bits = np.ascontiguousarray(vertices[:, 1:] + np.float32(0)).view(np.uint32).astype(np.uint64)
    return bits[:, 0] << np.uint64(32) | bits[:, 1]


def _march(blocks: Iterator[Tensor], level: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the vertices, counted in points of the grid, and the faces of the closed surface."""
    surface, edge = _Surface(), None
    low, high = math.inf, -math.inf
    for block in blocks:
        _check_finite(block)
        least, most = (float(extreme) for extreme in block.aminmax())
        low, high = min(low, least), max(high, most)
        inside = _closed(_closed(_off_level(block - level), 1), 2)
        surface.add(torch.cat([_beyond(inside[:1]) if edge is None else edge, inside]).numpy())
        edge = inside[-1:]
    if not low <= level < high:
        raise GaneditError(
            f"there is no surface at density {level:g}: the volume holds {low:.4g} to {high:.4g}"
            " (before softplus); choose a level between"
        )
    assert edge is not None  # a grid has at least one point
    surface.add(torch.cat([edge, _beyond(edge)]).numpy())
    vertices, faces = surface.result()
    return vertices - 1, faces  # the first of each axis is the layer of `_closed`


def _off_level(volume: Tensor) -> Tensor:
    """Return differences to the level, [x, y, z], none of which is next to 0 for its layer.

    Where the surface passes through a point of the grid, the vertices of all edges there would fall
    together. A layer (one x) is looked at alone, so that blocks do not change the result.
    """
    size = volume.abs()
    around = torch.nn.functional.max_pool2d(size, 3, stride=1, padding=1)
    least = (_NEAREST * around).clamp(min=_NEAREST * _NEAREST)
    return torch.where(size < least, least.copysign(volume), volume)


def _check_finite(densities: Tensor) -> None:
    if not bool(densities.isfinite().all()):
        raise GaneditError(
            "the volume's densities are not all finite; its network or latent is damaged"
        )


def _closed(volume: Tensor, axis: int) -> Tensor:
    """Return the volume with a layer of outside before and behind it."""
    first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, volume.shape[axis] - 1, 1)
    return torch.cat([_beyond(first), volume, _beyond(last)], dim=axis)


def _beyond(layer: Tensor) -> Tensor:
    """Return the layer outside: the surface is half a step from this one, so that cuts are flat."""
    return -layer.clamp(min=_NEAREST * _NEAREST)


def _largest_piece(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the connected surface that encloses the most."""
    count = len(vertices)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]).T
    links = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(count, count))
    _, piece = connected_components(links, directed=False)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    volumes = np.bincount(piece[faces[:, 0]], (np.cross(a, b) * c).sum(axis=1))  # six times each
    kept = piece == volumes.argmax()
    place = np.cumsum(kept) - 1
    return vertices[kept], place[faces[kept[faces[:, 0]]]]


def _colours(density: Field, colour: Field, mesh: Mesh, *, reach: float, points: int) -> Tensor:
    """Return the colours of vertices, [V, 3] in [0, 1]: what a ray gathers against the normal.

    The colour on the surface itself is seen by nobody where a volume is thin.
    """
    depths = torch.linspace(0, reach, _COLOUR_SAMPLES)[:, None]
    step = reach / (_COLOUR_SAMPLES - 1)
    parts = []
    rows = max(1, points // _COLOUR_SAMPLES)
    for at, normal in zip(mesh.vertices.split(rows), mesh.normals.split(rows), strict=True):
        along = (at[:, None] - normal[:, None] * depths).flatten(0, 1)  # [P*S, 3]
        stopped = torch.nn.functional.softplus(density(along) - 1).view(len(at), -1) * step
        weights = (stopped - stopped.cumsum(dim=1)).exp() * -torch.expm1(-stopped)  # [P, S]
        shares = weights / weights.sum(dim=1, keepdim=True)
        parts.append((shares[..., None] * colour(along).view(*shares.shape, 3)).sum(dim=1))
    colours = torch.cat(parts)
    if not bool(colours.isfinite().all()):
        raise GaneditError(
            "the volume's colours are not all finite; its network or latent is damaged"
        )
    return colours.clamp(0, 1)
