"""Our network file: one ``.safetensors`` is the whole model.

Tensors are named ``generator.<key>`` and, when the file can continue a training,
``discriminator.<key>``. The metadata entry ``ganedit`` is JSON with the architecture, the
constructor arguments and the provenance, so no other file is needed and nothing is executed.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ganedit.checkpoints.building import GENERATORS, check_config
from ganedit.checkpoints.contents import Contents, Part
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.io.files import write_bytes

FORMAT = "ganedit-network"
VERSION = 1

_LARGEST_HEADER = 100_000_000  # bytes; the library refuses more, too, but reads the length first
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class SafeTensor:
    """A tensor that is still in its safetensors file."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def load(self) -> Tensor:
        """Return the tensor.

        Raises:
            GaneditError: The file has changed or is damaged.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                return file.get_tensor(self.key).clone()  # clone: the file is only mapped
        except (SafetensorError, OSError) as error:
            raise GaneditError(f"{self.path}: damaged weights ({_line(error)})") from error

    def meta(self) -> Tensor:
        """Return a stand-in of the same shape and type without numbers."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


def is_safetensors(start: bytes) -> bool:
    """Return whether a file that starts with these bytes (nine at least) may be safetensors."""
    # The length of the header comes first; no text has two zeros in its upper bytes.
    return start[6:9] == b"\0\0{"


def read_native(path: Path) -> Contents:
    """Return what a network file of ours holds, without reading its weights.

    Raises:
        GaneditError: The file is not a readable network file of ours.
    """
    metadata, tensors = _read_header(path)
    if "ganedit" not in metadata:
        raise GaneditError(f"{path}: a safetensors file, but not a network written by ganedit")
    header = _parse_metadata(path, metadata["ganedit"])
    architecture = header["architecture"]

    def part(role: Any, config: dict[str, Any]) -> Part:
        prefix = f"{role}."
        stored = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        return Part(role, role, architecture, config, stored)

    critic = header["discriminator"]
    strays = [key for key in tensors if not key.startswith(("generator.", "discriminator."))]
    return Contents(
        family="ganedit",
        generator=part("generator", header["config"]),
        discriminator=None if critic is None else part("discriminator", critic),
        provenance=header["provenance"],
        others=tuple(f"tensor {key:.80}" for key in strays),
    )


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
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": _architecture_of(generator),
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


def _architecture_of(generator: Generator) -> str:
    for name, kind in GENERATORS.items():
        if isinstance(generator, kind):
            return name
    raise ValueError(f"generator: expected one of {list(GENERATORS)}, got {type(generator)}")


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


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, SafeTensor]]:
    """Return the metadata and the tensors of a safetensors file."""
    try:
        with path.open("rb") as start:
            length = struct.unpack("<Q", start.read(8).ljust(8, b"\0"))[0]
        if length > min(_LARGEST_HEADER, path.stat().st_size):
            raise GaneditError(
                f"{path}: not a readable safetensors file (it declares a header of {length} bytes)"
            )
        with safe_open(path, framework="pt") as file:
            tensors = {}
            for key in file.keys():  # noqa: SIM118  # safe_open is no mapping
                view = file.get_slice(key)
                dtype = _DTYPES.get(view.get_dtype())
                if dtype is None:
                    raise GaneditError(f"{path}: {key:.80} holds {view.get_dtype()}, not weights")
                tensors[key] = SafeTensor(path, key, tuple(view.get_shape()), dtype)
            return file.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise GaneditError(f"{path}: not a readable safetensors file ({_line(error)})") from error


def _parse_metadata(path: Path, text: str) -> dict[str, Any]:
    """Return the checked entries of our metadata."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: its ganedit metadata is not valid JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise GaneditError(f"{path}: its ganedit metadata does not describe a network")
    if raw.get("version") != VERSION:
        raise GaneditError(
            f"{path}: format version {raw.get('version')!r:.20}, this ganedit reads {VERSION};"
            " install a newer ganedit"
        )
    architecture = raw.get("architecture")
    if not isinstance(architecture, str) or architecture not in GENERATORS:
        raise GaneditError(
            f"{path}: unknown architecture {architecture!r:.60}; known: {', '.join(GENERATORS)}"
        )
    config, discriminator = raw.get("config"), raw.get("discriminator")
    provenance = raw.get("provenance", {})
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise GaneditError(f"{path}: its ganedit metadata lacks the configuration")
    if discriminator is not None and not isinstance(discriminator, dict):
        raise GaneditError(f"{path}: its discriminator configuration is damaged")
    for values in (config, discriminator or {}):
        check_config(path, values)
    return {
        "architecture": architecture,
        "config": config,
        "discriminator": discriminator,
        "provenance": provenance,
    }


def _line(error: BaseException) -> str:
    """The first line of an error's text, short enough for one line of a terminal."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
