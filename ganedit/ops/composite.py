"""Volume rendering along rays (Barron et al. 2021, Mip-NeRF; Chan et al. 2022, EG3D)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_SHARE = 1e-10  # of light that passes an interval, as in the published renderer


class Gathered(NamedTuple):
    """What rays gather from their samples.

    Attributes:
        features: [..., C], not divided by the share of light that was stopped.
        depth: Mean depth of what was stopped, [...]; NaN where nothing was.
        opacity: That share, [...], 0..1.
        spread: Variance of the depth of what was stopped, [...]: 0 for a surface, more for fog; 0
            where nothing was.
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor
    spread: Tensor


def composite(
    features: Tensor | Sequence[Tensor],
    densities: Tensor,
    depths: Tensor,
    *,
    impl: Literal["auto", "reference"] = "auto",
) -> Gathered:
    """Return what rays gather from their samples, by the midpoint rule.

    Between neighbouring samples, features, densities and depths have the mean of both ends; the
    density is ``softplus(density - 1)``, and an interval stops ``1 - exp(-density * length)`` of
    what reaches it.

    Args:
        features: [..., S, C]; the samples of a ray in any order. A sequence is parts of them, one
            after the other, which need not be joined.
        densities: [..., S], before the softplus.
        depths: Of the samples along the ray, [..., S].
        impl: ``reference`` is the definition; ``auto`` the fastest way.
    """
    parts = [features] if isinstance(features, Tensor) else features
    if impl == "auto":
        own, *seen = _sample_weights(densities, depths)
        shares = own.split([part.shape[-2] for part in parts], dim=-1)
        sums = [
            (share[..., None, :] @ part)[..., 0, :]
            for share, part in zip(shares, parts, strict=True)
        ]
        return Gathered(sum(sums[1:], sums[0]), *seen)
    features = torch.cat(list(parts), dim=-2)
    weights, order, *seen = _stopped(densities, depths)
    features = features.gather(-2, order[..., None].expand_as(features))
    means = (features[..., 1:, :] + features[..., :-1, :]) / 2
    return Gathered((weights[..., None] * means).sum(-2), *seen)


def _sample_weights(densities: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return by what a ray weighs its samples' features, [..., S]; and depth, opacity and spread.

    See `composite`: features are the sum of the samples' own, by these weights.
    """
    weights, order, depth, opacity, spread = _stopped(densities, depths)
    # A sample has half the weights of its two intervals. Sorting weights moves less than features.
    halves = (F.pad(weights, (1, 0)) + F.pad(weights, (0, 1))) / 2
    own = torch.zeros_like(halves).scatter(-1, order, halves)
    return own, depth, opacity, spread


def _stopped(densities: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the intervals' weights, the samples' order, and depth, opacity and spread."""
    depths, order = depths.sort(dim=-1)
    weights = ray_weights(densities.gather(-1, order), depths)  # [..., S - 1]
    share = weights.sum(-1)
    some = share > 0  # where it is not, the division would also spoil the gradient
    whole = torch.where(some, share, 1.0)
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    depth = (weights * middles).sum(-1) / whole
    spread = (weights * (middles - depth[..., None]).square()).sum(-1) / whole
    return weights, order, torch.where(some, depth, torch.nan), share, spread


def ray_weights(densities: Tensor, depths: Tensor) -> Tensor:
    """Return the share of light that each interval between samples stops, [..., S - 1].

    Args:
        densities: Of the samples, before the softplus, [..., S].
        depths: Ascending, [..., S].
    """
    middle = F.softplus((densities[..., 1:] + densities[..., :-1]) / 2 - 1)
    stopped = 1 - torch.exp(-middle * (depths[..., 1:] - depths[..., :-1]))
    passed = (1 - stopped + _LEAST_SHARE).cumprod(dim=-1)
    return stopped * F.pad(passed[..., :-1], (1, 0), value=1.0)
