"""What a command says: results on stdout, everything else on stderr."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.errors import GaneditError
from ganedit.progress import OnStep

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
"""The exit code after an interruption (128 and the number of SIGINT)."""


def emit_paths(paths: Iterable[Path]) -> None:
    """Print result paths on stdout, one a line; a name that is no text comes as its own bytes."""
    for path in paths:
        try:
            _echo(str(path))
        except UnicodeEncodeError:
            _echo(os.fsencode(path))


def emit_json(value: Any) -> None:
    """Print a value as JSON on stdout, in ASCII; what JSON does not know (paths) becomes text."""
    _echo(json.dumps(value, indent=2, default=str))


def _echo(text: str | bytes) -> None:
    """Print on stdout.

    Raises:
        GaneditError: It cannot take it; a pipe that nobody reads any more is none of these.
    """
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise GaneditError(
            f"stdout cannot be written ({error.strerror or error}); the files are complete"
        ) from error


def note(message: str) -> None:
    """Print one line on stderr."""
    typer.echo(one_line(message), err=True)


def warn(message: str) -> None:
    """Print one warning line on stderr."""
    note(f"warning: {message}")


def fail(message: str) -> None:
    """Print one error line on stderr."""
    note(f"error: {message}")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stderr; numbers are shown with four significant digits."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, box=box.SIMPLE, title_justify="left")
    for column in columns:
        grid.add_column(Text(column))
    for row in rows:
        grid.add_row(*(Text(_cell(value)) for value in row))
    _stderr().print(grid)


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[OnStep]:
    """Show a bar on stderr while the block runs; only when stderr is a terminal.

    Yields:
        ``on_step(step, total, values)``: steps done, steps in all, and numbers (or one-element
        tensors) to show beside the bar.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeftColumn

    console = _stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeLeftColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    with bar:
        task = bar.add_task(title, total=total, figures="")

        def on_step(step: int, total: int, values: Mapping[str, Any]) -> None:
            if not bar.disable:
                figures = " ".join(f"{name} {_cell(value)}" for name, value in values.items())
                bar.update(task, completed=step, total=total, figures=figures)

        yield on_step


def _stderr() -> "Console":
    from rich.console import Console

    # A pipe or log file has no width; 80 columns would break paths in the middle.
    return Console(stderr=True, width=None if sys.stderr.isatty() else 120, highlight=False)


def _cell(value: Any) -> str:
    if isinstance(value, (str, int, Path)) or value is None:
        return "" if value is None else one_line(str(value))
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError, RuntimeError):
        return str(value)


def one_line(message: str) -> str:
    """Return a text as one line without control characters, which a hostile file could bring."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
