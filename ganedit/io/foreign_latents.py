"""Latents of other projects: NVlabs' arrays, rosinality's and e4e's torch files, plain tensors.

They are told apart by content. None of them says which generator it belongs to, so a latent is
bound to one by its shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import read_start
from ganedit.io.latents import (
    MAX_BYTES,
    START_BYTES,
    Latent,
    check_noise,
    latent_of,
    open_torch_latents,
    refuse_large,
)
from ganedit.io.numpy_files import is_numpy, numpy_arrays, read_npy
from ganedit.io.stored import StoredTensor, Window, shown

# What other projects call the latents in their files, the most telling first.
_KEYS = (
    "w", "ws", "w_plus", "wp", "latent", "latents", "latent_in", "latent_code", "latent_codes",
    "codes", "dlatent", "dlatents", "projected_w", "w_pivot",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ForeignLatent:
    """Latents that ganedit did not write.

    Attributes:
        ws: float32 [N, L, w_dim]; L is 1 where one vector is for all layers.
        origin: What kind of file they came from, in words.
        names: One a row, or none at all.
        noise: Noise maps in network order, each [N, 1, R, R]; None without.
        flat: They came as a table [N, w_dim], whose rows may be latents, or the layers of one.
    """

    ws: Tensor
    origin: str
    names: tuple[str, ...] = ()
    noise: tuple[Tensor, ...] | None = None
    flat: bool = False

    def reading(self, num_ws: int) -> str:
        """Return in words how `bind` takes the numbers for a generator of ``num_ws`` layers."""
        count, layers = self._shaped(num_ws).shape[:2]
        kind = (
            f"a vector for each of {layers} layers" if layers > 1 else "one vector for all layers"
        )
        return f"{count} latent{'s' if count > 1 else ''}, {kind}"

    def bind(
        self,
        *,
        name: str,
        fingerprint: str,
        num_ws: int,
        w_dim: int,
        network: str,
        noise_shapes: Sequence[tuple[int, int]],
    ) -> Latent:
        """Return them as latents of a generator; one vector is given to all layers.

        A table of as many rows as the generator has layers is one latent in W+; any other table
        is one latent in W for each row.

        Args:
            name: Of the file, for the error.
            fingerprint: Of the generator.
            num_ws: Latent vectors that the generator takes.
            w_dim: Their length.
            network: Where the generator comes from.
            noise_shapes: Of the generator.

        Raises:
            GaneditError: They do not fit the generator.
        """
        ws = self._shaped(num_ws)
        count, layers, width = ws.shape
        if width != w_dim or layers not in (1, num_ws):
            vectors = count if self.flat else layers
            raise GaneditError(
                f"{name}: {vectors} vector{'s' if vectors > 1 else ''} of {width}, but {network}"
                f" takes {num_ws} of {w_dim}; name another --network"
            )
        check_noise(self.noise, noise_shapes, name=name, network=network)
        refuse_large(name, 4 * count * num_ws * w_dim)
        ws = ws.expand(-1, num_ws, -1).contiguous()
        equal = bool((ws == ws[:, :1]).all())
        return Latent(
            ws=ws,
            space="w" if equal else "w+",
            fingerprint=fingerprint,
            network=network,
            noise=self.noise,
            names=self.names,
        )

    def _shaped(self, num_ws: int) -> Tensor:
        if self.flat and num_ws > 1 and len(self.ws) == num_ws:
            return self.ws.transpose(0, 1)
        return self.ws


def read_latent(path: Path | str) -> Latent | ForeignLatent:
    """Return the latents in a file, whoever wrote it; told apart by content.

    Raises:
        GaneditError: See `load_latent` and `read_foreign_latent`.
    """
    path = Path(path)
    if is_numpy(read_start(path, START_BYTES)):
        return _read_numpy(path)
    content = open_torch_latents(path)
    own = latent_of(content, path)
    return _of_content(content, path) if own is None else own


def read_foreign_latent(path: Path | str) -> ForeignLatent:
    """Return the latents in a file of another project.

    Known are numpy's ``.npy`` and ``.npz`` (NVlabs' projector), rosinality's projector, e4e's
    ``latents.pt``, and tensors [w_dim], [N, w_dim] or [N, L, w_dim] in a torch file or a pickle,
    alone, in a list, or in a dict. No code in the file is ever run.

    Raises:
        GaneditError: The file is missing, holds no latents, or too much, or NaN or infinities.
    """
    path = Path(path)
    if is_numpy(read_start(path, START_BYTES)):
        return _read_numpy(path)
    return _of_content(open_torch_latents(path), path)


# Numpy's own files


def _read_numpy(path: Path) -> ForeignLatent:
    arrays = numpy_arrays(path)
    if isinstance(arrays, Window):
        return _of_array(read_npy(arrays, str(path), max_bytes=MAX_BYTES), path, "a numpy array")
    key = _obvious_key(arrays, path)
    name = f"{path}: '{shown(key, longest=40)}'"
    array = read_npy(arrays[key], name, max_bytes=MAX_BYTES)
    return _of_array(array, path, "a numpy archive")


def _of_array(array: "np.ndarray[Any, Any]", path: Path, origin: str) -> ForeignLatent:
    with np.errstate(over="ignore", invalid="ignore"):  # the results are refused later
        numbers = np.array(array, dtype=np.float32, order="C")
    return _of_tensor(torch.from_numpy(numbers), path, origin)


# Torch files and pickles


def _of_content(content: Any, path: Path) -> ForeignLatent:
    """Return the latents in plain data; its tensors are still in the file."""
    if isinstance(content, StoredTensor):
        return _of_tensor(_load([content], path)[0], path, "a plain tensor")
    if isinstance(content, (list, tuple)) and content and _all_tensors(content):
        return _of_rows(content, (), path, "a list of tensors")
    if isinstance(content, dict):
        return _of_dict(content, path)
    raise _no_latents(path)


def _of_dict(content: Mapping[Any, Any], path: Path) -> ForeignLatent:
    if content.get("format") == "ganedit-directions":
        raise GaneditError(f"{path}: holds directions, not latents; they go to edit --direction")
    entries = list(content.values())
    if entries and all(isinstance(entry, dict) and "latent" in entry for entry in entries):
        return _of_rosinality(content, path)
    arrays = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and _all_tensors(value if isinstance(value, list) else [value])
    }
    if len(arrays) == len(content) > 1 and not set(arrays) & set(_KEYS):
        return _of_rows(entries, tuple(map(_stem, arrays)), path, "a tensor for each name")
    key = _obvious_key(arrays, path)
    return _of_content(content[key], path)


def _of_rosinality(content: Mapping[Any, Any], path: Path) -> ForeignLatent:
    """Return the latents of rosinality's projector: latent and noise maps of each picture."""
    latents = [entry["latent"] for entry in content.values()]
    if not _all_tensors(latents):
        raise _no_latents(path)
    found = _of_rows(
        latents, tuple(_stem(name) for name in content), path, "rosinality's projector"
    )
    maps = [entry.get("noise") for entry in content.values()]
    if all(rows is None for rows in maps):
        return found
    lists = [rows for rows in maps if isinstance(rows, (list, tuple)) and _all_tensors(rows)]
    if len(lists) != len(maps) or len({len(rows) for rows in lists}) != 1:
        raise GaneditError(f"{path}: its noise maps are not a list of tensors for each picture")
    layers = [_load(layer, path) for layer in zip(*lists, strict=True)]
    return ForeignLatent(
        ws=found.ws,
        origin=found.origin,
        names=found.names,
        noise=tuple(_noise_maps(layer, path) for layer in layers),
    )


def _noise_maps(layer: Sequence[Tensor], path: Path) -> Tensor:
    """Return one layer's maps of all pictures, [N, 1, R, R]."""
    shapes = {tuple(m.shape) for m in layer}
    sizes = [size for size in layer[0].shape if size != 1]
    if len(shapes) != 1 or layer[0].ndim < 2 or layer[0].shape[-2:].numel() != layer[0].numel():
        raise GaneditError(f"{path}: a noise map has the sizes {sizes}; expected one channel")
    return _finite(torch.stack([m.reshape(1, *m.shape[-2:]) for m in layer]), path)


def _of_rows(
    tensors: Sequence[StoredTensor], names: tuple[str, ...], path: Path, origin: str
) -> ForeignLatent:
    """Return latents of which each tensor is one, [w_dim], [L, w_dim] or [1, L, w_dim]."""
    shapes = {tensor.shape for tensor in tensors}
    shape = next(iter(shapes))
    good = len(shape) in (1, 2) or (len(shape) == 3 and shape[0] == 1)
    if len(shapes) != 1 or not good or 0 in shape:
        shown = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise GaneditError(f"{path}: expected latents of one shape, [L, w_dim], got {shown}")
    rows = [x.reshape(-1, shape[-1]) for x in _load(tensors, path)]
    return ForeignLatent(_finite(torch.stack(rows), path), origin, names)


def _of_tensor(tensor: Tensor, path: Path, origin: str) -> ForeignLatent:
    """Return the latents in [w_dim], [N, w_dim] or [N, L, w_dim]."""
    if tensor.ndim not in (1, 2, 3) or 0 in tensor.shape:
        raise GaneditError(
            f"{path}: expected latents, [N, L, w_dim] or [N, w_dim], got {list(tensor.shape)}"
        )
    flat = tensor.ndim == 2
    if tensor.ndim < 3:
        tensor = tensor.reshape(-1, 1, tensor.shape[-1])  # [N, 1, w_dim]
    return ForeignLatent(_finite(tensor, path), origin, flat=flat)


def _load(tensors: Sequence[StoredTensor], path: Path) -> list[Tensor]:
    """Return tensors as float32, unless they are too large together or hold no numbers."""
    if sum(max(tensor.cost, 4 * tensor.numel) for tensor in tensors) > MAX_BYTES:
        raise GaneditError(f"{path}: its tensors are too large for latents")
    for tensor in tensors:
        if not tensor.dtype.is_floating_point:
            raise GaneditError(f"{path}: expected floating point, got {tensor.dtype}")
    return [tensor.load().float() for tensor in tensors]


def _finite(tensor: Tensor, path: Path) -> Tensor:
    if not bool(tensor.isfinite().all()):
        raise GaneditError(f"{path}: holds NaN or infinite numbers")
    return tensor


def _all_tensors(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, StoredTensor) for value in values)


def _obvious_key(arrays: Mapping[str, Any], path: Path) -> str:
    """Return the key that other projects give to latents, or the only one.

    Raises:
        GaneditError: There is neither.
    """
    for key in _KEYS:
        if key in arrays:
            return key
    if len(arrays) == 1:
        return next(iter(arrays))
    if not arrays:
        raise _no_latents(path)
    shown = ", ".join(f"{key!r:.30}" for key in list(arrays)[:5])
    raise GaneditError(
        f"{path}: which of its arrays holds the latents? It has {shown}; call one 'w'"
    )


def _no_latents(path: Path) -> GaneditError:
    return GaneditError(
        f"{path}: not latents; known are ganedit's, numpy's .npy and .npz, rosinality's,"
        " and torch files of tensors [N, L, w_dim]"
    )


def _stem(name: object) -> str:
    return PurePosixPath(str(name).replace("\\", "/")).stem[:100] or "latent"
