"""Edits of latents: interpolation, style mixing, and the way from seeds to pictures."""

from ganedit.editing.interpolate import (
    MAX_FRAMES,
    Easing,
    LatentPath,
    Mode,
    combine,
    ease,
    interpolate,
    plan_path,
)
from ganedit.editing.mix import mix
from ganedit.editing.rows import fill_missing, key_latents, stack
from ganedit.editing.synthesis import NoiseMode, check_fits, sample, synthesize
from ganedit.ops import lerp, slerp

__all__ = [
    "MAX_FRAMES",
    "Easing",
    "LatentPath",
    "Mode",
    "NoiseMode",
    "check_fits",
    "combine",
    "ease",
    "fill_missing",
    "interpolate",
    "key_latents",
    "lerp",
    "mix",
    "plan_path",
    "sample",
    "slerp",
    "stack",
    "synthesize",
]
