"""The ``ganedit`` command: its commands, and how errors reach the user."""

import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from ganedit.cli import console
from ganedit.cli.adapt import adapt
from ganedit.cli.align import align, paste
from ganedit.cli.blend import blend
from ganedit.cli.clip_edit import clip_edit
from ganedit.cli.compare import compare
from ganedit.cli.compose import compose
from ganedit.cli.convert import convert
from ganedit.cli.dataset import clay, folder
from ganedit.cli.directions import fit, list_directions
from ganedit.cli.edit import edit
from ganedit.cli.encode import encode
from ganedit.cli.factorize import factorize
from ganedit.cli.generate import generate
from ganedit.cli.inspect import inspect as inspect_network
from ganedit.cli.interpolate import interpolate
from ganedit.cli.metrics import disentanglement, ppl
from ganedit.cli.mix import mix
from ganedit.cli.models import models
from ganedit.cli.project import project
from ganedit.cli.recycle import recycle
from ganedit.cli.render_views import render_views
from ganedit.cli.toonify import emojify, toonify
from ganedit.cli.train import train
from ganedit.cli.train_clip import train_clip
from ganedit.cli.train_encoder import train_encoder
from ganedit.cli.train_features import train_features
from ganedit.cli.train_mapper import train_mapper
from ganedit.errors import GaneditError
from ganedit.memory import is_out_of_memory, keep_memory
from ganedit.version import __version__

# The base of every usage error, whichever copy of click typer carries.
_CommandLineError = cast(type[Exception], typer.BadParameter.__mro__[2])

_TERMINATED = 128 + signal.SIGTERM


class OneLineGroup(TyperGroup):
    """Commands whose failures are one line on stderr and an exit code.

    0 done, 1 a `GaneditError` or no memory left, 2 bad usage, 130 interrupted, 143 terminated.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit."""

        def run() -> Any:
            return super(OneLineGroup, self).main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )

        if not standalone_mode:
            return run()
        try:
            code = run() or 0
        except GaneditError as error:
            console.fail(str(error))
            code = 1
        except _CommandLineError as error:
            console.fail(_usage_message(error))
            code = getattr(error, "exit_code", 2)
        except (typer.Abort, KeyboardInterrupt):
            code = console.INTERRUPTED
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            console.fail(
                "out of memory; ask for less at once (photos, seeds, frames, a batch, a"
                " resolution), close other programs, or choose another --device"
            )
            code = 1
        if code == console.INTERRUPTED:
            console.fail("interrupted")
        sys.exit(code)


def _usage_message(error: Exception) -> str:
    message = cast(str, getattr(error, "format_message", error.__str__)())
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return message.rstrip(".") + hint


def _new_app(**settings: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,  # rich would double the start-up time of --help
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def _add(group: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Register a command, with its docstring as help.

    The first paragraph is the line in the list of commands, the last one, the example, ends the
    help.
    """
    text, _, example = inspect.cleandoc(command.__doc__ or "").partition("\n\nExample:")
    # "\b" keeps click from refilling the lines, so that the example can be copied.
    epilog = f"\b\nExample:\n  {' '.join(example.split())}" if example else None
    summary = " ".join(text.partition("\n\n")[0].split())
    group.command(name, help=text.strip(), short_help=summary, epilog=epilog)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ganedit {__version__}")
        raise typer.Exit


def _show_help(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Invert photos into the latent space of a GAN, and edit them there."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _show_dataset_help(context: typer.Context) -> None:
    """Make datasets: zip files of square pictures."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _show_directions_help(context: typer.Context) -> None:
    """Fit directions to labels, and look into files."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _show_metrics_help(context: typer.Context) -> None:
    """Measure generators."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app = _new_app(cls=OneLineGroup, add_completion=False)
app.callback(invoke_without_command=True)(_show_help)
_dataset = _new_app()
_dataset.callback(invoke_without_command=True)(_show_dataset_help)
_add(_dataset, "clay", clay)
_add(_dataset, "folder", folder)
_directions = _new_app()
_directions.callback(invoke_without_command=True)(_show_directions_help)
_add(_directions, "fit", fit)
_add(_directions, "list", list_directions)
_metrics = _new_app()
_metrics.callback(invoke_without_command=True)(_show_metrics_help)
_add(_metrics, "ppl", ppl)
_add(_metrics, "disentanglement", disentanglement)

_add(app, "project", project)
_add(app, "encode", encode)
_add(app, "align", align)
_add(app, "paste", paste)
_add(app, "generate", generate)
_add(app, "interpolate", interpolate)
_add(app, "mix", mix)
_add(app, "compose", compose)
_add(app, "clip-edit", clip_edit)
_add(app, "factorize", factorize)
app.add_typer(_directions, name="directions")
_add(app, "edit", edit)
_add(app, "blend", blend)
_add(app, "emojify", emojify)
_add(app, "toonify", toonify)
_add(app, "render-views", render_views)
_add(app, "compare", compare)
_add(app, "inspect", inspect_network)
_add(app, "convert", convert)
app.add_typer(_dataset, name="dataset")
_add(app, "train", train)
_add(app, "train-encoder", train_encoder)
_add(app, "train-features", train_features)
_add(app, "train-clip", train_clip)
_add(app, "train-mapper", train_mapper)
_add(app, "adapt", adapt)
_add(app, "recycle", recycle)
app.add_typer(_metrics, name="metrics")
_add(app, "models", models)


def main() -> None:
    """Run the ``ganedit`` command."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        keep_memory()
        app(prog_name="ganedit")
    except KeyboardInterrupt:
        console.fail("interrupted")
        sys.exit(console.INTERRUPTED)
    except SystemExit as stop:
        if stop.code == _TERMINATED:
            console.fail("terminated")
        raise


def _terminate(_number: int, _frame: object) -> None:
    """Leave by an exception, so that unfinished files are removed on the way out."""
    raise SystemExit(_TERMINATED)
