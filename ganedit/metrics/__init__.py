"""How good a result is, in numbers."""

from ganedit.metrics.clay import clay_frechet
from ganedit.metrics.distribution import frechet_distance, kernel_distance
from ganedit.metrics.reconstruction import psnr

__all__ = ["clay_frechet", "frechet_distance", "kernel_distance", "psnr"]
