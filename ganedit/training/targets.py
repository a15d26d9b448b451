"""Files that hours of training will write: checked before they are spent."""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ganedit.errors import GaneditError
from ganedit.io.files import make_folder, write_error


def check_target(
    path: Path | str,
    *,
    ours: Callable[[Path], bool],
    overwrite: bool,
    inputs: Iterable[Path | str] = (),
) -> None:
    """Check that a trained network may be written to ``path``; makes its folder.

    Args:
        path: The file.
        ours: Whether a file is an earlier result, which may be replaced.
        overwrite: Replace any other file, too.
        inputs: Files that the training reads, among other names; they are never replaced.

    Raises:
        GaneditError: It does not end in .safetensors, is an input, a folder or a file of something
            else, or its folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise GaneditError(f"{path}: a network's name must end in .safetensors")
    if os.path.realpath(path) in {os.path.realpath(name) for name in inputs}:
        raise GaneditError(f"{path}: is an input and would be replaced; choose another --out")
    if path.is_dir():
        raise GaneditError(f"{path}: is a folder; choose another --out")
    if path.exists() and not (overwrite or ours(path)):
        raise GaneditError(f"{path}: holds something else; choose another --out or --overwrite")
    make_folder(path.parent)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise write_error(path, error) from error
