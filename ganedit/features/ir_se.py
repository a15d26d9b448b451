"""IR-SE50, the backbone of ArcFace and of pSp's encoders.

It is the residual network of Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face
Recognition", with squeeze and excitation. Parameter names and shapes are those of the official
releases of pSp, e4e and SAM.
"""

import torch
from torch import Tensor, nn

# Depth and number of units of each stage; the first unit of a stage halves the size.
_STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        """Start from torch's initial weights."""
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, H, W]."""
        gate = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(self.fc1(gate).relu()).sigmoid()


class ResidualUnit(nn.Module):
    """One IR-SE unit: normalise, convolve, activate, convolve with stride, gate, add."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """Build the unit; the shortcut only subsamples where the width stays the same."""
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Sequential | None = None
        if in_channels != channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            SqueezeExcite(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, channels, H / stride, W / stride], rounded up."""
        if self.shortcut_layer is None:
            shortcut = x[:, :, :: self.stride, :: self.stride]
        else:
            shortcut = self.shortcut_layer(x)
        return self.res_layer(x) + shortcut


class IRSE50(nn.Module):
    """The backbone up to its last feature map, which is a sixteenth of the input's size."""

    def __init__(self, in_channels: int = 3) -> None:
        """Start from torch's initial weights."""
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        units = []
        width = 64
        for channels, count in _STAGES:
            for index in range(count):
                units.append(ResidualUnit(width, channels, stride=2 if index == 0 else 1))
                width = channels
        self.body = nn.Sequential(*units)

    def features(self, images: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """Return the feature maps after some units, by their index in ``body``."""
        x = self.input_layer(images.contiguous(memory_format=torch.channels_last))
        maps = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in taps:
                maps.append(x)
        return maps
