"""Tuning files: how a generator was changed for some photos, small, beside their latents.

A safetensors file with the differences of the synthesis weights, and in the metadata entry
``ganedit`` the fingerprint of the generator that they are to be added to. A difference is one
tensor, ``whole.<key>``, or with a rank the two thin matrices ``left.<key>`` and ``right.<key>``
whose product, reshaped, stands for it.
"""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ganedit.checkpoints.native import is_safetensors, read_safetensors
from ganedit.checkpoints.networks import Network
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.io.files import read_start, write_bytes
from ganedit.io.stored import StoredTensor

FORMAT = "ganedit-tuning"
VERSION = 1

# Of generators of pictures, and of tri-plane ones.
_TUNED = ("synthesis.", "backbone.synthesis.", "decoder.", "superresolution.")
_DTYPES = (torch.float16, torch.float32)
_LONGEST_TEXT = 4096
_MARK = 16  # hexadecimal digits of a file's SHA-256 in its name
_NAMED = re.compile(r"tuning-([0-9a-f]{16})\.safetensors$")
_LARGEST_FILE = 2**30  # bytes; all differences of an FFHQ generator are 60 MB


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a tuning file holds.

    Attributes:
        path: The file.
        factors: For each synthesis weight one tensor, its difference, or two, [out, R] and
            [R, ...], whose product is the difference once reshaped; float32 on the CPU.
        fingerprint: Of the generator that the differences belong to.
        network: Where that came from, as a latent remembers it.
        rank: The largest R; None when all differences are whole.
        error: How far the stored differences are from the exact ones, relative to their norm.
    """

    path: Path
    factors: Mapping[str, tuple[Tensor, ...]]
    fingerprint: str
    network: str
    rank: int | None
    error: float


def synthesis_weights(generator: Generator) -> dict[str, Tensor]:
    """Return the weights of a generator that tuning may change, by name.

    Raises:
        ValueError: It is no nn.Module.
    """
    if not isinstance(generator, nn.Module):
        raise ValueError(f"generator: expected an nn.Module, got {type(generator)}")
    return {key: x for key, x in generator.named_parameters() if key.startswith(_TUNED)}


def pays(shape: Sequence[int], rank: int | None) -> bool:
    """Return whether a weight of this shape is smaller as two matrices of a rank."""
    rows, columns = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    return rank is not None and rank * (rows + columns) < rows * columns


def tuning_name(stem: str, digest: str) -> str:
    """Return the name of a tuning file that tells its content, so that none ever takes another's.

    Args:
        stem: What it starts with; nothing for none.
        digest: SHA-256 of the file, in hexadecimal digits.
    """
    return f"{stem}{'-' if stem else ''}tuning-{digest[:_MARK]}.safetensors"


def check_tuning_name(path: Path, digest: str) -> None:
    """Check that a file which `tuning_name` named still has that content.

    Raises:
        GaneditError: It has another.
    """
    told = _NAMED.search(path.name)
    if told is not None and not digest.startswith(told[1]):
        raise GaneditError(
            f"{path}: is not the file of this name any more (its SHA-256 begins with"
            f" {digest[:_MARK]}); project the photo again"
        )


def pack_tuning(
    differences: Mapping[str, Tensor],
    network: Network,
    *,
    rank: int | None = None,
    half: bool = True,
) -> bytes:
    """Return the content of a tuning file.

    Args:
        differences: Tuned minus original value of each changed weight.
        network: The original.
        rank: Keep only so many singular values of each matrix or convolution, where that is
            smaller than the whole; vectors and numbers stay exact. None keeps everything.
        half: Store half precision, else float32.

    Raises:
        GaneditError: A number is not finite or too large.
    """
    if rank is not None and rank < 1:
        raise ValueError(f"rank: expected 1 or more, got {rank}")
    _check_weights(network, {key: tuple(x.shape) for key, x in differences.items()}, "the tuning")
    dtype = torch.float16 if half else torch.float32
    stored = {key: _factorize(x, rank, dtype) for key, x in differences.items()}
    if not all(bool(x.isfinite().all()) for parts in stored.values() for x in parts):
        raise GaneditError("the tuning diverged; take fewer steps, or a lower learning rate")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": network.fingerprint,
        "network": network.home,
        "rank": rank,
        "error": _relative_error(stored, differences),
    }
    tensors = {
        f"{name}.{key}": x.contiguous()
        for key, parts in stored.items()
        for name, x in zip(("whole",) if len(parts) == 1 else ("left", "right"), parts, strict=True)
    }
    return save(tensors, metadata={"ganedit": json.dumps(header, sort_keys=True)})


def save_tuning(
    path: str | Path,
    differences: Mapping[str, Tensor],
    network: Network,
    *,
    rank: int | None = None,
    half: bool = True,
) -> Tuning:
    """Write a tuning file, atomically, and read it again.

    Args:
        path: The `.safetensors` file to write.
        differences: As `pack_tuning`.
        network: The original.
        rank: As `pack_tuning`.
        half: Store half precision, else float32.

    Returns:
        What the file holds, which is not quite ``differences``.

    Raises:
        GaneditError: A number is not finite or too large, or the file cannot be written.
    """
    write_bytes(path, pack_tuning(differences, network, rank=rank, half=half))
    return load_tuning(path)


def load_tuning(path: str | Path) -> Tuning:
    """Return what a file that `save_tuning` wrote holds; all of it is checked.

    Raises:
        GaneditError: The file is missing, something else, damaged or forged.
    """
    path = Path(path)
    if not is_safetensors(read_start(path, 16)):
        raise GaneditError(f"{path}: not a tuning file")
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise GaneditError(f"{path}: {size // 2**20} MB is too large for a tuning file")
    metadata, tensors = read_safetensors(path)
    header = _parse_metadata(path, metadata.get("ganedit", ""))
    return Tuning(path=path, factors=_read_factors(path, tensors), **header)


def apply_tuning(network: Network, tuning: Tuning) -> Network:
    """Return the network with a tuned copy of its generator.

    Latents of the network fit the result, which keeps its source and fingerprint;
    ``metadata["tuning"]`` tells them apart.

    Raises:
        GaneditError: The tuning is of another generator or damaged, or the network is tuned
            already.
    """
    if "tuning" in network.metadata:
        raise GaneditError(f"{tuning.path}: cannot tune {network.source} twice")
    if tuning.fingerprint != network.fingerprint:
        raise GaneditError(
            f"{tuning.path}: tunes another generator ({tuning.network:.200}) than {network.source}"
        )
    generator = copy.deepcopy(network.generator)
    weights = synthesis_weights(generator)
    shapes = {key: _shape(parts, weights.get(key)) for key, parts in tuning.factors.items()}
    _check_weights(network, shapes, str(tuning.path))
    with torch.no_grad():
        for key, parts in tuning.factors.items():
            difference = _multiply(parts, tuple(weights[key].shape))
            if not bool(difference.isfinite().all()):
                raise GaneditError(f"{tuning.path}: {key} becomes a number that is not finite")
            weights[key].add_(difference.to(weights[key].device))
    told = {"path": str(tuning.path), "rank": tuning.rank, "error": tuning.error}
    return replace(network, generator=generator, metadata=network.metadata | {"tuning": told})


def _check_weights(network: Network, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Check that a generator has synthesis weights of these names and shapes."""
    weights = synthesis_weights(network.generator)
    for key, shape in shapes.items():
        if key not in weights:
            raise GaneditError(f"{name}: {network.source} has no weight {key:.80} to tune")
        if shape != tuple(weights[key].shape):
            raise GaneditError(
                f"{name}: {key:.80}: expected shape {list(weights[key].shape)}, got {list(shape)}"
            )


def _factorize(difference: Tensor, rank: int | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return a difference as it is stored: whole, or as two matrices of a rank."""
    difference = difference.detach().float().cpu()
    if not pays(difference.shape, rank):
        return (difference.to(dtype),)
    matrix = difference.flatten(1).double()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)  # [rows, K], [K], [K, columns]
    size = s[:rank].sqrt()  # shared out, so that neither side leaves the range of half precision
    return ((u[:, :rank] * size).to(dtype), (size[:, None] * v[:rank]).to(dtype))


def _multiply(factors: tuple[Tensor, ...], shape: tuple[int, ...]) -> Tensor:
    """Return the difference that stored factors stand for."""
    if len(factors) == 1:
        return factors[0]
    left, right = factors
    return (left @ right).reshape(shape)


def _shape(factors: tuple[Tensor, ...], like: Tensor | None) -> tuple[int, ...]:
    """Return the shape of a difference without computing it; ``like`` is the weight, if any."""
    if len(factors) == 1:
        return tuple(factors[0].shape)
    rows, columns = factors[0].shape[0], factors[1].shape[1]
    if like is not None and like.ndim > 1 and (rows, columns) == (len(like), like[0].numel()):
        return tuple(like.shape)
    return (rows, columns)


def _relative_error(
    stored: Mapping[str, tuple[Tensor, ...]], differences: Mapping[str, Tensor]
) -> float:
    lost = whole = 0.0
    for key, difference in differences.items():
        exact = difference.detach().double().cpu()
        kept = _multiply(tuple(x.float() for x in stored[key]), tuple(exact.shape)).double()
        lost += float((kept - exact).square().sum())
        whole += float(exact.square().sum())
    return math.sqrt(lost / whole) if whole else 0.0


def _parse_metadata(path: Path, text: str) -> dict[str, Any]:
    """Return the checked entries of a file's metadata, as arguments of `Tuning`."""
    try:
        raw = json.loads(text or "null")
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: its ganedit metadata is not valid JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise GaneditError(f"{path}: a safetensors file, but not a tuning written by ganedit")
    if type(raw.get("version")) is not int or raw["version"] != VERSION:
        raise GaneditError(
            f"{path}: tuning version {raw.get('version')!r:.20}, this ganedit reads {VERSION};"
            " install a newer ganedit"
        )
    fingerprint, network = raw.get("fingerprint"), raw.get("network")
    rank, lost = raw.get("rank"), raw.get("error")
    texts = all(isinstance(x, str) and len(x) <= _LONGEST_TEXT for x in (fingerprint, network))
    number = isinstance(lost, (int, float)) and 0 <= lost < 1e9
    if not (texts and number and (rank is None or (type(rank) is int and 0 < rank < 2**20))):
        raise GaneditError(f"{path}: its metadata does not say which generator it tunes, and how")
    return {
        "fingerprint": fingerprint,
        "network": network,
        "rank": rank,
        "error": float(raw["error"]),
    }


def _read_factors(path: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[Tensor, ...]]:
    """Return the tensors of a file by the weight that they change."""
    parts: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        kind, _, key = name.partition(".")
        if kind not in ("whole", "left", "right") or not key.startswith(_TUNED):
            raise GaneditError(f"{path}: unexpected tensor {name!r:.80}")
        if tensor.dtype not in _DTYPES:
            raise GaneditError(f"{path}: {name!r:.80} holds {tensor.dtype}, not a difference")
        parts.setdefault(key, {})[kind] = tensor
    return {key: _load_factors(path, key, found) for key, found in parts.items()}


def _load_factors(path: Path, key: str, found: Mapping[str, StoredTensor]) -> tuple[Tensor, ...]:
    if set(found) == {"whole"}:
        stored = [found["whole"]]
    elif set(found) == {"left", "right"}:
        stored = [found["left"], found["right"]]
        left, right = (part.shape for part in stored)
        if len(left) != 2 or len(right) != 2 or left[1] != right[0]:
            raise GaneditError(
                f"{path}: {key!r:.80}: {list(left)} and {list(right)} are no two factors"
            )
    else:
        raise GaneditError(f"{path}: {key!r:.80} is there twice, or by half")
    loaded = tuple(part.load().float() for part in stored)
    if not all(bool(x.isfinite().all()) for x in loaded):
        raise GaneditError(f"{path}: {key!r:.80} holds values that are not finite")
    return loaded
