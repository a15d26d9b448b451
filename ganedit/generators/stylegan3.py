"""StyleGAN3 (Karras et al. 2021, "Alias-Free Generative Adversarial Networks").

The generator in one file, bottom-up. Every signal is treated as a sampled continuous one: Fourier
features instead of a constant, no noise maps, and leaky ReLUs between low-pass filters, so that
what is drawn does not stick to the pixel grid. Configuration T (3 x 3 convolutions) follows
translations, configuration R (1 x 1 convolutions and radial filters) rotations as well.

Parameter names and shapes are those of NVIDIA's PyTorch release, so its state dicts load as they
are. Training is not part of this module: the running magnitudes of the layers are read, never
updated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ganedit.generators.base import Noise, StyleLayer, check_offsets
from ganedit.generators.options import (
    check_flags,
    check_numbers,
    check_positive,
    check_resolution,
    check_whole,
)
from ganedit.generators.stylegan2 import FullyConnected, Mapping, moved_styles
from ganedit.ops import filtered_lrelu, modulated_conv2d

# Published networks have up to 24, and 12 where radial; the time and memory of a forged file's end
# with these.
_MOST_TAPS = 4096
_MOST_RADIAL_TAPS = 96
_LARGEST_BETA = 700  # beyond it a window's Bessel function overflows
_BESSEL_STEPS = 256  # of half a turn; resolve the argument at 96 taps, up to 68 pi


def image_transform(*, translate: Sequence[float] = (0.0, 0.0), rotate: float = 0.0) -> Tensor:
    """Return the input transform that moves a picture, for `StyleGAN3Generator.synthesize`.

    The picture is rotated about its centre and then moved. The matrix maps places of the moved
    picture to those they come from, so it is the inverse of the movement.

    Args:
        translate: To the right and downwards, in picture widths: (0.25, 0) moves what is seen a
            quarter of the picture to the right.
        rotate: Degrees, counter-clockwise as seen. Only configuration R follows rotations.

    Returns:
        float32 [3, 3].
    """
    if len(translate) != 2 or not all(math.isfinite(x) for x in (*translate, rotate)):
        raise ValueError(
            f"image_transform: expected two finite numbers and a finite angle, got {translate} and "
            f"{rotate}"
        )
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    x, y = translate
    # The y axis points down, hence the sign of the sines.
    return torch.tensor(
        [
            [cos, -sin, sin * y - cos * x],
            [sin, cos, -sin * x - cos * y],
            [0.0, 0.0, 1.0],
        ]
    )


def lowpass_filter(
    taps: int, *, cutoff: float, width: float, sampling_rate: float, radial: bool = False
) -> Tensor | None:
    """Design a Kaiser low-pass filter (Karras et al. 2021, appendix C) of unit sum.

    Args:
        taps: Length; 1 means no filter.
        cutoff: Frequency of half amplitude.
        width: Of the transition band.
        sampling_rate: Of the signal, in the unit of the frequencies.
        radial: Return the circularly symmetric filter of configuration R, a jinc, instead of the
            one to be applied along both axes, a sinc.

    Returns:
        float32 [taps], [taps, taps] where radial, or None for one tap.
    """
    if taps == 1:
        return None
    limit = _MOST_RADIAL_TAPS if radial else _MOST_TAPS
    if taps > limit:
        raise ValueError(f"taps: expected at most {limit}, got {taps}")
    beta = _kaiser_beta(taps, width / (sampling_rate / 2))
    if beta > _LARGEST_BETA:
        raise ValueError(f"width: expected a narrower transition band for {taps} taps, got {width}")
    window = np.kaiser(taps, beta)
    x = (np.arange(taps) - (taps - 1) / 2) / sampling_rate
    if radial:
        filter_ = _jinc(np.hypot(x[:, None], x), cutoff) * np.outer(window, window)
    else:
        filter_ = np.sinc(2 * cutoff * x) * window
    return torch.tensor(filter_ / filter_.sum(), dtype=torch.float32)


def _kaiser_beta(taps: int, width: float) -> float:
    """Return the shape of the window whose transition is ``width`` of the Nyquist frequency.

    Kaiser's formulas, as the paper's appendix C has them.
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def _jinc(r: np.ndarray, cutoff: float) -> np.ndarray:
    """Return J1(2 pi cutoff r) / (pi r), the ideal circular low-pass filter."""
    # Bessel's integral; for a periodic integrand equal steps are exact once they resolve it, and
    # the other half of the turn repeats this one.
    t = np.pi * (np.arange(_BESSEL_STEPS) + 0.5) / _BESSEL_STEPS
    radii, places = np.unique(r, return_inverse=True)
    bessel = np.cos(t - 2 * np.pi * cutoff * radii[:, None] * np.sin(t)).mean(1)
    # Near the centre J1(x) is x / 2.
    jinc = np.divide(bessel, np.pi * radii, out=np.full_like(radii, cutoff), where=radii > 0)
    return jinc[places].reshape(r.shape)


@dataclass(frozen=True)
class Band:
    """The signal that one layer gives to the next (Karras et al. 2021, section 3.2).

    Attributes:
        size: Height and width in samples, margins included.
        sampling_rate: Samples a picture width.
        cutoff: End of the pass band, in cycles a picture width.
        half_width: Half of the transition band.
        channels: Number of feature maps.
    """

    size: int
    sampling_rate: int
    cutoff: float
    half_width: float
    channels: int


def plan_bands(
    *,
    img_resolution: int,
    img_channels: int,
    channel_base: int,
    channel_max: int,
    num_layers: int,
    num_critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband_rel: float,
    margin_size: int,
) -> list[Band]:
    """Return the band of each layer's output, the last being the picture's.

    Cutoff and stopband grow geometrically up to the critically sampled layers.
    """
    last_cutoff = img_resolution / 2
    bands = []
    for index in range(num_layers + 1):
        share = min(index / (num_layers - num_critical), 1.0)
        cutoff = first_cutoff * (last_cutoff / first_cutoff) ** share
        stopband = first_stopband * (last_cutoff * last_stopband_rel / first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(stopband * 2, img_resolution)))
        # Without a margin in the last two: nothing after them looks beyond the picture.
        margin = 0 if index >= num_layers - 1 else margin_size
        bands.append(
            Band(
                size=(img_resolution if margin == 0 else rate) + 2 * margin,
                sampling_rate=rate,
                cutoff=cutoff,
                half_width=max(stopband, rate / 2) - cutoff,
                channels=img_channels
                if index == num_layers
                else round(min(channel_base / 2 / cutoff, channel_max)),
            )
        )
    return bands


class FourierInput(nn.Module):
    """Fourier features that each w moves and turns, and a linear map of them."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, *, w_dim: int, band: Band) -> None:
        """Draw random frequencies from the disc of the band, with random phases."""
        super().__init__()
        self.band = band
        channels = band.channels
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(dim=1, keepdim=True).sqrt()
        # A Gaussian's radius, mapped so that the disc is filled evenly but for its rim.
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * band.cutoff
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnected(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias[0] = 1
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(
        self, w: Tensor, *, transform: Tensor | None = None, offset: Tensor | None = None
    ) -> Tensor:
        """Return features, [N, channels, size, size], channels last.

        Args:
            w: Latents, [N, w_dim].
            transform: Used instead of the stored one, [3, 3] or [N, 3, 3].
            offset: Added to what w says of rotation and translation, [N or 1, 4].
        """
        band = self.band
        given = self.transform if transform is None else transform.to(self.transform)
        matrix = _learned_transform(moved_styles(self.affine(w), offset)) @ given  # [N, 3, 3]
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:])[..., 0]  # [N, C]
        freqs = self.freqs @ matrix[:, :2, :2]  # [N, C, 2]
        # Frequencies that the transform moves out of the band would alias: fade them out.
        beyond = (freqs.norm(dim=2) - band.cutoff) / (band.sampling_rate / 2 - band.cutoff)
        amplitudes = (1 - beyond).clamp(0, 1)  # [N, C]
        steps = torch.arange(band.size, dtype=freqs.dtype, device=freqs.device)
        places = (steps - (band.size - 1) / 2) / band.sampling_rate  # in picture widths
        along_x = places[:, None] * freqs[:, None, :, 0]  # [N, size, C]
        along_y = places[:, None] * freqs[:, None, :, 1] + phases[:, None]
        waves = torch.sin((along_y[:, :, None] + along_x[:, None]) * (2 * math.pi))  # [N, H, W, C]
        x = (waves * amplitudes[:, None, None]) @ (self.weight.mT / math.sqrt(band.channels))
        return x.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Describe the band."""
        return f"{self.band}"


def _learned_transform(t: Tensor) -> Tensor:
    """Return the rotation and translation that a latent asks for, [N, 3, 3].

    Args:
        t: Cosine and sine, up to a common factor, and the translation times it, [N, 4].
    """
    cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = (
        (cos, -sin, sin * y - cos * x),
        (sin, cos, -sin * x - cos * y),
        (zero, zero, one),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


class SynthesisLayer(nn.Module):
    """Modulated convolution and a leaky ReLU between two low-pass filters."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(
        self,
        source: Band,
        target: Band,
        *,
        w_dim: int,
        kernel_size: int,
        filter_size: int,
        lrelu_upsampling: int,
        radial: bool,
        conv_clamp: float | None,
    ) -> None:
        """Start from standard normal weights, zero bias and magnitude one.

        Args:
            source: Band of the input.
            target: Band of the output.
            w_dim: Length of the latent.
            kernel_size: Of the convolution.
            filter_size: Taps of a low-pass filter a unit of its resampling factor.
            lrelu_upsampling: Sampling rate of the leaky ReLU, in units of the larger of both bands.
            radial: Downsample with a circularly symmetric filter.
            conv_clamp: Limit on the magnitude after the leaky ReLU; None means no limit.
        """
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, source.channels, bias_init=1)
        weight = torch.randn(target.channels, source.channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(target.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        rate = max(source.sampling_rate, target.sampling_rate) * lrelu_upsampling
        self.up, self.down = rate // source.sampling_rate, rate // target.sampling_rate
        up_taps = filter_size * self.up if self.up > 1 else 1
        down_taps = filter_size * self.down if self.down > 1 else 1
        self.register_buffer(
            "up_filter",
            lowpass_filter(
                up_taps, cutoff=source.cutoff, width=source.half_width * 2, sampling_rate=rate
            ),
        )
        self.register_buffer(
            "down_filter",
            lowpass_filter(
                down_taps,
                cutoff=target.cutoff,
                width=target.half_width * 2,
                sampling_rate=rate,
                radial=radial,
            ),
        )
        # What the output needs at the high rate, less what the input gives there.
        needed = (target.size - 1) * self.down + 1 + (up_taps - 1) + (down_taps - 1)
        padding = needed - (source.size + kernel_size - 1) * self.up
        # The picture's centre stays where it is: zero insertion leaves zeros behind the samples.
        before = (padding + self.up) // 2
        self.padding = (before, padding - before, before, padding - before)

    def forward(self, x: Tensor, w: Tensor, *, offset: Tensor | None = None) -> Tensor:
        """Return [N, target.channels, target.size, target.size].

        Args:
            x: Input, [N, source.channels, source.size, source.size].
            w: Latents, [N, w_dim].
            offset: Added to the styles, [N or 1, source.channels].
        """
        # Common factors of a sample's styles and of the weights cancel in the demodulation, so the
        # reference's normalisation over the whole batch need not tie pictures together.
        x = modulated_conv2d(
            x,
            self.weight,
            moved_styles(self.affine(w), offset),
            padding=self.weight.shape[2] - 1,
            input_gain=self.magnitude_ema.rsqrt(),
        )
        return filtered_lrelu(
            x,
            up_filter=self.up_filter,
            down_filter=self.down_filter,
            bias=self.bias,
            up=self.up,
            down=self.down,
            padding=self.padding,
            clamp=self.conv_clamp,
        )

    def extra_repr(self) -> str:
        """Describe sizes and resampling."""
        out_channels, in_channels, size, _ = self.weight.shape
        return f"{in_channels} -> {out_channels}, kernel={size}, up={self.up}, down={self.down}"


class ToRGB(nn.Module):
    """Modulated 1 x 1 convolution to picture channels, without demodulation or filters."""

    magnitude_ema: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, *, w_dim: int, conv_clamp: float | None
    ) -> None:
        """Start from standard normal weights, zero bias and magnitude one."""
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))

    def forward(self, x: Tensor, w: Tensor, *, offset: Tensor | None = None) -> Tensor:
        """Return [N, out_channels, H, W] for ``x`` [N, in_channels, H, W], ``w`` [N, w_dim].

        ``offset``, [N or 1, in_channels], is added to the styles.
        """
        return modulated_conv2d(
            x,
            self.weight,
            moved_styles(self.affine(w), offset) * self.weight.shape[1] ** -0.5,
            demodulate=False,
            input_gain=self.magnitude_ema.rsqrt(),
            bias=self.bias,
            clamp=self.conv_clamp,
        )

    def extra_repr(self) -> str:
        """Describe sizes."""
        out_channels, in_channels, _, _ = self.weight.shape
        return f"{in_channels} -> {out_channels}"


class Synthesis(nn.Module):
    """Synthesis network: per-layer latents to pictures."""

    def __init__(
        self,
        bands: Sequence[Band],
        *,
        w_dim: int,
        num_critical: int,
        conv_kernel: int,
        filter_size: int,
        lrelu_upsampling: int,
        use_radial_filters: bool,
        conv_clamp: float | None,
        output_scale: float,
    ) -> None:
        """Build the input and one layer a band.

        Args:
            bands: Of `plan_bands`.
            w_dim: Length of the latent.
            num_critical: Layers before the last that are critically sampled.
            conv_kernel: Size of the convolutions but the last.
            filter_size: Taps of a low-pass filter a unit of its resampling factor.
            lrelu_upsampling: How much finer the leaky ReLUs are sampled than the layers.
            use_radial_filters: Downsample with circularly symmetric filters, but for the
                critically sampled layers, which a circle would rob of their corners.
            conv_clamp: Limit on the magnitude of layer outputs; None means no limit.
            output_scale: Factor on the picture.
        """
        super().__init__()
        self.bands = tuple(bands)
        self.w_dim = w_dim
        self.num_ws = len(bands) + 1
        self.output_scale = output_scale
        self.input = FourierInput(w_dim=w_dim, band=bands[0])
        self.layer_names: list[str] = []
        num_layers = len(bands) - 1
        for index, band in enumerate(bands):
            source = bands[max(index - 1, 0)]
            layer: SynthesisLayer | ToRGB
            if index == num_layers:
                layer = ToRGB(source.channels, band.channels, w_dim=w_dim, conv_clamp=conv_clamp)
            else:
                layer = SynthesisLayer(
                    source,
                    band,
                    w_dim=w_dim,
                    kernel_size=conv_kernel,
                    filter_size=filter_size,
                    lrelu_upsampling=lrelu_upsampling,
                    radial=use_radial_filters and index < num_layers - num_critical,
                    conv_clamp=conv_clamp,
                )
            name = f"L{index}_{band.size}_{band.channels}"
            self.layer_names.append(name)
            setattr(self, name, layer)

    def modulated(self) -> list[tuple[StyleLayer, FourierInput | SynthesisLayer | ToRGB]]:
        """Return the layers with styles, in network order; the first places the features."""
        input_ = StyleLayer("input", 4, self.bands[0].size, 0, "input")
        found: list[tuple[StyleLayer, FourierInput | SynthesisLayer | ToRGB]] = [
            (input_, self.input)
        ]
        for index, name in enumerate(self.layer_names):
            layer = getattr(self, name)
            kind: Literal["conv", "rgb"] = "rgb" if isinstance(layer, ToRGB) else "conv"
            source = self.bands[max(index - 1, 0)]
            side = self.bands[index].size
            found.append((StyleLayer(name, source.channels, side, index + 1, kind), layer))
        return found

    def styles(self, ws: Tensor) -> tuple[Tensor, ...]:
        """Return the styles, [N, channels] a layer of `modulated`; see `Generator.styles`."""
        self._check(ws)
        return tuple(layer.affine(ws[:, told.layer]) for told, layer in self.modulated())

    def _check(self, ws: Tensor) -> None:
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: expected [N, {self.num_ws}, {self.w_dim}], got {list(ws.shape)}")

    def forward(
        self,
        ws: Tensor,
        *,
        transform: Tensor | None = None,
        offsets: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return pictures in float32, [N, img_channels, R, R].

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim]; the first drives the Fourier features.
            transform: As in `StyleGAN3Generator.synthesize`.
            offsets: As in `Generator.synthesize`.
        """
        self._check(ws)
        if transform is not None and transform.shape not in ((3, 3), (len(ws), 3, 3)):
            raise ValueError(
                f"transform: expected [3, 3] or [{len(ws)}, 3, 3], got {list(transform.shape)}"
            )
        moves: Sequence[Tensor | None] = [None] * self.num_ws
        if offsets is not None:
            check_offsets(offsets, [told for told, _ in self.modulated()], batch=len(ws))
            moves = offsets
        x = self.input(ws[:, 0], transform=transform, offset=moves[0])
        for index, name in enumerate(self.layer_names, start=1):
            x = getattr(self, name)(x, ws[:, index], offset=moves[index])
        x = x * self.output_scale
        return x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()


class StyleGAN3Generator(nn.Module):
    """StyleGAN3 generator; follows the `Generator` protocol. It has no noise maps."""

    def __init__(
        self,
        *,
        z_dim: int = 512,
        c_dim: int = 0,
        w_dim: int = 512,
        img_resolution: int,
        img_channels: int = 3,
        mapping_layers: int = 2,
        mapping_lr_multiplier: float = 0.01,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256,
        magnitude_ema_beta: float = 0.999,
        w_avg_beta: float = 0.998,
    ) -> None:
        """Build a randomly initialised generator.

        Configuration T is the default; configuration R has ``conv_kernel`` 1,
        ``use_radial_filters``, and in published networks twice the channels.

        Args:
            z_dim: Length of the random vector.
            c_dim: Length of the label; 0 means unconditional.
            w_dim: Length of one layer's latent.
            img_resolution: Height and width, a power of two from 8.
            img_channels: Channels of the pictures.
            mapping_layers: Layers of the mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            channel_base: Channels of a layer are half of it over the layer's cutoff.
            channel_max: But at most this many.
            num_layers: Layers without the Fourier features and the last.
            num_critical: Layers at the end that use their sampling rate to the full.
            first_cutoff: Cutoff of the first layer, in cycles a picture width.
            first_stopband: Stopband of the first layer.
            last_stopband_rel: Stopband of the last layer, in units of its cutoff.
            margin_size: Samples that layers have beyond each border of the picture.
            output_scale: Factor on the picture.
            conv_kernel: Size of the convolutions.
            filter_size: Taps of a low-pass filter a unit of its resampling factor.
            lrelu_upsampling: How much finer the leaky ReLUs are sampled than the layers.
            use_radial_filters: Downsample with circularly symmetric filters where possible.
            conv_clamp: Limit on the magnitude of layer outputs; None means no limit.
            magnitude_ema_beta: Share of the old value when a layer's magnitude is tracked.
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
            "channel_base": channel_base,
            "channel_max": channel_max,
            "num_layers": num_layers,
            "num_critical": num_critical,
            "first_cutoff": first_cutoff,
            "first_stopband": first_stopband,
            "last_stopband_rel": last_stopband_rel,
            "margin_size": margin_size,
            "output_scale": output_scale,
            "conv_kernel": conv_kernel,
            "filter_size": filter_size,
            "lrelu_upsampling": lrelu_upsampling,
            "use_radial_filters": use_radial_filters,
            "conv_clamp": conv_clamp,
            "magnitude_ema_beta": magnitude_ema_beta,
            "w_avg_beta": w_avg_beta,
        }
        _check_config(self.config)
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        bands = plan_bands(
            img_resolution=img_resolution,
            img_channels=img_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            num_layers=num_layers,
            num_critical=num_critical,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
            margin_size=margin_size,
        )
        self.synthesis = Synthesis(
            bands,
            w_dim=w_dim,
            num_critical=num_critical,
            conv_kernel=conv_kernel,
            filter_size=filter_size,
            lrelu_upsampling=lrelu_upsampling,
            use_radial_filters=use_radial_filters,
            conv_clamp=conv_clamp,
            output_scale=output_scale,
        )
        self.num_ws = self.synthesis.num_ws
        self.mapping = Mapping(
            z_dim=z_dim,
            c_dim=c_dim,
            w_dim=w_dim,
            num_ws=self.num_ws,
            num_layers=mapping_layers,
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
        self,
        ws: Tensor,
        *,
        noise: Noise = "const",
        offsets: Sequence[Tensor] | None = None,
        transform: Tensor | None = None,
    ) -> Tensor:
        """Return images, float32 [N, img_channels, R, R]; see `Generator.synthesize`.

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].
            noise: Any mode; there are no noise maps, so all do the same.
            offsets: Added to the styles, one [N or 1, channels] a layer of ``style_layers``.
            transform: Inverse of the movement of the pictures, [3, 3] or one each [N, 3, 3], as
                `image_transform` makes it; used instead of the stored one. What a movement brings
                in from beyond the border is drawn as well. Rotations need configuration R.
        """
        if isinstance(noise, str):
            if noise not in ("const", "random", "none"):
                raise ValueError(f"noise: expected const, random, none or maps, got {noise!r}")
        elif len(noise):
            raise ValueError(f"noise: expected 0 maps, got {len(noise)}")
        return self.synthesis(ws, transform=transform, offsets=offsets)

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
        transform: Tensor | None = None,
    ) -> Tensor:
        """Return images, float32 [N, img_channels, R, R], of random vectors [N, z_dim]."""
        ws = self.map(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesize(ws, noise=noise, transform=transform)

    @property
    def w_avg(self) -> Tensor:
        """Average latent, [w_dim]."""
        return self.mapping.w_avg

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        """Empty: this family has no noise maps."""
        return ()

    def noise_maps(self) -> tuple[Tensor, ...]:
        """Return nothing: this family has no noise maps."""
        return ()


_SMALLEST = {
    "z_dim": 1,
    "c_dim": 0,
    "w_dim": 1,
    "img_channels": 1,
    "mapping_layers": 1,
    "channel_base": 0,
    "channel_max": 1,
    "num_layers": 1,
    "num_critical": 0,
    "margin_size": 0,
    "conv_kernel": 1,
    "filter_size": 1,
    "lrelu_upsampling": 1,
}


def _check_config(config: dict[str, Any]) -> None:
    """Check constructor arguments; the files of strangers reach them."""
    check_resolution(config)
    check_whole(config, _SMALLEST)
    check_positive(config, "mapping_lr_multiplier", "first_cutoff", "last_stopband_rel")
    check_positive(config, "conv_clamp", optional=True)
    check_numbers(config, "first_stopband", "output_scale")
    check_numbers(config, "magnitude_ema_beta", "w_avg_beta", low=0, high=1)
    check_flags(config, "use_radial_filters")
    size = config["img_resolution"]
    layers, critical = config["num_layers"], config["num_critical"]
    if layers <= critical:
        raise ValueError(f"num_layers: expected more than num_critical ({critical}), got {layers}")
    cutoff, stopband = config["first_cutoff"], config["first_stopband"]
    if cutoff > size / 2:
        raise ValueError(f"first_cutoff: expected at most {size // 2}, got {cutoff}")
    if not stopband > cutoff or stopband < 1:
        raise ValueError(
            f"first_stopband: expected more than first_cutoff and at least 1, got {stopband}"
        )
    if config["last_stopband_rel"] < 1:
        got = config["last_stopband_rel"]
        raise ValueError(f"last_stopband_rel: expected at least 1, got {got}")
    if round(config["channel_base"] / size) < 1:
        got = config["channel_base"]
        raise ValueError(f"channel_base: expected enough for one channel at {size}, got {got}")
