"""Conversion between file formats, proved by pictures before the new file gets its name."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganedit.checkpoints.building import build_discriminator, build_generator
from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ganedit.checkpoints.native import save_network
from ganedit.checkpoints.rosinality import rosinality_limits, to_rosinality, training_file
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.io.files import write_atomic
from ganedit.runtime import seeded_normal

TOLERANCE = 1e-4
"""Largest difference of two pictures in [-1, 1], or of two scores, that is called the same."""

_PROBE_SEEDS = (0, 1)


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        path: The new file.
        image_difference: Largest absolute difference of the pictures of the same latents.
        score_difference: The same of the discriminators' scores; None without discriminators.
        warnings: What the new format cannot say, one line each.
    """

    path: Path
    image_difference: float
    score_difference: float | None
    warnings: tuple[str, ...]


def convert(
    checkpoint: Checkpoint, path: str | Path, *, to: Literal["safetensors", "rosinality"]
) -> Conversion:
    """Write the networks of a file in another format.

    The new file is opened again as any file would be, and both generators render the same latents
    (and both discriminators score the same pictures) before the file gets its name.

    Args:
        checkpoint: From `open_checkpoint`. The generator goes, and a discriminator if there is
            one, so that training can go on; optimisers' states do not.
        path: The file to write.
        to: ``safetensors`` is ours; ``rosinality`` is the layout of stylegan2-pytorch, with
            ``latent_avg`` and, where there is a discriminator, fresh optimiser states.

    Raises:
        GaneditError: The format cannot hold the network, the pictures differ, or the disk fails.
    """
    path = Path(path)
    generator = build_generator(checkpoint.generator, checkpoint.path)
    discriminator = None
    if checkpoint.contents.discriminator is not None:
        discriminator = build_discriminator(checkpoint.discriminator, checkpoint.path)
    write, warnings = _writer(checkpoint, generator, discriminator, to)
    probe = _probe(generator, discriminator)
    differences: list[float] = []

    def write_and_prove(partial: Path) -> None:
        write(partial)
        again = open_checkpoint(partial)
        critic = (
            None if discriminator is None else build_discriminator(again.discriminator, partial)
        )
        found = _probe(build_generator(again.generator, partial), critic)
        differences.extend(float((a - b).abs().max()) for a, b in zip(probe, found, strict=True))
        if not all(difference <= TOLERANCE for difference in differences):  # NaN is no proof
            raise GaneditError(
                f"{path}: not written, because its pictures would differ by up to"
                f" {max(differences):.2g} (pictures are in [-1, 1]);"
                f" {'; '.join(warnings) or 'this is a defect of ganedit'}"
            )

    write_atomic(path, write_and_prove)
    image, score = differences[0], max(differences[1:], default=None)
    return Conversion(path, image, score, tuple(warnings))


def _writer(
    checkpoint: Checkpoint,
    generator: Generator,
    discriminator: nn.Module | None,
    to: Literal["safetensors", "rosinality"],
) -> tuple[Callable[[Path], None], list[str]]:
    """Return what writes the new file, and what that file cannot say."""
    if to == "safetensors":
        write = partial(
            save_network,
            generator=generator,
            discriminator=discriminator,
            provenance=_provenance(checkpoint),
        )
        return write, _left_behind(checkpoint, with_raw=True)
    try:
        content = _rosinality_content(checkpoint, generator, discriminator)
    except GaneditError as error:
        raise GaneditError(f"{checkpoint.path}: {error}; convert to .safetensors") from error
    limits = [f"rosinality's own code differs: {limit}" for limit in rosinality_limits(generator)]
    clamp = getattr(discriminator, "config", {}).get("conv_clamp")
    if clamp is not None:
        limits.append(
            f"rosinality's own code differs: its discriminator has no limit (conv_clamp {clamp})"
        )
    limits += _left_behind(checkpoint, with_raw=discriminator is None)
    return partial(_save_torch, content=content), limits


def _left_behind(checkpoint: Checkpoint, *, with_raw: bool) -> list[str]:
    """Return what of a file does not go into the new one; ``with_raw`` counts the raw generator."""
    left = list(checkpoint.contents.others)
    raw = checkpoint.contents.raw_generator
    if raw is not None and with_raw:
        left.insert(0, f"{raw.name}, the generator under training, beside its average")
    return [f"left behind: {what}" for what in left]


def _rosinality_content(
    checkpoint: Checkpoint, generator: Generator, discriminator: nn.Module | None
) -> dict[str, Any]:
    """Return what to save: all that a training resumes from, if there is a discriminator."""
    if discriminator is None:
        g_ema, latent_avg = to_rosinality(generator)
        return {"g_ema": g_ema, "latent_avg": latent_avg}
    part = checkpoint.contents.raw_generator
    raw = None if part is None else build_generator(part, checkpoint.path)
    return training_file(generator, discriminator, raw_generator=raw)


def _save_torch(path: Path, content: dict[str, Any]) -> None:
    # In memory first: torch's own writer hides a full disk in an error of its own kind.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getbuffer())


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    if checkpoint.contents.provenance:
        return checkpoint.contents.provenance
    return {
        "converted_from": checkpoint.path.name,
        "family": checkpoint.contents.family,
        "training": checkpoint.contents.training,
    }


@torch.no_grad()
def _probe(generator: Generator, discriminator: nn.Module | None) -> list[Tensor]:
    """Return pictures of fixed latents, and their scores."""
    z = seeded_normal(_PROBE_SEEDS, [generator.z_dim])
    c = None
    if generator.c_dim:
        c = torch.eye(generator.c_dim)[[seed % generator.c_dim for seed in _PROBE_SEEDS]]
    ws = generator.map(z, c, truncation_psi=0.7)
    images = generator.synthesize(ws)
    if discriminator is None:
        return [images]
    if isinstance(generator, TriPlaneGenerator):
        # Its discriminator takes what the rays saw, too, and the camera.
        c = generator.default_camera.expand(len(z), -1)
        return [images, discriminator(torch.cat([images, images], dim=1), c)]
    return [images, discriminator(images, c)]
