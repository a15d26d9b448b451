import pytest
import torch

from ganedit.data.archive import clay_factor_names, clay_pictures, write_archive
from ganedit.data.clayheads import FACTOR_INDEX, render, sample_factors
from ganedit.errors import GaneditError
from ganedit.features import ClayFeatures
from ganedit.losses import clay_distance
from ganedit.training import features as module
from ganedit.training.features import (
    FeatureScores,
    calibrate_layers,
    check_features_path,
    save_clay_features,
    score_clay_features,
    train_clay_features,
)

SCORES = FeatureScores({"smile": 0.5}, 0.75, 2.5, 64)


def write_heads(path, **settings):
    pictures = clay_pictures(count=3, resolution=16, **settings)
    write_archive(path, pictures, factor_names=clay_factor_names(), **settings)
    return path


@pytest.mark.parametrize("style", ["clay", "emoji"])
def test_landmark_fractions_are_those_of_the_renderer(style):
    factors = sample_factors(range(3))
    heads = render(factors, resolution=16, style=style)
    torch.testing.assert_close(module._landmark_fractions(factors, style) * 16, heads.landmarks)


@pytest.mark.parametrize("style", ["clay", "emoji"])
def test_the_truth_of_a_mirrored_picture_is_that_of_the_mirrored_head(style):
    factors = sample_factors(range(4))
    factors[:, FACTOR_INDEX["yaw"]] += 0.2
    plain = render(factors, resolution=32, style=style)
    mirror = torch.tensor([True, True, False, True])
    truth, landmarks = module._mirror_truth(factors, plain.landmarks / 32, mirror)
    mirrored = render(truth, resolution=32, style=style)
    torch.testing.assert_close(landmarks * 32, mirrored.landmarks, atol=2e-3, rtol=0)
    flipped = torch.where(mirror[:, None, None, None], plain.image.flip(3), plain.image)
    # Not exactly: the glint in the eyes and the grain of hair and skin keep their side.
    assert (flipped - mirrored.image).abs().mean() < 0.02
    assert (plain.image - mirrored.image)[mirror].abs().mean() > 0.05


def test_random_pairs_of_calibrated_features_lie_at_distance_one():
    torch.manual_seed(0)
    features = ClayFeatures().eval().requires_grad_(False)
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    calibrate_layers(features, images)
    perceptual = clay_distance(features)
    a, b = perceptual.encode(images), perceptual.encode(images.roll(1, dims=0))
    assert perceptual.distance(a, b).mean().item() == pytest.approx(1, rel=1e-4)


def test_training_keeps_the_callers_random_numbers_and_repeats(tmp_path):
    data = write_heads(tmp_path / "a.zip")
    before = torch.get_rng_state()
    networks = [train_clay_features(data, kimg=0.004, batch=2, device="cpu") for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    one, two = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_emoji_are_learnt_and_measured_as_emoji(tmp_path):
    data = write_heads(tmp_path / "a.zip", style="emoji")
    features = train_clay_features(data, kimg=0.004, batch=2, device="cpu")
    as_emoji = score_clay_features(features, range(2), style="emoji", resolution=16)
    assert as_emoji.style == "emoji"
    # The same heads in clay look different, and their landmarks lie elsewhere.
    as_clay = score_clay_features(features, range(2), resolution=16)
    assert as_emoji.landmark_pixels != as_clay.landmark_pixels


def test_a_saved_network_is_ours_to_replace_and_other_files_are_not(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    check_features_path(path, overwrite=False)
    save_clay_features(path, ClayFeatures(), [SCORES])
    check_features_path(path, overwrite=False)
    path.write_bytes(b"mine")
    with pytest.raises(GaneditError, match="holds something else"):
        check_features_path(path, overwrite=False)
    check_features_path(path, overwrite=True)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(GaneditError, match="no space left"):
        save_clay_features(tmp_path / "a.safetensors", ClayFeatures(), [SCORES])
    assert list(tmp_path.iterdir()) == []
