import json
from pathlib import Path

import pytest

OPTIONS = ("--kimg", "0.006", "--batch", "2", "--test-heads", "2", "--device", "cpu")


@pytest.fixture
def heads(run):
    """An archive of six heads."""
    result = run("dataset", "clay", "--count", "6", "--resolution", "16", "--out", "clay.zip")
    assert result.exit_code == 0, result.output
    return "clay.zip"


def test_train_features_writes_a_network_and_tells_its_figures(run, heads):
    result = run("train-features", "--data", heads, "--out", "new/f.safetensors", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/f.safetensors\n"
    assert "2 unseen clay heads" in result.stderr
    assert "smile" in result.stderr
    assert "landmarks off by" in result.stderr
    from ganedit.features import load_clay_features

    assert (load_clay_features(path="new/f.safetensors").layer_weights > 0).all()


def test_a_network_of_emoji_says_so(run):
    data = ("--count", "3", "--resolution", "16", "--style", "emoji", "--out", "emoji.zip")
    assert run("dataset", "clay", *data).exit_code == 0
    result = run("train-features", "--data", "emoji.zip", "--out", "e.safetensors", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "2 unseen emoji heads" in result.stderr
    from safetensors import safe_open

    with safe_open("e.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["ganedit"])["scores"][0]["style"] == "emoji"


def test_targets_that_cannot_be_written_fail_before_the_training(fails):
    Path("folder.safetensors").mkdir()
    Path("file").touch()
    Path("mine.safetensors").write_text("mine")
    for out, reason in {
        "f.bin": "must end in .safetensors",
        "folder.safetensors": "is a folder",
        "file/f.safetensors": "file",
        "mine.safetensors": "--overwrite",
    }.items():
        # The data does not exist either, but the target is looked at first.
        assert reason in fails("train-features", "--data", "absent", "--out", out, *OPTIONS)


def test_data_without_truth_is_one_line(fails):
    Path("folder").mkdir()
    for data, reason in {"absent": "no such file", "folder": "ganedit dataset clay"}.items():
        line = fails("train-features", "--data", data, "--out", "f.safetensors", *OPTIONS)
        assert reason in line
    fails("train-features", "--data", "a", "--out", "f.safetensors", "--lr", "nan", code=2)
