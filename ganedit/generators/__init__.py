"""Generators: one paper, one file."""

from ganedit.generators.base import Generator, Noise, seeded_noise
from ganedit.generators.stylegan2 import (
    Architecture,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

__all__ = [
    "Architecture",
    "Generator",
    "Noise",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "seeded_noise",
]
