"""Our network files: one ``.safetensors`` is the whole model.

Tensors are named ``generator.<key>`` and, when the file can continue a training,
``discriminator.<key>``. The metadata entry ``ganedit`` is JSON with the architecture, the
constructor arguments and the provenance, so no other file is needed and nothing is executed.

An encoder is a file of its own, with the role ``encoder`` in the metadata: tensors
``encoder.<key>``, the average latent as ``average``, and the fingerprint of its generator. So is a
mapper: the role ``mapper``, tensors ``mapper.<key>``, the fingerprint and the prompt.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ganedit.checkpoints.building import ENCODERS, GENERATORS, MAPPERS, check_config
from ganedit.checkpoints.contents import (
    LONGEST_PROMPT,
    Contents,
    Part,
    StoredEncoder,
    StoredMapper,
    plain,
    text,
)
from ganedit.encoders import PYRAMID_RESOLUTION
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.io.files import write_bytes
from ganedit.io.stored import (
    MAX_DIMENSIONS,
    Broken,
    Flaw,
    Storage,
    StoredTensor,
    Window,
    open_window,
    shown,
)

PROMPT_JOINT = " + "
"""Between the prompts of a mapper for several."""

FORMAT = "ganedit-network"
VERSION = 1

_REGISTRIES = {"generator": GENERATORS, "encoder": ENCODERS, "mapper": MAPPERS}
_LARGEST_HEADER = 1 << 22  # bytes; the largest networks need a fortieth
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def is_safetensors(start: bytes) -> bool:
    """Return whether a file that starts with these bytes (nine at least) may be safetensors."""
    # The length of the header comes first; no text has two zeros in its upper bytes.
    return start[6:9] == b"\0\0{"


def read_native(path: Path) -> Contents:
    """Return what a network file of ours holds, without reading its weights.

    Raises:
        GaneditError: The file is not a readable network file of ours.
    """
    metadata, tensors = read_safetensors(path)
    if "ganedit" not in metadata:
        raise GaneditError(f"{path}: a safetensors file, but not a network written by ganedit")
    header = _parse_metadata(path, metadata["ganedit"])
    if header["role"] == "encoder":
        return _read_encoder(path, header, tensors)
    if header["role"] == "mapper":
        return _read_mapper(header, tensors)
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
        provenance=plain(header["provenance"]),
        others=tuple(f"tensor {shown(key, longest=80)}" for key in strays),
    )


def _read_encoder(
    path: Path, header: Mapping[str, Any], tensors: Mapping[str, StoredTensor]
) -> Contents:
    """Return what an encoder's file holds."""
    prefix = "encoder."
    stored = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    if "average" not in tensors:
        raise GaneditError(f"{path}: missing tensor average")
    config = header["config"]
    encoder = StoredEncoder(
        Part("encoder", "encoder", header["architecture"], config, stored),
        resolution=config.get("resolution", PYRAMID_RESOLUTION),
        average=tensors["average"],
        fingerprint=header["fingerprint"],
    )
    strays = [key for key in tensors if key != "average" and not key.startswith(prefix)]
    return Contents(
        family="ganedit",
        encoders=(encoder,),
        provenance=plain(header["provenance"]),
        others=tuple(f"tensor {shown(key, longest=80)}" for key in strays),
    )


def _read_mapper(header: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> Contents:
    """Return what a mapper's file holds."""
    prefix = "mapper."
    stored = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    part = Part("mapper", "mapper", header["architecture"], header["config"], stored)
    strays = [key for key in tensors if not key.startswith(prefix)]
    return Contents(
        family="ganedit",
        mapper=StoredMapper(part, header["prompt"], header["fingerprint"]),
        provenance=plain(header["provenance"]),
        others=tuple(f"tensor {shown(key, longest=80)}" for key in strays),
    )


def save_mapper(
    path: str | Path,
    mapper: nn.Module,
    *,
    prompt: str,
    fingerprint: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write a mapper to one file, atomically, in half precision.

    Args:
        path: The `.safetensors` file to write.
        mapper: A network of a registered architecture.
        prompt: What it was trained to change; its first 200 characters are kept.
        fingerprint: Of the generator that it belongs to.
        provenance: JSON-able facts about how the network came to be.

    Raises:
        GaneditError: The file cannot be written.
    """
    header = {
        "role": "mapper",
        "architecture": _architecture_of(mapper, MAPPERS),
        "config": dict(_config_of(mapper)),
        "prompt": text(prompt, length=LONGEST_PROMPT),
        "fingerprint": fingerprint,
        "provenance": dict(provenance),
    }
    tensors = {key: value.half() for key, value in _prefixed("mapper.", mapper).items()}
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise GaneditError(f"{path}: not written, the mapper's weights are beyond half precision")
    _write(path, header, tensors)


def save_encoder(
    path: str | Path,
    encoder: nn.Module,
    *,
    average: Tensor,
    fingerprint: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write an encoder to one file, atomically, its matrices and kernels in half precision.

    Args:
        path: The `.safetensors` file to write.
        encoder: A network of a registered architecture.
        average: What its latents are relative to, [1 or num_ws, w_dim].
        fingerprint: Of the generator that it belongs to.
        provenance: JSON-able facts about how the network came to be.

    Raises:
        GaneditError: The file cannot be written.
    """
    header = {
        "role": "encoder",
        "architecture": _architecture_of(encoder, ENCODERS),
        "config": dict(_config_of(encoder)),
        "fingerprint": fingerprint,
        "provenance": dict(provenance),
    }
    # Vectors stay whole: they are few, and variances can exceed what half precision holds.
    tensors = {
        key: value.half() if value.ndim > 1 else value
        for key, value in _prefixed("encoder.", encoder).items()
    }
    tensors["average"] = average.detach().to("cpu", torch.float32, copy=True).contiguous()
    _write(path, header, tensors)


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
        "architecture": _architecture_of(_module(generator), GENERATORS),
        "config": dict(generator.config),
        "discriminator": None if discriminator is None else dict(_config_of(discriminator)),
        "provenance": dict(provenance),
    }
    tensors = _prefixed("generator.", _module(generator))
    if discriminator is not None:
        tensors |= _prefixed("discriminator.", discriminator)
    _write(path, header, tensors)


def _write(path: str | Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    entry = {"format": FORMAT, "version": VERSION, **header}
    metadata = {"ganedit": json.dumps(entry, sort_keys=True)}
    # Serialised in memory: safetensors' own writer hides a full disk in an error of its own kind.
    write_bytes(path, save(tensors, metadata=metadata))


def _architecture_of(network: nn.Module, registry: Mapping[str, type[nn.Module]]) -> str:
    for name, kind in registry.items():
        if isinstance(network, kind):
            return name
    raise ValueError(f"network: expected one of {list(registry)}, got {type(network)}")


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


# The container, read here because the library reads any header whole, and lets a file map its
# tensors only, which would have to be copied and checked against a file cut short meanwhile.


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Return the metadata and the tensors, still in it, of a safetensors file.

    Raises:
        GaneditError: It is damaged, or holds other numbers than weights.
    """
    window = open_window(path)
    try:
        return _parse_header(window)
    except Flaw as flaw:
        raise GaneditError(f"{path}: not a readable safetensors file ({flaw})") from flaw


def _parse_header(window: Window) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    length = int.from_bytes(window.read(0, min(8, window.length)), "little")
    if length > min(_LARGEST_HEADER, window.length - 8):
        raise Broken(f"it declares a header of {length} bytes")
    try:
        header = json.loads(window.read(8, length).decode(), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise Broken("its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise Broken("its header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise Broken("its metadata are no table of texts")
    data = window.window(8 + length, window.length - 8 - length)
    spans = {key: _span(key, entry) for key, entry in header.items()}
    # Side by side: overlapping tensors could be loaded to many times the size of the file.
    end = 0
    for start, stop in sorted(spans.values()):
        if start != end:
            raise Broken("its tensors overlap, or leave bytes out")
        end = stop
    if end != data.length:
        raise Broken(f"its tensors take {end} bytes, it has {data.length}")
    return metadata, {
        key: _tensor(key, header[key], data.window(start, stop - start))
        for key, (start, stop) in spans.items()
    }


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _span(key: str, entry: Any) -> tuple[int, int]:
    """Return where a tensor begins and ends in the data."""
    span = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(span, list) or len(span) != 2 or any(type(at) is not int for at in span):
        raise Broken(f"{shown(key)} does not say where it is")
    if not 0 <= span[0] <= span[1]:
        raise Broken(f"{shown(key)} ends before it begins")
    return span[0], span[1]


def _tensor(key: str, entry: Mapping[str, Any], window: Window) -> StoredTensor:
    kind, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise Broken(f"{shown(key)} holds {shown(str(kind), longest=20)}, not weights")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise Broken(f"{shown(key)} has no proper shape")
    if any(type(size) is not int or size < 0 for size in shape):
        raise Broken(f"{shown(key)} has no proper shape")
    dtype = _DTYPES[kind]
    if math.prod(shape) * dtype.itemsize != window.length:
        raise Broken(f"{shown(key)} has another size than its shape says")
    storage = Storage(dtype, math.prod(shape)).bind(window)
    stride = tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))
    return StoredTensor(dtype, tuple(shape), stride, 0, storage)


def _parse_metadata(path: Path, entry: str) -> dict[str, Any]:
    """Return the checked entries of our metadata."""
    try:
        raw = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise GaneditError(f"{path}: its ganedit metadata is not valid JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise GaneditError(f"{path}: its ganedit metadata does not describe a network")
    if raw.get("version") != VERSION:
        raise GaneditError(
            f"{path}: format version {raw.get('version')!r:.20}, this ganedit reads {VERSION};"
            " install a newer ganedit"
        )
    role = raw.get("role", "generator")
    registry = _REGISTRIES.get(role if _is_text(role) else "")
    if registry is None:
        known = ", ".join(_REGISTRIES)
        raise GaneditError(f"{path}: unknown role {role!r:.60}; known: {known}")
    architecture = raw.get("architecture")
    if not isinstance(architecture, str) or architecture not in registry:
        raise GaneditError(
            f"{path}: unknown architecture {architecture!r:.60}; known: {', '.join(registry)}"
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
        "role": role,
        **_companion_of(path, raw, role),
        "architecture": architecture,
        "config": config,
        "discriminator": discriminator,
        "provenance": provenance,
    }


def _companion_of(path: Path, raw: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return which generator an encoder or a mapper belongs to, and what a mapper is for."""
    mark, prompt = raw.get("fingerprint", ""), raw.get("prompt", "")
    if not _is_text(mark) or (role != "generator" and not mark):
        raise GaneditError(f"{path}: its metadata does not say which generator it belongs to")
    if not _is_text(prompt) or (role == "mapper" and not prompt):
        raise GaneditError(f"{path}: its metadata does not say for which prompt it is")
    return {"fingerprint": mark, "prompt": text(prompt, length=LONGEST_PROMPT)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 256
