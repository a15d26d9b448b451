"""The truth stored beside the pictures of a ClayHeads archive."""

import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTORS
from ganedit.errors import GaneditError

MAX_BYTES = 2**30


def read_factors(path: Path | str) -> Tensor:
    """Return the factors of an archive made by ``ganedit dataset clay``, [N, len(FACTORS)].

    Raises:
        GaneditError: Not such an archive, or its factors are damaged or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("factors.json").file_size > MAX_BYTES:
                raise GaneditError(f"{path}: its factors.json is over {MAX_BYTES >> 30} GiB")
            document = json.loads(archive.read("factors.json"))
        rows = torch.tensor(document["factors"], dtype=torch.float32)
        names = document["names"]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise GaneditError(
            f"{path}: holds no ClayHeads factors; make an archive with 'ganedit dataset clay'"
        ) from error
    if names != [factor.name for factor in FACTORS] or rows.shape[1:] != (len(FACTORS),):
        raise GaneditError(f"{path}: its factors are those of another version; render it again")
    return rows
