"""Networks by name: embedded, in a file, or to be fetched, whichever the user typed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganedit.assets import asset_path, embedded
from ganedit.checkpoints.building import (
    build_discriminator,
    build_encoder,
    build_generator,
    build_mapper,
)
from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ganedit.checkpoints.contents import StoredEncoder
from ganedit.checkpoints.sources import home, locate
from ganedit.encoders import PYRAMID_WIDTH
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.io.download import OnBytes
from ganedit.runtime import resolve_device

# Truncation pulls towards it, but what a latent of all layers looks like does not depend on it.
_NOT_IN_FINGERPRINT = ("mapping.w_avg", "backbone.mapping.w_avg")


@dataclass(frozen=True, eq=False)
class Network:
    """A generator, ready to use, and where it came from.

    Attributes:
        generator: In eval mode, frozen, float32, on the asked device.
        source: What the user typed: an embedded name, a path, an address.
        fingerprint: ``sha256:<hex>`` of the weights, the same in every file format.
        metadata: ``family``, ``architecture``, ``config``, ``training`` (options that the file
            tells) and ``provenance`` (of our own files).
    """

    generator: Generator
    source: str
    fingerprint: str
    metadata: dict[str, Any]

    @property
    def home(self) -> str:
        """The name that finds the network again from any folder: latents remember it."""
        return home(self.source)

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Fingerprints of the networks that this one was adapted from, which share its latents."""
        told = self.metadata.get("provenance", {}).get("adapted_from")
        return tuple(x for x in told if isinstance(x, str)) if isinstance(told, list) else ()

    def accepts(self, mark: str | None) -> bool:
        """Return whether latents of the network with this fingerprint can be drawn by this one."""
        return mark == self.fingerprint or mark in self.ancestors


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder, ready to use, and the generator it belongs to.

    Attributes:
        encoder: In eval mode, frozen, float32, on the asked device; returns latents relative to
            ``average``, [N, num_ws, w_dim].
        architecture: ``CompactEncoder``, ``Encoder4Editing``, ....
        space: ``w`` when it finds one latent for all layers, else ``w+``.
        resolution: Side of the pictures that it reads, in pixels.
        in_channels: Their channels: 3, but for label maps, and for SAM, which also reads an age.
        average: Added to what it returns, [1 or num_ws, w_dim]; zeros where nothing is.
        fingerprint: Of the generator that it belongs to.
        source: What the user typed: an embedded name, a path, an address.
        family: Who writes such files.
    """

    encoder: nn.Module
    architecture: str
    space: Literal["w", "w+"]
    resolution: int
    in_channels: int
    average: Tensor
    fingerprint: str
    source: str
    family: str


@dataclass(frozen=True, eq=False)
class LoadedMapper:
    """A mapper, ready to use, and the generator it belongs to.

    Attributes:
        mapper: In eval mode, frozen, float32, on the asked device; from latents to their change,
            both [N, num_ws, w_dim].
        num_ws: Latents of the generator.
        w_dim: Length of a latent.
        fingerprint: Of that generator; None where the file does not tell.
        prompt: What it was trained to change; None where the file does not tell.
        source: What the user typed: a path, an address.
        family: Who writes such files.
    """

    mapper: nn.Module
    num_ws: int
    w_dim: int
    fingerprint: str | None
    prompt: str | None
    source: str
    family: str


def load_network(
    source: str | Path = "clay", *, device: str = "auto", on_progress: OnBytes | None = None
) -> Network:
    """Load a generator: an embedded one, or of a file of any known family.

    Files may be our safetensors, NVlabs' pickles of stylegan2-ada-pytorch, stylegan3 and EG3D,
    older TensorFlow pickles of StyleGAN2, rosinality's ``.pt`` files, and bundles that hold such a
    generator (pSp, e4e, SAM, StyleCLIP). They are told apart by content, and no code in them runs.

    Args:
        source: ``clay`` or another embedded name, a path (``./clay`` when a file has an embedded
            model's name), an https address, or ``hf://owner/repository/file``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        on_progress: Called during a download with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: No such network, an unsupported or damaged file, or no such device.
    """
    target = resolve_device(device)
    checkpoint = open_checkpoint(locate(str(source), on_progress=on_progress))
    part = checkpoint.generator
    generator = build_generator(part, checkpoint.path)
    mark = fingerprint(generator)
    if isinstance(generator, nn.Module):
        generator.to(target)
    metadata = {
        "family": checkpoint.contents.family,
        "architecture": part.architecture,
        "config": dict(generator.config),
        "training": checkpoint.contents.training,
        "provenance": checkpoint.contents.provenance,
    }
    return Network(generator, str(source), mark, metadata)


def load_discriminator(source: str | Path) -> nn.Module:
    """Build the discriminator of a network file, trainable, float32 on the CPU.

    Args:
        source: As in `load_network`.

    Raises:
        GaneditError: The file has no discriminator, or its weights do not fit.
    """
    checkpoint = open_checkpoint(locate(str(source)))
    return build_discriminator(checkpoint.discriminator, checkpoint.path)


def load_encoder(
    source: str | Path, *, device: str = "auto", on_progress: OnBytes | None = None
) -> LoadedEncoder:
    """Load an encoder: an embedded one, of a file of ours, or of a bundle of pSp, e4e or SAM.

    Args:
        source: An embedded encoder's name, else as in `load_network`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        on_progress: As in `load_network`.

    Raises:
        GaneditError: No such file, no encoder in it, unsupported, damaged, or no such device.
    """
    target = resolve_device(device)
    checkpoint = _open_encoder(str(source), on_progress)
    stored = checkpoint.encoder
    encoder = build_encoder(stored.part, checkpoint.path)
    mark = stored.fingerprint
    average = None if stored.average is None else stored.average.load().float()
    if mark is None:
        decoder = build_generator(checkpoint.generator, checkpoint.path)
        mark = fingerprint(decoder)
        average = decoder.w_avg if average is None else average
    assert average is not None  # files of ours have both
    average = _average_rows(average, stored, checkpoint.path)
    return LoadedEncoder(
        encoder=encoder.to(target),
        architecture=stored.part.architecture,
        space="w" if stored.part.config.get("space") == "w" else "w+",
        resolution=stored.resolution,
        in_channels=stored.part.config.get("in_channels", 3),
        average=(average if stored.relative else torch.zeros_like(average)).to(target),
        fingerprint=mark,
        source=str(source),
        family=checkpoint.contents.family,
    )


def load_mapper(
    source: str | Path, *, device: str = "auto", on_progress: OnBytes | None = None
) -> LoadedMapper:
    """Load a mapper: of a file of ours, or of StyleCLIP.

    Args:
        source: A path or an address, as in `load_network`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
        on_progress: As in `load_network`.

    Raises:
        GaneditError: No such file, no mapper in it, unsupported, damaged, or no such device.
    """
    target = resolve_device(device)
    checkpoint = open_checkpoint(locate(str(source), on_progress=on_progress))
    stored = checkpoint.mapper
    mapper = build_mapper(stored.part, checkpoint.path)
    mark = stored.fingerprint
    if mark is None and checkpoint.contents.generator is not None:
        mark = fingerprint(build_generator(checkpoint.generator, checkpoint.path))
    return LoadedMapper(
        mapper=mapper.to(target),
        num_ws=stored.part.config["num_ws"],
        w_dim=stored.part.config["w_dim"],
        fingerprint=mark,
        prompt=stored.prompt,
        source=str(source),
        family=checkpoint.contents.family,
    )


def find_encoder(network: Network) -> str | None:
    """Return the source of an encoder at hand for a network: of its own file, or embedded.

    Raises:
        GaneditError: The network's file is gone or damaged.
    """
    if open_checkpoint(locate(network.source)).contents.encoders:
        return network.source
    for name, asset in embedded().items():
        if asset.kind != "encoder" or not asset.weights.is_file():
            continue
        if network.accepts(open_checkpoint(asset.weights).encoder.fingerprint):
            return name
    return None


def _average_rows(average: Tensor, stored: StoredEncoder, path: Path) -> Tensor:
    """Return an average latent as [1 or num_ws, w_dim]."""
    num_ws, w_dim = stored.part.config["num_ws"], stored.part.config.get("w_dim", PYRAMID_WIDTH)
    rows = average[None] if average.ndim == 1 else average
    if rows.shape not in ((1, w_dim), (num_ws, w_dim)):
        raise GaneditError(
            f"{path}: its average latent should be [{num_ws}, {w_dim}] or [{w_dim}],"
            f" got {list(average.shape)}"
        )
    return rows


def _open_encoder(source: str, on_progress: OnBytes | None) -> Checkpoint:
    asset = embedded().get(source)
    if asset is not None and asset.kind == "encoder":
        return open_checkpoint(asset_path(source))
    return open_checkpoint(locate(source, on_progress=on_progress))


def fingerprint(generator: Generator) -> str:
    """Return ``sha256:<hex>`` over the generator's sorted keys, shapes and float32 values.

    The average latent is left out: some files do not hold it, and it is estimated then.
    """
    if not isinstance(generator, nn.Module):
        raise ValueError(f"generator: expected an nn.Module, got {type(generator)}")
    digest = hashlib.sha256()
    for key, value in sorted(generator.state_dict().items()):
        if key in _NOT_IN_FINGERPRINT:
            continue
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.detach().to("cpu", torch.float32).reshape(-1).numpy())
    return f"sha256:{digest.hexdigest()}"
