"""The clay world's own feature network: reads factors and landmarks, and measures distances."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganedit.assets import asset_path
from ganedit.data.clayheads.factors import FACTORS, HAIR_STYLES
from ganedit.data.clayheads.render import LANDMARKS
from ganedit.errors import GaneditError

INPUT_SIDE = 64  # pixels that the fully connected part reads
WIDTHS = (16, 32, 64, 128)
EMBEDDING = 256
TURNS = [index for index, factor in enumerate(FACTORS) if factor.unit == "turn"]


@dataclass(frozen=True)
class ClayPrediction:
    """What the network reads off N heads.

    Attributes:
        factors: In the order and ranges of ``FACTORS``, [N, len(FACTORS)]; ``hair_style`` is the
            likeliest style, ``glasses`` a probability.
        landmarks: (x, y) of ``LANDMARKS`` as a fraction of the picture's side, [N, L, 2].
    """

    factors: Tensor
    landmarks: Tensor


class ClayFeatures(nn.Module):
    """A VGG-style network: four blocks of two normalised 3×3 convolutions, two linear layers.

    Its inner maps are the perceptual space of the clay world (as VGG16's are LPIPS's; Zhang et al.
    2018), its last layer reads the truth off a head.
    """

    layer_weights: Tensor

    def __init__(self) -> None:
        """Build the network with random weights."""
        super().__init__()
        blocks, before = [], 3
        for width in WIDTHS:
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
            )
            before = width
        self.blocks = nn.ModuleList(blocks)
        side = INPUT_SIDE // 2 ** len(WIDTHS)
        self.embedding = nn.Linear(before * side**2, EMBEDDING)
        self._sizes = [len(FACTORS), len(HAIR_STYLES), 2 * len(TURNS), 2 * len(LANDMARKS)]
        self.head = nn.Linear(EMBEDDING, sum(self._sizes))
        self.register_buffer("layer_weights", torch.ones(len(WIDTHS)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the four blocks.

        Args:
            images: [N, 3, H, W] in [-1, 1]; H and W at least 8.

        Returns:
            [N, 16, H, W], [N, 32, H/2, W/2], [N, 64, H/4, W/4], [N, 128, H/8, W/8].
        """
        maps = []
        x = images
        for index, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if index else x)
            maps.append(x)
        return maps

    def embed(self, images: Tensor) -> Tensor:
        """Return the features before the last layer, [N, 256], of images in [-1, 1] of any size.

        Fréchet distances in the clay world are measured in this space.
        """
        if images.shape[-2:] != (INPUT_SIDE, INPUT_SIDE):
            images = F.interpolate(images, size=(INPUT_SIDE, INPUT_SIDE), mode="area")
        last = F.avg_pool2d(self(images)[-1], 2)
        with torch.autocast(images.device.type, enabled=False):  # places need more than 8 bits
            return F.relu(self.embedding(last.flatten(1).float()))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what training compares with the truth.

        Args:
            images: [N, 3, H, W] in [-1, 1].

        Returns:
            Factors scaled to [0, 1] by their ranges (glasses as a logit), [N, len(FACTORS)];
            logits of the hair styles, [N, 4]; cosine and sine of the factors that are turns,
            [N, 2, 2]; landmarks as in `ClayPrediction`, [N, L, 2].
        """
        embedding = self.embed(images)
        with torch.autocast(images.device.type, enabled=False):
            factors, styles, turns, points = self.head(embedding).split(self._sizes, dim=1)
        return factors, styles, turns.unflatten(1, (-1, 2)), points.unflatten(1, (-1, 2))

    def predict(self, images: Tensor) -> ClayPrediction:
        """Read factors and landmarks off heads, images [N, 3, H, W] in [-1, 1]."""
        scaled, styles, turns, landmarks = self.outputs(images)
        hues = torch.atan2(turns[..., 1], turns[..., 0]) / (2 * math.pi) % 1  # [N, turns]
        low = scaled.new_tensor([factor.low for factor in FACTORS])
        high = scaled.new_tensor([factor.high for factor in FACTORS])
        columns = []
        for index, factor in enumerate(FACTORS):
            if factor.name == "hair_style":
                columns.append(styles.argmax(dim=1).to(scaled.dtype))
            elif index in TURNS:
                columns.append(hues[:, TURNS.index(index)])
            elif factor.name == "glasses":
                columns.append(scaled[:, index].sigmoid())
            else:
                columns.append((low + scaled * (high - low))[:, index])
        return ClayPrediction(torch.stack(columns, dim=1).clamp(low, high), landmarks)


def load_clay_features(
    device: torch.device | str = "cpu", *, path: Path | str | None = None
) -> ClayFeatures:
    """Return a feature network, float32, frozen, in eval mode.

    Args:
        device: Where to put it.
        path: A file of ``ganedit train-features``; by default the embedded network, which reads
            clay heads.

    Raises:
        GaneditError: The file is missing, damaged or no such network.
    """
    remedy = "write it with 'ganedit train-features'" if path else "reinstall ganedit"
    path = path or asset_path("clay-features")
    features = ClayFeatures()
    try:
        state: dict[str, Any] = {key: value.float() for key, value in load_file(path).items()}
        features.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise GaneditError(
            f"{path}: not the weights of a clay feature network of this version; {remedy}"
        ) from error
    return features.to(device).eval().requires_grad_(False)
