"""Edits of latents: interpolation, style mixing, and the way from seeds to pictures."""

from ganedit.editing.interpolate import (
    Easing,
    Mode,
    combine,
    ease,
    interpolate,
    key_latents,
    lerp,
    slerp,
)
from ganedit.editing.mix import mix
from ganedit.editing.synthesis import (
    NoiseMode,
    class_label,
    sample,
    synthesize,
)

__all__ = [
    "Easing",
    "Mode",
    "NoiseMode",
    "class_label",
    "combine",
    "ease",
    "interpolate",
    "key_latents",
    "lerp",
    "mix",
    "sample",
    "slerp",
    "synthesize",
]
