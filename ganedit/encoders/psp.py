"""The encoders of pSp and e4e, on an IR-SE50 backbone.

pSp is Richardson et al. 2021, "Encoding in Style"; e4e is Tov et al. 2021, "Designing an Encoder
for StyleGAN Image Manipulation". Parameter names and shapes are those of the official releases, so
the ``encoder.*`` part of their bundles loads as it is.

All take pictures of 256x256 pixels in [-1, 1] and return latents relative to the average latent.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.features.ir_se import IRSE50
from ganedit.generators.stylegan2 import FullyConnected

PYRAMID_RESOLUTION = 256
"""Side of the pictures that these encoders read, in pixels."""

PYRAMID_WIDTH = 512
"""Length of the latents that they return."""

# Units after which the pyramid reads the backbone: 64x64, 32x32 and 16x16 for a 256-pixel input.
_TAPS = (6, 20, 23)
_COARSE, _MIDDLE = 3, 7  # first style that reads 32x32, and first that reads 64x64


class StyleHead(nn.Module):
    """Map2style: strided convolutions down to one pixel, then a linear layer."""

    def __init__(self, channels: int, *, size: int) -> None:
        """Build the head for a map of ``size`` pixels a side, a power of two."""
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(size))):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = FullyConnected(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return one latent a picture, [N, channels]."""
        return self.linear(self.convs(x).flatten(1))


class PyramidEncoder(IRSE50):
    """What pSp and e4e share: a feature pyramid, and one head a style."""

    def __init__(self, *, num_ws: int, in_channels: int = 3) -> None:
        """Build an untrained encoder.

        Args:
            num_ws: Latents of the generator.
            in_channels: Channels of the pictures; label maps and SAM's age channel have more.
        """
        super().__init__(in_channels)
        self.config: dict[str, Any] = {"num_ws": num_ws, "in_channels": in_channels}
        self.num_ws = num_ws
        self.styles = nn.ModuleList(
            StyleHead(512, size=16 if i < _COARSE else 32 if i < _MIDDLE else 64)
            for i in range(num_ws)
        )
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def style_codes(self, images: Tensor) -> Tensor:
        """Return the output of every head, [N, num_ws, 512]."""
        fine, middle, coarse = self.features(images, _TAPS)
        maps = [coarse]
        maps.append(_enlarge(coarse, middle) + self.latlayer1(middle))
        maps.append(_enlarge(maps[1], fine) + self.latlayer2(fine))
        codes = [
            head(maps[0 if i < _COARSE else 1 if i < _MIDDLE else 2])
            for i, head in enumerate(self.styles)
        ]
        return torch.stack(codes, dim=1)


class GradualStyleEncoder(PyramidEncoder):
    """The encoder of pSp (also of SAM): every style has its own latent."""

    def forward(self, images: Tensor) -> Tensor:
        """Return latents relative to the average, [N, num_ws, 512].

        Args:
            images: [N, in_channels, 256, 256] in [-1, 1].
        """
        return self.style_codes(images)


class Encoder4Editing(PyramidEncoder):
    """The encoder of e4e: one latent for all layers, and an offset for each but the first."""

    def forward(self, images: Tensor, *, stages: int | None = None) -> Tensor:
        """Return latents relative to the average, [N, num_ws, 512].

        Args:
            images: [N, in_channels, 256, 256] in [-1, 1].
            stages: Offsets that are added, num_ws - 1 at most; progressive training starts at 0.
                None adds them all.
        """
        codes = self.style_codes(images)
        first, offsets = codes[:, :1], codes[:, 1:]
        if stages is not None:
            offsets = torch.cat([offsets[:, :stages], torch.zeros_like(offsets[:, stages:])], dim=1)
        return torch.cat([first, first + offsets], dim=1)


class BackboneEncoder(IRSE50):
    """The simpler encoders of the pSp paper: the last feature map to one latent, or to all."""

    def __init__(
        self, *, num_ws: int, in_channels: int = 3, space: Literal["w", "w+"] = "w"
    ) -> None:
        """Build an untrained encoder.

        Args:
            num_ws: Latents of the generator.
            in_channels: Channels of the pictures.
            space: ``w`` finds one latent for all layers, ``w+`` one for each.
        """
        super().__init__(in_channels)
        if space not in ("w", "w+"):
            raise ValueError(f"space: expected 'w' or 'w+', got {space!r}")
        self.config: dict[str, Any] = {
            "num_ws": num_ws,
            "in_channels": in_channels,
            "space": space,
        }
        self.num_ws = num_ws
        self.output_layer_2: nn.Sequential | None = None
        if space == "w+":
            self.output_layer_2 = nn.Sequential(
                nn.BatchNorm2d(512),
                nn.AdaptiveAvgPool2d((7, 7)),
                nn.Flatten(),
                nn.Linear(512 * 49, 512),
            )
        self.linear = FullyConnected(512, 512 * num_ws if space == "w+" else 512)

    def forward(self, images: Tensor) -> Tensor:
        """Return latents relative to the average, [N, num_ws, 512].

        Args:
            images: [N, in_channels, 256, 256] in [-1, 1].
        """
        (x,) = self.features(images, _TAPS[-1:])
        if self.output_layer_2 is None:
            w = self.linear(x.mean(dim=(2, 3)))
            return w[:, None].expand(-1, self.num_ws, -1)
        return self.linear(self.output_layer_2(x)).unflatten(1, (self.num_ws, 512))


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
