"""Distance between the people that two faces show."""

from torch import Tensor, nn


def identity_loss(embedder: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Return one minus the cosine between the embeddings of each pair, [N] (pSp, section 3).

    Args:
        embedder: Maps pictures to directions of length one, [N, D], as `ArcFace` does.
        images: Aligned faces, [N, 3, H, H] in [-1, 1].
        targets: The faces that they should be, [N, 3, H, H].
    """
    return 1 - (embedder(images) * embedder(targets)).sum(dim=1)
