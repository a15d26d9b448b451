"""Alignment files: JSON beside an aligned picture, which says where in which photo it lay."""

import json
from pathlib import Path
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.files import write_bytes
from ganedit.io.latents import Alignment, load_latent

_FORMAT = "ganedit-alignment"


def save_alignment(path: Path | str, alignment: Alignment) -> None:
    """Write an alignment file (.json), atomically.

    Raises:
        GaneditError: The disk fails.
    """
    content = {
        "format": _FORMAT,
        "photo": alignment.photo,
        "size": list(alignment.size),
        "quad": [list(corner) for corner in alignment.quad],
    }
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def load_alignment(path: Path | str) -> Alignment:
    """Return the alignment in a file that `save_alignment` wrote, or in a latent of one row.

    Raises:
        GaneditError: The file is missing or holds something else.
    """
    path = Path(path)
    if path.suffix.lower() == ".pt":
        latent = load_latent(path)
        if len(latent.alignment) != 1:
            raise GaneditError(f"{path}: expected a latent of one aligned photo")
        return latent.alignment[0]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GaneditError(f"{path}: no such file") from error
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: not an alignment that 'ganedit align' wrote") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise GaneditError(f"{path}: not an alignment that 'ganedit align' wrote")
    try:
        return _checked(content)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise GaneditError(f"{path}: the alignment is damaged; align the photo again") from error


def _checked(content: dict[str, Any]) -> Alignment:
    """Return the alignment in a loaded object.

    Raises:
        ValueError, TypeError, KeyError or OverflowError: Something is missing or wrong.
    """
    photo, (width, height) = content["photo"], content["size"]
    if not isinstance(photo, str) or type(width) is not int or type(height) is not int:
        raise ValueError("expected the name of a photo and its size")
    quad = tuple((float(x), float(y)) for x, y in content["quad"])
    return Alignment(photo, (width, height), quad)
