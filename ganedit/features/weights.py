"""Weights of other projects, from files that users have."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ganedit.errors import GaneditError
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import open_pickled


def fill(network: nn.Module, path: str | Path, *, what: str) -> None:
    """Load a torch file of plain tensors into a network; other tensors in it are passed over.

    Args:
        network: To be filled. Counters of its training may be missing, as in old files.
        path: The file.
        what: It should hold, for errors.

    Raises:
        GaneditError: It cannot be read, or does not hold these weights.
    """
    state = read_tensors(path)
    own = network.state_dict()
    for key, value in own.items():
        if key.endswith("num_batches_tracked"):
            continue
        got = state.get(key)
        if got is None or got.shape != value.shape:
            raise GaneditError(
                f"{path}: not {what}: {key} should be {list(value.shape)},"
                f" is {'missing' if got is None else list(got.shape)}"
            )
        if not bool(torch.isfinite(got).all()):
            raise GaneditError(f"{path}: {key} holds values that are not finite")
        own[key] = got
    network.load_state_dict(own)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a torch file; nothing in the file is executed.

    Raises:
        GaneditError: The file cannot be read or is no dict of tensors.
    """
    try:
        content = open_pickled(path).trusted()
        plain = isinstance(content, dict)
        if not plain or not all(isinstance(value, StoredTensor) for value in content.values()):
            raise GaneditError(f"{path}: not a dict of tensors")
        return {key: value.load() for key, value in content.items()}
    except GaneditError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise GaneditError(f"{path}: not a file of plain tensors ({reason})") from error
