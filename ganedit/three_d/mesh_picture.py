"""Pictures of meshes, drawn with torch alone: no display, no graphics driver."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.io.meshes import Mesh
from ganedit.three_d.cameras import camera_rays

_AMBIENT = 0.35  # what a surface that turns away from the camera still shows
_PAIRS = 2**20  # of a triangle and a pixel, looked at together
_EDGE = 1e-5  # how far outside a triangle still counts, so that no pixel falls between two


@dataclass(frozen=True)
class MeshPicture:
    """What a camera sees of a mesh.

    Attributes:
        image: [1, 3, R, R] in [-1, 1].
        depth: Distance along the ray in world units, [1, 1, R, R]; infinite beside the mesh.
    """

    image: Tensor
    depth: Tensor


def draw_mesh(
    mesh: Mesh,
    camera: Tensor,
    resolution: int,
    *,
    lit: bool = False,
) -> MeshPicture:
    """Return how a mesh looks from a camera; on white; nearer faces cover the others.

    Args:
        mesh: What is drawn; faces that reach behind the camera are left out.
        camera: An EG3D label, [1, 25].
        resolution: Pixels along each side; each shows what is at its centre.
        lit: Dim the colours of the vertices where the surface turns away from the camera.

    Raises:
        ValueError: Another shape of label.
    """
    if camera.shape != (1, 25):
        raise ValueError(f"camera: expected [1, 25], got {list(camera.shape)}")
    camera = camera.cpu().float()  # where meshes are
    corners, inverse = _screen_triangles(mesh, camera, resolution)
    nearest, face, weights = _rasterise(corners, inverse, resolution)
    seen = face >= 0
    shown = mesh.faces[face[seen]]  # [P, 3]
    share = weights[seen] * inverse[face[seen]]  # linear in the world, not on the screen
    share = share / share.sum(dim=1, keepdim=True)
    colours = (mesh.colours[shown] * share[..., None]).sum(dim=1)  # [P, 3]
    _, directions = camera_rays(camera, resolution)
    if lit:
        normals = (mesh.normals[shown] * share[..., None]).sum(dim=1)
        facing = -(torch.nn.functional.normalize(normals, dim=1) * directions[0, seen]).sum(dim=1)
        colours = colours * (_AMBIENT + (1 - _AMBIENT) * facing.clamp(min=0))[:, None]
    image = torch.ones(resolution * resolution, 3)
    image[seen] = colours * 2 - 1
    forward = camera[0, :16].view(4, 4)[:3, 2]
    depth = 1 / nearest / (directions[0] @ forward)  # along the ray, not the axis
    return MeshPicture(
        image.T.view(1, 3, resolution, resolution), depth.view(1, 1, resolution, resolution)
    )


def _screen_triangles(mesh: Mesh, camera: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Return corners in pixels, [F, 3, 2], and the inverse of their depths, [F, 3], 0 behind."""
    pose, intrinsics = camera[0, :16].view(4, 4), camera[0, 16:].view(3, 3)
    local = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]
    flat = local @ intrinsics.mT
    inverse = torch.where(flat[:, 2] > 0, 1 / flat[:, 2], 0)
    pixels = flat[:, :2] * inverse[:, None] * resolution - 0.5  # pixel centres are whole numbers
    return pixels[mesh.faces], inverse[mesh.faces]


def _rasterise(corners: Tensor, inverse: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each pixel the nearest inverse depth, the face there and the corners' weights.

    That is 0, -1 and zeros where no face is. Depth's inverse is linear on the screen.
    """
    count = resolution * resolution
    nearest = corners.new_zeros(count)
    face = torch.full((count,), -1, device=corners.device)
    weights = corners.new_zeros(count, 3)
    for faces, x, y in _pairs(corners, inverse, resolution):
        share = _barycentric(corners[faces], torch.stack([x, y], dim=1).float())
        inside = (share >= -_EDGE).all(dim=1)
        faces, share = faces[inside], share[inside]
        pixel = (y * resolution + x)[inside]
        depth = (share * inverse[faces]).sum(dim=1)
        best = nearest.scatter_reduce(0, pixel, depth, "amax")
        wins = (depth == best[pixel]) & (depth > nearest[pixel])
        face[pixel[wins]] = faces[wins]
        weights[pixel[wins]] = share[wins]
        nearest = best
    return nearest, face, weights


def _pairs(
    corners: Tensor, inverse: Tensor, resolution: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield triangles and the pixels, x and y, in the rectangles around them; each [P]."""
    low = corners.amin(dim=1).ceil().clamp(0, resolution).long()  # [F, 2]
    high = corners.amax(dim=1).floor().clamp(-1, resolution - 1).long()
    size = (high - low + 1).clamp(min=0)
    number = size.prod(dim=1) * (inverse > 0).all(dim=1)
    faces = number.nonzero()[:, 0]
    number = number[faces]
    total = number.cumsum(0)
    start = 0
    while start < len(faces):
        done = int(total[start - 1]) if start else 0
        end = max(start + 1, int(torch.searchsorted(total, done + _PAIRS, right=True)))
        part = faces[start:end].repeat_interleave(number[start:end])
        first = (total - number)[start:end].repeat_interleave(number[start:end]) - done
        place = torch.arange(len(part), device=part.device) - first
        width = size[part, 0]
        yield part, low[part, 0] + place % width, low[part, 1] + place // width
        start = end


def _barycentric(corners: Tensor, points: Tensor) -> Tensor:
    """Return the weights of the corners, [P, 3], at points [P, 2]; -1 where there is no area."""
    a, b, c = (corner - points for corner in corners.unbind(1))
    areas = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=1)
    whole = areas.sum(dim=1, keepdim=True)
    return torch.where(whole != 0, areas / whole, -1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
