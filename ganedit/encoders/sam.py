"""SAM's encoder (Alaluf et al. 2021, "Only a Matter of Style"): a photo and an age to latents.

It reads the wanted age as a fourth channel and finds how the latents of the photo, as a pSp encoder
finds them, change with it. Parameter names are those of the official bundles.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ganedit.encoders.psp import GradualStyleEncoder

OLDEST = 100
"""The largest age, in years; it is 1 in the fourth channel."""


class AgeEncoder(nn.Module):
    """SAM's own encoder, and the one that its latents are relative to, if it has one."""

    def __init__(self, *, num_ws: int, pretrained: bool = True) -> None:
        """Build untrained encoders.

        Args:
            num_ws: Latents of the generator.
            pretrained: Whether the latents are relative to those of a second encoder, which reads
                the photo alone; else they are relative to the average latent.
        """
        super().__init__()
        self.config: dict[str, Any] = {"num_ws": num_ws, "pretrained": pretrained}
        self.num_ws = num_ws
        self.encoder = GradualStyleEncoder(num_ws=num_ws, in_channels=4)
        self.pretrained_encoder = GradualStyleEncoder(num_ws=num_ws) if pretrained else None

    def forward(self, images: Tensor, *, age: float) -> Tensor:
        """Return latents relative to the average, [N, num_ws, 512].

        Args:
            images: [N, 3, 256, 256] in [-1, 1].
            age: Wanted, in years, 0 to 100.
        """
        if not 0 <= age <= OLDEST:
            raise ValueError(f"age: expected 0 to {OLDEST}, got {age}")
        channel = torch.full_like(images[:, :1], age / OLDEST)
        codes = self.encoder(torch.cat([images, channel], dim=1))
        return codes if self.pretrained_encoder is None else codes + self.pretrained_encoder(images)
