"""Distance between the people that two faces show."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS
from ganedit.features.clay import TURNS, ClayFeatures

IDENTITY = (
    "skin_tone",
    "head_width",
    "head_height",
    "jaw",
    "nose_size",
    "nose_width",
    "eye_size",
    "eye_spacing",
    "iris",
    "lips",
    "hair_colour",
)
"""Factors that stay with a person; pose, light, expression, clothes and age do not."""

_TINY = 1e-9
_DEPENDENT = 1e-4  # of the largest singular value; below lies the rounding of float32

IdentityLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps pictures and those that they should be, [N, 3, H, W] in [-1, 1] each, to losses [N]."""


def identity_loss(embedder: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Return one minus the cosine between the embeddings of each pair, [N] (pSp, section 3).

    Args:
        embedder: Maps pictures to directions of length one, [N, D], as `ArcFace` does.
        images: Aligned faces, [N, 3, H, H] in [-1, 1].
        targets: The faces that they should be, [N, 3, H, H].
    """
    return 1 - (embedder(images) * embedder(targets)).sum(dim=1)


def read_factors(features: ClayFeatures, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a clay head shows as numbers that can be differentiated and compared.

    Args:
        features: The network.
        images: Clay heads, [N, 3, H, W] in [-1, 1].

    Returns:
        Readings [N, K], about 1 from end to end of a factor's range: one a factor, the probability
        of each hair style, and two coordinates on a circle for each turn. And the index into
        ``FACTORS`` of each of the K columns.
    """
    scaled, styles, turns, _ = features.outputs(images)
    columns, owners = [], []
    for index, factor in enumerate(FACTORS):
        if index in TURNS:
            # On a circle of diameter 1, opposite hues are 1 apart.
            part = F.normalize(turns[:, TURNS.index(index)], dim=1) / 2  # [N, 2]
        elif factor.name == "hair_style":
            part = styles.softmax(dim=1) / 2**0.5  # [N, 4]: certain of two styles is 1 apart
        elif factor.name == "glasses":
            part = scaled[:, index : index + 1].sigmoid()
        else:
            part = scaled[:, index : index + 1]
        columns.append(part)
        owners += [index] * part.shape[1]
    return torch.cat(columns, dim=1), torch.tensor(owners, device=images.device)


def spoken_factors(readings: Tensor, owners: Tensor, scores: Tensor) -> Tensor:
    """Return how much a prompt speaks of each factor, [len(FACTORS)], 1 for the one most of all.

    That is the part of its score's variance that follows the factor's readings linearly, compared
    with the factor that it follows most.

    Args:
        readings: Of clay heads, [M, K], as `read_factors` returns them.
        owners: As `read_factors` returns them, [K].
        scores: Of the prompt, [M].
    """
    x = (readings - readings.mean(dim=0)).cpu().double()  # not all devices have doubles
    y = (scores - scores.mean()).cpu().double()
    y = y / y.norm().clamp_min(_TINY)
    owners = owners.cpu()
    explained = []
    for factor in range(len(FACTORS)):
        # Styles sum to one: their columns are dependent.
        basis, sizes, _ = torch.linalg.svd(x[:, owners == factor], full_matrices=False)
        explained.append((basis[:, sizes > _DEPENDENT * sizes[0]].mT @ y).square().sum())
    found = torch.stack(explained)
    return (found / found.max().clamp_min(_TINY)).to(readings)


class ClayIdentity(nn.Module):
    """How far a clay head is from another in what should stay, by `ClayFeatures`."""

    weights: Tensor

    def __init__(self, features: ClayFeatures, *, spared: Mapping[str, float] | None = None):
        """Choose what should stay.

        Args:
            features: The network that reads heads.
            spared: How free a factor is, by name: with a share s its squared difference counts
                (1 - s)²; factors that are not named have 0.
        """
        super().__init__()
        self.features = features
        weights = torch.ones(len(FACTORS))
        for name, share in (spared or {}).items():
            if name not in FACTOR_INDEX or not 0 <= share <= 1:
                raise ValueError(f"spared: expected factors and 0 to 1, got {name!r}: {share}")
            weights[FACTOR_INDEX[name]] = (1 - share) ** 2
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted sum of squared differences of what is read off both, [N].

        Args:
            images: Clay heads, [N, 3, H, W] in [-1, 1].
            targets: The heads that they should be, [N, 3, H, W]; no gradients flow to them.
        """
        readings, owners = read_factors(self.features, images)
        with torch.no_grad():
            wanted, _ = read_factors(self.features, targets)
        return ((readings - wanted).square() * self.weights.to(readings)[owners]).sum(dim=1)
