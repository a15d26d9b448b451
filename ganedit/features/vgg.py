"""VGG16 (Simonyan and Zisserman, 2014): the convolutional trunk, with named feature maps.

The weights are torchvision's ImageNet ones. They are not part of this package: they come from
a path, from torch's own cache, or from an explicit, hash-checked download.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.errors import GaneditError
from ganedit.features.weights import fill
from ganedit.io.download import download

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG16_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"

LPIPS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

# Blocks of the paper's configuration D: (width, convolutions); a max pooling ends each block.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

# ImageNet's channel statistics, moved from [0, 1] to [-1, 1].
_MEAN = (2 * 0.485 - 1, 2 * 0.456 - 1, 2 * 0.406 - 1)
_STD = (2 * 0.229, 2 * 0.224, 2 * 0.225)


class VGG16(nn.Module):
    """Feature maps of VGG16, no deeper than the layers asked for.

    A layer is named ``conv3_2`` (second convolution of the third block, before its ReLU) or
    ``relu3_2`` (after it). Parameters are named as torchvision's, ``features.<index>.weight``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[str] = LPIPS_LAYERS) -> None:
        """Build the trunk with random weights; `load_vgg16` fills it.

        Args:
            layers: Names of the wanted feature maps, in the order of the result.
        """
        super().__init__()
        plan = _plan()
        known = [kind + name for name, _, _, _ in plan for kind in ("conv", "relu")]
        if not layers or not set(layers) <= set(known):
            raise ValueError(f"layers: expected some of {known}, got {list(layers)}")
        deepest = max(known.index(layer) for layer in layers) // 2
        self.layers = tuple(layers)
        self._plan = plan[: deepest + 1]
        self.features = nn.ModuleDict(
            {
                str(index): nn.Conv2d(inputs, outputs, 3, padding=1)
                for _, index, inputs, outputs in self._plan
            }
        )
        # The order in memory that the CPU's convolutions want, a quarter faster; loading keeps it.
        self.features.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of ``self.layers``, [N, C, h, w] each.

        Args:
            images: [N, 3, H, W] in [-1, 1]; normalised here.
        """
        maps = {}
        x = (images - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        for name, index, _, _ in self._plan:
            if name.endswith("_1") and name != "1_1":
                x = F.max_pool2d(x, 2)
            x = self.features[str(index)](x)
            if f"conv{name}" in self.layers:
                maps[f"conv{name}"] = x
                x = F.relu(x)
            else:
                x = F.relu_(x)  # nothing else needs what the convolution gave
            maps[f"relu{name}"] = x
        return [maps[layer] for layer in self.layers]


def load_vgg16(
    layers: Sequence[str] = LPIPS_LAYERS,
    *,
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> VGG16:
    """Return a frozen VGG16 with torchvision's ImageNet weights.

    Args:
        layers: Names of the wanted feature maps.
        path: torchvision's weight file; None takes the one in torch's cache.
        device: Where the network lives.

    Raises:
        GaneditError: The weights are not there, or are not VGG16's.
    """
    if path is None:
        path = vgg16_cache_path()
        if not path.is_file():
            raise GaneditError(
                f"VGG16 weights are not here; fetch {VGG16_URL} and put it at {path}, or give its"
                " path by --vgg-weights FILE, or let --vgg-weights download fetch it; commands with"
                " --loss can do without by --loss pixel, which is poorer"
            )
    network = VGG16(layers)
    fill(network, path, what="torchvision's VGG16 weights")
    return network.eval().requires_grad_(False).to(device)


def vgg16_cache_path() -> Path:
    """Return where torch keeps torchvision's VGG16 weights on this machine."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_URL).name


def download_vgg16(*, on_progress: Callable[[int, int | None], None] | None = None) -> Path:
    """Fetch VGG16's weights (528 MB) into torch's cache, unless they are there, and return them.

    Args:
        on_progress: Called with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: The network fails, or the file has another hash.
    """
    return download(VGG16_URL, vgg16_cache_path(), sha256=VGG16_SHA256, on_progress=on_progress)


def _plan() -> list[tuple[str, int, int, int]]:
    """Name, index in torchvision's ``features``, input and output channels of each convolution."""
    plan, index, inputs = [], 0, 3
    for block, (width, count) in enumerate(_BLOCKS, start=1):
        for position in range(1, count + 1):
            plan.append((f"{block}_{position}", index, inputs, width))
            inputs = width
            index += 2
        index += 1
    return plan
