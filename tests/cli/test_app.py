import inspect
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer

import ganedit
from ganedit.cli import app as app_module
from ganedit.cli import console, options
from ganedit.cli.app import app
from ganedit.cli.reference import commands, reference
from ganedit.errors import GaneditError

REPOSITORY = Path(__file__).parents[2]
COMMANDS = dict(commands())


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_imports_nothing_heavy():
    done = python("""
import sys
from ganedit.cli.app import app
try:
    app(["--help"])
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"torch", "numpy", "PIL", "av", "rich", "safetensors", "torchvision"} & set(sys.modules)
assert not heavy, heavy
""")
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout


def test_help_is_quick():
    def seconds() -> float:
        """Processor time, so that a busy machine does not count."""
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "ganedit", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        after = os.times()
        return (after.children_user - before.children_user) + (
            after.children_system - before.children_system
        )

    assert min(seconds() for _ in range(5)) < 0.3


def test_importing_the_library_imports_nothing_heavy():
    done = python("import sys, ganedit; assert not {'torch', 'numpy'} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists_and_is_listed():
    for name in ganedit.__all__:
        assert getattr(ganedit, name) is not None
    assert set(ganedit.__all__) == {*ganedit._HOMES, "__version__"}
    assert set(ganedit.__all__) <= set(dir(ganedit))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ganedit.nonsense


def test_the_version_is_the_packages(run):
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    assert f'version = "{ganedit.__version__}"' in pyproject
    assert run("--version").stdout == f"ganedit {ganedit.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["dataset"]])
def test_help_goes_to_stdout(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stderr == ""


def test_the_list_of_commands_cuts_no_line_off(run):
    assert "..." not in run("--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_ends_with_an_example_that_parses(run, name):
    result = run(*name.split(), "-h")
    assert result.exit_code == 0
    *_, title, example = result.stdout.rstrip().splitlines()
    assert title.strip() == "Example:"
    words = shlex.split(example)
    assert words[0] == "ganedit"
    assert words[1:][: len(name.split())] == name.split()
    command = COMMANDS[name]
    with command.make_context(name, words[1 + len(name.split()) :]):
        pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_kebab_case_and_explained(name):
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        for flag in parameter.opts:
            assert "_" not in flag or not flag.startswith("--")


def test_every_command_is_short():
    for name, command in COMMANDS.items():
        source = inspect.getsource(inspect.unwrap(command.callback))
        body = source.rpartition('    """\n')[2]
        lines = [line for line in body.splitlines() if line.strip()]
        assert len(lines) <= 40, f"{name}: {len(lines)} lines"


def test_the_reference_in_the_docs_is_up_to_date():
    path = REPOSITORY / "docs" / "cli.md"
    assert path.read_text(encoding="utf-8") == reference(), (
        "stale; run: python -m ganedit.cli.reference"
    )


# Failures


def test_usage_errors_are_one_line_with_exit_code_2(fails):
    assert "No such command 'nonsense'" in fails("nonsense", code=2)
    assert "--help" in fails("generate", "--nonsense", code=2)
    assert "--rows" in fails("mix", code=2)
    assert "No such command" in fails("dataset", "nonsense", code=2)


def raising(error: BaseException) -> typer.Typer:
    failing = app_module._new_app(cls=app_module.OneLineGroup, add_completion=False)

    @failing.callback()
    def group() -> None:
        """A group."""

    @failing.command()
    def go() -> None:
        raise error

    return failing


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GaneditError("a.png: no\nface   found"), 1, "error: a.png: no face found\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (typer.BadParameter("bad"), 2, "error: Invalid value: bad"),
        (typer.Exit(3), 3, ""),
        (MemoryError(), 1, "error: out of memory; ask for less at once"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "error: out of"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), 1, "error: out of"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), 1, "error: out of"),
    ],
)
def test_failures_become_exit_codes_and_one_line(capfd, error, code, line):
    with pytest.raises(SystemExit) as stop:
        raising(error)(["go"])
    assert stop.value.code == code
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith(line)
    assert output.err.count("\n") == (1 if line else 0)


def test_programming_errors_keep_their_traceback():
    for error in (ZeroDivisionError(), RuntimeError("shapes differ")):
        with pytest.raises(type(error)):
            raising(error)(["go"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "error: interrupted\n"),
        (signal.SIGTERM, 143, "error: terminated\n"),
    ],
)
def test_a_stop_is_one_line_and_leaves_nothing_half_written(tmp_path, number, code, line):
    arguments = ["dataset", "clay", "--count", "100000", "--out", str(tmp_path / "a.zip")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganedit", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (out, err) == ("", line)
    assert list(tmp_path.iterdir()) == []


# Console


def test_without_a_terminal_progress_is_silent(capfd):
    with console.progress("Working", 3) as on_step:
        on_step(1, 3, {"loss": 0.5})
        on_step(3, 3, {})
    assert capfd.readouterr() == ("", "")


def test_tables_go_to_stderr_without_colour_or_markup(capfd, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console.table("Results", ["photo", "PSNR"], [["[bold]a.png", 26.12345], ["b.png", None]])
    output = capfd.readouterr()
    assert output.out == ""
    assert "[bold]a.png" in output.err
    assert "26.12" in output.err
    assert "\x1b" not in output.err


def test_long_paths_are_not_broken(capfd):
    path = Path("x" * 300)
    console.emit_paths([path])
    console.note(f"{path} done")
    output = capfd.readouterr()
    assert output.out == f"{path}\n"
    assert output.err == f"{path} done\n"


def test_names_that_are_no_text_are_printed_as_they_are(monkeypatch):
    path = Path(os.fsdecode(b"caf\xe9.png"))
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8", errors="strict"))
    console.emit_paths([Path("a.png"), path])
    console.emit_json({"path": path})
    sys.stdout.flush()
    first, second, record = out.getvalue().split(b"\n", 2)
    assert (first, second) == (b"a.png", b"caf\xe9.png")
    assert json.loads(record) == {"path": str(path)}


# Parsers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("5", (5,)), ("0-3,42", (0, 1, 2, 3, 42)), (" 1 , 2-2 ", (1, 2)), ("3,3,1-3", (3, 1, 2))],
)
def test_seeds_parse(text, numbers):
    assert options.parse_seeds(text) == numbers


@pytest.mark.parametrize(
    "text",
    ["", ",", "x", "-1", "1-", "3-1", "1.5", "0-7-9", "4294967296", "0-100000", "9" * 30, "\uff11"],
)
def test_seeds_that_do_not_parse_are_usage_errors(text):
    with pytest.raises(typer.BadParameter, match="seeds: "):
        options.parse_seeds(text)


def test_grids_parse():
    assert options.parse_grid("4x2") == (4, 2)
    for text in ("4", "0x2", "x", "4x-2", "4x2x1"):
        with pytest.raises(typer.BadParameter, match="grid"):
            options.parse_grid(text)


def test_app_is_the_entry_point():
    assert callable(app)
    assert 'ganedit = "ganedit.cli.app:main"' in (REPOSITORY / "pyproject.toml").read_text()
