import inspect
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_discriminator, load_network, save_network
from ganedit.cli.recycle import recycle as command
from ganedit.generators import StyleGAN2Discriminator
from ganedit.io.images import write_image
from ganedit.training.config import TrainingConfig, field_of
from tests.conftest import make_generator

OPTIONS = ("--kimg", 0.004, "--batch", 2, "--device", "cpu", "--dtype", "float32", "--threads", 1)


@pytest.fixture
def data(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"data/{index}.png", torch.rand(1, 3, 16, 16) * 2 - 1)
    return tmp_path / "data"


@pytest.fixture
def upper(tmp_path, network):
    """A network that says it was fine-tuned from the usual one, with its discriminator."""
    path = tmp_path / "upper.safetensors"
    save_network(
        path,
        make_generator(seed=1),
        discriminator=StyleGAN2Discriminator(img_resolution=16, channel_base=128, channel_max=8),
        provenance={"adapted_from": [network.fingerprint]},
    )
    return path


def test_a_blend_is_tuned_and_the_same_command_goes_on(run, network_path, upper, data):
    options = (network_path, upper, "--at", 8, "--data", data, "--out", "run", *OPTIONS)
    result = run("recycle", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == "run/network-snapshot-000000.safetensors\n"
    assert "discriminator" not in result.stderr
    a, b, blend, tuned = (
        load_network(path, device="cpu")
        for path in (network_path, upper, "run/blend.safetensors", result.stdout.strip())
    )
    states = [each.generator.state_dict() for each in (a, b, blend, tuned)]
    for name, whose in {"b4.conv1": 0, "b8.conv0": 1, "b16.torgb": 1}.items():
        name = f"synthesis.{name}.weight"
        assert torch.equal(states[2][name], states[whose][name])
        assert not torch.equal(states[2][name], states[3][name])
    critics = [load_discriminator(path).state_dict() for path in (upper, "run/blend.safetensors")]
    assert all(torch.equal(value, critics[1][name]) for name, value in critics[0].items())
    assert tuned.ancestors[0] == blend.fingerprint
    assert tuned.accepts(a.fingerprint)
    told, made = (each.metadata["provenance"] for each in (tuned, blend))
    assert told["command"] == "ganedit recycle"
    assert told["shares"] == [[4, 0.0]] * 2 + [[8, 1.0]] * 2 + [[16, 1.0]] * 2
    assert told["blended_from"] == made["blended_from"]

    before = Path("run/blend.safetensors").read_bytes()
    again = run("recycle", *options, "--kimg", 0.008)
    assert again.exit_code == 0, again.output
    assert ["images", "8"] in [line.split() for line in again.stderr.splitlines()]
    assert Path("run/blend.safetensors").read_bytes() == before


def test_a_run_of_another_blend_does_not_go_on(run, fails, network_path, upper, data):
    options = (network_path, upper, "--data", data, *OPTIONS)
    done = run("recycle", *options, "--at", 8, "--structure-loss", 1, "--out", "run")
    assert done.exit_code == 0, done.output
    assert "another blend" in fails("recycle", *options, "--at", 16, "--out", "run")
    trained = ("--z-dim", 8, "--w-dim", 8, "--channel-base", 64, "--channel-max", 8)
    run("train", "--data", data, "--out", "train", *trained, *OPTIONS)
    assert "of no blend" in fails("recycle", *options, "--at", 8, "--out", "train")
    assert not Path("train/blend.safetensors").exists()
    Path("mine").mkdir()
    save_network("mine/blend.safetensors", make_generator(), provenance={})
    assert "was not made by" in fails("recycle", *options, "--at", 8, "--out", "mine")


def test_networks_that_cannot_be_blended_are_compared(run, network_path, wide_network_path, data):
    options = ("--at", 8, "--data", data, "--out", "run", *OPTIONS)
    result = run("recycle", network_path, wide_network_path, *options)
    assert result.exit_code == 1
    assert "w_dim" in result.stderr
    assert not Path("run").exists()


def test_bad_levels_and_options_are_one_line(fails, network_path, data):
    options = ("--data", data, "--out", "run", *OPTIONS)
    assert "--at: 5" in fails("recycle", network_path, network_path, "--at", 5, *options)
    fails("recycle", network_path, network_path, "--at", 8, *options, "--lr", "nan", code=2)
    fails("recycle", network_path, network_path, "--at", 8, *options, "--width", "nan", code=2)
    line = fails("recycle", network_path, network_path, "--at", 8, *options, "--width", 1, code=2)
    assert "--width is for --mode logistic" in line
    line = fails("recycle", network_path, network_path, "--at", 8, *options, "--freeze-d", 1)
    assert "has no discriminator" in line


def test_without_pictures_nothing_is_written(fails, network_path, tmp_path):
    (tmp_path / "none").mkdir()
    options = ("--at", 8, "--data", tmp_path / "none", "--out", "run", *OPTIONS)
    line = fails("recycle", network_path, network_path, *options)
    assert "none: holds no pictures" in line
    assert not Path("run").exists()


def test_the_defaults_are_those_of_train():
    library = TrainingConfig(data="d", out="o")
    apart = {"a", "b", "data", "out", "at", "mode", "width", "order", "kimg"}
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in apart:
            assert parameter.default == getattr(library, field_of(name)), name
