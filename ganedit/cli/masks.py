"""Masks as commands take them: pictures that are white where something counts."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network


def read_mask(path: Path, model: "Network") -> "Tensor":
    """Return a mask at a generator's resolution, [1, 1, R, R]: 1 for white, 0 for black.

    It is cropped to its central square, as photos are; transparent parts are black.

    Raises:
        GaneditError: It is missing or no picture.
    """
    from ganedit.io import read_image, to_square

    picture = read_image(path, backdrop="black")
    grey = to_square(picture, model.generator.img_resolution).mean(dim=1, keepdim=True)
    return ((grey + 1) / 2).clamp(0, 1).to(model.generator.w_avg.device)
