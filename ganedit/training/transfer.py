"""Losses that hold a fine-tuned generator to the network that it started from.

Its structure (Cartoon-StyleGAN; Back 2021), and what its pictures show (attribute matching;
StyleCariGAN, Jang et al. 2021).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.features import ClayFeatures
from ganedit.generators import StyleGAN2Generator
from ganedit.losses.identity import read_factors


def structure_loss(
    generator: StyleGAN2Generator,
    source: StyleGAN2Generator,
    ws: Tensor,
    source_ws: Tensor,
    *,
    blocks: int,
) -> Tensor:
    """Return how far the coarse features have moved away from those of the starting network.

    The sum over the resolutions 8, 16, ... of the mean squared difference of the features after
    their last convolution. Both networks get the same noise, drawn from torch's generator; the
    reference draws it for each, and so compares noise as well.

    Args:
        generator: That is tuned.
        source: Where it started, frozen.
        ws: Latents of ``generator``, [N, num_ws, w_dim].
        source_ws: Those of ``source`` for the same random vectors, [N, num_ws, w_dim].
        blocks: Resolutions to compare, at least 1.

    Returns:
        A scalar in float32.
    """
    noise = [
        torch.randn(len(ws), 1, layer.resolution, layer.resolution, device=ws.device)
        for layer in generator.synthesis.noisy_layers()[: 1 + 2 * blocks]
    ]
    with torch.no_grad():
        wanted = _features(source, source_ws, noise, blocks)
    got = _features(generator, ws, noise, blocks)
    pairs = zip(got, wanted, strict=True)
    return torch.stack([F.mse_loss(x.float(), y.float()) for x, y in pairs]).sum()


def attribute_loss(
    reader: ClayFeatures, images: Tensor, source_images: Tensor, factors: Sequence[str]
) -> Tensor:
    """Return how differently two pictures of one latent read (StyleCariGAN, section 3.3).

    There classifiers of faces' attributes are compared; here the readings of clay factors.

    Args:
        reader: Reads both.
        images: Of the tuned generator, [N, 3, R, R] in [-1, 1].
        source_images: Of its start, [N, 3, R, R]; no gradients flow to them.
        factors: Names of those that should stay.

    Returns:
        The squared difference, summed over the readings of these factors and averaged over the
        pictures; a factor moved from end to end counts 1. A scalar in float32.
    """
    readings, owners = read_factors(reader, images)
    with torch.no_grad():
        wanted, _ = read_factors(reader, source_images)
    chosen = torch.isin(owners, owners.new_tensor([FACTOR_INDEX[name] for name in factors]))
    return (readings - wanted)[:, chosen].float().square().sum(dim=1).mean()


def _features(
    generator: StyleGAN2Generator, ws: Tensor, noise: Sequence[Tensor], blocks: int
) -> list[Tensor]:
    """Return what the blocks of 8, 16, ... pixels hand on, [N, C, R, R] each."""
    synthesis = generator.synthesis
    features: list[Tensor] = []
    x: Tensor | None = None
    index = 0
    for resolution in synthesis.block_resolutions[: blocks + 1]:
        block = getattr(synthesis, f"b{resolution}")
        own = noise[index : index + block.num_conv] if noise else ["none"] * block.num_conv
        x, _ = block(x, None, ws[:, index:], noise=own, offsets={})
        features.append(x)
        index += block.num_conv
    return features[1:]
