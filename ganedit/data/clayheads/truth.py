"""The truth stored beside the pictures of a ClayHeads archive."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTORS
from ganedit.data.sources import FACTORS_FILE, MAX_JSON_BYTES, open_source
from ganedit.errors import GaneditError


@dataclass(frozen=True)
class ClayTruth:
    """What is known about the heads of an archive.

    Attributes:
        factors: A row a picture, [N, len(FACTORS)].
        style: How the heads were rendered.
    """

    factors: Tensor
    style: Literal["clay", "emoji"]


def read_truth(path: Path | str) -> ClayTruth:
    """Return what an archive made by ``ganedit dataset clay`` says about its heads.

    Raises:
        GaneditError: Not such an archive, or its factors are damaged or of another version.
    """
    with open_source(path) as source:
        if FACTORS_FILE not in source.sizes:
            raise _not_clay(path)
        content = source.read(FACTORS_FILE, limit=MAX_JSON_BYTES)
    try:
        document = json.loads(content)
        factors = torch.tensor(document["factors"], dtype=torch.float32)
        names = document["names"]
        style = document.get("style", "clay")  # older archives do not say it, and are clay
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _not_clay(path) from error
    if names != [factor.name for factor in FACTORS] or factors.shape[1:] != (len(FACTORS),):
        raise GaneditError(f"{path}: its factors are those of another version; render it again")
    if style not in ("clay", "emoji"):
        raise GaneditError(f"{path}: its heads are of an unknown style; render it again")
    return ClayTruth(factors, style)


def _not_clay(path: Path | str) -> GaneditError:
    return GaneditError(
        f"{path}: holds no ClayHeads factors; make an archive with 'ganedit dataset clay'"
    )
