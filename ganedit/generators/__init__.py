"""Generators: one paper, one file."""

from ganedit.generators.base import Generator, Noise, seeded_noise
from ganedit.generators.stylegan2 import (
    Architecture,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from ganedit.generators.stylegan3 import StyleGAN3Generator, image_transform
from ganedit.generators.triplane import TriPlaneGenerator, Views, volume_of

__all__ = [
    "Architecture",
    "Generator",
    "Noise",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyleGAN3Generator",
    "TriPlaneGenerator",
    "Views",
    "image_transform",
    "seeded_noise",
    "volume_of",
]
