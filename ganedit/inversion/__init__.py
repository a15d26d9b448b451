"""From a picture to its latent."""

from ganedit.inversion.cameras import estimate_cameras
from ganedit.inversion.composition import compose
from ganedit.inversion.curve import draw_curves, draw_loss_curve
from ganedit.inversion.encode import check_encoder, encode
from ganedit.inversion.optimize import (
    DOMAIN_GAP_LIMIT,
    REFINEMENT_STEPS,
    SEARCH_STEPS,
    Projection,
    default_perceptual,
    project,
)
from ganedit.inversion.pivotal_tuning import Tuned, tune

__all__ = [
    "DOMAIN_GAP_LIMIT",
    "REFINEMENT_STEPS",
    "SEARCH_STEPS",
    "Projection",
    "Tuned",
    "check_encoder",
    "compose",
    "default_perceptual",
    "draw_curves",
    "draw_loss_curve",
    "encode",
    "estimate_cameras",
    "project",
    "tune",
]
