"""Our network file: one ``.safetensors`` is the whole model.

Tensors are named ``generator.<key>`` and, when the file can continue a training,
``discriminator.<key>``. The metadata entry ``ganedit`` is JSON with the architecture, the
constructor arguments and the provenance, so no other file is needed and nothing is executed.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganedit.io.files import write_bytes

FORMAT = "ganedit-network"
VERSION = 1

_GENERATORS: dict[str, type[nn.Module]] = {"stylegan2": StyleGAN2Generator}
_DISCRIMINATORS: dict[str, type[nn.Module]] = {"stylegan2": StyleGAN2Discriminator}

# A forged config must not make a constructor loop or allocate for minutes; real ones stay below.
_LARGEST_NUMBER = 1 << 20
_CREATORS = (torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros)
_LIMITS = {"mapping_layers": 64, "img_resolution": 1 << 13}


@dataclass(frozen=True)
class Header:
    """What a network file says about itself.

    Attributes:
        architecture: Key of the registry, for instance ``stylegan2``.
        config: Constructor arguments of the generator.
        discriminator: Constructor arguments of the discriminator, when the file has one.
        provenance: How the network came to be: command, data, images seen, figures.
    """

    architecture: str
    config: dict[str, Any]
    discriminator: dict[str, Any] | None
    provenance: dict[str, Any]


def save_network(
    path: str | Path,
    generator: Generator,
    *,
    discriminator: nn.Module | None = None,
    provenance: Mapping[str, Any],
) -> None:
    """Write a generator, and optionally its discriminator, to one file, atomically.

    Args:
        path: The `.safetensors` file to write.
        generator: A network of a registered architecture; saved as float32.
        discriminator: Saved beside it so that training can continue.
        provenance: JSON-able facts about how the network came to be.

    Raises:
        GaneditError: The file cannot be written.
    """
    architecture = _architecture_of(generator)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "config": dict(generator.config),
        "discriminator": None if discriminator is None else dict(_config_of(discriminator)),
        "provenance": dict(provenance),
    }
    tensors = _prefixed("generator.", _module(generator))
    if discriminator is not None:
        tensors |= _prefixed("discriminator.", discriminator)
    metadata = {"ganedit": json.dumps(header, sort_keys=True)}
    # Serialised in memory: safetensors' own writer hides a full disk in an error of its own kind.
    write_bytes(path, save(tensors, metadata=metadata))


def read_header(path: str | Path) -> Header:
    """Return what the network file at ``path`` says about itself, without reading its weights.

    Raises:
        GaneditError: The file is not a readable network file of ours.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise GaneditError(f"{path}: not a readable safetensors file ({_line(error)})") from error
    if "ganedit" not in metadata:
        raise GaneditError(f"{path}: a safetensors file, but not a network written by ganedit")
    return _parse_header(path, metadata["ganedit"])


def read_generator(path: str | Path, header: Header) -> Generator:
    """Build the generator of a network file, in eval mode, frozen, float32 on the CPU.

    Raises:
        GaneditError: The weights are damaged or do not fit the configuration.
    """
    network = _build(Path(path), "generator.", _GENERATORS[header.architecture], header.config)
    generator: Generator = network.eval().requires_grad_(False)  # type: ignore[assignment]  # the registry holds Generators
    return generator


def load_discriminator(path: str | Path) -> nn.Module:
    """Build the discriminator of a network file, trainable, float32 on the CPU.

    Raises:
        GaneditError: The file has no discriminator, or its weights do not fit.
    """
    header = read_header(path)
    if header.discriminator is None:
        raise GaneditError(f"{path}: holds no discriminator; only training snapshots do")
    kind = _DISCRIMINATORS[header.architecture]
    return _build(Path(path), "discriminator.", kind, header.discriminator)


def _architecture_of(generator: Generator) -> str:
    for name, kind in _GENERATORS.items():
        if isinstance(generator, kind):
            return name
    raise ValueError(f"generator: expected one of {list(_GENERATORS)}, got {type(generator)}")


def _module(generator: Generator) -> nn.Module:
    if not isinstance(generator, nn.Module):
        raise ValueError(f"generator: expected an nn.Module, got {type(generator)}")
    return generator


def _config_of(network: nn.Module) -> Mapping[str, Any]:
    config = getattr(network, "config", None)
    if not isinstance(config, Mapping):
        raise ValueError(f"{type(network).__name__} has no config to save")
    return config


def _prefixed(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """Copy the state to contiguous float32 CPU tensors; safetensors refuses shared memory."""
    return {
        prefix + key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for key, value in network.state_dict().items()
    }


def _parse_header(path: Path, text: str) -> Header:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: its ganedit metadata is not valid JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise GaneditError(f"{path}: its ganedit metadata does not describe a network")
    if raw.get("version") != VERSION:
        raise GaneditError(
            f"{path}: format version {raw.get('version')!r}, this ganedit reads {VERSION};"
            " install a newer ganedit"
        )
    architecture = raw.get("architecture")
    if not isinstance(architecture, str) or architecture not in _GENERATORS:
        raise GaneditError(
            f"{path}: unknown architecture {architecture!r:.60}; known: {', '.join(_GENERATORS)}"
        )
    config, discriminator = raw.get("config"), raw.get("discriminator")
    provenance = raw.get("provenance", {})
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise GaneditError(f"{path}: its ganedit metadata lacks the configuration")
    if discriminator is not None and not isinstance(discriminator, dict):
        raise GaneditError(f"{path}: its discriminator configuration is damaged")
    for values in (config, discriminator or {}):
        _check_config(path, values)
    return Header(architecture, config, discriminator, provenance)


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if isinstance(value, (list, dict)):
            fits = len(json.dumps(value)) <= 4096
        elif isinstance(value, (int, float)):
            limit = _LIMITS.get(name, _LARGEST_NUMBER)
            fits = math.isfinite(value) and abs(value) <= limit
        else:
            fits = value is None or (isinstance(value, str) and len(value) <= 256)
        if not fits:
            raise GaneditError(f"{path}: configuration {name:.40} = {value!r:.40} is out of range")


class _Budget(TorchFunctionMode):
    """While active, refuses to create tensors of more elements than allowed, in sum."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._left = elements

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _CREATORS:
            sizes = args[0] if args and isinstance(args[0], (list, tuple)) else args
            self._left -= math.prod(size for size in sizes if isinstance(size, int))
            if self._left < 0:
                raise ValueError("it asks for more weights than the file holds")
        return func(*args, **(kwargs or {}))


def _build(path: Path, prefix: str, kind: type[nn.Module], config: Mapping[str, Any]) -> nn.Module:
    """Build ``kind`` and fill it from the tensors under ``prefix``.

    A forged configuration cannot allocate much more memory than the file itself takes.
    """
    try:
        elements = path.stat().st_size  # at least one byte an element; small buffers fit the rest
        with torch.random.fork_rng(devices=[]), _Budget(4096 + elements):
            network = kind(**config)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise GaneditError(f"{path}: configuration does not build ({_line(error)})") from error
    network.load_state_dict(
        _read_tensors(path, prefix, {k: v.shape for k, v in network.state_dict().items()})
    )
    return network


def _read_tensors(
    path: Path, prefix: str, wanted: Mapping[str, Iterable[int]]
) -> dict[str, Tensor]:
    state = {}
    try:
        with safe_open(path, framework="pt") as file:
            keys = {key.removeprefix(prefix) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118  # safe_open is no mapping
            if keys != set(wanted):
                odd = min(keys ^ set(wanted))
                fault = "missing" if odd in wanted else "unexpected"
                raise GaneditError(f"{path}: {fault} tensor {prefix + odd:.80}")
            for key, shape in wanted.items():
                got = file.get_slice(prefix + key).get_shape()
                if list(got) != list(shape):
                    raise GaneditError(
                        f"{path}: {prefix}{key}: expected shape {list(shape)}, got {got}"
                    )
                state[key] = file.get_tensor(prefix + key).float()
    except (SafetensorError, OSError) as error:
        raise GaneditError(f"{path}: damaged weights ({_line(error)})") from error
    for key, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise GaneditError(f"{path}: {prefix}{key} holds values that are not finite")
    return state


def _line(error: BaseException) -> str:
    """The first line of an error's text, short enough for one line of a terminal."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
