"""What optimisers minimise."""

from ganedit.losses.perceptual import (
    IMAGE2STYLEGAN_LAYERS,
    PerceptualDistance,
    clay_distance,
    image2stylegan_distance,
    load_perceptual,
    lpips_distance,
)
from ganedit.losses.pixel import pixel_distance
from ganedit.losses.regularizers import (
    average_pull,
    noise_correlation,
    normalize_noise_,
    offset_penalty,
)

__all__ = [
    "IMAGE2STYLEGAN_LAYERS",
    "PerceptualDistance",
    "average_pull",
    "clay_distance",
    "image2stylegan_distance",
    "load_perceptual",
    "lpips_distance",
    "noise_correlation",
    "normalize_noise_",
    "offset_penalty",
    "pixel_distance",
]
