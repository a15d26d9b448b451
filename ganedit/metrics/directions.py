"""What directions do to pictures: which factor or phrase moves, how much, and what else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTORS
from ganedit.features.clay import ClayFeatures
from ganedit.features.clip import Clip
from ganedit.generators.base import Generator
from ganedit.generators.statistics import batch_size
from ganedit.metrics.edits import factor_changes
from ganedit.progress import OnStep
from ganedit.runtime import seeded_normal

MOSTLY = 0.6
"""A direction whose purity is this moves one thing mostly."""

_NAMED = 0.5  # of the total change: with less, a direction is named by the two largest
_LONGEST = 80
_FORBIDDEN = str.maketrans({"=": " ", ":": " "})  # they separate names from numbers and files


@dataclass(frozen=True, eq=False)
class Meter:
    """What reads changes off pairs of pictures.

    Attributes:
        names: Of what it reads.
        unit: Of the changes, for people.
        read: From pictures before and after, [N, 3, R, R] in [-1, 1] each, to signed changes,
            [N, len(names)].
    """

    names: tuple[str, ...]
    unit: str
    read: Callable[[Tensor, Tensor], Tensor]


def clay_meter(features: ClayFeatures) -> Meter:
    """Return a meter of the factors of clay heads, in parts of their ranges."""

    def read(before: Tensor, after: Tensor) -> Tensor:
        return factor_changes(features, before, after)

    names = tuple(factor.name for factor in FACTORS)
    return Meter(names, "parts of the factor's range", read)


def clip_meter(clip: Clip, phrases: Sequence[str]) -> Meter:
    """Return a meter of how well pictures fit phrases: the cosine after less that before.

    Args:
        clip: Reads both.
        phrases: At least one, each once.

    Raises:
        ValueError: There is none, or one comes twice.
    """
    if not phrases or len(set(phrases)) < len(phrases):
        raise ValueError(f"phrases: expected different ones, got {list(phrases)!r:.200}")
    texts = clip.encode_texts(phrases)

    def read(before: Tensor, after: Tensor) -> Tensor:
        return (clip.encode_images(after) - clip.encode_images(before)) @ texts.mT

    return Meter(tuple(phrases), "cosine", read)


@torch.no_grad()
def measure_effects(
    generator: Generator,
    vectors: Tensor,
    layers: Sequence[Sequence[int]],
    meter: Meter,
    *,
    heads: int = 32,
    degree: float = 1.5,
    truncation_psi: float = 0.7,
    label: Tensor | None = None,
    first_seed: int = 0,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return what each direction does for each standard deviation, float32 [K, F], signed.

    Central differences: pictures of the same latents ``degree`` up and down the direction are
    compared, and the change is divided by twice the degree; the mean over all heads counts.

    Args:
        generator: Whose pictures.
        vectors: One standard deviation each, [K, 1 or num_ws, w_dim].
        layers: Latents that each is added to, K entries; an empty one means all.
        meter: Reads the pictures, F things.
        heads: How many pictures are moved.
        degree: How far up and down, in standard deviations.
        truncation_psi: Of the heads.
        label: Of a conditional generator, [1, c_dim].
        first_seed: Of the pictures; the others follow.
        on_step: Called after each direction.

    Raises:
        ValueError: No heads, no degree, or vectors of another shape.
    """
    _check_vectors(generator, vectors, layers)
    if heads < 1 or not degree > 0:
        raise ValueError(f"expected heads and a degree above 0, got {heads} and {degree}")
    place = generator.w_avg.device
    z = seeded_normal(range(first_seed, first_seed + heads), [generator.z_dim], device=place)
    labels = None if label is None else label.to(place).expand(heads, -1)
    ws = generator.map(z, labels, truncation_psi=truncation_psi)  # [heads, num_ws, w_dim]
    batch = batch_size(generator)
    effects = []
    for index, vector in enumerate(vectors.to(place)):
        step = torch.zeros_like(ws[0])
        chosen = list(layers[index]) or list(range(generator.num_ws))
        step[chosen] = vector.expand(generator.num_ws, -1)[chosen]
        changes = [
            meter.read(
                generator.synthesize(part - degree * step).clamp(-1, 1),
                generator.synthesize(part + degree * step).clamp(-1, 1),
            )
            for part in ws.split(batch)
        ]
        effects.append(torch.cat(changes).mean(dim=0) / (2 * degree))
        if on_step is not None:
            on_step(index + 1, len(vectors), {})
    return torch.stack(effects).float().cpu()


def _check_vectors(generator: Generator, vectors: Tensor, layers: Sequence[Sequence[int]]) -> None:
    rows, width = (1, generator.num_ws), generator.w_dim
    if vectors.ndim != 3 or vectors.shape[1] not in rows or vectors.shape[2] != width:
        raise ValueError(
            f"vectors: expected [K, 1 or {generator.num_ws}, {width}], got {list(vectors.shape)}"
        )
    if len(layers) != len(vectors):
        raise ValueError(f"layers: expected {len(vectors)} entries, got {len(layers)}")


def purity(effects: Tensor) -> Tensor:
    """Return the largest part of each direction's change that one thing has, [K], 0 to 1.

    Args:
        effects: Of `measure_effects`, [K, F]. A direction that moves nothing has purity 0.
    """
    sizes = effects.abs()
    return sizes.amax(dim=1) / sizes.sum(dim=1).clamp_min(1e-12)


def rising(effects: Tensor) -> Tensor:
    """Return 1 or -1 a direction, [K]: by which to multiply it so that what it moves most rises.

    Args:
        effects: Of `measure_effects`, [K, F].
    """
    largest = effects.gather(1, effects.abs().argmax(dim=1, keepdim=True))[:, 0]
    return torch.where(largest < 0, -1.0, 1.0)


def name_directions(effects: Tensor, names: Sequence[str]) -> tuple[str, ...]:
    """Return a name a direction, all different: ``smile``, or ``smile+yaw``.

    The first is for one that does half of its change or more to one thing. Any other is named by
    the two that it moves most, the second with a minus when it falls while the first rises. What
    would be called the same gets numbers from 2 on.

    Args:
        effects: Of `measure_effects`, [K, F].
        names: Of the F things.
    """
    if effects.ndim != 2 or effects.shape[1] != len(names):
        raise ValueError(f"effects: expected [K, {len(names)}], got {list(effects.shape)}")
    found: list[str] = []
    for row in effects.double():
        first, second = [*torch.argsort(row.abs(), descending=True, stable=True).tolist(), None][:2]
        name = plain_name(names[first])
        if second is not None and row[first].abs() < _NAMED * row.abs().sum():
            sign = "+" if row[first] * row[second] >= 0 else "-"
            name += sign + plain_name(names[second])
        found.append(_unused(name, found))
    return tuple(found)


def plain_name(name: str) -> str:
    """Return a name that can stand before ``=`` and behind ``:`` on a command line."""
    kept = "".join(c for c in name.translate(_FORBIDDEN) if c.isprintable())
    plain = " ".join(kept.split())[: _LONGEST // 2 - 5].strip() or "unnamed"
    return f"no {plain}" if plain.isdecimal() else plain  # digits alone would be an index


def plain_names(names: Sequence[str]) -> list[str]:
    """Return `plain_name` of each; what would be called the same gets numbers from 2 on."""
    found: list[str] = []
    for name in names:
        found.append(_unused(plain_name(name), found))
    return found


def _unused(name: str, taken: Sequence[str]) -> str:
    tried, number = name, 1
    while tried in taken:
        number += 1
        tried = f"{name}-{number}"
    return tried
