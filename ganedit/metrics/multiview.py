"""Whether a head stays the same, and turns as asked, when it is seen from around (clay world)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.data.clayheads import render
from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS
from ganedit.features.clay import ClayFeatures
from ganedit.generators import TriPlaneGenerator
from ganedit.losses.identity import IDENTITY

Draw = Callable[[float], Tensor]
"""A yaw in radians to pictures of the same heads from there, [N, 3, R, R] in [-1, 1]."""


@dataclass(frozen=True)
class Multiview:
    """What views of heads read as.

    Attributes:
        yaws: That were asked for, degrees.
        read: What was read, mean over the heads, degrees, one a yaw.
        slope: Of the yaws read over those asked; 1 is right.
        error: Mean absolute difference of both, over heads and yaws, in degrees.
        spread: Of each factor of identity, the standard deviation over the views of a head, root
            mean square over heads, in parts of its range.
        between: The same of the heads, each the mean of its views: how much they differ.
    """

    yaws: tuple[float, ...]
    read: tuple[float, ...]
    slope: float
    error: float
    spread: dict[str, float]
    between: dict[str, float]


@torch.no_grad()
def measure_views(draw: Draw, yaws: Sequence[float], features: ClayFeatures) -> Multiview:
    """Read pose and identity off heads from around.

    Args:
        draw: Gives the views.
        yaws: In radians, at least two.
        features: Reads them.
    """
    rows = torch.stack([features.predict(draw(yaw)).factors for yaw in yaws])  # [Y, N, F]
    asked = torch.tensor(yaws, dtype=rows.dtype)
    read = rows[..., FACTOR_INDEX["yaw"]].cpu()  # [Y, N]
    centred = asked - asked.mean()
    slope = float((centred @ read.mean(dim=1)) / centred.square().sum())
    error = float((read - asked[:, None]).abs().mean())
    spread, between = {}, {}
    for name in IDENTITY:
        factor = FACTORS[FACTOR_INDEX[name]]
        values = rows[..., FACTOR_INDEX[name]] / (factor.high - factor.low)
        spread[name] = float(values.var(dim=0, correction=0).mean().sqrt())
        between[name] = float(values.mean(dim=0).std(correction=0))
    degrees = tuple(math.degrees(yaw) for yaw in yaws)
    means = tuple(math.degrees(float(x)) for x in read.mean(dim=1))
    return Multiview(degrees, means, slope, math.degrees(error), spread, between)


def volume_views(generator: TriPlaneGenerator, ws: Tensor) -> Draw:
    """Return how volumes are seen, by the network's usual camera at the height of the pivot.

    Args:
        generator: Of the volumes.
        ws: Latents, [N, num_ws, w_dim].
    """
    planes = generator.planes(ws)

    def draw(yaw: float) -> Tensor:
        camera = generator.cameras_at([yaw], [0.0]).expand(len(ws), -1)
        return generator.render(planes, ws, camera).image.clamp(-1, 1)

    return draw


def clay_views(factors: Tensor) -> Draw:
    """Return how the heads of the clay world are seen, which is what reading them can reach.

    Args:
        factors: Rows in the order of ``FACTORS``, [N, len(FACTORS)].
    """

    def draw(yaw: float) -> Tensor:
        rows = factors.clone()
        rows[:, FACTOR_INDEX["yaw"]], rows[:, FACTOR_INDEX["pitch"]] = yaw, 0.0
        return render(rows).image

    return draw
