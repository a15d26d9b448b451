"""From a picture to its latent."""

from ganedit.inversion.curve import draw_loss_curve
from ganedit.inversion.encode import check_encoder, encode
from ganedit.inversion.optimize import (
    DOMAIN_GAP_LIMIT,
    Projection,
    default_perceptual,
    project,
)

__all__ = [
    "DOMAIN_GAP_LIMIT",
    "Projection",
    "check_encoder",
    "default_perceptual",
    "draw_loss_curve",
    "encode",
    "project",
]
