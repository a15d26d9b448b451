"""Losses that hold a fine-tuned generator to the network that it started from.

Its structure (Cartoon-StyleGAN; Back 2021), and what its pictures show (attribute matching;
StyleCariGAN, Jang et al. 2021).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.features import ClayFeatures
from ganedit.generators import StyleGAN2Generator
from ganedit.losses.identity import read_factors
from ganedit.runtime import seeded_normal

_SPREAD_SEEDS = 256
_SMALLEST_SPREAD = 0.02  # of a reading whose range is about 1


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


@dataclass(frozen=True, eq=False)
class KeptFactors:
    """What of clay heads should read as it did in the starting network's pictures.

    Attributes:
        reader: Reads both pictures.
        chosen: Which of its readings count, bool [K].
        spread: Standard deviations of these over pictures of the start, [sum of chosen].
        ws: Latents on which they are compared besides those of a step, [N, num_ws, w_dim].
    """

    reader: ClayFeatures
    chosen: Tensor
    spread: Tensor
    ws: Tensor | None

    def digest(self) -> str:
        """Return ``sha256:<hex>`` of the reader and the latents, wherever their files lie."""
        digest = hashlib.sha256()
        for tensor in [*self.reader.state_dict().values(), *([] if self.ws is None else [self.ws])]:
            digest.update(f"{list(tensor.shape)}".encode())
            digest.update(tensor.detach().to("cpu", torch.float32).reshape(-1).numpy())
        return f"sha256:{digest.hexdigest()}"


@torch.no_grad()
def kept_factors(
    source: StyleGAN2Generator,
    factors: Sequence[str],
    *,
    reader: ClayFeatures,
    ws: Tensor | None = None,
) -> KeptFactors:
    """Measure how much factors vary in a starting network's pictures.

    Args:
        source: The starting network, frozen, unconditional.
        factors: Names of those that should stay.
        reader: On the network's device.
        ws: See `KeptFactors`.
    """
    device = source.w_avg.device
    z = seeded_normal(range(_SPREAD_SEEDS), [source.z_dim], device=device)
    readings = []
    for rows in source.map(z).split(32):
        found, owners = read_factors(reader, source.synthesize(rows))
        readings.append(found)
    chosen = torch.isin(owners, owners.new_tensor([FACTOR_INDEX[name] for name in factors]))
    spread = torch.cat(readings)[:, chosen].std(dim=0).clamp_min(_SMALLEST_SPREAD)
    return KeptFactors(reader, chosen, spread, None if ws is None else ws.to(device))


def attribute_loss(kept: KeptFactors, images: Tensor, source_images: Tensor) -> Tensor:
    """Return how differently two pictures of one latent read (StyleCariGAN, section 3.3).

    There classifiers of faces' attributes are compared; here the readings of clay factors, each in
    its standard deviations, so that what varies little is kept as well.

    Args:
        kept: What should stay.
        images: Of the tuned generator, [N, 3, R, R] in [-1, 1].
        source_images: Of its start, [N, 3, R, R]; no gradients flow to them.

    Returns:
        The mean squared difference, a scalar in float32; about 2 for unrelated pictures.
    """
    readings, _ = read_factors(kept.reader, images.float())
    with torch.no_grad():
        wanted, _ = read_factors(kept.reader, source_images.float())
    return ((readings - wanted)[:, kept.chosen] / kept.spread).square().mean()


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
