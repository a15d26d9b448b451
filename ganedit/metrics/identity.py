"""Whether two faces are the same person: as ArcFace sees people, or clay's network clay heads."""

from torch import Tensor

from ganedit.data.clayheads.factors import FACTORS
from ganedit.features.arcface import ArcFace
from ganedit.features.clay import ClayFeatures
from ganedit.losses.identity import IDENTITY, identity_loss


def identity_errors(features: ClayFeatures, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return how far each factor of `IDENTITY` is off, as a part of its range, [N] each.

    Both pictures are read by the network, so that its own errors cancel as far as they are alike.

    Args:
        features: The network.
        images: Clay heads, [N, 3, H, W] in [-1, 1].
        targets: The same people, [N, 3, H, W].
    """
    difference = (features.predict(images).factors - features.predict(targets).factors).abs()
    columns = [(index, factor) for index, factor in enumerate(FACTORS) if factor.name in IDENTITY]
    return {f.name: difference[:, index] / (f.high - f.low) for index, f in columns}


def identity_similarity(arcface: ArcFace, images: Tensor, targets: Tensor) -> Tensor:
    """Return the cosine between ArcFace's embeddings of each pair, [N]; 1 is the same.

    Args:
        arcface: The network.
        images: Faces aligned as FFHQ's, [N, 3, H, H] in [-1, 1].
        targets: The same people, [N, 3, H, H].
    """
    return 1 - identity_loss(arcface, images, targets)
