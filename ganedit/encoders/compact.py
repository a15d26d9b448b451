"""A small encoder for small pictures: residual units with squeeze and excitation.

Units are those of ArcFace's IR-SE networks (Deng et al. 2019; Hu et al. 2018), as in `psp`, with
few channels and an averaging shortcut. Like e4e (Tov et al. 2021, section 4), the network finds
one latent for the first layer and an offset from it for each other layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_REDUCTION = 8  # of the channels inside a gate


class Unit(nn.Module):
    """Normalise, convolve, activate, convolve with stride, normalise, gate, add."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        """Build the unit; ``stride`` is 1 or 2."""
        super().__init__()
        self.stride = stride
        self.shortcut: nn.Conv2d | None = None
        if in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.act = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.fc1 = nn.Conv2d(channels, channels // _REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // _REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, channels, H / stride, W / stride]."""
        shortcut = F.avg_pool2d(x, 2) if self.stride == 2 else x
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        x = self.norm2(self.conv2(self.act(self.conv1(self.norm1(x)))))
        gate = self.fc2(self.fc1(x.mean(dim=(2, 3), keepdim=True)).relu()).sigmoid()
        return x * gate + shortcut


class CompactEncoder(nn.Module):
    """One latent and its offsets, from a picture of 64 pixels or so."""

    w_std: Tensor

    def __init__(
        self,
        *,
        num_ws: int,
        w_dim: int,
        resolution: int = 64,
        widths: Sequence[int] = (32, 64, 96, 128, 128),
        hidden: int = 384,
    ) -> None:
        """Build an untrained encoder, whose offsets are 0.

        Args:
            num_ws: Latents of the generator.
            w_dim: Length of a latent.
            resolution: Side of the pictures; every width but the first halves it.
            widths: Channels of the first layer and of each stage, multiples of 8.
            hidden: Width of the layer before the latents.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "num_ws": num_ws,
            "w_dim": w_dim,
            "resolution": resolution,
            "widths": list(widths),
            "hidden": hidden,
        }
        self.num_ws = num_ws
        self.w_dim = w_dim
        self.resolution = resolution
        side, odd = divmod(resolution, 2 ** (len(widths) - 1))
        if odd or side < 1:
            raise ValueError(
                f"resolution: expected a multiple of {2 ** (len(widths) - 1)}, got {resolution}"
            )
        self.input = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.PReLU(widths[0]),
        )
        units: list[nn.Module] = []
        channels = widths[0]
        for index, width in enumerate(widths[1:]):
            units.append(Unit(channels, width, stride=2))
            if index > 0:
                units.append(Unit(width, width, stride=1))
            channels = width
        self.body = nn.Sequential(*units)
        self.norm = nn.BatchNorm1d(channels * side**2)
        self.embed = nn.Linear(channels * side**2, hidden)
        self.act = nn.PReLU(hidden)
        self.first = nn.Linear(hidden, w_dim)
        self.offsets = nn.Linear(hidden, (num_ws - 1) * w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        # The layers work in units of each dimension's standard deviation.
        self.register_buffer("w_std", torch.ones(w_dim))

    def forward(self, images: Tensor, *, stages: int | None = None) -> Tensor:
        """Return latents relative to the average, [N, num_ws, w_dim].

        Args:
            images: [N, 3, resolution, resolution] in [-1, 1].
            stages: Offsets that are added, num_ws - 1 at most; progressive training starts at 0.
                None adds them all.
        """
        if images.shape[1:] != (3, self.resolution, self.resolution):
            side = self.resolution
            raise ValueError(f"images: expected [N, 3, {side}, {side}], got {list(images.shape)}")
        x = self.body(self.input(images.contiguous(memory_format=torch.channels_last)))
        x = self.act(self.embed(self.norm(x.flatten(1).float())))
        first = self.first(x)[:, None]  # [N, 1, w_dim]
        offsets = self.offsets(x).unflatten(1, (self.num_ws - 1, self.w_dim))
        if stages is not None:
            kept = torch.arange(self.num_ws - 1, device=x.device) < stages
            offsets = offsets * kept[:, None]
        return self.w_std * torch.cat([first, first + offsets], dim=1)
