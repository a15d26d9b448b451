import dataclasses
import json
import math
import shutil
import zipfile

import pytest
import torch

from ganedit.checkpoints import load_discriminator, load_network, save_network
from ganedit.data.archive import clay_factor_names, clay_pictures, write_archive
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, TriPlaneGenerator
from ganedit.io.directions import Directions, save_directions
from ganedit.three_d import camera_label, look_at_pose
from ganedit.training import TrainingConfig, plan, train
from ganedit.training.triplane import (
    _blurred,
    density_penalty,
    lift,
    lift_discriminator,
    neural_resolution,
    real_pictures,
    told_cameras,
    usual_sphere,
)
from tests.conftest import make_generator, make_triplane
from tests.training.conftest import TINY
from tests.training.test_loop import same_trajectory

VOLUME = {
    "family": "triplane",
    "plane_channels": 4,
    "decoder_features": 8,
    "neural_start": 4,
    "neural_kimg": 0.016,
    "coarse_samples": 4,
    "fine_samples": 4,
    "density_interval": 2,
}


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """Eight clay heads of 16 pixels, with cameras."""
    path = tmp_path_factory.mktemp("heads") / "small.zip"
    pictures = clay_pictures(count=8, seed=0, resolution=16)
    write_archive(path, pictures, factor_names=clay_factor_names())
    return path


@pytest.fixture
def volume(heads, tmp_path):
    def make(out="run", **changes):
        return TrainingConfig(data=heads, out=tmp_path / out, **(TINY | VOLUME | changes))

    return make


def cameras(yaws, pivot=(0.0, 0.0, 0.0)):
    yaw = torch.tensor(yaws)
    pitch = torch.linspace(-0.2, 0.2, len(yaws))
    return camera_label(look_at_pose(yaw, pitch, radius=2.5, pivot=list(pivot)), focal=3.0)


def test_a_training_of_volumes_leaves_networks_that_can_be_seen_from_around(volume):
    config = volume(mirror=True)
    result = train(config)
    network = load_network(result.snapshot, device="cpu")
    generator = network.generator
    assert isinstance(generator, TriPlaneGenerator)
    assert (generator.plane_axes, generator.neural_resolution) == ("fixed", 8)
    assert "labels" not in network.metadata["provenance"]
    ws = generator.map(torch.randn(1, generator.z_dim))
    left, right = (generator.synthesize(ws, camera=cameras([yaw])) for yaw in (-0.4, 0.4))
    assert not torch.equal(left, right)
    discriminator = load_discriminator(result.snapshot)
    assert (discriminator.img_channels, discriminator.c_dim) == (6, 25)
    stats = [json.loads(line) for line in (config.out / "stats.jsonl").read_text().splitlines()]
    assert {"density_penalty", "r1_penalty"} <= set(stats[0])
    assert "path_length" not in stats[0]


def test_an_interrupted_training_of_volumes_goes_on_as_if_it_had_not_been(volume):
    whole = train(volume("whole"))
    train(volume("parts", kimg=0.008))
    parts = train(volume("parts"))
    state = "training-state.pt"
    assert same_trajectory(whole.snapshot.parent / state, parts.snapshot.parent / state)


def test_it_needs_cameras(pictures, volume, tmp_path):
    config = dataclasses.replace(volume(), data=pictures)
    with pytest.raises(GaneditError, match="has no labels; a tri-plane training needs the camera"):
        plan(config)
    folder = tmp_path / "labelled"
    shutil.copytree(pictures, folder)
    labels = [[path.name, [0.5] * 25] for path in folder.glob("*.png")]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(GaneditError, match="its labels are no cameras"):
        plan(dataclasses.replace(config, data=folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": "ada"}, "--augment ada moves pictures"),
        ({"freeze_g": 1}, "--freeze-g is not for"),
        ({"ray_end": 1.0}, "--ray-end must be more"),
        ({"family": "stylegan2"}, "is for --family triplane"),
        ({"swap_probability": 2.0}, "--swap-probability"),
        ({"neural_resolution": 6}, "--neural-resolution must be 16, 8 or 4"),
        ({"plane_resolution": 24}, "--plane-resolution must be a power of two"),
        ({"lift_kimg": 1.0}, "--lift-kimg is for --resume NETWORK"),
        ({"neural_start": 9}, "--neural-start must be at most --neural-resolution 8"),
        ({"plane_resolution": 128}, "no tri-plane network .*channel_base"),
        ({"ray_start": 10.0, "ray_end": 12.0}, "set --ray-start, --ray-end"),
    ],
)
def test_contradictions_are_refused(volume, changes, words):
    with pytest.raises(GaneditError, match=words):
        plan(volume(**changes))


def test_lifting_draws_the_picture_on_the_first_plane_upside_down():
    flat = make_generator()
    volume = make_triplane(mapping_layers=2)
    volume.requires_grad_(True)
    lift(volume, flat)
    z = torch.randn(2, 16)
    torch.testing.assert_close(volume.map(z), flat.map(z))
    first = volume.planes(volume.map(z))[:, 0, :3]
    torch.testing.assert_close(first.flip(2), flat.synthesize(flat.map(z)))


def test_a_lifted_discriminator_sees_the_mean_of_both_pictures():
    flat = StyleGAN2Discriminator(img_resolution=16, channel_base=64, channel_max=8)
    dual = StyleGAN2Discriminator(
        img_resolution=16, channel_base=64, channel_max=8, img_channels=6, c_dim=25
    )
    lift_discriminator(dual, flat)
    image, raw = torch.randn(2, 2, 3, 16, 16)
    wanted = flat.b16.fromrgb((image + raw) / 2)
    torch.testing.assert_close(dual.b16.fromrgb(torch.cat([image, raw], dim=1)), wanted)
    assert torch.equal(dual.b8.conv0.weight, flat.b8.conv0.weight)


def test_a_training_of_volumes_can_start_from_pictures_and_from_volumes(volume, tmp_path):
    path = tmp_path / "flat.safetensors"
    save_network(path, make_generator(), provenance={})
    lifted = train(volume("lifted", init=path, kimg=0.004))
    first = load_network(lifted.snapshot, device="cpu")
    assert first.ancestors == ()  # latents of pictures are none of volumes
    again = train(volume("again", init=lifted.snapshot, kimg=0.004))
    assert load_network(again.snapshot, device="cpu").ancestors == (first.fingerprint,)


def test_a_volume_is_shown_the_pictures_that_it_starts_from(volume, tmp_path):
    path, turns = tmp_path / "flat.safetensors", tmp_path / "turns.pt"
    save_network(path, make_generator(), provenance={"perceptual": "clay"})
    mark = load_network(path, device="cpu").fingerprint
    both = Directions(
        torch.randn(2, 1, 16), ((), ()), ("yaw", "pitch"), torch.ones(2), mark, "flat", "fit"
    )
    save_directions(turns, both)
    config = volume(init=path, lift_kimg=0.008, lift_directions=turns)
    stats = []
    train(config, on_tick=stats.append)
    assert ["loss_lift" in line for line in stats] == [True, False]
    assert ["loss_discriminator" in line for line in stats] == [False, True]
    with pytest.raises(GaneditError, match=r"clay-directions.*directions of another network"):
        plan(volume(init=path, lift_kimg=0.008))
    save_network(path, make_generator(), provenance={})
    with pytest.raises(GaneditError, match="--lift-kimg shows a volume the pictures of a Style"):
        plan(volume("other", init=path, lift_kimg=0.008))


def test_pictures_larger_than_the_planes_start_no_volume(volume, tmp_path):
    path = tmp_path / "flat.safetensors"
    save_network(path, make_generator(), provenance={"perceptual": "clay"})
    with pytest.raises(GaneditError, match="use --plane-resolution 16"):
        plan(volume(init=path, plane_resolution=8))


def test_labels_the_other_way_round_are_refused(volume, heads, tmp_path):
    folder = tmp_path / "inverted"
    with zipfile.ZipFile(heads) as archive:
        archive.extractall(folder)
    path = folder / "dataset.json"
    labels = json.loads(path.read_text())["labels"]
    for row in labels:
        pose = torch.tensor(row[1][:16]).reshape(4, 4).inverse()
        row[1][:16] = pose.flatten().tolist()
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(GaneditError, match=r"its labels are no cameras .*world-to-camera"):
        plan(dataclasses.replace(volume(), data=folder))


def test_the_rays_grow_over_the_first_images(volume):
    config = volume(neural_kimg=0.1).resolved(16)
    assert [neural_resolution(config, n) for n in (0, 50, 100, 1000)] == [4, 6, 8, 8]


def test_the_mapping_is_told_other_cameras_always_at_first_and_as_often_as_asked_later(volume):
    config = volume(swap_probability=0.0, swap_kimg=1.0).resolved(16)
    c = cameras([0.1, 0.2, 0.3])
    assert torch.equal(told_cameras(config, c, 0), c.roll(1, dims=0))
    assert torch.equal(told_cameras(config, c, 1000), c)


def test_real_pictures_come_with_what_rays_would_have_seen(volume):
    config = volume().resolved(16)
    reals = torch.rand(2, 3, 16, 16)
    both = real_pictures(config, reals, images=0)
    assert torch.equal(both[:, :3], reals)
    assert both[:, 3:].std() < reals.std() / 2
    torch.testing.assert_close(both[:, 3:].mean(), reals.mean(), atol=0.01, rtol=0)


def test_blur_spreads_a_dot_as_a_gaussian_and_fades(volume):
    config = volume(blur_sigma=2.0, blur_kimg=1.0).resolved(16)
    dot = torch.zeros(1, 1, 17, 17)
    dot[..., 8, 8] = 1
    spread = _blurred(config, dot, 0)[0, 0]
    assert float(spread.sum()) == pytest.approx(1)
    assert float(spread[8, 10] / spread[8, 8]) == pytest.approx(2**-1)  # exp2(-(2 / sigma)^2)
    assert torch.equal(_blurred(config, dot, 1000), dot)


def test_the_density_penalty_is_zero_for_a_constant_volume_only(volume):
    config = volume().resolved(16)
    generator = make_triplane()
    ws = generator.map(torch.randn(2, 16))
    assert float(density_penalty(config, generator, ws)) > 0
    last = generator.decoder.net[2]
    last.weight.zero_()
    assert float(density_penalty(config, generator, ws)) == 0


def test_the_usual_sphere_is_what_the_data_looks_at():
    found = usual_sphere(cameras([-0.5, -0.2, 0.0, 0.3, 0.6], pivot=(0.0, 0.05, 0.2)))
    assert found["radius"] == pytest.approx(2.5, abs=1e-3)
    assert found["focal"] == 3.0
    assert found["pivot"] == pytest.approx([0.0, 0.05, 0.2], abs=2e-3)
    one = usual_sphere(cameras([0.0]))
    assert math.dist(one["pivot"], (0, 0, 0)) < 0.01
