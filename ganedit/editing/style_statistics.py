"""What single style channels do to pictures, as a CLIP sees it: measured once, and kept.

StyleCLIP's global directions (Patashnik et al. 2021, section 6) start from it. The channels are
those of the StyleSpace (Wu et al. 2021).
"""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from ganedit.assets import embedded
from ganedit.checkpoints import Network, label_batch
from ganedit.checkpoints.native import read_safetensors
from ganedit.checkpoints.sources import cache_folder
from ganedit.errors import GaneditError
from ganedit.features.clip import Clip
from ganedit.generators.base import StyleLayer
from ganedit.io.files import write_bytes
from ganedit.progress import OnStep
from ganedit.runtime import seeded_normal

FORMAT = "ganedit-relevance"
VERSION = 1

# Layers up to 128 pixels, as the reference: what comes later is colour and grain. StyleGAN3's are
# 20 pixels larger than they say, for their margins.
_LARGEST_LAYER = 148
_MAPPED = 1000  # latents mapped at a time
_BLOCK = 32  # pictures computed together, where their size allows
_BLOCK_PIXELS = 2**21
_SAVE_SECONDS = 3.0
_SPREAD_SEED = 123


@dataclass(frozen=True)
class RelevanceSettings:
    """How the channels are measured; another setting is another measurement.

    Attributes:
        samples: Pictures that each channel is tried on.
        spread: How far it is moved, up and down, in standard deviations of the channel.
        z_samples: Latents that those standard deviations are of.
        truncation_psi: Of all these latents; 1 is untouched.
        label: Of a conditional generator, c_dim numbers.
    """

    samples: int = 16
    spread: float = 2.0
    z_samples: int = 10_000
    truncation_psi: float = 0.7
    label: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: One is out of range.
        """
        if self.samples < 1 or self.z_samples < 2:
            raise ValueError(
                f"samples, z_samples: expected at least 1 and 2, got {self.samples} and"
                f" {self.z_samples}"
            )
        if not (math.isfinite(self.spread) and self.spread > 0):
            raise ValueError(f"spread: expected a number above 0, got {self.spread}")
        if not (math.isfinite(self.truncation_psi) and self.truncation_psi != 0):
            raise ValueError(f"truncation_psi: expected not 0, got {self.truncation_psi}")


REFERENCE_SETTINGS = RelevanceSettings(samples=100, spread=5.0, z_samples=100_000)
"""StyleCLIP's own; six times the work of the default."""


@dataclass(frozen=True, eq=False)
class StyleRelevance:
    """What the channels of a generator do, as a CLIP sees it.

    K channels take part: all of the layers in ``layers``, in this order.

    Attributes:
        network: Fingerprint of the generator.
        clip: Fingerprint of the CLIP.
        settings: How it was measured.
        widths: Channels of each style layer of the generator, also of those left out.
        layers: Which style layers take part.
        std: Standard deviation of each channel, [K].
        effects: Mean over pictures of the direction, of length one, in which the picture's moves
            when a channel goes up, [K, D]. The shorter, the less the pictures agree.
        sizes: How much it moves for one standard deviation, [K].
    """

    network: str
    clip: str
    settings: RelevanceSettings
    widths: tuple[int, ...]
    layers: tuple[int, ...]
    std: Tensor
    effects: Tensor
    sizes: Tensor

    def offsets(self, amounts: Tensor) -> tuple[Tensor, ...]:
        """Return offsets of all style layers, [N, channels] each.

        Args:
            amounts: How far each channel goes, in its standard deviations, [N, K].
        """
        parts = (amounts * self.std).split([self.widths[index] for index in self.layers], dim=1)
        moved = dict(zip(self.layers, parts, strict=True))
        still = [amounts.new_zeros(len(amounts), width) for width in self.widths]
        return tuple(moved.get(index, zeros) for index, zeros in enumerate(still))


def find_relevance(
    network: Network,
    clip: Clip,
    settings: RelevanceSettings | None = None,
    *,
    folder: Path | None = None,
    on_step: OnStep | None = None,
    on_trouble: Callable[[str], None] | None = None,
) -> StyleRelevance:
    """Return what the channels do: as it was measured before, embedded or kept, or measured now.

    What is measured is kept in ``folder``, also when it is interrupted: the next call goes on. A
    generator that was tuned to a photo is taken for the one that it was: its channels do the same.
    A kept file that is damaged, or says that it is of something else, is measured again.

    Args:
        network: The generator.
        clip: The CLIP.
        settings: None for the defaults.
        folder: Where measurements are kept; None for ``relevance`` in the user's cache folder.
        on_step: Progress, called with the channels done and in all; not called when all are known.
        on_trouble: Called with one line when a measurement cannot be kept: the disk is full.

    Raises:
        GaneditError: The generator needs a class and has none, or it has no channels to measure.
    """
    plan = _plan(network, clip, settings or RelevanceSettings())
    for path in _shipped():
        known = _read(plan, path)
        if known is not None and known.complete:
            return _finished(plan, known)
    folder = cache_folder().with_name("relevance") if folder is None else folder
    path = folder / f"{plan.name}.safetensors"
    known = _read(plan, path)
    if known is not None and known.complete:
        return _finished(plan, known)
    # Its fingerprint is that of the generator before: nothing of it may be kept under that name.
    tuned = "tuning" in network.metadata
    keep = None if tuned else _keeper(plan, path, on_trouble)
    measured = _measure(plan, known, keep=keep, on_step=on_step)
    return _finished(plan, measured)


def measure_relevance(
    network: Network,
    clip: Clip,
    settings: RelevanceSettings | None = None,
    *,
    on_step: OnStep | None = None,
) -> StyleRelevance:
    """Measure what the channels do, and keep nothing; see `find_relevance`."""
    plan = _plan(network, clip, settings or RelevanceSettings())
    return _finished(plan, _measure(plan, None, on_step=on_step))


def save_relevance(path: Path | str, relevance: StyleRelevance) -> None:
    """Write a measurement as `find_relevance` keeps it, atomically.

    Raises:
        GaneditError: The disk fails.
    """
    header = _header(relevance.network, relevance.clip, relevance.settings)
    stored = _Measured(relevance.std, relevance.effects, relevance.sizes, complete=True)
    write_bytes(path, _packed(header, stored))


# Measuring


@dataclass(frozen=True, eq=False)
class _Plan:
    """What to measure.

    Attributes:
        network: The generator.
        clip: The CLIP.
        settings: How.
        layers: Index and description of the style layers that take part.
    """

    network: Network
    clip: Clip
    settings: RelevanceSettings
    layers: tuple[tuple[int, StyleLayer], ...]

    @property
    def channels(self) -> int:
        return sum(layer.channels for _, layer in self.layers)

    @property
    def header(self) -> dict[str, Any]:
        return _header(self.network.fingerprint, self.clip.fingerprint, self.settings)

    @property
    def name(self) -> str:
        digest = hashlib.sha256(json.dumps(self.header, sort_keys=True).encode())
        return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class _Measured:
    """The first channels of a measurement, or all; see `StyleRelevance`."""

    std: Tensor
    effects: Tensor
    sizes: Tensor
    complete: bool


_Keep = Callable[[_Measured], None]


def _plan(network: Network, clip: Clip, settings: RelevanceSettings) -> _Plan:
    layers = tuple(
        (index, layer)
        for index, layer in enumerate(network.generator.style_layers)
        if layer.kind == "conv" and layer.resolution <= _LARGEST_LAYER
    )
    return _Plan(network, clip, settings, layers)


def _finished(plan: _Plan, measured: _Measured) -> StyleRelevance:
    # As it comes back from the file, so that the first edit equals all later ones.
    stored = _rounded(measured)
    return StyleRelevance(
        network=plan.network.fingerprint,
        clip=plan.clip.fingerprint,
        settings=plan.settings,
        widths=tuple(layer.channels for layer in plan.network.generator.style_layers),
        layers=tuple(index for index, _ in plan.layers),
        std=stored.std,
        effects=stored.effects,
        sizes=stored.sizes,
    )


@torch.no_grad()
def _measure(
    plan: _Plan,
    known: _Measured | None,
    *,
    keep: _Keep | None = None,
    on_step: OnStep | None = None,
) -> _Measured:
    """Measure the channels that are not known; ``keep`` gets what there is every few seconds."""
    ws = _latents(plan, range(plan.settings.samples))
    std = _channel_std(plan) if known is None else known.std
    effects = [] if known is None else [known.effects]
    sizes = [] if known is None else [known.sizes]
    done = sum(len(part) for part in sizes)
    saved = time.monotonic()
    for start, layer, channels in _blocks(plan):
        if start < done:
            continue
        moved = _moved(plan, ws, layer, channels, std[start : start + len(channels)])  # [B, S, D]
        effects.append(F.normalize(moved, dim=-1).mean(dim=1).cpu())
        sizes.append(moved.norm(dim=-1).mean(dim=1).cpu() / (2 * plan.settings.spread))
        done += len(channels)
        complete = done == plan.channels
        if keep and (complete or time.monotonic() - saved > _SAVE_SECONDS):
            keep(_Measured(std, torch.cat(effects), torch.cat(sizes), complete))
            saved = time.monotonic()
        if on_step:
            on_step(done, plan.channels, {})
    return _Measured(std, torch.cat(effects), torch.cat(sizes), complete=True)


def _latents(plan: _Plan, seeds: Sequence[int]) -> Tensor:
    """Return the latents of seeds, [N, num_ws, w_dim]."""
    generator = plan.network.generator
    z = seeded_normal(seeds, [generator.z_dim], device=generator.w_avg.device)
    return _mapped(plan, z)


def _mapped(plan: _Plan, z: Tensor) -> Tensor:
    labels = label_batch(plan.network, plan.settings.label, len(z))
    psi = plan.settings.truncation_psi
    return plan.network.generator.map(z, labels, truncation_psi=psi)


def _channel_std(plan: _Plan) -> Tensor:
    """Return the standard deviation of each channel that takes part, [K]."""
    generator = plan.network.generator
    stream = torch.Generator().manual_seed(_SPREAD_SEED)
    z = torch.randn(plan.settings.z_samples, generator.z_dim, generator=stream)
    count, mean, square = 0, torch.zeros(()), torch.zeros(())
    for part in z.split(_MAPPED):
        styles = generator.styles(_mapped(plan, part.to(generator.w_avg.device)))
        row = torch.cat([styles[index] for index, _ in plan.layers], dim=1).cpu().double()  # [M, K]
        # Chan et al. 1983: means and squares of parts, without the loss of a difference.
        change = row.mean(dim=0) - mean.to(row)
        total = count + len(row)
        inner = (row - row.mean(dim=0)).square().sum(dim=0)
        square = square.to(row) + inner + change.square() * count * len(row) / total
        mean = mean.to(row) + change * len(row) / total
        count = total
    return (square / (count - 1)).sqrt().float().cpu()


def _blocks(plan: _Plan) -> Iterator[tuple[int, int, range]]:
    """Yield channels to measure together: the first one's place, the layer, which of its own."""
    size = max(1, _BLOCK // (2 * plan.settings.samples))
    start = 0
    for index, layer in plan.layers:
        for first in range(0, layer.channels, size):
            channels = range(first, min(first + size, layer.channels))
            yield start, index, channels
            start += len(channels)


def _moved(plan: _Plan, ws: Tensor, layer: int, channels: range, std: Tensor) -> Tensor:
    """Return how the directions of pictures differ between a channel up and down, [B, S, D].

    Args:
        plan: The plan.
        ws: Latents, [S, num_ws, w_dim].
        layer: The style layer.
        channels: B of its channels.
        std: Theirs, [B].
    """
    generator = plan.network.generator
    layers = generator.style_layers
    up = torch.zeros(len(channels), layers[layer].channels)
    up[range(len(channels)), channels] = plan.settings.spread * std
    own = torch.cat([up, -up]).repeat_interleave(len(ws), dim=0).to(ws)  # [2 * B * S, C]
    rows = ws.repeat(2 * len(channels), 1, 1)
    zeros = [ws.new_zeros(1, other.channels) for other in layers]
    size = max(1, min(_BLOCK, _BLOCK_PIXELS // generator.img_resolution**2))
    found = []
    for part, offset in zip(rows.split(size), own.split(size), strict=True):
        offsets = [offset if index == layer else other for index, other in enumerate(zeros)]
        images = generator.synthesize(part, offsets=offsets).float().clamp(-1, 1)
        found.append(plan.clip.encode_images(images))
    above, below = torch.cat(found).unflatten(0, (2, len(channels), len(ws)))
    return above - below


# Keeping


def _shipped() -> list[Path]:
    """Return the files of measurements that travel inside the package."""
    return [asset.weights for asset in embedded().values() if asset.kind == "relevance"]


def _header(network: str, clip: str, settings: RelevanceSettings) -> dict[str, Any]:
    # Through JSON and back, to be compared with what a file holds.
    told = {"network": network, "clip": clip, "settings": asdict(settings)}
    header: dict[str, Any] = json.loads(
        json.dumps({"format": FORMAT, "version": VERSION, **told}, sort_keys=True)
    )
    return header


def _rounded(measured: _Measured) -> _Measured:
    effects = measured.effects.half().float()
    return _Measured(measured.std.float(), effects, measured.sizes.float(), measured.complete)


def _packed(header: dict[str, Any], measured: _Measured) -> bytes:
    # Unfinished ones in float32: going on then gives the same as never having been interrupted.
    effects = measured.effects.half() if measured.complete else measured.effects
    tensors = {"std": measured.std, "effects": effects, "sizes": measured.sizes}
    return save(
        {key: tensor.contiguous() for key, tensor in tensors.items()},
        metadata={"ganedit": json.dumps(header, sort_keys=True)},
    )


def _keeper(plan: _Plan, path: Path, on_trouble: Callable[[str], None] | None) -> _Keep:
    """Return a function that keeps what is measured, and tells once when it cannot."""
    failed = False

    def keep(measured: _Measured) -> None:
        nonlocal failed
        if failed:
            return
        try:
            write_bytes(path, _packed(plan.header, measured))
        except GaneditError as error:
            failed = True
            if on_trouble:
                on_trouble(f"what was measured cannot be kept: {error}")

    return keep


def _read(plan: _Plan, path: Path) -> _Measured | None:
    """Return what a file knows; None where it is missing, damaged or of something else."""
    if not path.is_file():
        return None
    with contextlib.suppress(GaneditError, ValueError, KeyError, RecursionError):
        metadata, stored = read_safetensors(path)
        if json.loads(metadata["ganedit"]) != plan.header:
            return None
        tensors = {key: stored[key].load() for key in ("std", "effects", "sizes")}
        return _checked(plan, **tensors)
    return None


def _checked(plan: _Plan, *, std: Tensor, effects: Tensor, sizes: Tensor) -> _Measured:
    """Return a file's tensors once they fit.

    Raises:
        ValueError: They do not.
    """
    whole = effects.dtype == torch.float16
    ends = {start for start, _, _ in _blocks(plan)} - {0}
    good = (
        std.shape == (plan.channels,)
        and effects.ndim == 2
        and sizes.shape == (len(effects),)
        and (len(effects) == plan.channels if whole else len(effects) in ends)
        and all(bool(tensor.isfinite().all()) for tensor in (std, effects, sizes))
        and all(bool((tensor >= 0).all()) for tensor in (std, sizes))
        and effects.shape[1] == plan.clip.encode_texts([]).shape[1]
    )
    if not good:
        raise ValueError("not a measurement of these channels")
    return _Measured(std.float(), effects.float(), sizes.float(), complete=whole)
