"""Encoders: pictures to latents in one pass."""

from ganedit.encoders.compact import CompactEncoder
from ganedit.encoders.pictures import resized
from ganedit.encoders.psp import (
    PYRAMID_RESOLUTION,
    PYRAMID_WIDTH,
    BackboneEncoder,
    Encoder4Editing,
    GradualStyleEncoder,
    PyramidEncoder,
)
from ganedit.encoders.sam import OLDEST, AgeEncoder

__all__ = [
    "OLDEST",
    "PYRAMID_RESOLUTION",
    "PYRAMID_WIDTH",
    "AgeEncoder",
    "BackboneEncoder",
    "CompactEncoder",
    "Encoder4Editing",
    "GradualStyleEncoder",
    "PyramidEncoder",
    "resized",
]
