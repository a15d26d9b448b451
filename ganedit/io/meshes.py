"""Meshes with a colour at each vertex, and their files: .glb, .ply and .obj."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import write_bytes

MESH_SUFFIXES = (".glb", ".ply", ".obj")

_SMALLEST_AREA = 1e-30  # square world units; those of fine meshes are small
_GLB_COLOUR = "_COLOUR"  # until the tree is written; other attributes begin with a line there


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles, in world units and axes: x right, y up, z towards the viewer.

    Attributes:
        vertices: float32 [V, 3].
        faces: Indices of vertices, int64 [F, 3], anticlockwise when seen from outside.
        colours: sRGB of each vertex as pictures have it, float32 [V, 3] in [0, 1].
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ValueError: They do not fit together.
        """
        shapes = [list(part.shape) for part in (self.vertices, self.faces, self.colours)]
        count = shapes[0][0]
        if shapes != [[count, 3], [len(self.faces), 3], [count, 3]]:
            raise ValueError(f"mesh: expected [V, 3], [F, 3] and [V, 3], got {shapes}")

    @cached_property
    def watertight(self) -> bool:
        """Whether each edge of a face is met by one other face that runs along it backwards."""
        faces = self.faces.cpu().numpy()
        edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        keys = edges[:, 0] * len(self.vertices) + edges[:, 1]
        backwards = edges[:, 1] * len(self.vertices) + edges[:, 0]
        keys.sort()
        backwards.sort()
        once = len(keys) > 0 and bool((keys[1:] > keys[:-1]).all())
        return once and np.array_equal(keys, backwards)

    @cached_property
    def normals(self) -> Tensor:
        """Unit normals that look out, float32 [V, 3]: of the faces around, weighted by area."""
        a, b, c = self.vertices[self.faces].unbind(1)
        across = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(self.vertices)
        for corner in range(3):
            total.index_add_(0, self.faces[:, corner], across)
        return torch.nn.functional.normalize(total, dim=1, eps=_SMALLEST_AREA)


def check_mesh_path(path: Path | str) -> Path:
    """Return the path of a mesh file that can be written; for before the work.

    Raises:
        GaneditError: Its suffix is none of `MESH_SUFFIXES`.
    """
    path = Path(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise GaneditError(
            f"{path}: meshes are written as {', '.join(MESH_SUFFIXES)}; choose such a name"
        )
    return path


def write_mesh(path: Path | str, mesh: Mesh) -> None:
    """Write a mesh with the colours of its vertices, whole or not at all.

    ``.ply`` and ``.obj`` hold sRGB of 8 bits (``v x y z r g b`` in the latter), as their readers
    take it. Vertex colours of glTF are linear (specification 2.0, 3.9.2), so ``.glb`` holds linear
    float32, which viewers turn back into sRGB.

    Args:
        path: The suffix says the kind; an existing file is replaced.
        mesh: At least one face.

    Raises:
        GaneditError: Another suffix, or the system refuses the write.
    """
    path = check_mesh_path(path)
    if not len(mesh.faces):
        raise ValueError("mesh: expected at least one face")
    colours = mesh.colours.double().cpu().numpy().clip(0, 1)
    glb = path.suffix.lower() == ".glb"
    surface = trimesh.Trimesh(
        mesh.vertices.cpu().numpy(),
        mesh.faces.cpu().numpy(),
        vertex_colors=None if glb else np.rint(colours * 255).astype(np.uint8),
        vertex_attributes={_GLB_COLOUR: _linear(colours).astype(np.float32)} if glb else None,
        process=False,
    )
    if glb:
        content = trimesh.exchange.gltf.export_glb(surface, tree_postprocessor=_paint)
    else:
        content = surface.export(file_type=path.suffix.lower()[1:])
    write_bytes(path, content.encode() if isinstance(content, str) else content)


def _linear(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return intensities of sRGB values (IEC 61966-2-1), both in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _paint(tree: dict[str, Any]) -> None:
    """Make the attribute of a glTF tree its colours, and its material matte.

    trimesh's own have 8 bits, too few for dark ones that are linear; and a surface without a
    material is of metal (3.9.2), which viewers draw almost black.
    """
    primitive = tree["meshes"][0]["primitives"][0]
    primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop(_GLB_COLOUR)
    primitive["material"] = 0
    tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}]
