"""What keeps an inversion plausible: noise that stays noise, latents that stay near the average."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_COARSEST = 8


def noise_correlation(noise: Sequence[Tensor]) -> Tensor:
    """Return how far noise maps are from white noise, [N] (StyleGAN2, appendix D, L_ij).

    Each map is compared with itself shifted by one pixel, at every scale down to 8 pixels, so a
    picture cannot hide in the noise. Zero in expectation for white noise.

    Args:
        noise: Maps [N, 1, R, R], zero mean and unit variance.
    """
    total = torch.zeros(noise[0].shape[0], device=noise[0].device)
    for level in noise:
        x = level
        while True:
            total = total + (x * x.roll(1, dims=3)).mean(dim=(1, 2, 3)).square()
            total = total + (x * x.roll(1, dims=2)).mean(dim=(1, 2, 3)).square()
            if x.shape[2] <= _COARSEST:
                break
            x = F.avg_pool2d(x, 2)
    return total


def normalize_noise_(noise: Sequence[Tensor]) -> None:
    """Give each map [N, 1, R, R] of each sample zero mean and unit variance, in place."""
    with torch.no_grad():
        for x in noise:
            x.sub_(x.mean(dim=(1, 2, 3), keepdim=True))
            x.mul_(x.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt())


def offset_penalty(ws: Tensor) -> Tensor:
    """Return the mean squared offset of the other layers' latents from the first, [N].

    The delta regularisation of e4e (Tov et al. 2021, section 4), which keeps W+ near W, where
    edits work best.

    Args:
        ws: [N, num_ws, w_dim], at least two layers.
    """
    return (ws[:, 1:] - ws[:, :1]).square().mean(dim=(1, 2))


def average_pull(ws: Tensor, w_avg: Tensor, *, w_std: float) -> Tensor:
    """Return the mean squared distance of each latent from the average, [N].

    Args:
        ws: [N, num_ws, w_dim].
        w_avg: [w_dim].
        w_std: Root mean square distance of a mapped z from the average; the unit here, so that
            a typical mapped z scores 1.
    """
    return (ws - w_avg).square().sum(dim=2).mean(dim=1) / w_std**2
