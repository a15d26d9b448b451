import inspect
import json
import math
from pathlib import Path

import pytest
import torch

from ganedit.cli.train import train as command
from ganedit.io.images import write_image
from ganedit.training.config import RANGES, TrainingConfig, field_of
from ganedit.training.state import read_state

_OPTIONS = {
    "--batch": 4,
    "--z-dim": 8,
    "--w-dim": 8,
    "--channel-base": 64,
    "--channel-max": 8,
    "--grid": "2x2",
    "--device": "cpu",
    "--dtype": "float32",
    "--threads": 1,
}
TINY = [word for option in _OPTIONS.items() for word in option]


def write_pictures(folder, count=4, side=16):
    for index in range(count):
        write_image(folder / f"{index}.png", torch.rand(1, 3, side, side) * 2 - 1)
    return folder


def test_train_writes_a_snapshot_that_generate_reads(run, tmp_path):
    data = write_pictures(tmp_path / "data")
    result = run("train", "--data", data, "--out", "run", "--kimg", 0.004, *TINY)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["run/network-snapshot-000000.safetensors"]
    made = run("generate", "--network", result.stdout.strip(), "--seeds", 3, "--device", "cpu")
    assert made.exit_code == 0, made.output


def test_dry_run_shows_options_and_sizes_and_writes_nothing(run, tmp_path):
    data = write_pictures(tmp_path / "data")
    result = run("train", "--data", data, "--out", tmp_path / "run", "--dry-run", *TINY)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["resolution"] == 16
    assert shown["options"]["r1_gamma"] == 0.0002 * 16**2 / 4
    assert not (tmp_path / "run").exists()


def test_bad_options_and_data_are_one_line(fails, tmp_path):
    data = write_pictures(tmp_path / "data")
    odd = write_pictures(tmp_path / "odd", side=12)
    assert "power of two" in fails("train", "--data", odd, "--out", "run", *TINY)
    assert "no such file" in fails("train", "--data", "missing.zip", "--out", "run")
    assert "no labels" in fails("train", "--data", data, "--out", "run", "--cond", *TINY)
    nowhere = fails("train", "--data", data, "--out", "run", "--resume", "nowhere", *TINY)
    assert "no such file" in nowhere
    assert "or a run's folder" in nowhere
    both = ("--resume", "clay", "--init", "clay")
    assert "give one" in fails("train", "--data", data, "--out", "run", *both, code=2)
    (tmp_path / "nothing").mkdir()
    assert "holds no pictures" in fails("train", "--data", tmp_path / "nothing", "--out", "run")
    fails("train", "--data", data, code=2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch", 0),
        ("--lr", "nan"),
        ("--kimg", "inf"),
        ("--beta1", 1),
        ("--mbstd-group", 3),
        ("--grid", "65x1"),
        ("--evaluate", 1),
        ("--evaluate", -5),
    ],
)
def test_senseless_numbers_are_usage_errors(fails, option, value):
    assert option in fails("train", "--data", "absent", "--out", "run", option, value, code=2)


def test_the_commands_ranges_are_the_librarys():
    ranges = {name: (low, high) for name, low, high in RANGES}
    for spelled, parameter in inspect.signature(command).parameters.items():
        name = field_of(spelled)
        if name not in ranges or spelled in ("seed", "grid"):
            continue
        low, high = ranges.pop(name)
        (option,) = parameter.annotation.__metadata__
        assert (option.min, option.max) == (low, None if high == math.inf else high), name
    assert set(ranges) == {"seed", "grid_columns", "grid_rows"}


def test_evaluate_writes_the_distance_to_the_data(run, tmp_path):
    data = write_pictures(tmp_path / "data")
    arguments = ["--data", data, "--out", "run", "--kimg", 0.004, "--evaluate", 4]
    result = run("train", *arguments, *TINY)
    assert result.exit_code == 0, result.output
    figures = json.loads(Path("run/metrics.jsonl").read_text())
    assert figures["images"] == 4
    assert 0 < figures["frechet_clay"] < math.inf
    assert "frechet_clay" in result.stderr


def test_the_commands_defaults_are_the_librarys():
    library = TrainingConfig(data="d", out="o")
    apart = {"data", "out", "resume", "evaluate", "dry_run"}
    for name, parameter in inspect.signature(command).parameters.items():
        if name == "grid":
            assert parameter.default == f"{library.grid_columns}x{library.grid_rows}"
        elif name not in apart:
            assert parameter.default == getattr(library, field_of(name)), name


def test_an_interrupted_training_exits_with_130(run, tmp_path, monkeypatch):
    from ganedit.training import TrainingResult

    stopped = TrainingResult("interrupted", 8, 1.0, tmp_path / "snapshot.safetensors", {})
    monkeypatch.setattr("ganedit.training.train", lambda *_, **__: stopped)
    result = run("train", "--data", tmp_path, "--out", tmp_path)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_resume_takes_a_run_or_a_network(run, tmp_path):
    data = write_pictures(tmp_path / "data")
    first = run("train", "--data", data, "--out", "first", "--kimg", 0.004, *TINY)
    assert first.exit_code == 0, first.output
    snapshot = first.stdout.strip()
    settings = ("--kimg", 0.008, "--tick", 0.004, *TINY)
    again = run("train", "--data", data, "--out", "again", "--resume", "first", *settings)
    assert again.exit_code == 0, again.output
    assert ["images", "8"] in [line.split() for line in again.stderr.splitlines()]
    options = ("--freeze-d", 4, "--freeze-g", 1, "--structure-loss", 1)
    tuned = run("train", "--data", data, "--out", "t", "--resume", snapshot, *options, *settings)
    assert tuned.exit_code == 0, tuned.output
    assert "discriminator" not in tuned.stderr
    shown = run(
        "train", "--data", data, "--out", "t", "--resume", "t", *options, "--dry-run", *settings
    )
    assert shown.exit_code == 0, shown.output
    plan = json.loads(shown.stdout)
    assert plan["options"]["init"] == str(Path(snapshot).resolve())
    assert plan["generator_trainable"] < plan["generator_parameters"]


def test_a_folder_is_a_run_when_it_holds_a_state(run, fails, tmp_path):
    data = write_pictures(tmp_path / "data", side=64)
    Path("clay").mkdir()
    options = ("--data", data, "--out", "run", "--resume")
    shown = run("train", *options, "clay", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["options"]["init"] == "clay"
    line = fails("train", *options, "./clay", "--dry-run")
    assert "clay: is a folder" in line
    assert "a run's folder with training-state.pt" in line


def test_a_run_whose_start_is_gone_goes_on_from_where_it_lies_now(run, fails, tmp_path):
    data = write_pictures(tmp_path / "data")
    settings = ("--data", data, "--tick", 0.004, *TINY)
    started = run("train", *settings, "--out", "first", "--kimg", 0.004).stdout.strip()
    begun = run("train", *settings, "--out", "run", "--kimg", 0.004, "--init", started)
    assert begun.exit_code == 0, begun.output
    Path(started).rename("moved.safetensors")
    resumed = (*settings, "--resume", "run", "--out", "on", "--kimg", 0.008)
    assert "name it with --init" in fails("train", *resumed)
    assert not Path("on").exists()
    done = run("train", *resumed, "--init", "moved.safetensors")
    assert done.exit_code == 0, done.output
    state = read_state(Path("run/training-state.pt"))
    state["options"]["init"] = "http://127.0.0.1:9/a.pkl"
    torch.save(state, "run/training-state.pt")
    line = fails("train", *settings, "--resume", "run", "--out", "far", "--kimg", 0.008)
    assert "a.pkl is not on this machine" in line


def test_a_start_without_discriminator_is_noted(run, tmp_path):
    data = write_pictures(tmp_path / "data", side=64)
    arguments = ["--data", data, "--out", "run", "--resume", "clay", "--dry-run"]
    result = run("train", *arguments)
    assert result.exit_code == 0, result.output
    assert "a new, untrained one" in result.stderr
    assert json.loads(result.stdout)["options"]["z_dim"] == 128
