"""The style-modulated convolution of StyleGAN2 (Karras et al. 2020, section 2.2)."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops.bias_act import Activation, activation_gain, bias_act
from ganedit.ops.resampled_conv2d import downsampling_conv2d, upsampling_conv2d


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: int = 1,
    down: int = 1,
    padding: int | None = None,
    resample_filter: Tensor | None = None,
    input_gain: Tensor | None = None,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    act: Activation = "linear",
    gain: float | None = None,
    clamp: float | None = None,
    weight_power: Tensor | None = None,
) -> Tensor:
    """Convolve with weights that each sample scales per input channel.

    Scaling the input by the styles and the output by the demodulation equals scaling the weights
    of every sample. All samples then share one convolution, and with a frozen weight the backward
    pass needs no weight-gradient convolution. Any order of gradient is supported. The
    demodulation is computed in float32; the rest runs in the dtype that autocast asks for.

    Args:
        x: Input, [N, I, H, W].
        weight: Kernel, [O, I, k, k] with odd k.
        styles: Factor on each input channel, [N, I].
        demodulate: Divide each output channel by the norm of its scaled weights.
        up: 1, or 2 to double the resolution. The kernel is then applied as a convolution instead
            of a correlation, as in StyleGAN2 checkpoints.
        down: 1, or 2 to halve the resolution.
        padding: Zeros on each side; None keeps the size. Must be None when resampling.
        resample_filter: Low-pass filter of the resampling, sums to one, [height, width].
        input_gain: Factor on the whole input, [], which the demodulation does not undo; None means
            none.
        noise: Added before the bias, broadcastable to [N, 1, H', W'], strength included.
        bias: [O].
        act: Activation after noise and bias.
        gain: Factor after the activation; None means the activation's default.
        clamp: Limit on the magnitude of the result; None means no limit.
        weight_power: ``weight`` squared and summed over the kernel, [O, I], when the caller has
            kept it from an earlier call.

    Returns:
        [N, O, H', W'].
    """
    n, in_channels = x.shape[:2]
    out_channels, weight_in, height, _ = weight.shape
    if weight_in != in_channels:
        raise ValueError(f"weight: expected [O, {in_channels}, k, k], got {list(weight.shape)}")
    if styles.shape != (n, in_channels):
        raise ValueError(f"styles: expected [{n}, {in_channels}], got {list(styles.shape)}")
    gain = activation_gain(act) if gain is None else gain
    # linear and leaky ReLU commute with a positive gain: fold it into factors that exist anyway.
    folded = gain if act in ("linear", "relu", "lrelu") and gain > 0 else 1.0
    scale = None
    with torch.autocast(x.device.type, enabled=False):
        styles = styles.to(torch.promote_types(styles.dtype, torch.float32))
        if demodulate:
            if weight_power is None:
                weight_power = weight.to(styles.dtype).square().sum((2, 3))
            # The common factor cancels; it keeps sums over many channels in half's range.
            norm = weight[0].numel() ** -0.5
            scale = (styles.square() @ weight_power.mT + 1e-8).rsqrt() * (folded / norm)  # [N, O]
            styles = styles * norm
        if input_gain is not None:
            styles = styles * input_gain

    if not demodulate and (up, down, height) == (1, 1, 1) and out_channels * 4 <= in_channels:
        x = _project(x, weight, styles)
    else:
        x = x * styles.to(x.dtype)[:, :, None, None]
        x = _convolve(x, weight, up, down, padding, resample_filter)
    # From here on x belongs to this function and backward does not need it: change it in place.
    x = _scale_and_shift(x, scale, bias, folded)
    if noise is not None:
        x = x.add_((noise * folded).to(x.dtype))
    if act == "lrelu" and gain == folded:
        x = F.leaky_relu_(x, 0.2)
        return x if clamp is None else x.clamp(-clamp, clamp)
    return bias_act(x, act=act, gain=gain / folded, clamp=clamp)


def _scale_and_shift(x: Tensor, scale: Tensor | None, bias: Tensor | None, folded: float) -> Tensor:
    """Return ``x * scale + bias * folded`` in one pass; the scale defaults to ``folded``."""
    shift = None if bias is None else (bias * folded).to(x.dtype)[:, None, None]
    if scale is None:
        if shift is not None:
            return torch.add(shift, x, alpha=folded)
        return x if folded == 1 else x * folded
    factor = scale.to(x.dtype)[:, :, None, None]
    return x * factor if shift is None else torch.addcmul(shift, x, factor)


def _project(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Pointwise convolution to a few channels, with the weights of every sample scaled.

    The weights are tiny here, so scaling them saves a pass over ``x`` and two over its gradient.
    """
    n, in_channels, height, width = x.shape
    out_channels = weight.shape[0]
    scaled = (weight[:, :, 0, 0] * styles[:, None]).to(x.dtype)  # [N, O, I]
    if x.is_contiguous(memory_format=torch.channels_last):
        pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, in_channels)
        y = cast(Tensor, _ProjectPixels.apply(pixels, scaled))  # [N, H*W, O]
        return y.reshape(n, height, width, out_channels).permute(0, 3, 1, 2)
    with torch.autocast(x.device.type, enabled=False):
        return torch.bmm(scaled, x.flatten(2)).reshape(n, out_channels, height, width)


class _ProjectPixels(torch.autograd.Function):
    """``pixels @ weights.mT`` for few outputs, [N, P, I] and [N, O, I] to [N, P, O].

    torch's own gradient for the weights multiplies in the order that is up to 40 times slower on a
    CPU: a tall matrix transposed, times a thin one.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(pixels, weights)
        with torch.autocast(pixels.device.type, enabled=False):
            return torch.bmm(pixels, weights.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        pixels, weights = ctx.saved_tensors
        return (
            torch.bmm(grad, weights) if ctx.needs_input_grad[0] else None,
            torch.bmm(grad.mT, pixels) if ctx.needs_input_grad[1] else None,
        )


def _convolve(
    x: Tensor,
    weight: Tensor,
    up: int,
    down: int,
    padding: int | None,
    resample_filter: Tensor | None,
) -> Tensor:
    if (up, down) == (1, 1):
        return F.conv2d(x, weight, padding=weight.shape[2] // 2 if padding is None else padding)
    if resample_filter is None or padding is not None or (up, down) not in ((2, 1), (1, 2)):
        raise ValueError(
            "resampling: expected up=2 or down=2, a resample_filter and no padding, got "
            f"up={up}, down={down}, padding={padding}"
        )
    if up == 2:
        return upsampling_conv2d(x, weight, resample_filter)
    return downsampling_conv2d(x, weight, resample_filter)
