"""What the latents of a generator are like: many mapped samples, always the same."""

import torch
from torch import Tensor

from ganedit.generators.base import Generator

SAMPLES = 10_000
"""How many are mapped, as StyleGAN2's projector does (Karras et al. 2020, appendix D)."""

_SEED = 123


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


def spread(w: Tensor) -> float:
    """Return the root mean square distance of w [N, w_dim] from their mean."""
    return float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt())
