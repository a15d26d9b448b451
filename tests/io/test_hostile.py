import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.io.hostile import calling_files, hostile_files

ROOT = Path(__file__).parents[2]


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Every hostile file and what the watched reader says of it, and where the canary would be."""
    folder = tmp_path_factory.mktemp("hostile")
    canary = folder / "canary"
    files = list(hostile_files(canary))
    (folder / "files").mkdir()
    for index, file in enumerate(files):
        (folder / "files" / f"{index:03}.pkl").write_bytes(file.content)
    run = _run("-W", "error", "-m", "tests.io.hostile", folder / "files")
    assert run.returncode == 0, run.stderr
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(reports) == len(files)
    return files, reports, canary, folder / "files"


def test_the_set_is_large_and_its_kinds_differ():
    files = list(hostile_files(Path("/nowhere")))
    assert len({file.name for file in files}) == len(files) >= 150
    assert len({file.content for file in files}) == len(files)


def test_each_gives_one_line_that_names_the_file_and_the_thing(watched):
    files, reports, _, folder = watched
    for file, (path, error, _, _, _) in zip(files, reports, strict=True):
        if file.says is None:
            assert error == "", (file.name, error)
            continue
        assert file.says in error, (file.name, error)
        assert error.startswith(f"{folder / path}: "), (file.name, error)
        assert len(error.splitlines()) == 1, (file.name, error)
        assert len(error.removeprefix(str(folder))) < 300, (file.name, error)
        assert error.isprintable(), (file.name, error)


def test_none_runs_code(watched):
    files, reports, canary, _ = watched
    assert not canary.exists()
    assert [(f.name, r[2]) for f, r in zip(files, reports, strict=True) if r[2]] == []


def test_none_takes_long_or_much_memory(watched):
    files, reports, _, _ = watched
    assert [(f.name, r[3]) for f, r in zip(files, reports, strict=True) if r[3] > 5] == []
    assert max(report[4] for report in reports) < 1024  # MB, torch included


LIVE = [file.name for file in calling_files(Path("/nowhere")) if file.live]


@pytest.mark.parametrize("name", LIVE)
def test_the_payloads_are_live(name, tmp_path):
    canary = tmp_path / "canary"
    content = {file.name: file.content for file in calling_files(canary)}[name]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    _run("-c", "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))", path)
    assert canary.exists()


def test_the_watch_sees_what_a_pickle_would_do(tmp_path):
    """The control of the audit hook: the same payloads, run for real under it."""
    program = (
        "import pickle, sys; from tests.io.hostile import Watch; watch = Watch()\n"
        "for path in sys.argv[1:]:\n"
        "    file = open(path, 'rb'); watch.on = True; pickle.load(file); watch.on = False\n"
        "    print('events', watch.events); watch.events = []"
    )
    contents = {file.name: file.content for file in calling_files(tmp_path / "canary")}
    wanted = {
        "call of posix.system": "os.system",
        "call of builtins.exec": "open",
        "call of os.popen": "subprocess.Popen",
        "call of builtins.__import__": "import",
    }
    for name in wanted:
        (tmp_path / name).write_bytes(contents[name])
    run = _run("-c", program, *(tmp_path / name for name in wanted))
    lines = [line for line in run.stdout.splitlines() if line.startswith("events")]
    for line, event in zip(lines, wanted.values(), strict=True):
        assert f"{event} (" in line
