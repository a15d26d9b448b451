import math
from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import Network, load_network
from ganedit.checkpoints.tuning import apply_tuning, save_tuning
from ganedit.data.clayheads import render, sample_factors
from ganedit.editing import synthesize
from ganedit.errors import GaneditError
from ganedit.features import load_clay_features
from ganedit.inversion import estimate_cameras, project, tune
from ganedit.inversion.cameras import Poses, move_cameras
from ganedit.io import Latent
from ganedit.losses import load_perceptual
from ganedit.three_d.cameras import camera_angles, camera_label, look_at_pose
from tests.conftest import make_generator, make_triplane

PIVOT = [0.0, 0.0, 0.2]


def cameras_at(*angles):
    yaw, pitch = torch.tensor(angles).unbind(1)
    return camera_label(look_at_pose(yaw, pitch, pivot=PIVOT))


@pytest.fixture(scope="module")
def volume():
    """A tiny tri-plane generator whose volumes differ much from side to side."""
    generator = make_triplane()
    with torch.no_grad():
        generator.decoder.net[2].bias[0] = 3
    return Network(generator, "volume", "sha256:v", {})


@pytest.fixture
def distance():
    return load_perceptual("pixel")


def planted(volume, seeds, cameras):
    z = torch.stack(
        [torch.randn(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    ws = volume.generator.map(z)
    return ws, Poses(volume.generator, cameras, photos=len(cameras)).draw(ws, noise="const")


def test_moved_cameras_are_those_of_the_moved_angles():
    moved = move_cameras(
        cameras_at((0.2, -0.1), (-0.5, 0.2)),
        torch.tensor([[0.1, 0.05], [0.0, 0.0]]),
        make_triplane(),
    )
    torch.testing.assert_close(moved, cameras_at((0.3, -0.05), (-0.5, 0.2)), atol=1e-5, rtol=0)


def test_a_moved_camera_keeps_its_roll_and_its_lens():
    generator = make_triplane()
    pose = look_at_pose(torch.tensor([0.2]), torch.tensor([0.1]), pivot=PIVOT)
    roll = torch.eye(4)
    roll[:2, :2] = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    rolled = camera_label(pose @ roll, focal=3.0)
    moved = move_cameras(rolled, torch.tensor([[0.1, 0.0]]), generator)
    wanted = look_at_pose(torch.tensor([0.3]), torch.tensor([0.1]), pivot=PIVOT) @ roll
    torch.testing.assert_close(moved, camera_label(wanted, focal=3.0), atol=1e-5, rtol=0)


def test_the_cameras_of_clay_heads_are_read_off_them():
    heads = render(sample_factors([2**30 + seed for seed in range(8)]))
    found = estimate_cameras(load_clay_features(), heads.image, make_triplane())
    errors = [
        (a - b).abs().mean()
        for a, b in zip(camera_angles(found), camera_angles(heads.camera), strict=True)
    ]
    assert max(errors) < math.radians(4)


def test_photos_from_cameras_of_their_own_are_projected_side_by_side(volume, distance):
    cameras = cameras_at((0.5, 0.0), (-0.4, 0.1))
    _, photos = planted(volume, (3, 4), cameras)
    settings = {"perceptual": distance, "space": "w", "steps": 40, "candidates": 8}
    found = project(volume, photos, cameras=cameras, **settings)
    assert found.noise is None  # of planes; not by default
    start = float(found.history[0].mean())
    assert float(found.history[-1].mean()) < 0.5 * start
    alone = project(volume, photos[1:], cameras=cameras[1:], **settings)
    torch.testing.assert_close(alone.ws, found.ws[1:], atol=2e-3, rtol=0)
    latent = found.latent(volume, names=["a", "b"])
    drawn = torch.cat(list(synthesize(volume, latent, batch_size=1)))
    torch.testing.assert_close(drawn, found.images, atol=1e-5, rtol=0)
    other = torch.cat(list(synthesize(volume, latent, cameras=cameras.flip(0))))
    assert float((other - drawn).abs().mean()) > 0.01


def test_views_of_one_head_share_a_latent(volume, distance):
    cameras = cameras_at((0.5, 0.0), (-0.4, 0.1), (0.0, 0.0))
    ws, photos = planted(volume, (3,), cameras)
    found = project(
        volume,
        photos,
        cameras=cameras,
        perceptual=distance,
        one_head=True,
        optimize_noise=True,
        steps=30,
        initial=ws + 0.3,
    )
    assert found.ws.shape == ws.shape
    assert [len(m) for m in found.noise] == [1] * len(volume.generator.noise_shapes)
    assert found.images.shape == photos.shape
    assert found.history.shape == (30, 1)
    assert found.distance.shape == found.domain_gap.shape == (3,)
    assert float(found.history[-1]) < 0.3 * float(found.history[0])
    latent = found.latent(volume, names=["head"])
    assert torch.equal(latent.cameras, cameras[:1])


def test_a_camera_that_is_off_is_moved_back(volume, distance):
    true = cameras_at((0.3, 0.1))
    ws, photos = planted(volume, (3,), true)
    found = project(
        volume,
        photos,
        cameras=cameras_at((0.2, 0.05)),
        optimize_cameras=True,
        perceptual=distance,
        initial=ws,
        steps=60,
    )
    yaw, pitch = camera_angles(found.cameras)
    assert abs(float(yaw) - 0.3) < 0.04
    assert abs(float(pitch) - 0.1) < 0.04
    torch.testing.assert_close(found.moved, torch.stack([yaw - 0.2, pitch - 0.05], dim=1))


def test_a_flat_generator_has_no_cameras(distance):
    flat = Network(make_generator(), "flat", "sha256:0", {})
    photos = torch.zeros(1, 3, 16, 16)
    settings = {"perceptual": distance, "steps": 1}
    with pytest.raises(GaneditError, match="draws flat pictures"):
        project(flat, photos, cameras=cameras_at((0.0, 0.0)), **settings)
    with pytest.raises(GaneditError, match="no camera to optimise"):
        project(flat, photos, optimize_cameras=True, **settings)
    assert project(flat, photos, **settings).cameras is None
    latent = Latent(torch.zeros(1, 6, 16), "w", "sha256:0", "flat")
    with pytest.raises(GaneditError, match="flat: draws flat pictures"):
        next(synthesize(flat, latent, cameras=cameras_at((0.0, 0.0))))


def test_cameras_are_checked(volume, distance):
    photos = torch.zeros(2, 3, 16, 16)
    for cameras, message in ((torch.zeros(3, 25), "expected"), (torch.zeros(2, 25), "camera 0")):
        with pytest.raises(ValueError, match=message):
            project(volume, photos, cameras=cameras, perceptual=distance, steps=1)
    latent = Latent(torch.zeros(1, volume.generator.num_ws, 16), "w", "sha256:v", "volume")
    with pytest.raises(GaneditError, match="last row of camera-to-world"):
        next(synthesize(volume, replace(latent, cameras=torch.ones(1, 25))))
    with pytest.raises(ValueError, match=r"expected \[1 or 1, 25\]"):
        next(synthesize(volume, latent, cameras=torch.zeros(2, 25)))


@pytest.mark.parametrize("rank", [None, 1])
def test_tuning_draws_each_photo_from_its_camera(triplane_path, distance, tmp_path, rank):
    volume = load_network(triplane_path, device="cpu")
    cameras = cameras_at((0.5, 0.0), (-0.4, 0.1))
    ws, photos = planted(volume, (3, 4), cameras)
    wanted = (photos + 0.2 * torch.linspace(-8, 8, 16).sin()).clamp(-1, 1)
    latent = Latent(ws, "w+", volume.fingerprint, volume.home, cameras=cameras)
    tuned = tune(
        volume, latent, wanted, perceptual=distance, steps=10, rank=rank, learning_rate=1e-2
    )
    assert float(tuned.history[-1].mean()) < 0.9 * float(tuned.history[0].mean())
    rooms = {key.split(".")[0] for key in tuned.differences}
    assert rooms == {"backbone", "decoder", "superresolution"}
    saved = save_tuning(
        tmp_path / "a.safetensors", tuned.differences, volume, rank=rank, half=False
    )
    drawn = torch.cat(list(synthesize(apply_tuning(volume, saved), latent)))
    torch.testing.assert_close(drawn, tuned.images, atol=1e-4, rtol=0)


def test_one_latent_is_tuned_to_several_views(volume, distance):
    cameras = cameras_at((0.5, 0.0), (-0.4, 0.1))
    ws, photos = planted(volume, (3,), cameras)
    latent = Latent(ws, "w+", volume.fingerprint, volume.home)
    tuned = tune(volume, latent, -photos, cameras=cameras, perceptual=distance, steps=10)
    assert tuned.images.shape == photos.shape
    assert (tuned.history[-1] < tuned.history[0]).all()
