"""The factors of a clay head: what can vary, in which range, and how often."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Factor(NamedTuple):
    """One dimension of variation of the world.

    Attributes:
        name: How every command and file calls it.
        low: Smallest value.
        high: Largest value.
        unit: ``"1"`` for a plain number, ``"rad"``, ``"turn"`` where 1 is the same as 0, or
            ``"choice"`` for whole numbers.
        moves: What a larger value does to the picture.
    """

    name: str
    low: float
    high: float
    unit: str
    moves: str


HAIR_STYLES = ("bald", "short", "long", "bun")

FACTORS = (
    Factor("skin_tone", 0, 1, "1", "skin from light to dark"),
    Factor("head_width", -1, 1, "1", "head from narrow to wide"),
    Factor("head_height", -1, 1, "1", "head from flat to tall"),
    Factor("jaw", -1, 1, "1", "jaw from pointed to square"),
    Factor("nose_size", -1, 1, "1", "nose from flat to long"),
    Factor("nose_width", -1, 1, "1", "nose from thin to broad"),
    Factor("eye_size", -1, 1, "1", "eyes from small to large"),
    Factor("eye_spacing", -1, 1, "1", "eyes from close to wide apart"),
    Factor("iris", 0, 1, "1", "iris from brown over green to blue"),
    Factor("lips", 0, 1, "1", "lips from thin and pale to full and red; above 0.5 is a woman"),
    Factor("brows", -1, 1, "1", "brows from angry (low, slanted) to surprised (raised)"),
    Factor("smile", -1, 1, "1", "mouth corners from a frown to a beam"),
    Factor("mouth_open", 0, 1, "1", "mouth from closed to wide open"),
    Factor("hair_style", 0, 3, "choice", "0 bald, 1 short, 2 long, 3 bun"),
    Factor("hair_length", 0, 1, "1", "hair from sparse to long and full"),
    Factor("hair_colour", 0, 1, "1", "hair from black over brown and red to blond"),
    Factor("grey", 0, 1, "1", "hair and beard from their colour to white"),
    Factor("beard", 0, 1, "1", "beard from shaved (0) over stubble to full"),
    Factor("glasses", 0, 1, "choice", "0 without, 1 with glasses"),
    Factor("age", 0, 1, "1", "skin from smooth to wrinkled"),
    Factor("clothing", 0, 1, "turn", "hue of the clothes, once round the colour circle"),
    Factor("light", -1, 1, "1", "main light from the left to the right of the picture"),
    Factor("background", 0, 1, "turn", "hue of the background, once round the colour circle"),
    Factor("yaw", -0.6, 0.6, "rad", "camera from the picture's left to its right"),
    Factor("pitch", -0.3, 0.3, "rad", "camera from above to below"),
)
"""Columns of every table of factors, in this order."""

FACTOR_INDEX = {factor.name: index for index, factor in enumerate(FACTORS)}


def sample_factors(seeds: Sequence[int]) -> Tensor:
    """Draw heads from the world's prior, one a seed.

    About one head in four wears glasses, grey and wrinkles come with age, beards and bald heads
    are men's, and most heads look within half a radian of the camera.

    Args:
        seeds: Non-negative integers; a seed is the same head in any list.

    Returns:
        float32 [len(seeds), len(FACTORS)], columns in the order of ``FACTORS``.
    """
    return torch.stack([_sample_one(seed) for seed in seeds])


def _sample_one(seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    # A fixed number of draws in a fixed order: a new rule below must not change other factors.
    u = torch.rand(64, generator=random).tolist()
    n = torch.randn(64, generator=random).tolist()
    woman = u[0] < 0.5
    age = u[1] ** 1.3
    style = _hair_style(u[2], woman=woman, age=age)
    values = {
        "skin_tone": u[3],
        "head_width": 0.45 * n[0],
        "head_height": 0.45 * n[1],
        "jaw": 0.45 * n[2] + (-0.25 if woman else 0.25),
        "nose_size": 0.5 * n[3],
        "nose_width": 0.5 * n[4],
        "eye_size": 0.45 * n[5] + (0.15 if woman else -0.15),
        "eye_spacing": 0.45 * n[6],
        "iris": u[4],
        "lips": 0.55 + 0.45 * u[5] if woman else 0.35 * u[5],
        "brows": 0.55 * n[7],
        "smile": 0.2 + 0.55 * n[8],
        "mouth_open": max(0.0, u[6] * 1.6 - 0.6),
        "hair_style": float(style),
        "hair_length": u[7],
        "hair_colour": u[8],
        "grey": min(1.0, max(0.0, 2.2 * (age - 0.5) + 0.25 * n[9])),
        "beard": max(0.0, 1.9 * u[9] - 0.9) if not woman else 0.0,
        "glasses": float(u[10] < 0.15 + 0.22 * age),
        "age": age,
        "clothing": u[11],
        "light": 2 * u[12] - 1,
        "background": u[13],
        "yaw": 0.24 * n[10],
        "pitch": 0.09 * n[11],
    }
    return torch.tensor([min(max(values[f.name], f.low), f.high) for f in FACTORS])


def _hair_style(u: float, *, woman: bool, age: float) -> int:
    """Index into ``HAIR_STYLES``; older men lose their hair more often."""
    bald = 0.02 if woman else 0.12 + 0.3 * age
    long = bald + (0.45 if woman else 0.08)
    bun = long + (0.25 if woman else 0.03)
    return 0 if u < bald else 2 if u < long else 3 if u < bun else 1
