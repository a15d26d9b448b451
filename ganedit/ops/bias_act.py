"""Bias, activation, gain and clamp in as few elementwise passes as possible."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal[
    "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]

# Gains that keep the second moment of a standard normal input, as in the StyleGAN2 code base.
_DEFAULT_GAIN: dict[str, float] = {
    "linear": 1.0,
    "relu": math.sqrt(2),
    "lrelu": math.sqrt(2),
    "tanh": 1.0,
    "sigmoid": 1.0,
    "elu": 1.0,
    "selu": 1.0,
    "softplus": 1.0,
    "swish": math.sqrt(2),
}


def activation_gain(act: Activation) -> float:
    """Return the default gain of an activation."""
    if act not in _DEFAULT_GAIN:
        raise ValueError(f"act: expected one of {', '.join(_DEFAULT_GAIN)}, got {act!r}")
    return _DEFAULT_GAIN[act]


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: Activation = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Return ``clamp(act(x + bias) * gain)``; ``bias`` runs along axis 1.

    Twice differentiable. The result has the dtype of ``x``.

    Args:
        x: Input, [N, C, ...].
        bias: [C], or None.
        act: Name of the activation.
        alpha: Slope of ``lrelu`` below zero (default 0.2); other activations have none.
        gain: Factor after the activation; None means the activation's default.
        clamp: Limit on the magnitude of the result; None means no limit.
    """
    gain = activation_gain(act) if gain is None else gain
    if alpha is not None and act != "lrelu":
        raise ValueError(f"alpha: only lrelu has a slope, got {alpha} with {act}")
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != x.shape[1]):
        raise ValueError(f"bias: expected [{x.shape[1]}], got {list(bias.shape)}")
    homogeneous = act in ("linear", "relu", "lrelu") and gain > 0
    if bias is not None:
        bias = bias.to(x.dtype).reshape([1, -1] + [1] * (x.ndim - 2))
        if homogeneous and gain != 1:
            # These activations commute with a positive factor, so the gain rides on the addition.
            x = torch.add(bias * gain, x, alpha=gain)
            gain = 1.0
        else:
            x = x + bias
    if act == "lrelu" and bias is not None:
        x = F.leaky_relu_(x, 0.2 if alpha is None else alpha)  # x is the fresh sum
    else:
        x = _activate(x, act, 0.2 if alpha is None else alpha)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def _activate(x: Tensor, act: Activation, alpha: float) -> Tensor:
    match act:
        case "linear":
            return x
        case "relu":
            return F.relu(x)
        case "lrelu":
            return F.leaky_relu(x, alpha)
        case "tanh":
            return torch.tanh(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "elu":
            return F.elu(x)
        case "selu":
            return F.selu(x)
        case "softplus":
            return F.softplus(x)
        case "swish":
            return F.silu(x)
