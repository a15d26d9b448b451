import pytest
import torch
from typer.testing import CliRunner

from ganedit.cli.app import app
from ganedit.data.clayheads import render, sample_factors
from ganedit.errors import GaneditError
from ganedit.features import clay_detector as module
from ganedit.features.clay_detector import FRAME, ClayDetector, load_clay_detector
from ganedit.training.detector import (
    _cut_out,
    _loss,
    _pictures,
    random_scenes,
    save_clay_detector,
    train_clay_detector,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("clay") / "clay.zip"
    arguments = ["dataset", "clay", "--count", "4", "--resolution", "64", "--out", str(path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    return path


def test_training_is_the_same_again_and_survives_its_file(archive, tmp_path, monkeypatch):
    losses = []
    one, other = (
        train_clay_detector(
            archive, steps=2, batch=2, device="cpu", on_step=lambda *told: losses.append(told)
        )
        for _ in range(2)
    )
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(one(images), other(images))
    assert losses[:2] == losses[2:]
    save_clay_detector(tmp_path / "d.safetensors", one)
    monkeypatch.setattr(module, "asset_path", lambda _: tmp_path / "d.safetensors")
    torch.testing.assert_close(load_clay_detector()(images), one(images), atol=0.01, rtol=0.01)
    (tmp_path / "d.safetensors").write_bytes(b"nonsense")
    with pytest.raises(GaneditError, match="reinstall ganedit"):
        load_clay_detector()


def test_a_head_is_cut_out_of_its_backdrop():
    factors = sample_factors([3, 4])
    heads = render(factors, resolution=64)
    cut = _cut_out(heads.image, factors)
    solid = heads.depth.isfinite().float()
    assert (cut.masks - solid).abs().mean() < 0.05


def test_the_truth_itself_has_the_least_loss():
    """Maps that say where the heads lie are nearly free; the same maps, elsewhere, are not."""
    factors = sample_factors(range(6))
    heads = _cut_out(render(factors, resolution=64, supersample=1).image, factors)
    pictures, places, shown = _pictures(heads, torch.Generator().manual_seed(1))
    assert pictures.shape == (6, 3, 64, 64)
    assert pictures.abs().max() <= 1
    at = 8 * (torch.arange(8) + 0.5)
    y, x = torch.meshgrid(at, at, indexing="ij")
    offset = (places.centre[:, :, None, None] - torch.stack([x, y])) / FRAME
    octaves = (places.side / FRAME).log2()
    near = offset.norm(dim=1) * FRAME / places.side[:, None, None] < 0.25
    present = near & (shown & (octaves.abs() < 0.65))[:, None, None]
    values = [octaves, places.turn.cos(), places.turn.sin()]
    rest = torch.stack(values, 1)[:, :, None, None].expand(-1, -1, 8, 8)
    maps = torch.cat([40.0 * present[:, None] - 20, offset, rest], 1)
    assert _loss(maps, places, shown) < 1e-4
    assert _loss(maps.flip(3), places, shown) > 1


def test_scenes_differ_and_stay_in_range():
    scenes = random_scenes(3, 32, torch.Generator().manual_seed(0))
    assert scenes.shape == (3, 3, 32, 32)
    assert scenes.abs().max() <= 1
    assert (scenes[0] - scenes[1]).abs().mean() > 0.05


def test_the_detector_reads_every_eighth_pixel():
    maps = ClayDetector().eval().predict(torch.zeros(2, 3, 40, 64))
    assert maps.presence.shape == maps.side.shape == maps.turn.shape == (2, 5, 8)
    assert maps.offset.shape == (2, 2, 5, 8)
