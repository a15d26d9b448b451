"""Networks by name: embedded, in a file, or to be fetched, whichever the user typed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganedit.checkpoints.building import build_discriminator, build_generator
from ganedit.checkpoints.checkpoint import open_checkpoint
from ganedit.checkpoints.sources import home, locate
from ganedit.generators.base import Generator
from ganedit.io.download import OnBytes
from ganedit.runtime import resolve_device

# Truncation pulls towards it, but what a latent of all layers looks like does not depend on it.
_NOT_IN_FINGERPRINT = "mapping.w_avg"


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


def load_network(
    source: str | Path = "clay", *, device: str = "auto", on_progress: OnBytes | None = None
) -> Network:
    """Load a generator: an embedded one, or of a file of any known family.

    Files may be our safetensors, NVlabs' pickles of stylegan2-ada-pytorch and stylegan3, older
    TensorFlow pickles of StyleGAN2, rosinality's ``.pt`` files, and bundles that hold such a
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


def fingerprint(generator: Generator) -> str:
    """Return ``sha256:<hex>`` over the generator's sorted keys, shapes and float32 values.

    The average latent is left out: some files do not hold it, and it is estimated then.
    """
    if not isinstance(generator, nn.Module):
        raise ValueError(f"generator: expected an nn.Module, got {type(generator)}")
    digest = hashlib.sha256()
    for key, value in sorted(generator.state_dict().items()):
        if key == _NOT_IN_FINGERPRINT:
            continue
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.detach().to("cpu", torch.float32).reshape(-1).numpy())
    return f"sha256:{digest.hexdigest()}"
