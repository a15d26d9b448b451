"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

Generator and discriminator in one file, bottom-up. Parameter names and shapes are those of NVIDIA's
PyTorch release, so its state dicts load as they are.
"""

import math
from collections.abc import Mapping as Mapping_  # the mapping network has the name
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.generators.base import Noise, StyleLayer, check_offsets
from ganedit.generators.options import (
    check_choices,
    check_filter,
    check_flags,
    check_numbers,
    check_positive,
    check_resolution,
    check_whole,
)
from ganedit.ops import (
    Activation,
    activation_gain,
    bias_act,
    downsample2d,
    downsampling_conv2d,
    modulated_conv2d,
    setup_filter,
    upsample2d,
    upsampling_conv2d,
)

Architecture = Literal["skip", "resnet", "orig"]
Taps = Sequence[float] | Sequence[Sequence[float]]

_RESAMPLE_TAPS = (1, 3, 3, 1)


def normalize_second_moment(x: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Scale every row of ``x`` [N, C] to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: the weight is scaled when it is used."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        """Start from standard normal weights divided by ``lr_multiplier``."""
        super().__init__()
        self.activation: Activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, out_features] for ``x`` [N, in_features], in float32 under autocast too."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.weight.dtype)
            bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
            x = torch.addmm(bias, x, self.weight.mT, alpha=self.weight_gain)
            return bias_act(x, act=self.activation)

    def extra_repr(self) -> str:
        """Describe sizes and activation."""
        out_features, in_features = self.weight.shape
        return f"{in_features} -> {out_features}, activation={self.activation}"


class Convolution(nn.Module):
    """Convolution with equalised learning rate, optional resampling by two, and activation."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        bias: bool = True,
        activation: Activation = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: Taps = _RESAMPLE_TAPS,
        conv_clamp: float | None = None,
    ) -> None:
        """Start from standard normal weights and zero bias."""
        super().__init__()
        self.activation: Activation = activation
        self.up = up
        self.down = down
        self.conv_clamp = conv_clamp
        self.weight = _kernel(out_channels, in_channels, kernel_size, up=up)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = activation_gain(activation)
        self.register_buffer("resample_filter", _filter(resample_filter))

    def forward(self, x: Tensor, *, gain: float = 1.0) -> Tensor:
        """Return [N, out_channels, H * up / down, W * up / down]."""
        weight = self.weight * self.weight_gain
        if self.up == 2:
            x = upsampling_conv2d(x, weight, self.resample_filter)
        elif self.down == 2:
            x = downsampling_conv2d(x, weight, self.resample_filter)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias, act=self.activation, gain=self.act_gain * gain, clamp=clamp)

    def extra_repr(self) -> str:
        """Describe sizes, resampling and activation."""
        out_channels, in_channels, size, _ = self.weight.shape
        return (
            f"{in_channels} -> {out_channels}, kernel={size}, up={self.up}, down={self.down}, "
            f"activation={self.activation}"
        )


class Mapping(nn.Module):
    """Mapping network: random vector and label to the intermediate latent."""

    w_avg: Tensor

    def __init__(
        self,
        *,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        activation: Activation = "lrelu",
        layer_features: int | None = None,
        embed_features: int | None = None,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.998,
    ) -> None:
        """Build the network; ``num_ws`` None returns one latent instead of one a layer.

        ``layer_features`` (of the hidden layers) and ``embed_features`` (of the embedded label)
        default to ``w_dim``.
        """
        super().__init__()
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.w_avg_beta = w_avg_beta
        embed_features = w_dim if embed_features is None else embed_features
        layer_features = w_dim if layer_features is None else layer_features
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, embed_features)
        features = [z_dim + (embed_features if c_dim > 0 else 0)]
        if num_layers > 0:
            features += [layer_features] * (num_layers - 1) + [w_dim]
        if features[-1] != w_dim:
            raise ValueError(
                f"num_layers: 0 needs an input as wide as w_dim, {w_dim}, got {features[-1]}"
            )
        for index in range(num_layers):
            layer = FullyConnected(
                features[index],
                features[index + 1],
                activation=activation,
                lr_multiplier=lr_multiplier,
            )
            setattr(self, f"fc{index}", layer)
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Return latents in float32, [N, num_ws, w_dim], or [N, w_dim] where ``num_ws`` is None.

        Args:
            z: Standard normal vectors, [N, z_dim]; None when ``z_dim`` is 0.
            c: Labels, [N, c_dim]; None when ``c_dim`` is 0.
            truncation_psi: 1 keeps the latent, 0 replaces it by the average.
            truncation_cutoff: Number of first layers to truncate; None truncates all.
            update_w_avg: Move the tracked average towards this batch (training only).
        """
        w = self._embed(z, c)
        with torch.autocast(w.device.type, enabled=False):
            for index in range(self.num_layers):
                w = getattr(self, f"fc{index}")(w)
            if self.num_ws is None:
                return w
            if update_w_avg and self.w_avg_beta is not None:
                with torch.no_grad():
                    self.w_avg.lerp_(w.detach().mean(dim=0), 1 - self.w_avg_beta)
            ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)  # [N, num_ws, w_dim]
            if truncation_psi == 1:
                return ws
            truncated = self.w_avg.lerp(ws, truncation_psi)
            if truncation_cutoff is None:
                return truncated
            return torch.cat([truncated[:, :truncation_cutoff], ws[:, truncation_cutoff:]], dim=1)

    def _embed(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        """Return the normalised input of the first layer."""
        parts = []
        if self.z_dim > 0:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                got = "None" if z is None else list(z.shape)
                raise ValueError(f"z: expected [N, {self.z_dim}], got {got}")
            parts.append(normalize_second_moment(_wide(z)))
        if self.c_dim > 0:
            n = "N" if z is None else z.shape[0]
            if c is None or c.ndim != 2 or c.shape[1] != self.c_dim or n not in ("N", c.shape[0]):
                got = "None" if c is None else list(c.shape)
                raise ValueError(f"c: expected [{n}, {self.c_dim}], got {got}")
            parts.append(normalize_second_moment(self.embed(_wide(c))))
        elif c is not None and c.shape[-1] > 0:
            raise ValueError(f"c: this network takes no labels, got {list(c.shape)}")
        return torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        """Describe sizes."""
        return f"z_dim={self.z_dim}, c_dim={self.c_dim}, w_dim={self.w_dim}, num_ws={self.num_ws}"


def moved_styles(styles: Tensor, offset: Tensor | None) -> Tensor:
    """Return styles [N, C] with an offset [N or 1, C], where there is one."""
    return styles if offset is None else styles + offset


class SynthesisLayer(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias and activation."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        resolution: int,
        up: int = 1,
        resample_filter: Taps = _RESAMPLE_TAPS,
        use_noise: bool = True,
        activation: Activation = "lrelu",
        conv_clamp: float | None = None,
    ) -> None:
        """Start from standard normal weights, zero bias and zero noise strength."""
        super().__init__()
        self.resolution = resolution
        self.up = up
        self.use_noise = use_noise
        self.activation: Activation = activation
        self.act_gain = activation_gain(activation)
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = _kernel(out_channels, in_channels, 3, up=up)
        if use_noise:
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", _filter(resample_filter))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self._kept_power: tuple[Tensor, int, Tensor] | None = None

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        *,
        noise: str | Tensor = "const",
        offset: Tensor | None = None,
        gain: float = 1.0,
    ) -> Tensor:
        """Return [N, out_channels, resolution, resolution].

        Args:
            x: Input, [N, in_channels, resolution / up, resolution / up].
            w: Latents, [N, w_dim].
            noise: ``const``, ``random``, ``none``, or a map [N or 1, 1, resolution, resolution];
                a layer built without noise adds none.
            offset: Added to the styles, [N or 1, in_channels].
            gain: Factor on the result and its clamp.
        """
        if not self.use_noise:
            noise = "none"
        elif isinstance(noise, Tensor):
            noise = noise * self.noise_strength
        elif noise == "random":
            shape = (x.shape[0], 1, self.resolution, self.resolution)
            noise = torch.randn(shape, device=x.device) * self.noise_strength
        elif noise == "const":
            noise = self.noise_const * self.noise_strength
        return modulated_conv2d(
            x,
            self.weight,
            moved_styles(self.affine(w), offset),
            up=self.up,
            resample_filter=self.resample_filter if self.up == 2 else None,
            noise=noise if isinstance(noise, Tensor) else None,
            bias=self.bias,
            act=self.activation,
            gain=self.act_gain * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
            weight_power=self._weight_power(),
        )

    def _weight_power(self) -> Tensor | None:
        """Return what demodulation needs of a frozen weight, computed once a version of it.

        In-place changes through ``weight.data`` are invisible to the version; nothing here does so.
        """
        weight = self.weight
        if weight.requires_grad or self.training or weight.is_inference():
            return None
        kept = self._kept_power
        same = kept is not None and kept[0].data_ptr() == weight.data_ptr()
        if kept is None or not same or kept[1] != weight._version or kept[0].dtype != weight.dtype:
            # The alias of the weight keeps its memory from being given to another tensor.
            kept = (weight.detach(), weight._version, weight.detach().square().sum((2, 3)))
            self._kept_power = kept
        return kept[2]

    def extra_repr(self) -> str:
        """Describe sizes and resampling."""
        out_channels, in_channels, _, _ = self.weight.shape
        return f"{in_channels} -> {out_channels}, resolution={self.resolution}, up={self.up}"


class ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to picture channels, without demodulation."""

    def __init__(
        self, in_channels: int, out_channels: int, *, w_dim: int, conv_clamp: float | None = None
    ) -> None:
        """Start from standard normal weights and zero bias."""
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor, *, offset: Tensor | None = None) -> Tensor:
        """Return [N, out_channels, H, W] for ``x`` [N, in_channels, H, W], ``w`` [N, w_dim].

        ``offset``, [N or 1, in_channels], is added to the styles.
        """
        styles = moved_styles(self.affine(w), offset) * self.weight_gain
        return modulated_conv2d(
            x, self.weight, styles, demodulate=False, bias=self.bias, clamp=self.conv_clamp
        )

    def extra_repr(self) -> str:
        """Describe sizes."""
        out_channels, in_channels, _, _ = self.weight.shape
        return f"{in_channels} -> {out_channels}"


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: Architecture,
        resample_filter: Taps,
        use_noise: bool,
        activation: Activation,
        conv_clamp: float | None,
        up: int = 2,
    ) -> None:
        """Build the block; ``in_channels`` 0 makes the first one, which starts from a constant.

        ``up`` 1 keeps the resolution of what it is given.
        """
        super().__init__()
        self.resolution = resolution
        self.up = up
        self.register_buffer("resample_filter", _filter(resample_filter))
        settings: dict[str, Any] = {
            "w_dim": w_dim,
            "resolution": resolution,
            "use_noise": use_noise,
            "activation": activation,
            "conv_clamp": conv_clamp,
        }
        resampling: dict[str, Any] = {"up": up, "resample_filter": resample_filter}
        self.const: nn.Parameter | None = None
        self.conv0: SynthesisLayer | None = None
        self.torgb: ToRGB | None = None
        self.skip: Convolution | None = None
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, **resampling, **settings)
        self.conv1 = SynthesisLayer(out_channels, out_channels, **settings)
        self.num_conv = 1 if in_channels == 0 else 2
        if is_last or architecture == "skip":
            self.torgb = ToRGB(out_channels, img_channels, w_dim=w_dim, conv_clamp=conv_clamp)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Convolution(
                in_channels, out_channels, kernel_size=1, bias=False, **resampling
            )

    def modulated(self) -> dict[str, tuple[int, SynthesisLayer | ToRGB]]:
        """Return the layers with styles by name, in network order, each with the latent it reads.

        Latents count from the block's first.
        """
        layers: list[tuple[str, SynthesisLayer | ToRGB | None]] = [
            ("conv0", self.conv0),
            ("conv1", self.conv1),
            ("torgb", self.torgb),
        ]
        present = [(name, layer) for name, layer in layers if layer is not None]
        places = {"conv0": 0, "conv1": self.num_conv - 1, "torgb": self.num_conv}
        return {name: (places[name], layer) for name, layer in present}

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Tensor,
        *,
        noise: Sequence[str | Tensor],
        offsets: Mapping_[str, Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Return features [N, out_channels, R, R] and the picture so far (or None).

        Args:
            x: Features of the block before, or None in the first block.
            image: Picture of the block before, or None where there is none yet.
            ws: Latents from this block's first on, [N, at least num_conv + 1, w_dim].
            noise: One entry a convolution.
            offsets: Added to the styles, by the names of the network's style layers.
        """
        conv0, conv1, torgb = (
            offsets.get(f"b{self.resolution}.{name}") for name in ("conv0", "conv1", "torgb")
        )
        if self.conv0 is None:
            assert self.const is not None
            # Channels last spares the CPU convolutions a reordering pass; the layout propagates.
            x = self.const.expand(ws.shape[0], -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
            x = self.conv1(x, ws[:, 0], noise=noise[0], offset=conv1)
        else:
            assert x is not None
            shortcut = None if self.skip is None else self.skip(x, gain=math.sqrt(0.5))
            x = self.conv0(x, ws[:, 0], noise=noise[0], offset=conv0)
            gain = 1.0 if shortcut is None else math.sqrt(0.5)
            x = self.conv1(x, ws[:, 1], noise=noise[1], offset=conv1, gain=gain)
            if shortcut is not None:
                x = x + shortcut
        if image is not None and self.up == 2:
            image = upsample2d(image, self.resample_filter)
        if self.torgb is not None:
            rgb = _wide(self.torgb(x, ws[:, self.num_conv], offset=torgb))
            image = rgb if image is None else image + rgb
        return x, image

    def extra_repr(self) -> str:
        """Describe the resolution."""
        return f"resolution={self.resolution}"


class Synthesis(nn.Module):
    """Synthesis network: per-layer latents to pictures."""

    def __init__(
        self,
        *,
        w_dim: int,
        img_channels: int,
        channels: dict[int, int],
        architecture: Architecture,
        resample_filter: Taps,
        use_noise: bool,
        activation: Activation,
        conv_clamp: float | None,
    ) -> None:
        """Build one block a resolution of ``channels``: the powers of two from 4 on."""
        super().__init__()
        self.w_dim = w_dim
        self.block_resolutions = list(channels)
        self.num_ws = 2 * len(self.block_resolutions)
        self.use_noise = use_noise
        for resolution in self.block_resolutions:
            block = SynthesisBlock(
                channels[resolution // 2] if resolution > 4 else 0,
                channels[resolution],
                w_dim=w_dim,
                resolution=resolution,
                img_channels=img_channels,
                is_last=resolution == self.block_resolutions[-1],
                architecture=architecture,
                resample_filter=resample_filter,
                use_noise=use_noise,
                activation=activation,
                conv_clamp=conv_clamp,
            )
            setattr(self, f"b{resolution}", block)

    def noisy_layers(self) -> list[SynthesisLayer]:
        """Return the layers that add noise, in network order."""
        layers = [layer for layer in self.modules() if isinstance(layer, SynthesisLayer)]
        return [layer for layer in layers if layer.use_noise]

    def modulated(self) -> list[tuple[StyleLayer, SynthesisLayer | ToRGB]]:
        """Return the layers with styles, in network order."""
        found: list[tuple[StyleLayer, SynthesisLayer | ToRGB]] = []
        index = 0
        for resolution in self.block_resolutions:
            block = getattr(self, f"b{resolution}")
            for name, (place, layer) in block.modulated().items():
                channels = layer.weight.shape[1]
                kind: Literal["conv", "rgb"] = "rgb" if isinstance(layer, ToRGB) else "conv"
                told = StyleLayer(
                    f"b{resolution}.{name}", channels, resolution, index + place, kind
                )
                found.append((told, layer))
            index += block.num_conv
        return found

    def styles(self, ws: Tensor) -> tuple[Tensor, ...]:
        """Return the styles, [N, channels] a layer of `modulated`; see `Generator.styles`."""
        self._check(ws)
        return tuple(layer.affine(ws[:, told.layer]) for told, layer in self.modulated())

    def forward(
        self, ws: Tensor, *, noise: Noise = "const", offsets: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return pictures in float32, [N, img_channels, R, R].

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].
            noise: As in `Generator.synthesize`.
            offsets: As in `Generator.synthesize`.
        """
        self._check(ws)
        per_layer = self._noise_per_layer(noise, ws.shape[0])
        moves: dict[str, Tensor] = {}
        if offsets is not None:
            told = [layer for layer, _ in self.modulated()]
            check_offsets(offsets, told, batch=ws.shape[0])
            moves = {layer.name: offset for layer, offset in zip(told, offsets, strict=True)}
        x: Tensor | None = None
        image: Tensor | None = None
        index = 0
        for resolution in self.block_resolutions:
            block = getattr(self, f"b{resolution}")
            # The latent of a block's torgb is also that of the next block's first convolution.
            x, image = block(
                x,
                image,
                ws[:, index:],
                noise=per_layer[index : index + block.num_conv],
                offsets=moves,
            )
            index += block.num_conv
        assert image is not None
        if image.requires_grad:
            image.register_hook(_channels_last)  # a gradient of another layout costs a third more
        return image.contiguous()

    def _check(self, ws: Tensor) -> None:
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: expected [N, {self.num_ws}, {self.w_dim}], got {list(ws.shape)}")

    def _noise_per_layer(self, noise: Noise, batch: int) -> Sequence[str | Tensor]:
        layers = self.noisy_layers()
        if isinstance(noise, str):
            if noise not in ("const", "random", "none"):
                raise ValueError(f"noise: expected const, random, none or maps, got {noise!r}")
            return [noise] * (self.num_ws - 1)
        if len(noise) != len(layers):
            raise ValueError(f"noise: expected {len(layers)} maps, got {len(noise)}")
        for index, (layer, given) in enumerate(zip(layers, noise, strict=True)):
            size = layer.resolution
            if given.shape not in ((1, 1, size, size), (batch, 1, size, size)):
                raise ValueError(
                    f"noise[{index}]: expected [{batch} or 1, 1, {size}, {size}], "
                    f"got {list(given.shape)}"
                )
        return noise if self.use_noise else ["none"] * (self.num_ws - 1)


class StyleGAN2Generator(nn.Module):
    """StyleGAN2 generator; follows the `Generator` protocol."""

    def __init__(
        self,
        *,
        z_dim: int = 512,
        c_dim: int = 0,
        w_dim: int = 512,
        img_resolution: int,
        img_channels: int = 3,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        mapping_activation: Activation = "lrelu",
        mapping_features: int | None = None,
        embed_features: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        channels: dict[str, int] | None = None,
        architecture: Architecture = "skip",
        resample_filter: Taps = _RESAMPLE_TAPS,
        use_noise: bool = True,
        activation: Activation = "lrelu",
        conv_clamp: float | None = None,
        w_avg_beta: float = 0.998,
    ) -> None:
        """Build a randomly initialised generator.

        Args:
            z_dim: Length of the random vector.
            c_dim: Length of the label (classes or camera numbers); 0 means unconditional.
            w_dim: Length of one layer's latent.
            img_resolution: Height and width, a power of two from 8.
            img_channels: Channels of the pictures.
            mapping_layers: Layers of the mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            mapping_activation: Activation of the mapping layers.
            mapping_features: Width of the hidden mapping layers; None means ``w_dim``.
            embed_features: Width of the embedded label; None means ``w_dim``.
            channel_base: Channels at resolution r are ``channel_base / r``.
            channel_max: But at most this many.
            channels: Channels at each resolution, ``{"4": 512, "8": 512, ...}``, for networks that
                follow no such rule; None means the rule.
            architecture: How the picture is assembled: ``skip`` adds up pictures, ``resnet`` adds
                up features, ``orig`` does neither.
            resample_filter: Taps of the low-pass filter, 1-D or 2-D; normalised when used.
            use_noise: Whether the layers have noise maps.
            activation: Activation of the convolutions.
            conv_clamp: Limit on the magnitude of layer outputs; None means no limit. Published
                networks trained in half precision use 256.
            w_avg_beta: Share of the old value when the average latent is tracked, per step.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "z_dim": z_dim,
            "c_dim": c_dim,
            "w_dim": w_dim,
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "mapping_layers": mapping_layers,
            "mapping_lr_multiplier": mapping_lr_multiplier,
            "mapping_activation": mapping_activation,
            "mapping_features": mapping_features,
            "embed_features": embed_features,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "channels": dict(channels) if isinstance(channels, dict) else channels,
            "architecture": architecture,
            "resample_filter": _plain_taps(resample_filter),
            "use_noise": use_noise,
            "activation": activation,
            "conv_clamp": conv_clamp,
            "w_avg_beta": w_avg_beta,
        }
        _check_generator(self.config)
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.synthesis = Synthesis(
            w_dim=w_dim,
            img_channels=img_channels,
            channels=channel_counts(self.config),
            architecture=architecture,
            resample_filter=resample_filter,
            use_noise=use_noise,
            activation=activation,
            conv_clamp=conv_clamp,
        )
        self.num_ws = self.synthesis.num_ws
        self.mapping = Mapping(
            z_dim=z_dim,
            c_dim=c_dim,
            w_dim=w_dim,
            num_ws=self.num_ws,
            num_layers=mapping_layers,
            activation=mapping_activation,
            layer_features=mapping_features,
            embed_features=embed_features,
            lr_multiplier=mapping_lr_multiplier,
            w_avg_beta=w_avg_beta,
        )

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Return per-layer latents, [N, num_ws, w_dim]; see `Generator.map`."""
        return self.mapping(
            z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )

    def synthesize(
        self, ws: Tensor, *, noise: Noise = "const", offsets: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return images, float32 [N, img_channels, R, R]; see `Generator.synthesize`."""
        return self.synthesis(ws, noise=noise, offsets=offsets)

    def styles(self, ws: Tensor) -> tuple[Tensor, ...]:
        """Return the styles of each layer, [N, channels]; see `Generator.styles`."""
        return self.synthesis.styles(ws)

    def style_weights(self) -> tuple[Tensor, ...]:
        """Return the affine maps, [channels, w_dim] a layer; see `Generator.style_weights`."""
        maps = (layer.affine for _, layer in self.synthesis.modulated())
        return tuple(affine.weight.detach() * affine.weight_gain for affine in maps)

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers that have styles, in network order."""
        return tuple(layer for layer, _ in self.synthesis.modulated())

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: Noise = "const",
    ) -> Tensor:
        """Return images, float32 [N, img_channels, R, R], of random vectors [N, z_dim]."""
        ws = self.map(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesize(ws, noise=noise)

    @property
    def w_avg(self) -> Tensor:
        """Average latent, [w_dim]."""
        return self.mapping.w_avg

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each noise map, in network order."""
        return tuple((s.resolution, s.resolution) for s in self.synthesis.noisy_layers())

    def noise_maps(self) -> tuple[Tensor, ...]:
        """Return the stored noise maps, each [1, 1, H, W], sharing the buffers' memory."""
        return tuple(layer.noise_const[None, None] for layer in self.synthesis.noisy_layers())


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution of the discriminator."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        resolution: int,
        img_channels: int,
        architecture: Architecture,
        resample_filter: Taps,
        activation: Activation,
        conv_clamp: float | None,
    ) -> None:
        """Build the block; ``in_channels`` 0 makes the first one, which reads the picture."""
        super().__init__()
        self.resolution = resolution
        self.architecture = architecture
        self.register_buffer("resample_filter", _filter(resample_filter))
        settings: dict[str, Any] = {"activation": activation, "conv_clamp": conv_clamp}
        resampling: dict[str, Any] = {"down": 2, "resample_filter": resample_filter}
        self.fromrgb: Convolution | None = None
        self.skip: Convolution | None = None
        if in_channels == 0 or architecture == "skip":
            self.fromrgb = Convolution(img_channels, mid_channels, kernel_size=1, **settings)
        self.conv0 = Convolution(mid_channels, mid_channels, kernel_size=3, **settings)
        self.conv1 = Convolution(
            mid_channels, out_channels, kernel_size=3, **resampling, **settings
        )
        if architecture == "resnet":
            self.skip = Convolution(
                mid_channels, out_channels, kernel_size=1, bias=False, **resampling
            )

    def layers(self) -> list[Convolution]:
        """Return the layers in the order in which freezing counts them."""
        ordered = [self.fromrgb, self.conv0, self.conv1, self.skip]
        return [layer for layer in ordered if layer is not None]

    def forward(self, x: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return features [N, out_channels, R / 2, R / 2] and the next picture (or None).

        Args:
            x: Features of the block before, [N, mid_channels, R, R], or None in the first.
            image: Picture, [N, img_channels, R, R]; None where no block reads it any more.
        """
        if self.fromrgb is not None:
            assert image is not None
            y = self.fromrgb(image)
            x = y if x is None else x + y
            skip = self.architecture == "skip"
            image = downsample2d(image, self.resample_filter) if skip else None
        assert x is not None
        if self.skip is None:
            return self.conv1(self.conv0(x)), image
        gain = math.sqrt(0.5)
        shortcut = self.skip(x, gain=gain)
        return self.conv1(self.conv0(x), gain=gain) + shortcut, image

    def extra_repr(self) -> str:
        """Describe resolution and architecture."""
        return f"resolution={self.resolution}, architecture={self.architecture}"


def minibatch_std(x: Tensor, *, group_size: int | None, num_channels: int = 1) -> Tensor:
    """Append the standard deviation over groups of samples as extra channels.

    Sample n belongs to group n mod (N / group size). The statistics are float32.

    Args:
        x: Features, [N, C, H, W].
        group_size: Samples in a group, at most N; None means the whole batch.
        num_channels: Channels to append.

    Returns:
        [N, C + num_channels, H, W].
    """
    n, c, h, w = x.shape
    group = n if group_size is None else min(group_size, n)
    if n % group or c % num_channels:
        raise ValueError(
            f"x: expected a batch divisible by {group} and channels divisible by {num_channels}, "
            f"got {list(x.shape)}"
        )
    with torch.autocast(x.device.type, enabled=False):
        y = _wide(x).reshape(group, -1, num_channels, c // num_channels, h, w)  # [GMFcHW]
        y = y - y.mean(dim=0)
        y = (y.square().mean(dim=0) + 1e-8).sqrt()  # [MFcHW]
        y = y.mean(dim=(2, 3, 4)).reshape(-1, num_channels, 1, 1)  # [MF11]
        y = y.repeat(group, 1, h, w)  # [NFHW]
    return torch.cat([x, y.to(x.dtype)], dim=1)


class DiscriminatorEpilogue(nn.Module):
    """Minibatch statistics and the final layers at 4 x 4."""

    def __init__(
        self,
        in_channels: int,
        *,
        cmap_dim: int,
        img_channels: int,
        architecture: Architecture,
        mbstd_group_size: int | None,
        mbstd_num_channels: int,
        activation: Activation,
        conv_clamp: float | None,
    ) -> None:
        """Build the epilogue; ``cmap_dim`` 0 makes it unconditional."""
        super().__init__()
        self.cmap_dim = cmap_dim
        self.mbstd_group_size = mbstd_group_size
        self.mbstd_num_channels = mbstd_num_channels
        self.fromrgb: Convolution | None = None
        if architecture == "skip":
            self.fromrgb = Convolution(
                img_channels, in_channels, kernel_size=1, activation=activation
            )
        self.conv = Convolution(
            in_channels + mbstd_num_channels,
            in_channels,
            kernel_size=3,
            activation=activation,
            conv_clamp=conv_clamp,
        )
        self.fc = FullyConnected(in_channels * 16, in_channels, activation=activation)
        self.out = FullyConnected(in_channels, 1 if cmap_dim == 0 else cmap_dim)

    def forward(self, x: Tensor, image: Tensor | None, cmap: Tensor | None) -> Tensor:
        """Return logits in float32, [N, 1]."""
        if self.fromrgb is not None:
            assert image is not None
            x = x + self.fromrgb(image)
        if self.mbstd_num_channels > 0:
            x = minibatch_std(
                x, group_size=self.mbstd_group_size, num_channels=self.mbstd_num_channels
            )
        x = self.conv(x)
        x = self.out(self.fc(x.flatten(1)))
        if cmap is None:
            return x
        return (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class StyleGAN2Discriminator(nn.Module):
    """StyleGAN2 discriminator: images to logits."""

    def __init__(
        self,
        *,
        c_dim: int = 0,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        channels: dict[str, int] | None = None,
        architecture: Architecture = "resnet",
        resample_filter: Taps = _RESAMPLE_TAPS,
        activation: Activation = "lrelu",
        epilogue_activation: Activation = "lrelu",
        conv_clamp: float | None = None,
        cmap_dim: int | None = None,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        mapping_activation: Activation = "lrelu",
        mapping_features: int | None = None,
        embed_features: int | None = None,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        freeze_layers: int = 0,
    ) -> None:
        """Build a randomly initialised discriminator.

        Args:
            c_dim: Length of the label; 0 means unconditional.
            img_resolution: Height and width, a power of two from 8.
            img_channels: Channels of the pictures.
            channel_base: Channels at resolution r are ``channel_base / r``.
            channel_max: But at most this many.
            channels: Channels at each resolution, ``{"4": 512, "8": 512, ...}``, for networks that
                follow no such rule; None means the rule.
            architecture: ``skip``, ``resnet`` or ``orig``.
            resample_filter: Taps of the low-pass filter, 1-D or 2-D; normalised when used.
            activation: Activation of the blocks.
            epilogue_activation: Activation of the layers at 4 x 4.
            conv_clamp: Limit on the magnitude of layer outputs; None means no limit.
            cmap_dim: Length of the mapped label; None means the channels at 4 x 4.
            mapping_layers: Layers of the label's mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of that network.
            mapping_activation: Activation of its layers.
            mapping_features: Width of its hidden layers; None means ``cmap_dim``.
            embed_features: Width of the embedded label; None means ``cmap_dim``.
            mbstd_group_size: Samples in a group of the minibatch statistics; None means all.
            mbstd_num_channels: Channels of the minibatch statistics; 0 leaves them out.
            freeze_layers: Number of layers, counted from the picture, that do not train (FreezeD).
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "c_dim": c_dim,
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "channels": dict(channels) if isinstance(channels, dict) else channels,
            "architecture": architecture,
            "resample_filter": _plain_taps(resample_filter),
            "activation": activation,
            "epilogue_activation": epilogue_activation,
            "conv_clamp": conv_clamp,
            "cmap_dim": cmap_dim,
            "mapping_layers": mapping_layers,
            "mapping_lr_multiplier": mapping_lr_multiplier,
            "mapping_activation": mapping_activation,
            "mapping_features": mapping_features,
            "embed_features": embed_features,
            "mbstd_group_size": mbstd_group_size,
            "mbstd_num_channels": mbstd_num_channels,
            "freeze_layers": freeze_layers,
        }
        _check_discriminator(self.config)
        self.c_dim = c_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        counts = channel_counts(self.config)
        self.block_resolutions = list(counts)[:0:-1]
        if cmap_dim is None:
            cmap_dim = counts[4]
        shared: dict[str, Any] = {
            "img_channels": img_channels,
            "architecture": architecture,
            "conv_clamp": conv_clamp,
        }
        for resolution in self.block_resolutions:
            block = DiscriminatorBlock(
                counts[resolution] if resolution < img_resolution else 0,
                counts[resolution],
                counts[resolution // 2],
                resolution=resolution,
                resample_filter=resample_filter,
                activation=activation,
                **shared,
            )
            setattr(self, f"b{resolution}", block)
        if c_dim > 0:
            self.mapping = Mapping(
                z_dim=0,
                c_dim=c_dim,
                w_dim=cmap_dim,
                num_ws=None,
                num_layers=mapping_layers,
                activation=mapping_activation,
                layer_features=mapping_features,
                embed_features=embed_features,
                lr_multiplier=mapping_lr_multiplier,
                w_avg_beta=None,
            )
        self.b4 = DiscriminatorEpilogue(
            counts[4],
            cmap_dim=cmap_dim if c_dim > 0 else 0,
            mbstd_group_size=mbstd_group_size,
            mbstd_num_channels=mbstd_num_channels,
            activation=epilogue_activation,
            **shared,
        )
        freezable = self.freezable_layers()
        if not 0 <= freeze_layers <= len(freezable):
            raise ValueError(f"freeze_layers: expected 0 to {len(freezable)}, got {freeze_layers}")
        for layer in freezable[:freeze_layers]:
            layer.requires_grad_(False)

    def freezable_layers(self) -> list[nn.Module]:
        """Return the layers from the picture inwards, the order in which FreezeD freezes them."""
        layers: list[nn.Module] = []
        for resolution in self.block_resolutions:
            layers += getattr(self, f"b{resolution}").layers()
        return layers

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Return logits in float32, [N, 1]; positive means real.

        Args:
            images: [N, img_channels, R, R] in [-1, 1].
            c: Labels, [N, c_dim]; None for an unconditional discriminator.
        """
        expected = (self.img_channels, self.img_resolution, self.img_resolution)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"images: expected {['N', *expected]}, got {list(images.shape)}".replace("'", "")
            )
        if self.c_dim == 0 and c is not None and c.shape[-1] > 0:
            raise ValueError(f"c: this network takes no labels, got {list(c.shape)}")
        x: Tensor | None = None
        image: Tensor | None = images.contiguous(memory_format=torch.channels_last)
        for resolution in self.block_resolutions:
            x, image = getattr(self, f"b{resolution}")(x, image)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, image, cmap)


def _kernel(out_channels: int, in_channels: int, size: int, *, up: int) -> nn.Parameter:
    """Return a standard normal kernel, [O, I, k, k], in the memory order its convolution wants.

    Channels last, and for the transposed convolution of upsampling channels last once transposed:
    otherwise the CPU reorders the weights in every call, up to half the time of a 512-channel
    layer at 16 pixels. Loading a state dict keeps the order.
    """
    weight = torch.randn(out_channels, in_channels, size, size)
    if up == 1:
        return nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
    weight = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return nn.Parameter(weight.transpose(0, 1))


def _filter(taps: Taps) -> Tensor:
    return setup_filter(torch.as_tensor(taps, dtype=torch.float32))


def _plain_taps(taps: Taps) -> list[Any]:
    """Return a filter as JSON can hold it.

    Raises:
        ValueError: It is none.
    """
    check_filter(taps, "resample_filter")
    return [tap if isinstance(tap, (int, float)) else list(tap) for tap in taps]


def _wide(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or in float64 if it already is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def channel_counts(config: Mapping_[str, Any]) -> dict[int, int]:
    """Return the channels at each resolution, from 4 pixels on, that a configuration asks for.

    Args:
        config: Of a StyleGAN2 generator or discriminator.
    """
    resolutions = [2**i for i in range(2, config["img_resolution"].bit_length())]
    table = config["channels"]
    if table is not None:
        return {r: table[str(r)] for r in resolutions}
    return {r: min(config["channel_base"] // r, config["channel_max"]) for r in resolutions}


def _check_generator(config: Mapping_[str, Any]) -> None:
    check_whole(config, {"z_dim": 1, "w_dim": 1})
    check_numbers(config, "w_avg_beta", low=0, high=1)
    check_flags(config, "use_noise")
    _check_common(config)


def _check_discriminator(config: Mapping_[str, Any]) -> None:
    check_whole(config, {"mbstd_num_channels": 0, "freeze_layers": 0})
    check_whole(config, {"cmap_dim": 1, "mbstd_group_size": 1}, optional=True)
    check_choices(config, get_args(Activation), "epilogue_activation")
    _check_common(config)
    wanted, last = config["mbstd_num_channels"], channel_counts(config)[4]
    if wanted and last % wanted:
        raise ValueError(f"mbstd_num_channels: expected a divisor of {last}, got {wanted}")


def _check_common(config: Mapping_[str, Any]) -> None:
    """Check what both networks have."""
    check_resolution(config)
    check_whole(config, {"c_dim": 0, "img_channels": 1, "mapping_layers": 0})
    check_whole(config, {"channel_base": 1, "channel_max": 1})
    check_whole(config, {"mapping_features": 1, "embed_features": 1}, optional=True)
    check_positive(config, "mapping_lr_multiplier")
    check_positive(config, "conv_clamp", optional=True)
    check_choices(config, get_args(Architecture), "architecture")
    check_choices(config, get_args(Activation), "activation", "mapping_activation")
    size, table = config["img_resolution"], config["channels"]
    if table is None:
        if config["channel_base"] < size:
            got = config["channel_base"]
            raise ValueError(f"channel_base: expected at least {size}, got {got}")
        return
    wanted = {str(2**i): 1 for i in range(2, size.bit_length())}
    if not isinstance(table, dict) or table.keys() != wanted.keys():
        raise ValueError(f"channels: expected counts at {', '.join(wanted)}, got {table!r:.60}")
    check_whole(table, wanted)
