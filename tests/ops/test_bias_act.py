import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ganedit.ops import Activation, bias_act

FORMULAS: dict[Activation, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (lambda x: torch.where(x > 0, x, 0), math.sqrt(2)),
    "lrelu": (lambda x: torch.where(x > 0, x, 0.2 * x), math.sqrt(2)),
    "tanh": (lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()), 1.0),
    "sigmoid": (lambda x: 1 / (1 + (-x).exp()), 1.0),
    "elu": (lambda x: torch.where(x > 0, x, x.exp() - 1), 1.0),
    "selu": (
        lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
        1.0,
    ),
    "softplus": (lambda x: (1 + x.exp()).log(), 1.0),
    "swish": (lambda x: x / (1 + (-x).exp()), math.sqrt(2)),
}


@pytest.mark.parametrize("act", FORMULAS)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("gain", [None, 0.7, -1.3])
def test_equals_the_formula_up_to_second_gradients(
    act: Activation, with_bias: bool, gain: float | None
) -> None:
    torch.manual_seed(0)
    formula, default_gain = FORMULAS[act]
    x = torch.randn(2, 3, 2, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True) if with_bias else None
    before = x.detach().clone()

    def run(x: Tensor, bias: Tensor | None = None) -> Tensor:
        return bias_act(x, bias, act=act, gain=gain)

    shifted = x if bias is None else x + bias[:, None, None]
    wanted = formula(shifted) * (default_gain if gain is None else gain)
    inputs = (x,) if bias is None else (x, bias)
    torch.testing.assert_close(run(*inputs), wanted)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
    assert torch.equal(x, before)


def test_clamp_limits_the_result_after_the_gain() -> None:
    x = torch.tensor([[-10.0, -1, 1, 10]]).T
    got = bias_act(x, act="lrelu", alpha=0.5, gain=2, clamp=3)
    torch.testing.assert_close(got, torch.tensor([[-3.0, -1, 2, 3]]).T)


def test_half_precision_and_channels_last_are_kept() -> None:
    x = torch.randn(2, 3, 5, 5).bfloat16().contiguous(memory_format=torch.channels_last)
    got = bias_act(x, torch.randn(3))
    assert got.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_wrong_arguments_say_what_was_wanted() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"bias: expected \[3\], got \[2\]"):
        bias_act(x, torch.zeros(2))
    with pytest.raises(ValueError, match="act: expected one of linear, relu"):
        bias_act(x, act="nonsense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only lrelu has a slope"):
        bias_act(x, act="relu", alpha=0.1)
