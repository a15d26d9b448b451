"""The command reference: ``python -m ganedit.cli.reference`` writes docs/cli.md from --help."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ganedit.cli.app import app
from ganedit.io.files import write_bytes

_INTRODUCTION = """\
# Commands

Made from each command's `--help` by `python -m ganedit.cli.reference`; a test fails when it is
stale. Results go to stdout as paths, one a line; everything else goes to stderr. Exit codes: 0
done, 1 an error that is told in one line, 2 a mistake in the command line, 130 interrupted.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield name and command for each command, ``dataset clay`` for one in a group."""
    yield from _walk(typer.main.get_command(app), "")


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _walk(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def reference() -> str:
    """Return the content of docs/cli.md."""
    sections = [_INTRODUCTION]
    for name, command in commands():
        context = typer.Context(
            command,
            info_name=f"ganedit {name}",
            terminal_width=100,
            help_option_names=["-h", "--help"],
        )
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        sections.append(f"## ganedit {name}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    write_bytes(Path("docs") / "cli.md", reference().encode())
