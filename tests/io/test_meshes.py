import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ganedit.errors import GaneditError
from ganedit.io.meshes import MESH_SUFFIXES, Mesh, write_mesh


def _tetrahedron() -> Mesh:
    """Corners at the origin and a tenth along each axis; black, red, dark grey and mid grey."""
    vertices = torch.cat([torch.zeros(1, 3), 0.1 * torch.eye(3)])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    colours = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.1, 0.1, 0.1], [0.5, 0.5, 0.5]])
    return Mesh(vertices, faces, colours)


def _read(path: Path) -> trimesh.Trimesh:
    read = trimesh.load(path, process=False, force="mesh", skip_materials=True)
    assert isinstance(read, trimesh.Trimesh)
    return read


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_trimesh_reads_the_same_mesh_back(suffix: str, tmp_path: Path) -> None:
    mesh = _tetrahedron()
    write_mesh(tmp_path / f"head{suffix}", mesh)
    read = _read(tmp_path / f"head{suffix}")
    np.testing.assert_allclose(read.vertices, mesh.vertices, atol=1e-7)
    np.testing.assert_array_equal(read.faces, mesh.faces)
    assert read.is_watertight
    assert read.volume == pytest.approx(0.1**3 / 6)  # positive: normals point out
    # The linear values of sRGB 0.1 and 0.5 are 0.0100 and 0.2140 (IEC 61966-2-1).
    greys = [3, 55] if suffix == ".glb" else [26, 128]
    shown = read.visual.vertex_colors[:, :3].astype(int)
    assert shown[1].tolist() == [255, 0, 0]
    np.testing.assert_allclose(shown[2:, 0], greys, atol=1)


def test_glb_says_that_its_surface_is_not_metal(tmp_path: Path) -> None:
    write_mesh(tmp_path / "head.glb", _tetrahedron())
    content = (tmp_path / "head.glb").read_bytes()
    (length,) = struct.unpack("<I", content[12:16])
    tree = content[20 : 20 + length].decode()
    assert '"COLOR_0":' in tree
    assert '"metallicFactor":0' in tree


def test_obj_has_colours_behind_the_coordinates(tmp_path: Path) -> None:
    write_mesh(tmp_path / "head.OBJ", _tetrahedron())
    lines = (tmp_path / "head.OBJ").read_text().splitlines()
    assert [float(x) for x in next(x for x in lines[2:] if x[:2] == "v ").split()[1:]] == [
        *(0.1, 0, 0),
        *(1, 0, 0),
    ]


def test_other_suffixes_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(GaneditError, match=r"head\.stl: meshes are written as \.glb, \.ply, \.obj"):
        write_mesh(tmp_path / "head.stl", _tetrahedron())
    assert not list(tmp_path.iterdir())


def test_a_mesh_with_a_hole_or_a_face_turned_round_is_not_watertight() -> None:
    mesh = _tetrahedron()
    assert mesh.watertight
    turned = mesh.faces.clone()
    turned[0] = turned[0].flip(0)
    assert not Mesh(mesh.vertices, mesh.faces[1:], mesh.colours).watertight
    assert not Mesh(mesh.vertices, turned, mesh.colours).watertight
    assert not Mesh(mesh.vertices, mesh.faces[:0], mesh.colours).watertight


def test_parts_that_do_not_fit_are_refused() -> None:
    mesh = _tetrahedron()
    with pytest.raises(ValueError, match=r"expected \[V, 3\], \[F, 3\] and \[V, 3\], got"):
        Mesh(mesh.vertices, mesh.faces, mesh.colours[:3])
