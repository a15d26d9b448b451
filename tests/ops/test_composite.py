import itertools
import math

import pytest
import torch

from ganedit.ops import composite


def make(*shape: int, samples: int = 9, channels: int = 4):
    torch.manual_seed(0)
    features = torch.rand(*shape, samples, channels, dtype=torch.float64)
    densities = 5 * torch.randn(*shape, samples, dtype=torch.float64)
    depths = 2 + torch.rand(*shape, samples, dtype=torch.float64)
    return features, densities, depths


def test_a_ray_gathers_what_the_midpoint_rule_says() -> None:
    features, densities, depths = make()
    order = depths.argsort().tolist()
    passed, colour, depth, total = 1.0, torch.zeros(4, dtype=torch.float64), 0.0, 0.0
    for a, b in itertools.pairwise(order):
        density = math.log1p(math.exp(float(densities[a] + densities[b]) / 2 - 1))
        stopped = 1 - math.exp(-density * float(depths[b] - depths[a]))
        colour += passed * stopped * (features[a] + features[b]) / 2
        depth += passed * stopped * float(depths[a] + depths[b]) / 2
        total += passed * stopped
        passed *= 1 - stopped
    for impl in ("auto", "reference"):
        got = composite(features, densities, depths, impl=impl)
        torch.testing.assert_close(got[0], colour, rtol=0, atol=1e-8)
        assert float(got[1]) == pytest.approx(depth / total)
        assert float(got[2]) == pytest.approx(total)


def test_values_and_gradients_are_those_of_the_definition_in_any_order() -> None:
    given = [x.requires_grad_() for x in make(2, 5)]
    got, wanted = composite(*given), composite(*given, impl="reference")
    shuffled = torch.randperm(9)
    again = composite(given[0][..., shuffled, :], *(x[..., shuffled] for x in given[1:]))
    for a, b, c in zip(got, wanted, again, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)
    gradients = [
        torch.autograd.grad(sum((x * (i + 1)).sum() for i, x in enumerate(each)), given)
        for each in (got, wanted)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_is_that_of_the_values() -> None:
    given = [x.requires_grad_() for x in make(1, samples=4, channels=2)]
    assert torch.autograd.gradcheck(composite, given)
    assert torch.autograd.gradgradcheck(composite, given)


def test_the_spread_is_the_variance_of_an_even_fog() -> None:
    depths = torch.linspace(1, 2, 2001)
    thin = torch.full_like(depths, -6.0)  # stops so little that all of it counts the same
    spread = composite(depths[:, None], thin, depths).spread
    torch.testing.assert_close(spread, torch.tensor(1 / 12), atol=1e-3, rtol=0)


def test_walls_stop_all_and_empty_space_nothing() -> None:
    features, densities, depths = make(1)
    _, depth, share, spread = composite(features, torch.full_like(densities, 1e6), depths)
    nearest = depths.sort(-1).values[..., :2].mean(-1)
    torch.testing.assert_close(share, torch.ones_like(share))
    torch.testing.assert_close(depth, nearest)
    assert spread.max() < 1e-6
    feature, depth, share, spread = composite(features, torch.full_like(densities, -1e6), depths)
    assert feature.abs().max() == 0 == share.max() == spread.max()
    assert depth.isnan().all()
