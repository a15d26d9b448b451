"""Pure converter of rosinality's StyleGAN2 state dicts; reads no file.

Both code bases store unit-variance weights and scale them at run time, so conversion only renames
and reshapes. Sizes, channel counts and the mapping depth follow from the shapes. The resampling
filters of rosinality sum to 4 in the generator (the gain of upsampling) and to 1 in the
discriminator; ours always sum to 1.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.ops import setup_filter


def from_rosinality(
    g_ema: Mapping[str, Tensor], *, latent_avg: Tensor | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return arguments of `StyleGAN2Generator` and a state dict for it.

    Args:
        g_ema: The generator's state dict, as the checkpoint holds it under ``g_ema`` or ``g``.
        latent_avg: Average latent, [w_dim], stored beside it; None leaves it at zero.

    Raises:
        GaneditError: A tensor is missing, or the channel counts follow no known rule.
    """
    source = _Source(g_ema, "rosinality generator")
    w_dim = source["style.1.weight"].shape[0]
    mapping_layers = source.count(r"style\.(\d+)\.weight")
    num_blocks = 1 + source.count(r"to_rgbs\.(\d+)\.bias")
    state: dict[str, Tensor] = {}
    for index in range(mapping_layers):
        for name in ("weight", "bias"):
            state[f"mapping.fc{index}.{name}"] = source[f"style.{index + 1}.{name}"]
    state["mapping.w_avg"] = torch.zeros(w_dim) if latent_avg is None else latent_avg.reshape(w_dim)

    def layer(ours: str, theirs: str, noise: str) -> None:
        _modulated(state, ours, source, theirs)
        state[f"{ours}.bias"] = source[f"{theirs}.activate.bias"]
        state[f"{ours}.noise_strength"] = source[f"{theirs}.noise.weight"].reshape([])
        state[f"{ours}.noise_const"] = source[noise][0, 0]
        kernel = source.get(f"{theirs}.conv.blur.kernel")
        state[f"{ours}.resample_filter"] = _default_filter() if kernel is None else kernel / 4

    def to_rgb(ours: str, theirs: str) -> None:
        _modulated(state, ours, source, theirs)
        state[f"{ours}.bias"] = source[f"{theirs}.bias"].reshape(-1)

    state["synthesis.b4.const"] = source["input.input"][0]
    state["synthesis.b4.resample_filter"] = _default_filter()
    layer("synthesis.b4.conv1", "conv1", "noises.noise_0")
    to_rgb("synthesis.b4.torgb", "to_rgb1")
    for k in range(num_blocks - 1):
        block = f"synthesis.b{8 << k}"
        layer(f"{block}.conv0", f"convs.{2 * k}", f"noises.noise_{2 * k + 1}")
        layer(f"{block}.conv1", f"convs.{2 * k + 1}", f"noises.noise_{2 * k + 2}")
        to_rgb(f"{block}.torgb", f"to_rgbs.{k}")
        kernel = source.get(f"to_rgbs.{k}.upsample.kernel")
        state[f"{block}.resample_filter"] = _default_filter() if kernel is None else kernel / 4

    resolutions = [4 << k for k in range(num_blocks)]
    channels = {r: state[f"synthesis.b{r}.conv1.weight"].shape[0] for r in resolutions}
    config = {
        "z_dim": source["style.1.weight"].shape[1],
        "w_dim": w_dim,
        "img_resolution": resolutions[-1],
        "img_channels": state["synthesis.b4.torgb.bias"].shape[0],
        "mapping_layers": mapping_layers,
        "architecture": "skip",
        **_channel_rule(channels, source.kind),
    }
    return config, state


def discriminator_from_rosinality(
    d: Mapping[str, Tensor],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return arguments of `StyleGAN2Discriminator` and a state dict for it.

    Args:
        d: The discriminator's state dict, as the checkpoint holds it under ``d``.

    Raises:
        GaneditError: A tensor is missing, or the channel counts follow no known rule.
    """
    source = _Source(d, "rosinality discriminator")
    num_blocks = source.count(r"convs\.(\d+)\.skip\.1\.weight")
    size = 4 << num_blocks
    state: dict[str, Tensor] = {}
    channels = {size: source["convs.0.0.weight"].shape[0]}

    def layer(ours: str, weight: str, bias: str | None, kernel: str | None = None) -> None:
        state[f"{ours}.weight"] = source[weight]
        if bias is not None:
            state[f"{ours}.bias"] = source[bias]
        f = None if kernel is None else source.get(kernel)
        state[f"{ours}.resample_filter"] = _default_filter() if f is None else f

    layer(f"b{size}.fromrgb", "convs.0.0.weight", "convs.0.1.bias")
    for j in range(1, num_blocks + 1):
        block, convs = f"b{size >> (j - 1)}", f"convs.{j}"
        state[f"{block}.resample_filter"] = _default_filter()
        layer(f"{block}.conv0", f"{convs}.conv1.0.weight", f"{convs}.conv1.1.bias")
        layer(
            f"{block}.conv1",
            f"{convs}.conv2.1.weight",
            f"{convs}.conv2.2.bias",
            f"{convs}.conv2.0.kernel",
        )
        layer(f"{block}.skip", f"{convs}.skip.1.weight", None, f"{convs}.skip.0.kernel")
        channels[size >> j] = state[f"{block}.conv1.weight"].shape[0]
    layer("b4.conv", "final_conv.0.weight", "final_conv.1.bias")
    for ours, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        for name in ("weight", "bias"):
            state[f"b4.{ours}.{name}"] = source[f"{theirs}.{name}"]
    config = {
        "img_resolution": size,
        "img_channels": source["convs.0.0.weight"].shape[1],
        "architecture": "resnet",
        "mbstd_group_size": 4,
        "mbstd_num_channels": 1,
        **_channel_rule(channels, source.kind),
    }
    return config, state


class _Source:
    """A state dict whose missing keys become one readable error."""

    def __init__(self, tensors: Mapping[str, Tensor], kind: str) -> None:
        self.tensors = tensors
        self.kind = kind

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.tensors:
            raise GaneditError(f"not a {self.kind}: it has no tensor {key!r}")
        return self.tensors[key]

    def get(self, key: str) -> Tensor | None:
        return self.tensors.get(key)

    def count(self, pattern: str) -> int:
        found = {match[1] for key in self.tensors if (match := re.fullmatch(pattern, key))}
        if not found:
            raise GaneditError(f"not a {self.kind}: it has no tensor like {pattern!r}")
        return len(found)


def _modulated(state: dict[str, Tensor], ours: str, source: _Source, theirs: str) -> None:
    state[f"{ours}.weight"] = source[f"{theirs}.conv.weight"][0]
    state[f"{ours}.affine.weight"] = source[f"{theirs}.conv.modulation.weight"]
    state[f"{ours}.affine.bias"] = source[f"{theirs}.conv.modulation.bias"]


def _default_filter() -> Tensor:
    return setup_filter([1, 3, 3, 1])


def _channel_rule(channels: dict[int, int], kind: str) -> dict[str, int]:
    """Return channel_base and channel_max that give these channels a resolution."""
    channel_max = max(channels.values())
    channel_base = max(resolution * count for resolution, count in channels.items())
    if any(count != min(channel_base // r, channel_max) for r, count in channels.items()):
        raise GaneditError(f"{kind}: channel counts {channels} follow no rule of StyleGAN2")
    return {"channel_base": channel_base, "channel_max": channel_max}
