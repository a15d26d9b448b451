"""Depth in files: 16-bit PNG and .npy; and as grey pictures."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ganedit.io.files import write_bytes

DEPTH_UNIT = "world units along the ray; 0 is unknown"

_LEVELS = 2**16 - 1
_FINEST = 1e-4  # world units a level


def depth_scale(farthest: float) -> float:
    """Return the world units of one level of a 16-bit picture: 1e-4, or tenfold until it fits."""
    if not 0 <= farthest < 1e30:
        raise ValueError(f"farthest: expected a distance, got {farthest}")
    scale = _FINEST
    while farthest > scale * _LEVELS:
        scale *= 10
    return float(f"{scale:.0e}")  # without what the multiplications rounded


def write_depth_png(path: Path | str, depth: Tensor, *, scale: float) -> None:
    """Write depth as a 16-bit grey PNG, atomically; its text says unit and scale.

    Args:
        path: The .png file.
        depth: World units, [1, 1, H, W]; 0 where it is unknown. Known depth becomes level 1 at
            least, and what is too far the farthest level.
        scale: World units of a level; see `depth_scale`.
    """
    pixels = _plane(depth)
    levels = (pixels / scale).round().clamp(1, _LEVELS) * (pixels > 0)
    text = PngInfo()
    text.add_text("Unit", DEPTH_UNIT)
    text.add_text("Scale", f"{scale:g} world units a level")
    buffer = io.BytesIO()
    picture = Image.fromarray(levels.numpy().astype(np.uint16))
    picture.save(buffer, format="PNG", pnginfo=text)
    write_bytes(path, buffer.getvalue())


def write_depth_npy(path: Path | str, depth: Tensor) -> None:
    """Write depth as a float32 array [H, W] in world units, atomically; 0 where it is unknown.

    Args:
        path: The .npy file.
        depth: [1, 1, H, W].
    """
    buffer = io.BytesIO()
    np.save(buffer, _plane(depth).float().numpy(), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def depth_picture(depth: Tensor, near: float, far: float) -> Tensor:
    """Return depth as grey, [N, 3, H, W] in [-1, 1]: near is light, unknown is black.

    Args:
        depth: World units, [N, 1, H, W]; 0 where it is unknown.
        near: Depth of white.
        far: Depth of a dark grey, beyond ``near``.
    """
    share = ((far - depth) / max(far - near, 1e-9)).clamp(0, 1)
    grey = torch.where(depth > 0, 0.15 + 0.85 * share, torch.zeros_like(share))
    return (grey * 2 - 1).expand(-1, 3, -1, -1)


def _plane(depth: Tensor) -> Tensor:
    """Return float64 [H, W] on the CPU."""
    if depth.ndim != 4 or depth.shape[:2] != (1, 1):
        raise ValueError(f"depth: expected [1, 1, H, W], got {list(depth.shape)}")
    return depth[0, 0].detach().cpu().double()
