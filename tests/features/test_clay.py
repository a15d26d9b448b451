import pytest
import torch

from ganedit.data.clayheads import FACTOR_INDEX, render, sample_factors
from ganedit.errors import GaneditError
from ganedit.features import ClayFeatures, load_clay_features
from ganedit.features import clay as module
from ganedit.training.features import UNSEEN_SEED


@pytest.fixture(scope="module")
def heads():
    return render(sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + 8)))


def test_the_embedded_network_reads_heads_it_has_not_seen(heads):
    read = load_clay_features().predict(heads.image)
    glasses = heads.factors[:, FACTOR_INDEX["glasses"]]
    assert torch.equal(read.factors[:, FACTOR_INDEX["glasses"]].round(), glasses)
    misses = (read.landmarks * 64 - heads.landmarks).norm(dim=-1)  # [N, L] pixels
    assert misses.mean() < 2


def test_the_embedded_network_is_frozen_and_in_float32():
    features = load_clay_features()
    assert not features.training
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert {value.dtype for value in features.parameters()} == {torch.float32}


def test_pictures_of_any_size_are_embedded_and_the_maps_halve(heads):
    features = load_clay_features()
    small = torch.nn.functional.avg_pool2d(heads.image[:2], 2)
    assert features.embed(small).shape == (2, 256)
    shapes = [tuple(x.shape) for x in features(small)]
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8), (2, 128, 4, 4)]


def test_a_prediction_stays_in_the_ranges_of_the_factors():
    torch.manual_seed(0)
    read = ClayFeatures().eval().predict(100 * torch.randn(2, 3, 64, 64))
    for index, factor in enumerate(module.FACTORS):
        assert read.factors[:, index].min() >= factor.low
        assert read.factors[:, index].max() <= factor.high


def test_a_damaged_file_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "clay-features.safetensors"
    path.write_bytes(b"nonsense")
    monkeypatch.setattr(module, "asset_path", lambda _: path)
    with pytest.raises(GaneditError, match="reinstall ganedit"):
        load_clay_features()
    for given in (path, tmp_path / "absent"):
        with pytest.raises(GaneditError, match="write it with 'ganedit train-features'"):
            load_clay_features(path=given)
