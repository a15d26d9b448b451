"""Distances between two sets of feature vectors."""

import torch
from torch import Tensor


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets (Heusel et al. 2017).

    ``|m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))``, in float64. The eigenvalues of
    ``C_a C_b`` are those of the symmetric ``S C_b S`` with ``S = C_a^(1/2)``, so two symmetric
    decompositions do, which singular covariances do not disturb.

    Args:
        features_a: [N, D], at least two rows.
        features_b: [M, D], at least two rows.

    Returns:
        The distance, at least 0.
    """
    _check(features_a, features_b)
    a, b = features_a.detach().double(), features_b.detach().double()
    covariance_a, covariance_b = _covariance(a), _covariance(b)
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0).sqrt().sum()
    mean_term = (a.mean(0) - b.mean(0)).square().sum()
    distance = mean_term + covariance_a.trace() + covariance_b.trace() - 2 * cross
    return max(float(distance), 0.0)


def kernel_distance(
    features_a: Tensor,
    features_b: Tensor,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Squared maximum mean discrepancy with the kernel ``(x.y / D + 1)^3`` (KID, Binkowski 2018).

    The mean over random subsets of the unbiased estimate; it may fall slightly below 0.

    Args:
        features_a: [N, D], at least two rows.
        features_b: [M, D], at least two rows.
        subsets: Number of subsets.
        subset_size: Rows drawn from each set, at most N and M.
        seed: Seed of the draw.
    """
    _check(features_a, features_b)
    a, b = features_a.detach().double(), features_b.detach().double()
    size = min(subset_size, len(a), len(b))
    stream = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        x = a[torch.randperm(len(a), generator=stream)[:size].to(a.device)]
        y = b[torch.randperm(len(b), generator=stream)[:size].to(b.device)]
        within = _kernel(x, x) + _kernel(y, y)
        within = (within.sum() - within.trace()) / (size * (size - 1))
        total += float(within - 2 * _kernel(x, y).mean())
    return total / subsets


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.mT / x.shape[1] + 1) ** 3


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.mT @ centred / (len(features) - 1)


def _check(features_a: Tensor, features_b: Tensor) -> None:
    for name, features in (("features_a", features_a), ("features_b", features_b)):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"{name}: expected [N >= 2, D], got {list(features.shape)}")
        if not bool(features.isfinite().all()):
            raise ValueError(f"{name}: holds values that are not finite")
    if features_a.shape[1] != features_b.shape[1]:
        raise ValueError(
            f"features: expected equal widths, got {features_a.shape[1]} and {features_b.shape[1]}"
        )
