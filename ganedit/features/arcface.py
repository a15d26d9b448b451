"""ArcFace (Deng et al. 2019): who a face is, as a point on a sphere.

The network and the crop are those of the identity loss of pSp, e4e, SAM and StyleCLIP. Its weights,
``model_ir_se50.pth``, are not part of this package and are fetched from nowhere: they come from a
path, or from where they are looked for, beside torch's own.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.features.ir_se import IRSE50
from ganedit.features.weights import fill

_SIDE = 256  # of the pictures that the crop is meant for, aligned as FFHQ's
_ROWS, _COLUMNS = slice(35, 223), slice(32, 220)
_INPUT = 112


class ArcFace(IRSE50):
    """Faces to directions of 512 numbers; those of one person have a cosine near 1."""

    def __init__(self) -> None:
        """Build the network with random weights; `find_arcface` fills it."""
        super().__init__()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings of length one, [N, 512].

        Args:
            images: Faces aligned as FFHQ's, [N, 3, H, H] in [-1, 1].
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise ValueError(f"images: expected [N, 3, H, H], got {list(images.shape)}")
        faces = _scaled(images)[:, :, _ROWS, _COLUMNS]
        (x,) = self.features(F.adaptive_avg_pool2d(faces, _INPUT), (len(self.body) - 1,))
        return F.normalize(self.output_layer(x).float())


def _scaled(images: Tensor) -> Tensor:
    """Return pictures of 256 pixels a side: averaged as pSp does, or enlarged."""
    if images.shape[2] >= _SIDE:
        return F.adaptive_avg_pool2d(images, _SIDE)
    return F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)


def arcface_path() -> Path:
    """Return where the weights are looked for on this machine: where torch keeps such files."""
    return Path(torch.hub.get_dir()) / "checkpoints" / "model_ir_se50.pth"


def find_arcface(path: str | Path | None, device: torch.device | str = "cpu") -> ArcFace | None:
    """Return ArcFace, frozen; None when no path is given and `arcface_path` holds no file.

    Args:
        path: The weights, ``model_ir_se50.pth``.
        device: Where the network lives.

    Raises:
        GaneditError: The file is not there, or does not hold these weights.
    """
    if path is None:
        path = arcface_path()
        if not path.is_file():
            return None
    network = ArcFace()
    fill(network, path, what="ArcFace's IR-SE50 weights (model_ir_se50.pth)")
    return network.eval().requires_grad_(False).to(device)
