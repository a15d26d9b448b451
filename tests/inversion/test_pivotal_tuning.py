import math
from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import fingerprint, load_network
from ganedit.checkpoints.tuning import apply_tuning, save_tuning, synthesis_weights
from ganedit.editing import sample, synthesize
from ganedit.errors import GaneditError
from ganedit.inversion.pivotal_tuning import tune
from ganedit.losses import load_perceptual


@pytest.fixture
def distance():
    return load_perceptual("pixel")


@pytest.fixture
def pivots(network):
    return sample(network, [1, 2], noise="random")


@pytest.fixture
def targets(network, pivots):
    """Photos that the generator cannot draw at the pivots, but nearly."""
    images = torch.cat(list(synthesize(network, pivots)))
    stripes = torch.linspace(-8, 8, 16).sin().expand_as(images)
    return (images + 0.2 * stripes).clamp(-1, 1)


def draw(network, latent):
    return torch.cat(list(synthesize(network, latent)))


def test_tuning_brings_every_photo_closer_and_leaves_the_network_alone(
    network, pivots, targets, distance
):
    before = distance(draw(network, pivots), targets)
    tuned = tune(network, pivots, targets, perceptual=distance, steps=60, learning_rate=3e-3)
    assert (tuned.distance < 0.5 * before).all()
    assert tuned.history.shape == (61, 2)
    assert fingerprint(network.generator) == network.fingerprint
    assert not any(p.requires_grad for p in network.generator.parameters())


def test_the_differences_make_the_pictures_and_touch_only_the_synthesis(
    network, pivots, targets, distance, tmp_path
):
    tuned = tune(network, pivots, targets, perceptual=distance, steps=5)
    assert all(key.startswith("synthesis.") for key in tuned.differences)
    assert tuned.differences.keys() == synthesis_weights(network.generator).keys()
    saved = save_tuning(tmp_path / "a.safetensors", tuned.differences, network, half=False)
    images = draw(apply_tuning(network, saved), pivots)
    torch.testing.assert_close(images, tuned.images, atol=1e-5, rtol=0)


def test_a_low_rank_is_trained_not_cut_off_afterwards(network, pivots, targets, distance, tmp_path):
    before = distance(draw(network, pivots), targets)
    options = {"perceptual": distance, "steps": 60, "learning_rate": 3e-3}
    tuned = tune(network, pivots, targets, rank=2, **options)
    assert (tuned.distance < 0.6 * before).all()
    change = tuned.differences["synthesis.b16.conv0.weight"].flatten(1)
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 2
    saved = save_tuning(tmp_path / "a.safetensors", tuned.differences, network, rank=2)
    assert saved.error < 1e-3
    images = draw(apply_tuning(network, saved), pivots)
    torch.testing.assert_close(images, tuned.images, atol=0.02, rtol=0)


def test_the_same_call_gives_the_same_bits(network, pivots, targets, distance):
    options = {"perceptual": distance, "steps": 4, "locality_weight": 0.1, "locality_samples": 2}
    one, other = (tune(network, pivots, targets, **options) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert all(torch.equal(x, other.differences[key]) for key, x in one.differences.items())


def test_the_best_step_is_kept_not_the_last(network, pivots, targets, distance):
    tuned = tune(network, pivots, targets, perceptual=distance, steps=12, learning_rate=0.3)
    means = tuned.history.mean(dim=1)
    assert tuned.best_step == int(means.nan_to_num(math.inf).argmin())
    loss = tuned.distance + (tuned.images - targets).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, tuned.history[tuned.best_step])
    torch.testing.assert_close(draw(tuned.applied(network), pivots), tuned.images)


def test_it_stops_at_the_distance_asked_for(network, pivots, targets, distance):
    reached = distance(draw(network, pivots), targets).max()
    steps = []
    tuned = tune(
        network,
        pivots,
        targets,
        perceptual=distance,
        learning_rate=3e-3,
        stop_distance=float(reached) / 2,
        on_step=lambda step, total, values: steps.append((step, values["distance"].max())),
    )
    assert 1 < len(steps) == tuned.best_step < 350
    assert steps[-1][1] <= reached / 2 < steps[-2][1]


def test_photos_that_are_reached_already_need_no_update(network, pivots, distance):
    images = draw(network, pivots)
    tuned = tune(network, pivots, images, perceptual=distance, stop_distance=0.01)
    assert tuned.best_step == 0
    assert not any(bool(x.any()) for x in tuned.differences.values())


def test_time_bounds_the_updates_but_one_is_made(network, pivots, targets, distance):
    tuned = tune(network, pivots, targets, perceptual=distance, max_seconds=0.0)
    assert len(tuned.history) == 2


def test_locality_holds_the_pictures_elsewhere(network, pivots, targets, distance):
    others = sample(network, range(10, 18), truncation_psi=0.5)
    before = draw(network, others)
    moved = []
    for weight in (0.0, 10.0):
        tuned = tune(
            network,
            pivots,
            targets,
            perceptual=distance,
            steps=40,
            learning_rate=3e-3,
            locality_weight=weight,
            locality_samples=2,
        )
        twin = load_network(network.source, device="cpu")
        with torch.no_grad():
            for key, x in synthesis_weights(twin.generator).items():
                x.add_(tuned.differences[key])
        moved.append(float((draw(twin, others) - before).square().mean()))
    assert moved[1] < 0.5 * moved[0]


def test_a_conditional_generator_is_tuned_too(class_network_path, distance):
    network = load_network(class_network_path, device="cpu")
    pivots = sample(network, [1], label=[0.0, 1.0, 0.0])
    targets = draw(network, pivots) * 0.8
    tuned = tune(network, pivots, targets, perceptual=distance, steps=3, locality_weight=0.1)
    assert tuned.best_step == 3


def test_wrong_arguments_are_refused(network, other_network_path, pivots, targets, distance):
    with pytest.raises(ValueError, match=r"targets: expected \[2, 3, 16, 16\]"):
        tune(network, pivots, targets[:1], perceptual=distance)
    with pytest.raises(ValueError, match="steps"):
        tune(network, pivots, targets, perceptual=distance, steps=0)
    other = load_network(other_network_path, device="cpu")
    with pytest.raises(GaneditError, match="another generator"):
        tune(other, pivots, targets, perceptual=distance)
    with pytest.raises(GaneditError, match="tuned already"):
        tune(network, replace(pivots, tuning="a.safetensors"), targets, perceptual=distance)
