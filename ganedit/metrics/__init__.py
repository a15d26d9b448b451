"""How good a result is, in numbers."""

from ganedit.metrics.distribution import frechet_distance, kernel_distance
from ganedit.metrics.reconstruction import psnr

__all__ = ["frechet_distance", "kernel_distance", "psnr"]
