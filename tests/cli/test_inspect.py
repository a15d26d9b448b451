import json
import pickle

import pytest
from nvlabs_pickle import Call, Global, dumps

from tests.checkpoints.foreign import write_nvidia
from tests.conftest import make_generator


def test_the_facts_come_on_stdout(run):
    result = run("inspect", "clay")
    assert result.exit_code == 0
    told = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line)
    assert told["family"] == "ganedit"
    assert told["pictures"] == "64 x 64, 3 channels"
    assert told["usable"] == "yes"
    assert len(told["SHA-256"]) == 64


def test_as_json(run):
    facts = json.loads(run("inspect", "clay", "--json").stdout)
    assert (facts["img_resolution"], facts["w_dim"], facts["usable"]) == (64, 128, True)


def test_what_a_file_wanted_to_run_is_told_and_fails(run, tmp_path):
    path = tmp_path / "evil.pkl"
    content = {"G_ema": None, "args": Call(Global("os", "system"), ("touch canary",))}
    path.write_bytes(dumps(content, 4))
    result = run("inspect", path)
    assert result.exit_code == 1
    assert "os.system" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", [[1, 2], {"weights": 3}, "text"])
def test_other_files_are_one_line(fails, tmp_path, value):
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(value))
    assert "no network that ganedit knows" in fails("inspect", path)


def test_control_characters_of_a_file_do_not_reach_the_terminal(run, tmp_path):
    path = write_nvidia(tmp_path / "a.pkl", make_generator(), training={"path": "\x1b[2Jred\nline"})
    result = run("inspect", path)
    assert result.exit_code == 0, result.stderr
    assert "red" in result.stdout
    assert "\x1b" not in result.stdout
