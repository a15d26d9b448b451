"""How good a result is, in numbers."""

from ganedit.losses.identity import IDENTITY
from ganedit.metrics.clay import clay_frechet
from ganedit.metrics.depth import depth_correlation
from ganedit.metrics.disentanglement import dci, read_heads, separability
from ganedit.metrics.distribution import frechet_distance, kernel_distance
from ganedit.metrics.identity import identity_errors, identity_similarity
from ganedit.metrics.path_length import PathLengths, path_lengths
from ganedit.metrics.reconstruction import mse, psnr, ssim

__all__ = [
    "IDENTITY",
    "PathLengths",
    "clay_frechet",
    "dci",
    "depth_correlation",
    "frechet_distance",
    "identity_errors",
    "identity_similarity",
    "kernel_distance",
    "mse",
    "path_lengths",
    "psnr",
    "read_heads",
    "separability",
    "ssim",
]
