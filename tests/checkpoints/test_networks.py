"""Networks of other projects, from their files to pictures, through the commands."""

import json

import pytest
import torch

from ganedit.checkpoints import load_network, open_checkpoint
from ganedit.checkpoints.building import build_generator
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN3Generator
from tests.checkpoints.foreign import write_nvidia, write_rosinality, write_stylegan3
from tests.conftest import make_generator


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network in four formats, under names that say nothing."""
    folder = tmp_path_factory.mktemp("foreign")
    generator = make_generator()
    return [
        write_nvidia(folder / "a", generator),
        write_nvidia(folder / "b.jpg", generator, protocol=3, channels_last=True),
        write_rosinality(folder / "c.pkl", generator),
        write_rosinality(folder / "d.safetensors", generator, legacy=True),
    ]


@pytest.fixture(scope="module")
def stylegan3_path(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN3Generator(
            z_dim=16, w_dim=16, img_resolution=16, channel_base=256, channel_max=16, num_layers=4
        )
    return write_stylegan3(tmp_path_factory.mktemp("foreign") / "t.pkl", generator)


def test_one_network_is_the_same_in_every_format(files, network):
    ws = network.generator.map(torch.randn(2, 16), truncation_psi=0.7)
    for path in files:
        loaded = load_network(path, device="cpu")
        assert loaded.fingerprint == network.fingerprint
        assert torch.equal(loaded.generator.synthesize(ws), network.generator.synthesize(ws))
        assert torch.equal(loaded.generator.w_avg, network.generator.w_avg)


def test_a_latent_goes_with_every_format(run, files, latent_paths):
    for path in files:
        result = run("interpolate", *latent_paths[:2], "--network", path, "--frames", 3)
        assert result.exit_code == 0, result.stderr


def test_an_average_that_is_not_in_the_file_is_estimated(files, tmp_path):
    content = torch.load(files[2], weights_only=True)  # noqa: TID251 - a file of this test
    del content["latent_avg"]
    torch.save(content, tmp_path / "plain.pt")
    full, plain = (load_network(p, device="cpu") for p in (files[2], tmp_path / "plain.pt"))
    assert full.fingerprint == plain.fingerprint
    z = torch.randn(20_000, 16)
    mean = plain.generator.map(z).mean(dim=(0, 1))
    assert torch.allclose(plain.generator.w_avg, mean, atol=0.03)
    again = load_network(tmp_path / "plain.pt", device="cpu")
    assert torch.equal(plain.generator.w_avg, again.generator.w_avg)


@pytest.mark.parametrize("index", [0, 2])
def test_projection_into_foreign_networks(run, files, index):
    result = run("generate", "--network", files[index], "--seeds", 5, "--out", "photo")
    assert result.exit_code == 0, result.stderr
    options = ("--loss", "clay", "--steps", 12, "--json")
    result = run("project", "photo/seed0005.png", "--network", files[index], *options)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["results"][0]["psnr"] > 12


def test_stylegan3_in_the_commands(run, stylegan3_path):
    loaded = load_network(stylegan3_path, device="cpu")
    assert loaded.metadata["architecture"] == "stylegan3"
    assert loaded.generator.noise_shapes == ()
    network = ("--network", stylegan3_path, "--device", "cpu")
    assert run("generate", *network, "--seeds", "0-1", "--save-latents").exit_code == 0
    ends = ("out/seed0000.pt", "out/seed0001.pt")
    result = run("interpolate", *ends, "--frames", 3, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert run("mix", "--rows", "0", "--columns", "1", "--layers", "0-1", *network).exit_code == 0
    options = ("--loss", "clay", "--steps", 3, "--out", "found")
    result = run("project", "out/seed0000.png", *network, *options)
    assert result.exit_code == 0, result.stderr
    assert "no noise maps" in result.stderr


def test_weights_that_are_not_finite_are_refused(tmp_path):
    generator = make_generator()
    generator.synthesis.b8.conv0.weight.data[0, 0, 0, 0] = torch.nan
    path = write_nvidia(tmp_path / "a.pkl", generator)
    checkpoint = open_checkpoint(path)
    with pytest.raises(GaneditError, match=r"G_ema.synthesis.b8.conv0.weight .*not finite"):
        build_generator(checkpoint.generator, path)


def test_a_file_without_discriminator_cannot_start_a_training(files):
    checkpoint = open_checkpoint(files[0])
    with pytest.raises(GaneditError, match="holds no discriminator"):
        _ = checkpoint.discriminator
