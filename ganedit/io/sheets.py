"""Tables of pictures: a text at the left of each row, a caption above each column."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganedit.io.images import from_uint8, image_grid


def labelled_table(
    images: Tensor, rows: Sequence[str], columns: Sequence[str], *, min_side: int = 96
) -> Tensor:
    """Return a sheet with all pictures of a row beside its text.

    Args:
        images: Row by row, [len(rows) * len(columns), 3, H, W] in [-1, 1].
        rows: Texts, of which the first line stands out; they may have several.
        columns: Captions.
        min_side: Smaller images are enlarged by a whole factor to at least this width, in pixels.

    Returns:
        [1, 3, H', W'] on the CPU.

    Raises:
        ValueError: Another number of images.
    """
    if len(images) != len(rows) * len(columns) or not len(images):
        raise ValueError(
            f"images: expected {len(rows)} rows of {len(columns)}, got {len(images)} images"
        )
    factor = max(1, math.ceil(min_side / images.shape[3]))
    large = images.detach().cpu().float()
    large = large.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    height, width = large.shape[2:]
    size = max(11, min(height // 8, 32))
    left = max(2 * width, 14 * size)
    bar = 2 * size
    top = [_text(caption, width, bar, size, centred=True) for caption in columns]
    beside = [_text(text, left, height, size) for text in rows]
    pictures = image_grid(large, columns=len(columns))
    corner = torch.ones(1, 3, bar, left)
    head = torch.cat([corner, *top], dim=3)
    return torch.cat([head, torch.cat([torch.cat(beside, dim=2), pictures], dim=3)], dim=2)


def _text(text: str, width: int, height: int, size: int, *, centred: bool = False) -> Tensor:
    """Return black text on white, [1, 3, height, width]; lines are shortened to fit."""
    cell = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(cell)
    y = (height - size) // 2 if centred else max(0, height // 2 - size * (text.count("\n") + 1))
    for number, line in enumerate(text.split("\n")):
        font = ImageFont.load_default(size if number == 0 else max(9, size - 2))
        shown = line
        while len(shown) > 1 and pen.textlength(shown, font=font) > width - 8:
            shown = shown.removesuffix("…")[:-1] + "…"
        x = (width - pen.textlength(shown, font=font)) / 2 if centred else 6
        pen.text((x, y), shown, fill="black" if number == 0 else "#555555", font=font)
        y += size + size // 2
    return from_uint8(np.asarray(cell))
