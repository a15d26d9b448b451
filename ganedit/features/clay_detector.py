"""The clay world's own head detector: a small fully convolutional network."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganedit.assets import asset_path
from ganedit.errors import GaneditError

STRIDE = 8  # pixels between the places that are asked
FRAME = 32.0  # pixels that a head's frame should have; half to double an octave is read well

# Widths of the convolutions at half, a quarter and an eighth of the picture.
_HALF, _QUARTER, _EIGHTH = 24, 48, 64


@dataclass(frozen=True, eq=False)
class HeadMaps:
    """What the network says about N pictures; place (i, j) is pixel (8 j + 4, 8 i + 4).

    Attributes:
        presence: Logit that a head's frame has its centre there, [N, H/8, W/8].
        offset: From there to the centre, (x, y) in pixels, [N, 2, H/8, W/8].
        side: Of the frame, in pixels, [N, H/8, W/8].
        turn: Of the frame, clockwise, in radians, [N, H/8, W/8].
    """

    presence: Tensor
    offset: Tensor
    side: Tensor
    turn: Tensor


class ClayDetector(nn.Module):
    """Six normalised convolutions and a head that say where heads are, how large and how turned."""

    def __init__(self) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.body = nn.Sequential(
            *_block(12, _HALF, 1),
            *_block(_HALF, _QUARTER, 2),
            *_block(_QUARTER, _QUARTER, 1),
            *_block(_QUARTER, _EIGHTH, 2),
            *_block(_EIGHTH, _EIGHTH, 1),
            *_block(_EIGHTH, _EIGHTH, 1),
        )
        self.head = nn.Conv2d(_EIGHTH, 6, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the raw maps that training compares with the truth.

        Args:
            images: [N, 3, H, W] in [-1, 1]; H and W multiples of 8.

        Returns:
            [N, 6, H/8, W/8]: presence, offset x and y over `FRAME`, base-two logarithm of the
            side over `FRAME`, cosine and sine of the turn.
        """
        maps: Tensor = self.head(self.body(F.pixel_unshuffle(images, 2)))
        return maps

    def predict(self, images: Tensor) -> HeadMaps:
        """Return where heads are; images as `forward` takes them."""
        presence, x, y, side, cos, sin = self(images).unbind(1)
        offset = torch.stack([x, y], 1) * FRAME
        return HeadMaps(presence, offset, FRAME * side.exp2(), torch.atan2(sin, cos))


def _block(before: int, after: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]


def load_clay_detector(device: torch.device | str = "cpu") -> ClayDetector:
    """Return the embedded network, float32, frozen, in eval mode.

    Raises:
        GaneditError: The installation lacks its file or the file is damaged.
    """
    path = asset_path("clay-detector")
    detector = ClayDetector()
    try:
        detector.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise GaneditError(f"{path}: damaged or of another version; reinstall ganedit") from error
    return detector.to(device).eval().requires_grad_(False)
