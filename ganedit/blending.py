"""Networks blended from two: layer swapping (Pinkney and Adler 2020, arXiv 2010.05334).

The coarse layers of one generator and the fine layers of another, fine-tuned from it, draw the
shapes of the one with the texture of the other. What is blended are weights, so that the result is
a generator like any other. `swap_features` mixes at run time instead, two networks for a picture.

A generator is a row of positions, coarse to fine. StyleGAN2 has two a resolution, as in the
authors' code: what brings features to it (the constant; the upsampling convolution), and what works
at it (the second convolution, the layer to the picture). StyleGAN3 has one a layer: its input, then
its layers, each counted to the resolution at which its output is sampled, margins not included. A
tri-plane network has those of the StyleGAN2 that draws its planes; what turns planes into pictures,
the decoder and the blocks that enlarge, belongs to the last.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganedit.checkpoints import Network, fingerprint
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.stylegan2 import StyleGAN2Generator, channel_counts
from ganedit.generators.stylegan3 import StyleGAN3Generator
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.ops import upsample2d

Mode = Literal["hard", "logistic", "pinkney-hard"]

# They shape no layer of the synthesis: the mapping network comes whole from one of the two, and so
# do the usual camera and the number of rays and samples.
_MAY_DIFFER = (
    *("z_dim", "c_dim", "mapping_", "embed_", "conv_clamp", "w_avg_beta", "magnitude_ema_"),
    *("camera_", "neural_resolution", "coarse_samples", "fine_samples"),
)
_CHANNELS = ("channels", "channel_base", "channel_max")
_AFTER_PLANES = ("decoder.", "superresolution.")


@dataclass(frozen=True)
class Position:
    """A place in a generator that one share holds for.

    Attributes:
        resolution: In pixels; a level.
        prefixes: What the names of its tensors start with.
    """

    resolution: int
    prefixes: tuple[str, ...]


def positions(generator: Generator) -> tuple[Position, ...]:
    """Return the places of a generator that can be shared differently, coarse to fine.

    Raises:
        ValueError: It is of another family than StyleGAN2, StyleGAN3 and tri-planes.
    """
    found: list[Position] = []
    if isinstance(generator, TriPlaneGenerator):
        for place in positions(generator.backbone):
            prefixes = tuple(f"backbone.{prefix}" for prefix in place.prefixes)
            found.append(Position(place.resolution, prefixes))
        last = found[-1]
        found[-1] = Position(last.resolution, last.prefixes + _AFTER_PLANES)
        return tuple(found)
    if isinstance(generator, StyleGAN2Generator):
        for side in generator.synthesis.block_resolutions:
            block = f"synthesis.b{side}."
            first = ("const", "conv0.", "skip.")
            second = ("conv1.", "torgb.", "resample_filter")
            found.append(Position(side, tuple(block + name for name in first)))
            found.append(Position(side, tuple(block + name for name in second)))
        return tuple(found)
    if isinstance(generator, StyleGAN3Generator):
        synthesis = generator.synthesis
        found.append(Position(synthesis.bands[0].sampling_rate, ("synthesis.input.",)))
        for name, band in zip(synthesis.layer_names, synthesis.bands, strict=True):
            found.append(Position(band.sampling_rate, (f"synthesis.{name}.",)))
        return tuple(found)
    raise ValueError(
        f"generator: expected StyleGAN2, StyleGAN3 or tri-planes, got {type(generator)}"
    )


def levels(generator: Generator) -> tuple[int, ...]:
    """Return the resolutions of a generator's positions, rising, each once."""
    return tuple(dict.fromkeys(place.resolution for place in positions(generator)))


def switch_shares(
    generator: Generator, at: int, *, mode: Mode = "hard", width: float | None = None
) -> tuple[float, ...]:
    """Return shares that switch from the lower to the upper network at a resolution.

    Args:
        generator: One of the two.
        at: One of its `levels`.
        mode: ``hard``: positions of this resolution and above are the upper network's.
            ``logistic``: the share is 1 / (1 + exp(-x / width)), where x counts positions from the
            first of this resolution on. ``pinkney-hard``: the authors' threshold, x > 1, which
            switches two positions later: for StyleGAN2 a whole resolution above ``at``. Both are
            the authors' curves for the first of their two levels of a resolution.
        width: Of the logistic, in positions; large is soft.

    Returns:
        The upper network's share at each of `positions`.

    Raises:
        ValueError: There is no such level or mode, or a width where none belongs, or none of more
            than 0 where one does.
    """
    places = [place.resolution for place in positions(generator)]
    if at not in places:
        raise ValueError(f"at: expected one of {levels(generator)}, got {at}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode: expected one of {get_args(Mode)}, got {mode!r}")
    if (width is not None) != (mode == "logistic"):
        raise ValueError("width: expected for logistic, and only for it")
    offsets = range(-places.index(at), len(places) - places.index(at))
    if width is not None:
        if not 0 < width < math.inf:
            raise ValueError(f"width: expected more than 0, got {width}")
        # 1 / (1 + exp(-x)) by the hyperbolic tangent, which never overflows.
        return tuple(0.5 + 0.5 * math.tanh(0.5 * x / width) for x in offsets)
    threshold = 0 if mode == "hard" else 2
    return tuple(float(x >= threshold) for x in offsets)


def level_shares(generator: Generator, shares: Mapping[int, float]) -> tuple[float, ...]:
    """Return shares that are told for some resolutions.

    Args:
        generator: One of the two.
        shares: The upper network's share at some `levels`, 0 to 1; a level without one has that of
            the level below, and 0 below the first.

    Returns:
        The upper network's share at each of `positions`.

    Raises:
        ValueError: There is no such level, or a share is not from 0 to 1.
    """
    known = levels(generator)
    for level, share in shares.items():
        if level not in known:
            raise ValueError(f"shares: expected levels of {known}, got {level}")
        _check_share(share)
    told: list[float] = []
    share = 0.0
    for place in positions(generator):
        share = float(shares.get(place.resolution, share))
        told.append(share)
    return tuple(told)


def differences(a: Generator, b: Generator) -> list[tuple[str, str, str]]:
    """Return why two generators cannot be blended: what differs, and how in each; often nothing.

    The mapping networks may differ, since one of them is taken whole.
    """
    if type(a) is not type(b):
        return [("family", _family(a), _family(b))]
    # What the channels come to counts, not how the configuration says it.
    names = [name for name in a.config if not name.startswith((*_MAY_DIFFER, *_CHANNELS))]
    table = [(name, str(a.config[name]), str(b.config.get(name))) for name in names]
    return [row for row in [*table, *_channels(a, b)] if row[1] != row[2]]


def _family(generator: Generator) -> str:
    return type(generator).__name__.removesuffix("Generator")


def _channels(a: Generator, b: Generator) -> list[tuple[str, str, str]]:
    """Return the channels of each resolution, or of each layer."""
    one, other = _channels_of(a), _channels_of(b)
    names = dict.fromkeys([*one, *other])
    return [(f"channels at {x}", one.get(x, "none"), other.get(x, "none")) for x in names]


def _channels_of(generator: Generator) -> dict[str, str]:
    if isinstance(generator, StyleGAN2Generator):
        return {str(side): str(n) for side, n in channel_counts(generator.config).items()}
    if isinstance(generator, TriPlaneGenerator):
        return _channels_of(generator.backbone)
    assert isinstance(generator, StyleGAN3Generator)
    bands = enumerate(generator.synthesis.bands)
    return {f"L{index}": str(band.channels) for index, band in bands}


def owner_is_upper(shares: Sequence[float]) -> bool:
    """Return whether the mapping network comes from the upper network: if it has most of the first.

    Args:
        shares: As `blend` takes them.
    """
    return shares[0] > 0.5


@torch.no_grad()
def blend(lower: Generator, upper: Generator, shares: Sequence[float]) -> Generator:
    """Return a generator blended from two, a copy of its own.

    Weights, biases, noise maps and noise strengths of a position are (1 - share) times those of the
    lower network plus share times those of the upper; shares of 0 and 1, and equal networks, give
    theirs to the bit. The mapping network, the average latent and the options come from the network
    that has most of the first position.

    Args:
        lower: Of a share of 0.
        upper: Of a share of 1; of the same architecture.
        shares: One for each of `positions`, 0 to 1.

    Returns:
        In eval mode, frozen, on the device of ``lower``.

    Raises:
        GaneditError: The networks are of different architectures.
        ValueError: The number of shares is another, or one is not from 0 to 1.
    """
    _check_alike(lower, upper)
    places = positions(lower)
    if len(shares) != len(places):
        raise ValueError(f"shares: expected {len(places)}, got {len(shares)}")
    for share in shares:
        _check_share(share)
    owner = upper if owner_is_upper(shares) else lower
    blended = copy.deepcopy(_module(owner)).to(lower.w_avg.device).eval().requires_grad_(False)
    state, one, other = (_module(each).state_dict() for each in (owner, lower, upper))
    mixed: dict[str, Tensor] = {}
    for place, share in zip(places, shares, strict=True):
        for key in (key for key in state if key.startswith(place.prefixes)):
            mixed[key] = _mix(one[key], other[key].to(one[key].device), share)
    blended.load_state_dict(state | mixed)
    return blended  # type: ignore[return-value]  # a copy of a Generator


def related(a: Network, b: Network) -> bool:
    """Return whether latents mean the same to two networks: they have an ancestor in common."""
    return bool({a.fingerprint, *a.ancestors} & {b.fingerprint, *b.ancestors})


def blend_networks(
    lower: Network, upper: Network, shares: Sequence[float], *, facts: Mapping[str, Any]
) -> Network:
    """Return what `blend` makes of two networks, as a network that accepts their latents.

    Args:
        lower: Of a share of 0.
        upper: Of a share of 1.
        shares: As in `blend`.
        facts: More for its provenance, JSON-able.

    Raises:
        GaneditError: The networks are of different architectures.
    """
    generator = blend(lower.generator, upper.generator, shares)
    owner, other = (upper, lower) if owner_is_upper(shares) else (lower, upper)
    accepted = [owner.fingerprint, *owner.ancestors]
    if related(owner, other):
        accepted += [other.fingerprint, *other.ancestors]
    told = {
        "blended_from": [
            {"network": each.home, "fingerprint": each.fingerprint} for each in (lower, upper)
        ],
        "shares": [
            [place.resolution, share]
            for place, share in zip(positions(generator), shares, strict=True)
        ],
        "adapted_from": list(dict.fromkeys(accepted)),
        # Of the mapping network: what its labels mean.
        **{name: x for name, x in owner.metadata.get("provenance", {}).items() if name == "labels"},
        **facts,
    }
    metadata = {**owner.metadata, "training": {}, "provenance": told}
    return Network(generator, owner.source, fingerprint(generator), metadata)


def _mix(a: Tensor, b: Tensor, share: float) -> Tensor:
    if share in (0, 1):
        return b if share else a
    return torch.lerp(a, b, share)


def _check_alike(lower: Generator, upper: Generator) -> None:
    differing = differences(lower, upper)
    if differing:
        name, one, other = differing[0]
        raise GaneditError(f"these networks cannot be mixed: {name} is {one} and {other}")


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:  # never true of nan
        raise ValueError(f"shares: expected 0 to 1, got {share}")


def _module(generator: Generator) -> nn.Module:
    assert isinstance(generator, nn.Module)  # `positions` knows no others
    return generator


def check_swappable(generator: Generator) -> None:
    """Check that `swap_features` does for a generator what no blend does.

    Raises:
        GaneditError: It has one layer to the picture, so that the hard blend is the same, or what
            it adds up are planes.
    """
    if isinstance(generator, TriPlaneGenerator):
        raise GaneditError(
            "the levels of a tri-plane network add up planes, not pictures, so that there is"
            " nothing to swap; blend the weights: leave out --features"
        )
    if not isinstance(generator, StyleGAN2Generator) or generator.config["architecture"] != "skip":
        raise GaneditError(
            "this generator does not add up pictures of its resolutions, so that swapped features"
            " are the hard blend; leave out --features"
        )


@torch.no_grad()
def swap_features(
    lower: Generator,
    upper: Generator,
    ws: Tensor,
    *,
    at: int,
    noise: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return pictures of two networks that run side by side (Back 2021, "Cartoon-StyleGAN").

    As there, the features after the second convolution of the block below ``at`` are the lower
    network's. The upper network's layer to the picture of that block reads them, and its blocks
    from ``at`` on go on with them; the pictures of the blocks before, which add up, remain the
    upper network's own. So its colours and outlines are on the shapes of the lower. The hard blend
    takes the pictures below ``at``, too, from the lower.

    Args:
        lower: A StyleGAN2 whose blocks all put out pictures (``skip``).
        upper: Of the same architecture.
        ws: Latents that both understand, [N, num_ws, w_dim].
        at: One of their `levels`; at the first nothing is swapped, and the upper network draws.
        noise: Maps as in `Generator.synthesize`; None for each network's own.

    Returns:
        float32 [N, 3, R, R], mostly in [-1, 1].

    Raises:
        GaneditError: The networks differ, or are no such StyleGAN2.
        ValueError: There is no such level.
    """
    for generator in (lower, upper):
        check_swappable(generator)
    _check_alike(lower, upper)
    if at not in levels(lower):
        raise ValueError(f"at: expected one of {levels(lower)}, got {at}")
    runs: list[Any] = [lower.synthesis, upper.synthesis]  # type: ignore[attr-defined]  # both are StyleGAN2
    maps = ["const"] * (lower.num_ws - 1) if not noise else list(noise)
    features: list[Tensor | None] = [None, None]
    image: Tensor | None = None
    index = 0
    for side in runs[1].block_resolutions:
        blocks = [getattr(run, f"b{side}") for run in runs]
        given: dict[str, Any] = {"noise": maps[index : index + blocks[1].num_conv], "offsets": {}}
        before = image
        if side < at:
            features[0], _ = blocks[0](features[0], None, ws[:, index:], **given)
        features[1], image = blocks[1](features[1], image, ws[:, index:], **given)
        index += blocks[1].num_conv
        if 2 * side == at:
            features[1] = features[0]
            image = blocks[1].torgb(features[0], ws[:, index])
            if before is not None:
                image = image + upsample2d(before, blocks[1].resample_filter)
    assert image is not None
    return image.contiguous()
