from pathlib import Path

import pytest

from ganedit.features import load_clip

OPTIONS = ("--kimg", "0.012", "--batch", "4", "--test-heads", "32", "--device", "cpu")


@pytest.fixture
def heads(run):
    """An archive of eight heads."""
    result = run("dataset", "clay", "--count", "8", "--resolution", "64", "--out", "clay.zip")
    assert result.exit_code == 0, result.output
    return "clay.zip"


def test_train_clip_writes_a_clip_and_tells_its_figures(run, heads):
    result = run("train-clip", "--data", heads, "--out", "new/c.safetensors", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/c.safetensors\n"
    assert "blond hair" in result.stderr
    assert "own caption found first" in result.stderr
    clip = load_clip("new/c.safetensors")
    assert clip.name == "c"
    assert clip.encode_texts(["smile face"]).shape == (1, 128)


def test_targets_that_cannot_be_written_fail_before_the_training(fails):
    Path("folder.safetensors").mkdir()
    Path("mine.safetensors").write_text("mine")
    for out, reason in {
        "c.bin": "must end in .safetensors",
        "folder.safetensors": "is a folder",
        "mine.safetensors": "--overwrite",
    }.items():
        # The data does not exist either, but the target is looked at first.
        assert reason in fails("train-clip", "--data", "absent", "--out", out, *OPTIONS)


def test_data_without_truth_is_one_line(fails, run):
    Path("folder").mkdir()
    for data, reason in {"absent": "no such file", "folder": "ganedit dataset clay"}.items():
        assert reason in fails("train-clip", "--data", data, "--out", "c.safetensors", *OPTIONS)
    fails("train-clip", "--data", "a", "--out", "c.safetensors", "--lr", "nan", code=2)
    emoji = ("--count", "2", "--resolution", "16", "--style", "emoji", "--out", "emoji.zip")
    assert run("dataset", "clay", *emoji).exit_code == 0
    line = fails("train-clip", "--data", "emoji.zip", "--out", "c.safetensors", *OPTIONS)
    assert "emoji heads" in line
