import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.three_d import Draws, RayOptions, random_draws, render_rays
from ganedit.three_d.volume import fine_depths, ray_limits, rays_at_once

OPTIONS = RayOptions(start=1.5, end=3.0, coarse=12, fine=16, box_size=1.0)
AUTO = RayOptions(start="auto", end="auto", coarse=12, fine=16, box_size=1.0)


def ball(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An opaque ball of radius 0.3; its colours are the places."""
    return 400 * (0.3 - points.norm(dim=-1)), points


def hard_ball(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    densities, colours = ball(points)
    return 250 * densities, colours


def rays(count: int = 50, pictures: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """From (0, 0, 2) towards the ball; some miss the box."""
    torch.manual_seed(0)
    aims = torch.rand(pictures, count, 3) * 1.6 - 0.8
    origins = torch.tensor([0.0, 0.0, 2.0]).expand_as(aims)
    return origins, torch.nn.functional.normalize(aims - origins, dim=-1)


@pytest.mark.parametrize("options", [OPTIONS, AUTO], ids=["numbers", "auto"])
@pytest.mark.parametrize("drawn", [False, True])
def test_portions_change_nothing(options: RayOptions, drawn: bool) -> None:
    origins, directions = rays()
    draws = random_draws(2, 50, options, origins.device) if drawn else None
    whole = render_rays(ball, origins, directions, options, draws=draws)
    for at_once in (1, 7, 49, 50, 200):
        parts = render_rays(ball, origins, directions, options, draws=draws, at_once=at_once)
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_portions_have_the_same_gradient() -> None:
    origins, directions = rays()
    gain = torch.tensor(400.0, requires_grad=True)

    def decode(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gain * (0.3 - points.norm(dim=-1)), points

    gradients = [
        torch.autograd.grad(
            sum(x.sum() for x in render_rays(decode, origins, directions, OPTIONS, at_once=n)), gain
        )[0]
        for n in (None, 7)
    ]
    torch.testing.assert_close(*gradients)


def test_a_ball_is_where_it_is() -> None:
    origin = torch.tensor([[[0.0, 0.0, 2.0]]])
    options = OPTIONS.with_samples(48, 48)
    feature, depth, opacity, _ = render_rays(hard_ball, origin, -origin / 2, options)
    assert depth.item() == pytest.approx(1.7, abs=0.02)
    assert opacity.item() == pytest.approx(1, abs=1e-3)
    assert feature[0, 0, 2].item() == pytest.approx(0.3, abs=0.02)


def test_the_second_pass_finds_the_surface() -> None:
    origin, forward = torch.tensor([[[0.0, 0.0, 2.0]]]), torch.tensor([[[0.0, 0.0, -1.0]]])
    errors = [
        abs(render_rays(hard_ball, origin, forward, OPTIONS.with_samples(12, n))[1].item() - 1.7)
        for n in (0, 24)
    ]
    assert errors[1] < errors[0] / 2


def test_depth_stays_between_all_samples_of_the_picture() -> None:
    origins, directions = rays()

    def nothing(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(points[..., 0], -1e6), points

    options = OPTIONS.with_samples(12, 0)
    feature, depth, opacity, _ = render_rays(nothing, origins, directions, options, at_once=9)
    last = 3.0 + 0.5 * 1.5 / 11  # moved by half an interval
    torch.testing.assert_close(depth, torch.full_like(depth, last))
    assert feature.abs().max() == 0 == opacity.max()


def test_spacing_in_inverse_depth() -> None:
    seen = []

    def decode(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(2 - points[0, :, 2])
        return points[..., 0], points

    options = RayOptions(start=1.5, end=3.0, coarse=5, fine=0, box_size=1.0, disparity=True)
    origin, forward = torch.tensor([[[0.0, 0.0, 2.0]]]), torch.tensor([[[0.0, 0.0, -1.0]]])
    render_rays(decode, origin, forward, options, draws=Draws(jitter=0.0))
    torch.testing.assert_close(1 / seen[0], torch.linspace(1 / 1.5, 1 / 3.0, 5))


def test_rays_beside_the_box_take_the_others_limits() -> None:
    origins = torch.tensor([[0.0, 0.0, 2.0]]).expand(3, 3)[None]
    aims = torch.tensor([[0.0, 0.0, 0.5], [0.4, 0.0, 0.5], [2.0, 0.0, 0.5]])
    directions = torch.nn.functional.normalize(aims - origins, dim=-1)
    start, end = (x[0, :, 0] for x in ray_limits(origins, directions, AUTO))
    assert start[:2].tolist() == pytest.approx([1.5, 2.41**0.5 * 1.0], abs=0.01)
    assert start[2] == start[:2].min()
    assert end[2] == start[:2].max()  # the largest entry, as the original has it
    none = ray_limits(origins[:, 2:], directions[:, 2:], AUTO)
    assert [x.item() for x in none] == [0, 0]


def test_random_numbers_come_from_the_seed() -> None:
    torch.manual_seed(3)
    first = random_draws(2, 5, OPTIONS, torch.device("cpu"))
    torch.manual_seed(3)
    second = random_draws(2, 5, OPTIONS, torch.device("cpu"))
    assert torch.equal(first.jitter, second.jitter)
    assert torch.equal(first.importance, second.importance)
    assert first.jitter.shape == (2, 5, 12)
    assert first.importance.shape == (2, 5, 16)


def test_fine_samples_follow_the_weights() -> None:
    depths = torch.linspace(0, 1, 11)[None, None]
    weights = torch.zeros(1, 1, 10)
    weights[..., 6] = 1.0  # between 0.6 and 0.7
    fine = fine_depths(depths, weights, 100, None)
    assert ((fine > 0.45) & (fine < 0.85)).float().mean() > 0.9
    assert (fine.diff() > 0).all()


def test_the_smallest_memory_that_is_named_is_enough() -> None:
    settings = {"ray_bytes": 100, "sample_bytes": 10}
    with pytest.raises(GaneditError, match=r"50 rays of 12 \+ 16 samples .* 5.2KB; .* 5.2KB or"):
        rays_at_once(50, OPTIONS, max_memory=5279, **settings)
    assert rays_at_once(50, OPTIONS, max_memory=5280, **settings) == 1
    assert rays_at_once(50, OPTIONS, max_memory=10**6, **settings) == 50
