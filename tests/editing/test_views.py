from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.checkpoints.tuning import apply_tuning, load_tuning, save_tuning, synthesis_weights
from ganedit.editing import sample
from ganedit.editing.views import (
    Volume,
    depth_limits,
    open_volume,
    render_views,
    volume_mesh,
)
from ganedit.errors import GaneditError
from ganedit.generators import TriPlaneGenerator
from ganedit.three_d.orbits import circle, poses
from tests.conftest import make_triplane

SPHERE = make_triplane().sphere
CAMERAS = circle(3, (-0.5, 0.5), (-0.2, 0.2), **SPHERE)


@pytest.fixture(scope="module")
def volumes(triplane_path):
    return load_network(triplane_path, device="cpu")


def draw(network, latent, **settings):
    return list(render_views(open_volume(network, latent), CAMERAS, **settings))


def test_views_are_the_generators_own_one_by_one(volumes):
    latent = sample(volumes, [3])
    views = draw(volumes, latent)
    generator = volumes.generator
    planes = generator.planes(latent.ws)
    together = generator.render(planes, latent.ws, CAMERAS)
    for index, view in enumerate(views):
        expected = together.image[index : index + 1]
        torch.testing.assert_close(view.image, expected, atol=1e-5, rtol=0)
        shown = view.opacity >= 0.5
        assert (view.depth[~shown] == 0).all()
        depth = together.depth[index : index + 1]
        torch.testing.assert_close(view.depth[shown], depth[shown], atol=1e-5, rtol=0)
    assert (views[0].image - views[1].image).abs().max() > 1e-3


def test_planes_are_computed_once_for_all_views(volumes, monkeypatch):
    calls = []
    planes = TriPlaneGenerator.planes
    monkeypatch.setattr(
        TriPlaneGenerator, "planes", lambda *a, **k: calls.append(1) or planes(*a, **k)
    )
    draw(volumes, sample(volumes, [3]))
    assert len(calls) == 1


def test_a_view_is_rendered_when_it_is_asked_for(volumes):
    done = []
    volume = open_volume(volumes, sample(volumes, [3]))
    views = render_views(volume, CAMERAS, on_step=lambda step, total, _: done.append((step, total)))
    next(views)
    next(views)
    assert done == [(1, 3)]


def test_noise_maps_and_offsets_of_the_latent_are_drawn(volumes):
    latent = sample(volumes, [3])
    layers = volumes.generator.style_layers
    noisy = sample(volumes, [3], noise="random")
    moved = replace(latent, offsets=tuple(torch.ones(1, layer.channels) for layer in layers))
    plain, *others = (open_volume(volumes, one).planes for one in (latent, noisy, moved))
    maps = list(noisy.noise)
    torch.testing.assert_close(others[0], volumes.generator.planes(latent.ws, noise=maps))
    for planes in others:
        assert (planes - plain).abs().max() > 1e-3


def test_a_tuned_latent_is_drawn_by_its_tuned_generator_only(volumes, tmp_path):
    weights = synthesis_weights(volumes.generator)
    save_tuning(tmp_path / "t.safetensors", {k: x * 0.1 for k, x in weights.items()}, volumes)
    tuned = apply_tuning(volumes, load_tuning(tmp_path / "t.safetensors"))
    latent = replace(sample(volumes, [3]), tuning="t.safetensors")
    with pytest.raises(GaneditError, match="its generator was tuned"):
        open_volume(volumes, latent)
    plain = open_volume(volumes, sample(volumes, [3])).planes
    difference = open_volume(tuned, latent).planes - plain
    assert difference.abs().max() > 1e-4


def test_more_rays_make_larger_depth_and_without_superresolution_larger_pictures(volumes):
    views = draw(volumes, sample(volumes, [3]), resolution=24, samples=(5, 0))
    assert views[0].depth.shape == (1, 1, 24, 24)
    assert views[0].image.shape == (1, 3, 16, 16)
    bare = make_triplane(sr_channels=[])
    ws = bare.map(torch.randn(1, 16))
    volume = Volume(bare, ws, bare.planes(ws))
    for rays, side in ((None, 16), (24, 24)):
        view = next(render_views(volume, CAMERAS, resolution=rays))
        assert view.image.shape == (1, 3, side, side)


def test_a_flat_generator_is_told_apart(network):
    with pytest.raises(
        GaneditError,
        match=r"2-D generator.*train --family triplane --data DATA.zip --out runs/volume --resume",
    ):
        open_volume(network, sample(network, [1]))


def test_a_latent_of_another_generator_is_refused(volumes):
    other = replace(sample(volumes, [3]), fingerprint="sha256:0")
    with pytest.raises(GaneditError, match="made with another generator"):
        open_volume(volumes, other)


def test_depth_limits_are_of_what_is_opaque(volumes):
    depth = torch.tensor([0.0] * 100 + [2.0] * 500 + [3.0] * 500).view(1, 1, 10, -1)
    assert depth_limits([depth], volumes.generator) == (2.0, 3.0)
    assert depth_limits([depth * 0], volumes.generator) == pytest.approx((2.2, 3.2))


def test_cameras_that_do_not_reach_the_volume_are_refused(volumes):
    volumes.generator.check_reach(CAMERAS)
    for radius in (1.0, 4.03):
        with pytest.raises(ValueError, match=r"scale the positions to about 2\.7"):
            volumes.generator.check_reach(poses([0.0], [0.0], **(SPHERE | {"radius": radius})))


def test_a_mesh_has_the_colours_of_the_volume(volumes):
    volume = open_volume(volumes, sample(volumes, [3]))
    points = torch.rand(2000, 3) * 0.8 - 0.4
    level = float(volumes.generator.density(volume.planes, points[None]).median())
    mesh = volume_mesh(volume, resolution=24, level=level)
    assert mesh.watertight
    below = mesh.vertices - 0.03 * mesh.normals  # they are gathered from there, about
    inside = volumes.generator.colours(volume.planes, below[None])[1][0, :, :3]
    error, elsewhere = (
        (mesh.colours - colours).abs().mean() for colours in (inside, inside.flip(0))
    )
    assert error < 0.5 * elsewhere
    with pytest.raises(GaneditError, match="no surface"):
        volume_mesh(volume, resolution=16, level=1e6)
