"""How much of a shape is right, from the depth of its pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor


def depth_correlation(depth: Tensor, truth: Tensor) -> Tensor:
    """Return the correlation of depths over the pixels that show the object, [N]; 1 is best.

    Args:
        depth: [N, 1, r, r]; enlarged to the size of the truth.
        truth: [N, 1, R, R]; infinite where there is only background.

    Raises:
        ValueError: The shapes do not fit, or a picture shows fewer than three pixels of an object.
    """
    if depth.ndim != 4 or depth.shape[:2] != (len(truth), 1) or truth.shape[1:2] != (1,):
        raise ValueError(
            f"depth: expected [{len(truth)}, 1, r, r], got {list(depth.shape)} for"
            f" {list(truth.shape)}"
        )
    wide = F.interpolate(depth.double(), truth.shape[2:], mode="bilinear")
    shown = truth.isfinite()
    if bool((shown.sum(dim=(1, 2, 3)) < 3).any()):
        raise ValueError("truth: a picture shows fewer than three pixels of an object")
    pairs = zip(wide, truth.double(), shown, strict=True)
    rows = [torch.corrcoef(torch.stack([a[hit], b[hit]]))[0, 1] for a, b, hit in pairs]
    return torch.stack(rows).float()
