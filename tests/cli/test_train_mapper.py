import dataclasses
import inspect
from contextlib import contextmanager
from pathlib import Path

import pytest

from ganedit.checkpoints import load_mapper
from ganedit.cli.train_mapper import train_mapper
from ganedit.training.mapper_config import MapperTrainingConfig


@pytest.fixture
def options(network_path):
    options = ("--network", network_path, "--clip", "clay-clip", "--identity", "clay")
    options = (*options, "--samples", "16", "--kimg", "0.008", "--batch", "2")
    return (*options, "--device", "cpu", "--dtype", "float32")


def test_a_mapper_is_trained_and_inspected(run, options, network):
    given = ("train-mapper", "--prompt", "dark skin", *options, "--out", "new/m.safetensors")
    result = run(*given)
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/m.safetensors\n"
    assert "before" in result.stderr
    assert [path.name for path in Path("new").iterdir()] == ["m.safetensors"]
    assert load_mapper("new/m.safetensors", device="cpu").fingerprint == network.fingerprint
    # The same command again replaces its own result.
    assert run(*given).exit_code == 0
    told = run("inspect", "new/m.safetensors").stdout
    assert "mapper (LevelsMapper)" in told
    assert "dark skin" in told
    assert "w 6 x 16" in told


def test_latents_of_a_file_are_trained_on(run, options, latent_paths):
    given = ("--prompt", "smile", *options, "--latents", latent_paths[0], "--no-coarse")
    result = run("train-mapper", *given, "--out", "m.safetensors")
    assert result.exit_code == 0, result.output
    config = load_mapper("m.safetensors", device="cpu").mapper.config
    assert config["levels"] == ["medium", "fine"]


def test_mistakes_are_one_line(fails, options, latent_paths):
    given = ("train-mapper", *options, "--out", "m.safetensors")
    smile = ("--prompt", "smile")
    assert "the prompt is empty" in fails(*given, "--prompt", "")
    assert "knows none of these words" in fails(*given, "--prompt", "\U0001f680")
    assert "--lr" in fails(*given, *smile, "--lr", "nan", code=2)
    assert "no CLIP" in fails(*given, *smile, "--clip", "ViT-B-23")
    assert "no such file" in fails(*given, *smile, "--latents", "absent.pt")
    line = fails(*given, *smile, "--kind", "single", "--no-fine", code=2)
    assert "--kind single has no levels" in line
    Path("mine.safetensors").write_text("mine")
    line = fails("train-mapper", *options, *smile, "--out", "mine.safetensors")
    assert "--overwrite" in line


def test_words_that_are_not_known_are_told(run, options):
    given = ("train-mapper", *options, "--prompt", "smile xylophone")
    result = run(*given, "--out", "m.safetensors")
    assert result.exit_code == 0, result.output
    assert "xylophone" in result.stderr


def test_an_interruption_is_told(run, options, monkeypatch):
    @contextmanager
    def interrupted():
        yield lambda: True

    monkeypatch.setattr("ganedit.training.resuming.interruptible", interrupted)
    result = run("train-mapper", *options, "--prompt", "smile", "--out", "m.safetensors")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "saved at step 1; the same command goes on" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["m.state.pt"]


def test_the_defaults_are_those_of_the_library():
    signature = inspect.signature(train_mapper).parameters
    renamed = {"prompts": "prompt", "learning_rate": "lr"}
    for field in dataclasses.fields(MapperTrainingConfig):
        option = signature[renamed.get(field.name, field.name)]
        if field.name not in ("prompts", "out", "clip", "identity", "batch"):  # given, or chosen
            assert option.default == field.default, field.name
