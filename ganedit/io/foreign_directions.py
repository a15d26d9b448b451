"""Directions of other projects: InterFaceGAN's, GANSpace's, rosinality's, e4e's, plain tensors.

They are told apart by content. None of them says which generator it belongs to, nor whether it
moves z or w: all are taken to move w.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.latents import MAX_BYTES, checked_tensor
from ganedit.io.numpy_files import numpy_arrays, read_npy
from ganedit.io.stored import StoredTensor, Window, shown

# GANSpace's own names, of directions and of one standard deviation along each: what moves the
# latent comes before what was decomposed to find it. The last pair is e4e's.
_COMPONENTS = (("lat_comp", "lat_stdev"), ("act_comp", "act_stdev"), ("comp", "std"))
_FACTORS = "eigvec"  # rosinality's


@dataclass(frozen=True, eq=False)
class ForeignDirections:
    """Directions that ganedit did not write.

    Attributes:
        vectors: float32 [K, L, w_dim]; L is 1 where all layers share one vector.
        origin: What kind of file they came from, in words.
        scales: One standard deviation along each in lengths of its vector, [K]; None when unknown.
    """

    vectors: Tensor
    origin: str
    scales: Tensor | None = None


def numpy_directions(path: Path) -> ForeignDirections:
    """Return the directions in a ``.npy`` or ``.npz`` file, without running what is in it.

    A table [K, w_dim] is K directions.

    Raises:
        GaneditError: The file is broken, or holds no directions.
    """
    arrays = numpy_arrays(path)
    if isinstance(arrays, Window):
        vectors = _array(arrays, str(path))
        return ForeignDirections(_shaped(vectors, path, table="directions"), _boundary(vectors))
    for components, deviations in _COMPONENTS:
        if components in arrays:
            named = [key for key in (components, deviations) if key in arrays]
            return _ganspace([_array(arrays[key], f"{path}: '{key}'") for key in named], path)
    if len(arrays) != 1:
        raise _unclear(arrays, path)
    ((key, window),) = arrays.items()
    vectors = _array(window, f"{path}: '{shown(key, longest=40)}'")
    return ForeignDirections(_shaped(vectors, path, table="directions"), _boundary(vectors))


def torch_directions(content: object, path: Path) -> ForeignDirections:
    """Return the directions in the plain data of a torch file; its tensors are still in it.

    A table [L, w_dim] is one direction with a vector for each layer; rosinality's [w_dim, K] has
    a direction in each column.

    Raises:
        GaneditError: It holds none, or numbers that are not finite.
    """
    size = path.stat().st_size
    try:
        if isinstance(content, StoredTensor):
            vectors = checked_tensor(content, "the tensor", size)
            return ForeignDirections(_shaped(vectors, path, table="layers"), "a plain tensor")
        entries = content if isinstance(content, dict) else {}
        if _FACTORS in entries:
            factors = checked_tensor(entries[_FACTORS], f"'{_FACTORS}'", size)
            if factors.ndim != 2:
                raise ValueError(f"'{_FACTORS}': expected [w_dim, K], got {list(factors.shape)}")
            return ForeignDirections(factors.mT[:, None].contiguous(), "rosinality's factors")
        for components, deviations in _COMPONENTS:
            if components in entries:
                named = [key for key in (components, deviations) if key in entries]
                read = [checked_tensor(entries[key], f"'{key}'", size) for key in named]
                return _ganspace(read, path)
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error
    raise _unclear(entries, path)


def _ganspace(read: list[Tensor], path: Path) -> ForeignDirections:
    """Return components, [K, w_dim] or [K, L, w_dim], with their standard deviations if known."""
    vectors, *deviations = read
    scales = deviations[0].flatten() if deviations else None
    shaped = _shaped(vectors, path, table="directions")
    return ForeignDirections(shaped, "GANSpace's components", scales)


def _array(window: Window, name: str) -> Tensor:
    with np.errstate(over="ignore", invalid="ignore"):  # the results are refused later
        numbers = np.array(read_npy(window, name, max_bytes=MAX_BYTES), dtype=np.float32, order="C")
    return torch.from_numpy(numbers)


def _boundary(vectors: Tensor) -> str:
    one = vectors.numel() == vectors.shape[-1]
    return "an array, as InterFaceGAN's boundary" if one else "an array of directions"


def _shaped(vectors: Tensor, path: Path, *, table: str) -> Tensor:
    """Return [w_dim], a table or [K, L, w_dim] as [K, L, w_dim].

    Raises:
        GaneditError: It is none of them.
    """
    if vectors.ndim not in (1, 2, 3) or 0 in vectors.shape:
        raise GaneditError(
            f"{path}: expected directions, [w_dim], [K, w_dim] or [K, num_ws, w_dim], got"
            f" {list(vectors.shape)}"
        )
    if vectors.ndim == 3:
        return vectors
    if vectors.ndim == 2 and table == "layers":
        return vectors[None]
    return vectors.reshape(-1, 1, vectors.shape[-1])


def _unclear(content: Mapping[Any, Any], path: Path) -> GaneditError:
    has = ", ".join(shown(str(key), longest=30) for key in list(content)[:5])
    return GaneditError(
        f"{path}: not directions{f' (it has {has})' if has else ''}; known are ganedit's files,"
        " rosinality's factor.pt, InterFaceGAN's .npy, GANSpace's .npz and tensors [K, w_dim]"
    )
