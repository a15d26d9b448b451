"""Perceptual distances: three feature spaces, and plain pixels, behind one arithmetic.

All have the form Σ_l mean over space of Σ_c w_lc (a_lc − b_lc)², with feature vectors that are
scaled to unit length first (LPIPS, the clay space) or not (Image2StyleGAN).
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ganedit.errors import GaneditError
from ganedit.features.clay import ClayFeatures, load_clay_features
from ganedit.features.vgg import LPIPS_LAYERS, VGG16, load_vgg16
from ganedit.features.weights import read_tensors

IMAGE2STYLEGAN_LAYERS = ("relu1_1", "relu1_2", "relu3_2", "relu4_2")
"""Layers of the Image2StyleGAN paper; VGG's authors count the rectification into a layer."""

_LARGEST_SIDE = 256
_SCALES = 4
_TINY = 1e-20
_CACHED_NUMBERS = 2**16  # of 2**13 to 2**17 the fastest: a piece and its temporaries stay in cache
_ROWS = 4


class PerceptualDistance(nn.Module):
    """A distance between images, in two halves so that target features are computed once."""

    def __init__(
        self, features: nn.Module, weights: Sequence[Tensor], *, unit_length: bool, name: str
    ) -> None:
        """Combine a feature network with its layer and channel weights.

        Args:
            features: Maps images [N, 3, H, W] in [-1, 1] to a list of maps [N, C, h, w].
            weights: One tensor a map, [1, C, 1, 1] or a scalar.
            unit_length: Scale each feature vector to length one before comparing.
            name: What tables and run files call this distance.
        """
        super().__init__()
        self.features = features
        self.unit_length = unit_length
        self.name = name
        self._count = len(weights)
        for index, weight in enumerate(weights):
            self.register_buffer(f"weight{index}", weight.detach().clone())

    @property
    def weights(self) -> list[Tensor]:
        """The weight of each map, [1, C, 1, 1] or a scalar."""
        return [self.get_buffer(f"weight{index}") for index in range(self._count)]

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the features of ``images``, ready for `distance`.

        Args:
            images: [N, 3, H, W] in [-1, 1]; reduced to 256 pixels a side when larger, which is
                the size the VGG losses are made for (as NVlabs' projector does).

        Returns:
            One map [N, C, h, w] a layer.
        """
        maps = self._maps(images)
        return [_unit(x) for x in maps] if self.unit_length else maps

    def _maps(self, images: Tensor) -> list[Tensor]:
        if max(images.shape[-2:]) > _LARGEST_SIDE:
            images = F.interpolate(images, size=(_LARGEST_SIDE, _LARGEST_SIDE), mode="area")
        maps: list[Tensor] = self.features(images)
        return maps

    def distance_to(self, target_features: Sequence[Tensor], images: Tensor) -> Tensor:
        """Return the distance of each image to targets, [N]: the one to take gradients of.

        The same as `distance` of what `encode` returns, with fewer passes over the maps;
        differentiable once, with respect to ``images``.

        Args:
            target_features: Of one target an image, or of one for all, from `encode`.
            images: [N, 3, H, W] in [-1, 1].
        """
        maps = self._maps(images)
        if not self.unit_length:
            return self.distance(maps, target_features)
        layers = zip(maps, target_features, self.weights, strict=True)
        terms = [cast(Tensor, _UnitDistance.apply(*layer)) for layer in layers]
        return torch.stack(terms).sum(dim=0)

    def distance(self, features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
        """Return the distance of each pair, [N]; a batch of one on either side is broadcast."""
        per_layer = self.distance_per_layer(features, target_features)
        return torch.stack(per_layer).sum(dim=0)

    def distance_per_layer(
        self, features: Sequence[Tensor], target_features: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return the terms that `distance` sums, [N] each."""
        return [
            ((a - b).square() * weight).sum(dim=1).mean(dim=(1, 2))
            for a, b, weight in zip(features, target_features, self.weights, strict=True)
        ]

    def distance_table(self, features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
        """Return the distance of each of A images to each of B others, [A, B].

        As |a|² + |b|² − 2 a·b, a product of matrices: exact to about 1e-6 of |a|² and |b|².
        """
        table = features[0].new_zeros(len(features[0]), len(others[0]))
        for a, b, weight in zip(features, others, self.weights, strict=True):
            columns = _rows(b).mT
            # A few rows at a time: many pictures' maps are large, and a copy would double them.
            products = torch.cat([_rows(some * weight) @ columns for some in a.split(_ROWS)])
            squares = _power(a, weight)[:, None] + _power(b, weight)
            table += (squares - 2 * products) / (a.shape[2] * a.shape[3])
        return table.clamp_min_(0)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the distance of each pair of images [N, 3, H, W] in [-1, 1], [N]."""
        return self.distance(self.encode(images), self.encode(targets))


def image2stylegan_distance(vgg: VGG16) -> PerceptualDistance:
    """Return Image2StyleGAN's distance: mean squared differences of four VGG16 maps, summed.

    Args:
        vgg: Built for `IMAGE2STYLEGAN_LAYERS`.
    """
    _expect_layers(vgg, IMAGE2STYLEGAN_LAYERS)
    widths = (64, 64, 256, 512)
    weights = [torch.tensor(1.0 / width) for width in widths]
    return PerceptualDistance(vgg, weights, unit_length=False, name="vgg16")


def lpips_distance(vgg: VGG16, heads: Sequence[Tensor] | None = None) -> PerceptualDistance:
    """Return LPIPS (Zhang et al. 2018) over VGG16, version 0.1.

    Args:
        vgg: Built for `LPIPS_LAYERS`.
        heads: Channel weights [1, C, 1, 1] of the five layers; None takes the lpips package's.
    """
    _expect_layers(vgg, LPIPS_LAYERS)
    weights = list(_package_heads() if heads is None else heads)
    return PerceptualDistance(vgg, weights, unit_length=True, name="lpips")


def clay_distance(features: ClayFeatures) -> PerceptualDistance:
    """Return the distance of the clay world's own feature network, calibrated like LPIPS."""
    weights = list(features.layer_weights.unbind())
    return PerceptualDistance(features, weights, unit_length=True, name="clay")


class PixelPyramid(nn.Module):
    """Pictures at full, half, quarter and eighth size: features that need no weights."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return [N, 3, H, W] in [-1, 1] at each scale, largest first; none below one pixel."""
        maps = [images]
        for _ in range(_SCALES - 1):
            side = max(1, maps[-1].shape[-1] // 2)
            maps.append(F.interpolate(maps[-1], size=(side, side), mode="area"))
        return maps


def pixel_pyramid_distance() -> PerceptualDistance:
    """Return the mean squared difference of pixels, summed over four scales.

    No perception is in it: pictures of the same colours count as close, whatever they show.
    """
    weights = [torch.tensor(1.0 / 3)] * _SCALES
    return PerceptualDistance(PixelPyramid(), weights, unit_length=False, name="pixel")


def load_perceptual(
    name: Literal["vgg16", "lpips", "clay", "pixel"],
    *,
    vgg_weights: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> PerceptualDistance:
    """Return a perceptual distance by name, with its weights.

    Args:
        name: ``vgg16`` is Image2StyleGAN's, ``lpips`` LPIPS over VGG16, ``clay`` the embedded one,
            ``pixel`` compares pixels at four scales and needs no weights.
        vgg_weights: torchvision's VGG16 file; None looks in torch's cache.
        device: Where the networks live.

    Raises:
        GaneditError: The weights are not on this machine, or are damaged.
    """
    if name == "clay":
        return clay_distance(load_clay_features(device))
    if name == "pixel":
        return pixel_pyramid_distance().to(device)
    layers, build = {
        "vgg16": (IMAGE2STYLEGAN_LAYERS, image2stylegan_distance),
        "lpips": (LPIPS_LAYERS, lpips_distance),
    }[name]
    return build(load_vgg16(layers, path=vgg_weights, device=device)).to(device)


class _UnitDistance(torch.autograd.Function):
    """Mean over pixels of Σ_c w_c (x_c / |x| − t_c)², [N], for raw x and t of unit length.

    Value and gradient are made together, some pixels at a time, so that a dozen elementwise passes
    stay in the processor's cache; done over whole maps, one after the other, they take a tenth of
    a projection's step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        count = x.shape[2] * x.shape[3]
        if not x.is_contiguous():  # of other layouts, the pieces below would be copies
            x = x.contiguous(memory_format=torch.channels_last)
        gradient = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        parts = [x, target] if gradient is None else [x, target, gradient]
        weight = weight.flatten()
        step = max(1, _CACHED_NUMBERS // x.shape[1]) if x.device.type == "cpu" else count
        total = weight.new_zeros(len(x))
        # [N, C, h, w] to [N, pixels, C], without copies where channels are last.
        for raw, wanted, *out in zip(
            *(part.permute(0, 2, 3, 1).flatten(1, 2).split(step, dim=1) for part in parts),
            strict=True,
        ):
            raw = raw.to(weight.dtype)
            shrink = raw.square().sum(dim=2, keepdim=True).clamp_min(_TINY).rsqrt()
            unit = raw * shrink
            difference = unit - wanted
            weighted = difference * weight
            total += difference.mul_(weighted).sum(dim=(1, 2))
            if out:
                along = (unit * weighted).sum(dim=2, keepdim=True)
                slope = torch.addcmul(weighted, unit, along, value=-1)
                torch.mul(slope, shrink.mul_(2 / count), out=slope)
                out[0].copy_(slope)
        ctx.save_for_backward(gradient)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad.to(gradient.dtype)[:, None, None, None], None, None


def _expect_layers(vgg: VGG16, layers: Sequence[str]) -> None:
    if vgg.layers != tuple(layers):
        raise ValueError(f"vgg: expected layers {list(layers)}, got {list(vgg.layers)}")


def _package_heads() -> list[Tensor]:
    # The package is located, not imported: importing it pulls in scikit-image.
    spec = find_spec("lpips")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise GaneditError("the lpips package is missing; pip install lpips")
    state = read_tensors(Path(folders[0]) / "weights" / "v0.1" / "vgg.pth")
    return [state[f"lin{index}.model.1.weight"] for index in range(len(LPIPS_LAYERS))]


def _rows(maps: Tensor) -> Tensor:
    """Return [N, C, h, w] as [N, h*w*C], without a copy where channels are last."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _power(maps: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted sum of squares of each of N maps, [N]."""
    return torch.stack([(x.square() * weight).sum() for x in maps])


def _unit(x: Tensor) -> Tensor:
    # Clamped, not offset: the gradient stays finite where a whole feature vector is zero.
    return x * x.square().sum(dim=1, keepdim=True).clamp_min(_TINY).rsqrt()
