"""What a generator is like in numbers: many mapped samples, always the same; their spread."""

import math

import torch
from torch import Tensor

from ganedit.generators.base import Generator

SAMPLES = 10_000
"""How many are mapped, as StyleGAN2's projector does (Karras et al. 2020, appendix D)."""

_SEED = 123
_PIXELS = 2**18  # of the pictures that are rendered together
_BETWEEN = 0.7  # how far a companion is from its latent: 0 is the latent, 1 the sample


@torch.no_grad()
def map_samples(generator: Generator, labels: Tensor | None = None) -> Tensor:
    """Return the w of `SAMPLES` random z of a fixed seed, [SAMPLES, w_dim].

    Args:
        generator: Whose mapping network.
        labels: Of a conditional generator, [SAMPLES, c_dim].
    """
    stream = torch.Generator().manual_seed(_SEED)
    z = torch.randn(SAMPLES, generator.z_dim, generator=stream)
    return generator.map(z.to(generator.w_avg.device), labels)[:, 0]


def batch_size(generator: Generator) -> int:
    """Return how many pictures are rendered together where many are needed, and no gradients."""
    return max(1, _PIXELS // generator.img_resolution**2)


def spread(w: Tensor) -> float:
    """Return the root mean square distance of w [N, w_dim] from their mean."""
    return float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt())


@torch.no_grad()
def principal_axes(w: Tensor) -> Tensor:
    """Return the ways in which w [N, w_dim] varies, each as long as its standard deviation.

    Returns:
        [w_dim, w_dim]: standard normal rows times it have the covariance of w.
    """
    centred = (w - w.mean(dim=0)).cpu().double()  # not all devices have doubles
    variances, directions = torch.linalg.eigh(centred.mT @ centred / len(w))
    return (variances.clamp_min(0).sqrt()[:, None] * directions.mT).to(w)


def companions_of(ws: Tensor, samples: Tensor, centre: Tensor) -> Tensor:
    """Return latents between each latent and each sample, [N * C, num_ws, w_dim].

    A change that does what it should to a latent and to its companions is no trick on one picture.

    Args:
        ws: [N, num_ws, w_dim].
        samples: Mapped latents, [C, w_dim].
        centre: The mean of such samples, [w_dim]: the spread around it is kept.
    """
    old = math.sqrt(1 - _BETWEEN**2) * (ws - centre)
    new = _BETWEEN * (samples - centre)
    return (centre + old[:, None] + new[None, :, None]).flatten(0, 1)
