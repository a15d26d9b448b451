"""Networks by name: an embedded model or a file, whichever the user typed."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganedit.assets import asset_path, embedded
from ganedit.checkpoints.native import read_generator, read_header
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.runtime import resolve_device


@dataclass(frozen=True, eq=False)
class Network:
    """A generator, ready to use, and where it came from.

    Attributes:
        generator: In eval mode, frozen, float32, on the asked device.
        source: What the user typed: an embedded name or a path.
        fingerprint: ``sha256:<hex>`` of the weights.
        metadata: ``architecture``, ``config``, ``discriminator`` and ``provenance`` of the file.
    """

    generator: Generator
    source: str
    fingerprint: str
    metadata: dict[str, Any]

    @property
    def home(self) -> str:
        """The name that finds the network again from any folder: latents remember it."""
        return self.source if self.source in embedded() else str(Path(self.source).resolve())


def load_network(source: str | Path = "clay", *, device: str = "auto") -> Network:
    """Load a generator by embedded name or from a file.

    Args:
        source: ``clay`` or another embedded name, or the path of a `.safetensors` network
            (``./clay`` when a file has an embedded model's name).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.

    Raises:
        GaneditError: No such network, an unsupported or damaged file, or no such device.
    """
    target = resolve_device(device)
    path = _find(str(source))
    _refuse_other_formats(path)
    header = read_header(path)
    generator = read_generator(path, header)
    mark = fingerprint(generator)
    if isinstance(generator, nn.Module):
        generator.to(target)
    return Network(generator, str(source), mark, asdict(header))


def fingerprint(generator: Generator) -> str:
    """Return ``sha256:<hex>`` over the generator's sorted keys, shapes and float32 values."""
    if not isinstance(generator, nn.Module):
        raise ValueError(f"generator: expected an nn.Module, got {type(generator)}")
    digest = hashlib.sha256()
    for key, value in sorted(generator.state_dict().items()):
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _find(source: str) -> Path:
    models = [name for name, asset in embedded().items() if asset.kind == "generator"]
    if source in models:
        return asset_path(source)
    path = Path(source)
    if path.is_dir():
        raise GaneditError(f"{path}: is a folder; a network is a .safetensors file")
    if not path.is_file():
        raise GaneditError(
            f"network {source!r}: no such file, and no embedded model of that name"
            f" (embedded: {', '.join(models)})"
        )
    return path


def _refuse_other_formats(path: Path) -> None:
    """Tell by its first bytes what a file is, whatever its name says."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror})") from error
    if start[8:9] == b"{":
        return
    supported = "supported: .safetensors networks written by ganedit"
    if not start:
        raise GaneditError(f"{path}: is empty; {supported}")
    if start.startswith(b"PK\x03\x04"):
        raise GaneditError(f"{path}: a torch or zip file; {supported}")
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        raise GaneditError(f"{path}: a pickle, which is never run; {supported}")
    raise GaneditError(f"{path}: not a network; {supported}")
