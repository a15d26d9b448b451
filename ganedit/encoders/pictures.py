"""Pictures as an encoder reads them."""

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, side: int) -> Tensor:
    """Return square pictures [N, C, H, H] with ``side`` pixels, antialiased where they shrink."""
    if images.shape[2] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
