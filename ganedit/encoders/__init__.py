"""Encoders: pictures to latents in one pass; mappers: latents to a change of them."""

from ganedit.encoders.compact import CompactEncoder
from ganedit.encoders.mapper import LEVELS, MAPPER_STRENGTH, LevelsMapper, SingleMapper
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
    "LEVELS",
    "MAPPER_STRENGTH",
    "OLDEST",
    "PYRAMID_RESOLUTION",
    "PYRAMID_WIDTH",
    "AgeEncoder",
    "BackboneEncoder",
    "CompactEncoder",
    "Encoder4Editing",
    "GradualStyleEncoder",
    "LevelsMapper",
    "PyramidEncoder",
    "SingleMapper",
    "resized",
]
