"""The obvious implementation of a W+ projection step, which the benchmarks measure ours against.

The generator modulates the weights of every sample and runs a grouped convolution; LPIPS is one
operation after the other in torch's default order of memory; Adam is torch's. It shares with ours
what is the same in any implementation: the frozen weights, `upfirdn2d`, the noise regulariser.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.generators import StyleGAN2Generator
from ganedit.generators.stylegan2 import SynthesisBlock, SynthesisLayer, ToRGB
from ganedit.losses.perceptual import PerceptualDistance
from ganedit.losses.regularizers import noise_correlation, normalize_noise_
from ganedit.ops import upfirdn2d, upsample2d


def synthesize(generator: StyleGAN2Generator, ws: Tensor, noise: Sequence[Tensor]) -> Tensor:
    x = image = None
    maps = iter(noise)
    index = 0
    for block in generator.synthesis.children():
        assert isinstance(block, SynthesisBlock)
        if block.conv0 is None:
            x = block.const.expand(ws.shape[0], -1, -1, -1)
        else:
            x = _layer(block.conv0, x, ws[:, index], next(maps))
            index += 1
        x = _layer(block.conv1, x, ws[:, index], next(maps))
        index += 1
        rgb = _to_rgb(block.torgb, x, ws[:, index])
        image = rgb if image is None else upsample2d(image, block.resample_filter) + rgb
    return image


def _layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """The layer with per-sample weights, as the reference projectors run it."""
    n, height = x.shape[0], x.shape[2]
    out_channels, in_channels = layer.weight.shape[:2]
    weight = layer.weight[None] * layer.affine(w)[:, None, :, None, None]  # [NOIkk]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * in_channels, height, height)
    if layer.up == 2:
        weight = weight.transpose(1, 2).reshape(n * in_channels, out_channels, 3, 3)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        x = x.reshape(n, out_channels, 2 * height + 1, 2 * height + 1)
        x = upfirdn2d(x, layer.resample_filter, padding=1, gain=4)
    else:
        weight = weight.reshape(n * out_channels, in_channels, 3, 3)
        x = F.conv2d(x, weight, padding=1, groups=n).reshape(n, out_channels, height, height)
    x = x + noise * layer.noise_strength
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * 2**0.5


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    n, in_channels, height, _ = x.shape
    weight = layer.weight[None] * (layer.affine(w) * layer.weight_gain)[:, None, :, None, None]
    weight = weight.reshape(n * 3, in_channels, 1, 1)
    x = F.conv2d(x.reshape(1, n * in_channels, height, height), weight, groups=n)
    return x.reshape(n, 3, height, height) + layer.bias[:, None, None]


class Lpips:
    """LPIPS over VGG16 of pictures to one target, whose features are computed once."""

    def __init__(self, perceptual: PerceptualDistance, target: Tensor) -> None:
        vgg = perceptual.features
        self._vgg = vgg
        self._convolutions = [
            (name, vgg.features[str(index)].weight.contiguous(), vgg.features[str(index)].bias)
            for name, index, _, _ in vgg._plan
        ]
        self._heads = perceptual.weights
        with torch.no_grad():
            self._wanted = self._features(target)

    def __call__(self, images: Tensor) -> Tensor:
        layers = zip(self._features(images), self._wanted, self._heads, strict=True)
        return sum(F.conv2d((a - b) ** 2, head).mean(dim=(1, 2, 3)) for a, b, head in layers)

    def _features(self, images: Tensor) -> list[Tensor]:
        if images.shape[-1] > 256:
            images = F.interpolate(images, size=(256, 256), mode="area")
        x = (images - self._vgg.mean) / self._vgg.std
        maps = []
        for name, weight, bias in self._convolutions:
            if name.endswith("_1") and name != "1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu_(F.conv2d(x, weight, bias, padding=1))
            if f"relu{name}" in self._vgg.layers:
                maps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps


class Projection:
    """A W+ projection in progress."""

    def __init__(
        self,
        generator: StyleGAN2Generator,
        perceptual: PerceptualDistance,
        target: Tensor,
        ws: Tensor,
        noise: Sequence[Tensor],
    ) -> None:
        self._generator = generator
        self._distance = Lpips(perceptual, target)
        self._target = target
        self._ws = ws.detach().clone().requires_grad_()
        self._noise = [x.detach().clone().requires_grad_() for x in noise]
        self._adam = torch.optim.Adam([self._ws, *self._noise], lr=0.01)

    def step(self) -> Tensor:
        """Return the loss without the regulariser, [N]."""
        images = synthesize(self._generator, self._ws, self._noise)
        pixels = (images - self._target).square().mean(dim=(1, 2, 3))
        loss = self._distance(images) + 10 * pixels
        self._adam.zero_grad()
        (loss + 1e5 * noise_correlation(self._noise)).sum().backward()
        self._adam.step()
        normalize_noise_(self._noise)
        return loss.detach()
