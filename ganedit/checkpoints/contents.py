"""What a file holds, family by family, before any weight is read."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ganedit.errors import GaneditError

_LONGEST_TEXT = 1000
_MOST_VALUES = 1000

LONGEST_PROMPT = 200
"""Characters of a mapper's prompt that are kept."""


class Stored(Protocol):
    """A tensor that is still in its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """As stored."""
        ...

    def load(self) -> Tensor:
        """Return it, contiguous on the CPU, in memory of its own."""
        ...

    def meta(self) -> Tensor:
        """Return a stand-in of the same shape and type without numbers."""
        ...


MOST_TENSORS = 4096  # StyleGAN2 at 1024 pixels has 200, with its encoder SAM's bundle 1400

_SMALL = 1 << 14  # entries


def _stand_in(tensor: Stored) -> Tensor:
    """Return a tensor of the same shape that takes no memory, or little.

    Small ones are real: sums and products on the meta device load torch's compiler, which takes
    seconds, and conversions only compute with filters and biases.
    """
    small = math.prod(tensor.shape) <= _SMALL
    return torch.zeros(tensor.shape, dtype=tensor.dtype) if small else tensor.meta()


def _unchanged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(tensors)


@dataclass(frozen=True, eq=False)
class Part:
    """One network in a file: how to build it, and where its weights lie.

    Attributes:
        name: What the file calls it: ``G_ema``, ``g_ema``, ``decoder``, ``D``.
        role: What it is.
        architecture: Key of the registry in `building`, or a family that cannot be built yet.
        config: Constructor arguments of our class.
        stored: The tensors as the file names them.
        convert: From those tensors to our state dict; pure, so that it runs on stand-ins too.
        has_average: Whether the file holds the average latent; otherwise it is estimated.
    """

    name: str
    role: Literal["generator", "discriminator", "encoder", "mapper"]
    architecture: str
    config: dict[str, Any]
    stored: Mapping[str, Stored]
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = _unchanged
    has_average: bool = True

    def __post_init__(self) -> None:
        """Check the tensors' number and types.

        Raises:
            GaneditError: No network has so many, or such.
        """
        if len(self.stored) > MOST_TENSORS:
            raise GaneditError(
                f"{self.name}: expected at most {MOST_TENSORS} tensors, got {len(self.stored)}"
            )
        for key, tensor in self.stored.items():
            # Encoders count their batches in whole numbers.
            if not tensor.dtype.is_floating_point and not key.endswith("num_batches_tracked"):
                kind = str(tensor.dtype).removeprefix("torch.")
                raise GaneditError(f"{self.name}.{text(key)}: holds {kind}, where weights are real")

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of our state dict; no weight is read for them."""
        converted = self.convert({key: _stand_in(tensor) for key, tensor in self.stored.items()})
        return {key: tensor.shape for key, tensor in converted.items()}

    def load(self) -> dict[str, Tensor]:
        """Read the weights and return our state dict, float32 on the CPU."""
        read = {key: tensor.load() for key, tensor in self.stored.items()}
        return {key: tensor.float() for key, tensor in self.convert(read).items()}


@dataclass(frozen=True, eq=False)
class StoredEncoder:
    """An encoder in a file, and what its latents are relative to.

    Attributes:
        part: The network.
        resolution: Side of the pictures that it reads, in pixels.
        relative: Whether an average latent is added to what it returns.
        average: That average, [w_dim] or [rows, w_dim]; None is the generator's own.
        fingerprint: Of the generator that it belongs to; None is the one of the same file.
    """

    part: Part
    resolution: int
    relative: bool = True
    average: Stored | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, eq=False)
class StoredMapper:
    """A mapper in a file: from latents to a change of them.

    Attributes:
        part: The network.
        prompt: What it was trained to change, in the file's words; None where they are not told.
        fingerprint: Of the generator that it belongs to; None is the one of the same file, if any.
    """

    part: Part
    prompt: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Attributes:
        family: Who writes such files: ``stylegan2-ada-pytorch``, ``rosinality``, ``pSp`` ….
        generator: The network to use: the moving average where there is one.
        discriminator: With it, training can go on.
        raw_generator: The generator under training, beside its moving average.
        encoders: From pictures to latents of the generator; the one to use first.
        mapper: From latents of the generator to a change of them.
        training: Options of the training that the file tells, plain data.
        provenance: How the network came to be, in files of ours.
        others: What else is in the file, one phrase each.
    """

    family: str
    generator: Part | None = None
    discriminator: Part | None = None
    raw_generator: Part | None = None
    encoders: tuple[StoredEncoder, ...] = ()
    mapper: StoredMapper | None = None
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def plain(value: Any, *, depth: int = 6) -> Any:
    """Return what a file says as JSON can hold it; what JSON cannot hold becomes a short text.

    Long, deep, cyclic and self-multiplying values are cut: the result is always small.
    """
    return _plain(value, depth, itertools.repeat(None, _MOST_VALUES))


def _plain(value: Any, depth: int, budget: Iterator[None]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value)
    if depth > 0 and isinstance(value, Mapping):
        return {
            text(key): _plain(item, depth - 1, budget)
            for (key, item), _ in zip(value.items(), budget, strict=False)
        }
    if depth > 0 and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth - 1, budget) for item, _ in zip(value, budget, strict=False)]
    shape = getattr(value, "shape", None)
    kind = getattr(value, "kind", type(value).__name__)
    return f"<{kind!s:.80}>" if shape is None else f"<tensor {list(shape)}>"


def _scalar(value: bool | int | float | str | None) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1 << 63 else "<huge number>"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def text(value: Any, *, length: int = 80) -> str:
    """Return a key or a value of a file in one line of bounded length."""
    found = plain(value, depth=0)
    found = found if isinstance(found, str) else str(found)
    return "".join(c if c.isprintable() else " " for c in found[:length])


def leftover(key: Any, value: Any) -> str:
    """Return what to say of an entry of a file that is not read, in one line."""
    if isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys():
        return f"{text(key)}: optimizer state"
    return f"{text(key)}: {text(value, length=60)}"


def without_parallel(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a state dict without the prefix that DataParallel gives all its keys."""
    prefix = "module."
    if not all(isinstance(key, str) and key.startswith(prefix) for key in state):
        return dict(state)
    return {key.removeprefix(prefix): value for key, value in state.items()}


def count_parameters(tensors: Iterable[Any]) -> str:
    """Return how many numbers some stored tensors hold, as text: ``24.9 M parameters``."""
    return f"{sum(math.prod(tensor.shape) for tensor in tensors) / 1e6:.1f} M parameters"
