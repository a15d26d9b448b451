import json

import pytest

from ganedit.checkpoints import save_network
from tests.conftest import make_generator


@pytest.fixture(scope="module")
def clay_path(tmp_path_factory):
    """A network with random weights that says it is of the clay world."""
    path = tmp_path_factory.mktemp("networks") / "clay-like.safetensors"
    save_network(path, make_generator(), provenance={"perceptual": "clay"})
    return path


def results(run, *arguments):
    result = run("metrics", *arguments, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    return told, {row["space"]: row for row in told["results"]}


def test_path_lengths_of_both_spaces_in_one_run(run, clay_path):
    settings = ["--network", clay_path, "--samples", 12, "--epsilon", 0.001]
    told, rows = results(run, "ppl", *settings)
    assert told["arguments"]["samples"] == 12
    assert told["generator"]["fingerprint"].startswith("sha256:")
    assert list(rows) == ["z", "w"]
    for row in rows.values():
        assert row["distance"] == "clay"
        assert row["samples"] == row["kept"] == 12
        assert row["path_length"] > row["standard_error"] > 0
    _, alone = results(run, "ppl", *settings, "--space", "w")
    assert list(alone) == ["w"]
    assert alone["w"]["path_length"] == pytest.approx(rows["w"]["path_length"], rel=0.02)


def test_the_table_goes_to_stderr(run, clay_path):
    result = run("metrics", "ppl", "--network", clay_path, "--samples", 2, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "path length" in result.stderr
    assert "standard error" in result.stderr


def test_the_embedded_generator_is_less_entangled_in_w(run):
    _, rows = results(run, "ppl", "--samples", 48)
    assert rows["w"]["path_length"] < rows["z"]["path_length"]
    told, rows = results(run, "disentanglement", "--samples", 400)
    for measure in ("accuracy", "disentanglement", "informativeness"):
        assert rows["w"][measure] > rows["z"][measure]
    assert rows["w"]["separability"] < rows["z"]["separability"]
    assert rows["w"]["factors"]["yaw"] > 0.5
    assert told["arguments"]["seed"] == 0


def test_the_tables_show_z_beside_w(run, clay_path):
    result = run("metrics", "disentanglement", "--network", clay_path, "--samples", 200)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    titles = [line.split() for line in result.stderr.splitlines() if "measure" in line]
    assert titles == [["measure", "z", "w"]]
    assert "smile" in result.stderr


def test_classes_are_drawn_or_chosen(run, class_network_path):
    settings = ["--network", class_network_path, "--samples", 6, "--distance", "clay"]
    settings += ["--epsilon", 0.01, "--space", "w"]
    found = {
        key: results(run, "ppl", *settings, *more)[1]["w"]["path_length"]
        for key, more in {"drawn": [], "first": ["--class", 0], "last": ["--class", 2]}.items()
    }
    assert len(set(found.values())) == 3


def test_a_network_of_another_world_is_refused(fails, network_path):
    line = fails("metrics", "disentanglement", "--network", network_path)
    assert "factors can be read only of clay heads" in line
    assert "ganedit dataset clay" in line


def test_other_networks_need_the_weights_of_lpips(fails, network_path, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    line = fails("metrics", "ppl", "--network", network_path)
    assert "VGG16" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("--epsilon", e) for e in ("0", "-1", "nan", "inf", "2")]
    + [("--samples", n) for n in ("0", "1", "-5", "1000001")],
)
def test_values_out_of_range_are_usage_errors(fails, option, value):
    assert option in fails("metrics", "ppl", option, value, code=2)


def test_a_class_that_does_not_exist_is_refused(fails, class_network_path, clay_path):
    line = fails("metrics", "ppl", "--network", class_network_path, "--class", 3)
    assert "class 3 does not exist" in line
    line = fails("metrics", "disentanglement", "--network", clay_path, "--class", 0)
    assert "no classes" in line
