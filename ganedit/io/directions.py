"""Directions files: ways to move latents, with names, sizes, and what they were seen to do."""

import difflib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import read_start, write_atomic
from ganedit.io.foreign_directions import (
    ForeignDirections,
    numpy_directions,
    torch_directions,
)
from ganedit.io.kinds import kind_of
from ganedit.io.latents import MAX_BYTES, START_BYTES, checked_tensor, plain_tensor
from ganedit.io.numpy_files import is_numpy
from ganedit.io.stored import shown
from ganedit.io.torch_files import open_pickled, pickled_container

MAX_DIRECTIONS = 100_000

_FORMAT = "ganedit-directions"
_VERSION = 1
_LONGEST_NAME = 80  # characters
_LONGEST_TEXT = 4096
_MOST_ENTRIES = 10_000  # of one direction's effects or facts
_MOST_LAYERS = 1000
_LARGEST_NUMBER = 1e300
_NEAR = 5  # names to list in an error


@dataclass(frozen=True, eq=False)
class Directions:
    """Ways to move the latents of a generator.

    Attributes:
        vectors: What one length of each adds to ws, float32 [K, 1 or num_ws, w_dim]; one row is the
            same for all layers.
        layers: For each, the latents (below num_ws) that it is added to; an empty tuple means all.
        names: One each, all different, 1 to 80 printable characters without ``=`` and ``:``. A
            name of digits only is the index itself.
        scales: One standard deviation of the generator's latents along each, in lengths of its
            vector, layers looked at one by one (`scales_of`), float32 [K] above 0; None when
            unknown.
        fingerprint: ``sha256:...`` of the generator; None for files that do not tell.
        network: Where that generator came from; None for files that do not tell.
        method: How they were found, or what the file is.
        effects: None at all, or for each, how much each factor or phrase changes per standard
            deviation: factors of clay heads in parts of their ranges, CLIP phrases in cosines.
        facts: None at all, or for each, what else is known, such as ``accuracy`` or ``strength``.
    """

    vectors: Tensor
    layers: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    scales: Tensor | None = None
    fingerprint: str | None = None
    network: str | None = None
    method: str = "unknown"
    effects: tuple[Mapping[str, float], ...] = ()
    facts: tuple[Mapping[str, float | str], ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            ValueError: A field is not what is documented above, or a number is not finite.
        """
        _check_vectors(self.vectors)
        count = len(self.vectors)
        for what in ("layers", "names"):
            if len(getattr(self, what)) != count:
                raise ValueError(f"{what}: expected {count}, got {len(getattr(self, what))}")
        for what in ("effects", "facts"):
            if len(getattr(self, what)) not in (0, count):
                raise ValueError(
                    f"{what}: expected none or {count}, got {len(getattr(self, what))}"
                )
        _check_layers(self.layers, self.vectors)
        _check_names(self.names)
        if self.scales is not None:
            _check_scales(self.scales, count)
        for text in (self.fingerprint, self.network, self.method):
            if text is not None and not 0 < len(text) <= _LONGEST_TEXT:
                raise ValueError("a text of the file is empty or too long")
        for effects in self.effects:
            _check_entry(effects, "effects", texts=False)
        for facts in self.facts:
            _check_entry(facts, "facts", texts=True)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.vectors)

    def find(self, key: str) -> int:
        """Return the index of a direction by its name, or by the index in digits.

        Raises:
            GaneditError: There is none; the line lists names that are near.
        """
        if key in self.names:
            return self.names.index(key)
        if re.fullmatch(r"\d{1,9}", key, re.ASCII):
            if int(key) < len(self):
                return int(key)
            raise GaneditError(
                f"there is no direction {key}; there are {len(self)}, counted from 0"
            )
        folded = {name.casefold(): name for name in reversed(self.names)}
        near = difflib.get_close_matches(key.casefold(), folded, n=_NEAR, cutoff=0.5)
        if near:
            told = f"near are {', '.join(shown(folded[name]) for name in near)}"
        else:
            more = ", ..." if len(self) > _NEAR else ""
            told = f"there are {', '.join(map(shown, self.names[:_NEAR]))}{more}"
        raise GaneditError(f"there is no direction '{shown(key)}'; {told}")


def save_directions(path: Path | str, directions: Directions) -> None:
    """Write a directions file (.pt), atomically, and read it before it gets its name.

    Raises:
        GaneditError: `load_directions` would refuse it, since it holds too much; or the disk fails.
    """
    _refuse_large(path, 4 * directions.vectors.numel())
    scales = directions.scales
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "vectors": plain_tensor(directions.vectors),
        "layers": [list(layers) for layers in directions.layers],
        "names": list(directions.names),
        "scales": None if scales is None else plain_tensor(scales),
        "generator": {"fingerprint": directions.fingerprint, "network": directions.network},
        "method": directions.method,
        "effects": [dict(entry) for entry in directions.effects],
        "facts": [dict(entry) for entry in directions.facts],
    }

    buffer = io.BytesIO()  # torch's own writer says nothing clear of a full disk
    torch.save(content, buffer)

    def write(partial: Path) -> None:
        partial.write_bytes(buffer.getvalue())
        try:
            load_directions(partial)
        except GaneditError as error:
            reason = str(error).removeprefix(f"{partial}: ")
            raise GaneditError(
                f"{path}: not written, it could not be read again: {reason}"
            ) from error

    write_atomic(path, write)


def load_directions(path: Path | str) -> Directions:
    """Return the directions in a file, whoever wrote it; told apart by content.

    Known are our own, rosinality's ``factor.pt``, InterFaceGAN's boundaries (``.npy``), GANSpace's
    components (``.npz``, and e4e's ``.pt`` of them), and plain tensors of directions in a torch
    file, as e4e's. No code in the file is ever run, and everything in it is checked.

    Raises:
        GaneditError: The file is missing, holds no directions, too many, or too much, or holds
            code, NaN, infinities, a direction of length zero, or wrong shapes.
    """
    path = Path(path)
    start = read_start(path, START_BYTES)
    if is_numpy(start):
        return _adopted(numpy_directions(path), path)
    if pickled_container(start) is None:
        raise GaneditError(f"{path}: not a directions file: {kind_of(start)}")
    _refuse_large(path, path.stat().st_size)
    content = open_pickled(path).trusted()
    kind = content.get("format") if isinstance(content, dict) else None
    if isinstance(kind, str) and kind == "ganedit-latent":
        raise GaneditError(f"{path}: holds latents, not directions; edit them by a directions file")
    if not isinstance(kind, str) or kind != _FORMAT:
        return _adopted(torch_directions(content, path), path)
    version = content.get("version")
    if type(version) is not int or version != _VERSION:
        told = f" {version}" if type(version) is int and abs(version) < 10**6 else ""
        raise GaneditError(
            f"{path}: directions version{told} is unknown; this ganedit reads version {_VERSION}"
        )
    try:
        return _checked(content, path.stat().st_size)
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error


def _adopted(found: ForeignDirections, path: Path) -> Directions:
    """Return directions that ganedit did not write as ours: for all layers, named by number."""
    count = len(found.vectors)
    if count > MAX_DIRECTIONS:  # before so many names are made
        raise GaneditError(f"{path}: {_too_many(count)}")
    allowed = (c if c.isprintable() and c not in "=:" else "_" for c in path.stem)
    single = "".join(allowed)[:_LONGEST_NAME]
    names = tuple(map(str, range(count)))
    try:
        return Directions(
            vectors=found.vectors,
            layers=((),) * count,
            names=(single,) if count == 1 and not single.isdecimal() and single else names,
            scales=found.scales,
            method=found.origin,
        )
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error


def _checked(content: Mapping[Any, Any], size: int) -> Directions:
    """Return the directions in a loaded dict.

    Raises:
        ValueError: Something is missing or wrong; the message says what.
    """
    generator = content.get("generator")
    if not isinstance(generator, dict):
        raise ValueError("generator: expected its fingerprint and network")
    fingerprint, network = generator.get("fingerprint"), generator.get("network")
    method = content.get("method")
    if not all(text is None or isinstance(text, str) for text in (fingerprint, network)):
        raise ValueError("generator: expected its fingerprint and network")
    if not isinstance(method, str):
        raise ValueError("method: expected a text")
    names = _list_of(content, "names", str)
    layers = _list_of(content, "layers", list)
    if not all(type(layer) is int for row in layers for layer in row):
        raise ValueError("layers: expected lists of whole numbers")
    effects, facts = (_list_of(content, what, dict) for what in ("effects", "facts"))
    vectors = checked_tensor(content.get("vectors"), "vectors", size)
    scales = content.get("scales")
    if scales is not None:
        scales = checked_tensor(scales, "scales", size)
    return Directions(
        vectors=vectors,
        layers=tuple(tuple(row) for row in layers),
        names=tuple(names),
        scales=scales,
        fingerprint=fingerprint,
        network=network,
        method=method,
        effects=tuple(effects),
        facts=tuple(facts),
    )


def _list_of(content: Mapping[Any, Any], what: str, kind: type) -> list[Any]:
    value = content.get(what)
    if not (isinstance(value, list) and all(type(entry) is kind for entry in value)):
        raise ValueError(f"{what}: expected a list, of a {kind.__name__} for each direction")
    return value


def _check_vectors(vectors: Tensor) -> None:
    if vectors.ndim != 3 or vectors.dtype != torch.float32 or 0 in vectors.shape[1:]:
        raise ValueError(
            f"vectors: expected float32 [K, 1 or num_ws, w_dim], got {vectors.dtype}"
            f" {list(vectors.shape)}"
        )
    if not 1 <= len(vectors) <= MAX_DIRECTIONS:
        raise ValueError(_too_many(len(vectors)))
    if vectors.shape[1] > _MOST_LAYERS:
        raise ValueError(f"vectors: {vectors.shape[1]} layers; at most {_MOST_LAYERS} are possible")
    if not bool(vectors.isfinite().all()):
        raise ValueError("vectors: holds NaN or infinite numbers")


def _too_many(count: int) -> str:
    return f"{count} directions; 1 to {MAX_DIRECTIONS} are possible"


def _check_layers(layers: Sequence[Sequence[int]], vectors: Tensor) -> None:
    rows = vectors.shape[1]
    limit = rows if rows > 1 else _MOST_LAYERS
    for index, chosen in enumerate(layers):
        if len(set(chosen)) != len(chosen) or not all(0 <= layer < limit for layer in chosen):
            raise ValueError(f"layers: direction {index} has one twice, or none of 0-{limit - 1}")
        used = vectors[index, list(chosen)] if chosen and rows > 1 else vectors[index]
        if not bool(used.any()):
            raise ValueError(f"direction {index} has length zero")


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError("names: two directions have the same")
    for index, name in enumerate(names):
        if not 0 < len(name) <= _LONGEST_NAME or set(name) & set("=:") or not name.isprintable():
            raise ValueError(
                f"names: '{shown(name)}' is not 1 to {_LONGEST_NAME} printable characters without"
                " '=' and ':'"
            )
        if name.isdecimal() and name != str(index):
            raise ValueError(f"names: '{name}' reads as an index, but is that of number {index}")


def _check_scales(scales: Tensor, count: int) -> None:
    if scales.shape != (count,) or scales.dtype != torch.float32:
        raise ValueError(f"scales: expected float32 [{count}], got {list(scales.shape)}")
    if not bool(scales.isfinite().all()) or not bool((scales > 0).all()):
        raise ValueError("scales: expected finite numbers above 0")


def _check_entry(entry: Mapping[str, float | str], what: str, *, texts: bool) -> None:
    if len(entry) > _MOST_ENTRIES:
        raise ValueError(f"{what}: more than {_MOST_ENTRIES} for a direction")
    for key, value in entry.items():
        if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_TEXT:
            raise ValueError(f"{what}: expected names of 1 to {_LONGEST_TEXT} characters")
        if isinstance(value, str):
            good = texts and len(value) <= _LONGEST_TEXT
        else:  # NaN is not below anything, either; some whole numbers are beyond all floats
            good = type(value) in (int, float) and abs(value) <= _LARGEST_NUMBER
        if not good:
            raise ValueError(f"{what}: '{shown(key)}' is no finite number")


def _refuse_large(path: Path | str, size: int) -> None:
    if size > MAX_BYTES:
        raise GaneditError(
            f"{path}: {-(-size // 2**20)} MB is too large for a directions file, which may have"
            f" {MAX_BYTES // 2**20}"
        )
