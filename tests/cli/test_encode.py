import json
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_encoder
from ganedit.inversion import encode
from ganedit.io import load_latent, read_image, write_image

RESULTS = ["photo.pt", "photo.png", "photo-target.png", "photo-comparison.png"]
PHOTO = Path(__file__).parents[2] / "examples" / "photo.jpg"


@pytest.fixture
def photos(tmp_path, network):
    """Three pictures of the tiny network."""
    generator = network.generator
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(9))
    paths = [tmp_path / name for name in ("photo.png", "b.png", "c.png")]
    for path, image in zip(paths, generator.synthesize(generator.map(z)), strict=True):
        write_image(path, image[None].clamp(-1, 1))
    return paths


@pytest.fixture
def options(network_path, encoder_path):
    return ("--network", network_path, "--encoder", encoder_path, "--device", "cpu")


def test_the_results_have_the_names_of_project(run, photos, options, network, encoder_path):
    result = run("encode", photos[0], *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [f"out/{name}" for name in [*RESULTS, "run.json"]]
    assert "PSNR" in result.stderr
    latent = load_latent("out/photo.pt")
    assert (latent.names, latent.space) == (("photo",), "w+")
    assert latent.fingerprint == network.fingerprint
    encoder = load_encoder(encoder_path, device="cpu")
    assert torch.equal(latent.ws, encode(network, encoder, read_image(photos[0])))
    picture = network.generator.synthesize(latent.ws)
    assert (read_image("out/photo.png") - picture.clamp(-1, 1)).abs().max() < 1 / 127
    assert torch.equal(read_image("out/photo-target.png"), read_image(photos[0]))
    record = json.loads(Path("out/run.json").read_text())
    assert record["command"] == "encode"
    assert record["encoder"]["architecture"] == "CompactEncoder"
    (figures,) = record["results"]
    assert {"name", "photo", "distance", "psnr", "seconds"} == figures.keys()
    assert sorted(record["files"]) == sorted(RESULTS)


def test_batches_do_not_change_a_photo(run, photos, options, monkeypatch):
    assert run("encode", *photos, *options, "--out", "together").exit_code == 0
    monkeypatch.setattr("ganedit.cli.encode._BATCH_PIXELS", 1)
    result = run("encode", *photos, *options, "--out", "single", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["results"]) == 3
    for name in ("photo", "b", "c"):
        one, other = (load_latent(f"{folder}/{name}.pt").ws for folder in ("together", "single"))
        torch.testing.assert_close(one, other)


def test_clay_has_its_own_encoder(run):
    result = run("encode", PHOTO, "--device", "cpu")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out/run.json").read_text())
    assert record["encoder"]["source"] == "clay-encoder"
    assert record["loss"] == "clay"
    assert record["results"][0]["psnr"] > 18


def test_a_generator_without_an_encoder_says_so(fails, photos, network_path):
    line = fails("encode", photos[0], "--network", network_path, "--device", "cpu")
    assert "no encoder for this generator is at hand; name one with --encoder, train one" in line


def test_encoders_that_do_not_fit_are_one_line(fails, photos, options, network_path, encoder_path):
    one = photos[0]
    line = fails("encode", one, "--encoder", encoder_path, "--device", "cpu")
    assert "an encoder of another generator" in line
    line = fails("encode", one, "--network", network_path, "--encoder", "x", "--device", "cpu")
    assert "'x': no such file" in line
    line = fails("encode", one, *options[:2], "--encoder", network_path, "--device", "cpu")
    assert "without an encoder" in line
    Path("out").mkdir()
    Path("out/photo.pt").write_text("mine")
    assert "photo.pt: not written by ganedit" in fails("encode", one, *options)
