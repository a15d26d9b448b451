import subprocess
import sys

import pytest
import torch

from ganedit.cli.render_views import parse_size
from ganedit.errors import GaneditError
from ganedit.generators import triplane
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.three_d import random_draws
from ganedit.three_d.cameras import camera_label, look_at_pose
from tests.conftest import make_triplane
from tests.memory import peak_kilobytes


def around(count: int) -> torch.Tensor:
    yaw = torch.linspace(-0.4, 0.4, count)
    return camera_label(look_at_pose(yaw, yaw / 2, radius=2.7, pivot=[0, 0, 0.2]), focal=4.2647)


def opened(
    count: int = 1, **changes: object
) -> tuple[TriPlaneGenerator, torch.Tensor, torch.Tensor]:
    generator = make_triplane(**changes)
    torch.manual_seed(1)
    ws = generator.map(torch.randn(count, 16))
    return generator, ws, 5 * generator.planes(ws)


def same(one: triplane.Views, other: triplane.Views, tolerance: float = 0.0) -> None:
    for name in ("image", "raw", "depth", "opacity", "spread"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=0, atol=tolerance, msg=name
        )


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({}, 16),
        ({"sr_channels": []}, 16),
        ({"img_resolution": 32}, 32),  # four times what super-resolution takes
        ({"fine_samples": 0}, 16),
        ({"white_back": True, "plane_axes": "fixed"}, 16),
        ({"ray_start": "auto", "ray_end": "auto"}, 16),
        ({"disparity": True, "sr_antialias": False}, 16),
    ],
)
@torch.no_grad()
def test_shapes_and_ranges(changes: dict[str, object], side: int) -> None:
    generator, ws, planes = opened(**changes)
    for resolution in (None, 5, 12):
        views = generator.render(planes, ws, around(2), resolution=resolution)
        rays = resolution or 8
        assert views.image.shape == (2, 3, side, side)
        assert views.raw.shape == (2, 3, rays, rays)
        assert views.depth.shape == views.opacity.shape == (2, 1, rays, rays)
        assert 0 <= views.opacity.min() <= views.opacity.max() <= 1
        assert all(x.isfinite().all() for x in (views.image, views.raw, views.depth))


@torch.no_grad()
def test_one_row_of_planes_serves_several_cameras_and_pictures_are_independent() -> None:
    generator, ws, planes = opened(3)
    views = generator.render(planes[:1], ws[:1], around(3))
    for row, camera in enumerate(around(3).split(1)):
        alone = generator.render(planes[:1], ws[:1], camera)
        assert torch.equal(views.raw[row : row + 1], alone.raw)
        assert torch.equal(views.depth[row : row + 1], alone.depth)
    draws = random_draws(3, 64, generator.rays, ws.device)
    together = generator.render(planes, ws, around(3), draws=draws)
    others = generator.render(planes.flip(0), ws.flip(0), around(3).flip(0))
    same(generator.render(planes, ws, around(3), draws=draws), together)
    assert torch.equal(others.raw[1], generator.render(planes, ws, around(3)).raw[1])


@torch.no_grad()
@pytest.mark.parametrize("limit", ["number", "auto"])
def test_any_portion_gives_the_same(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"ray_start": "auto", "ray_end": "auto"} if limit == "auto" else {}
    generator, ws, planes = opened(**changes)
    draws = random_draws(1, 400, generator.rays, ws.device)
    wanted = generator.render(planes, ws, around(1), resolution=20, draws=draws)
    for tile in (100, 1000):
        monkeypatch.setattr(triplane, "_TILE", tile)
        same(generator.render(planes, ws, around(1), resolution=20, draws=draws), wanted, 3e-6)


def test_portions_have_the_same_gradients() -> None:
    generator, ws, planes = opened(2)
    generator.requires_grad_(True)
    planes = planes.detach().requires_grad_()
    inputs = [planes, *generator.decoder.parameters()]
    taken = 2 * 64 * 4 * (16 + 3 * 4) + 6 * 4 * planes[0].numel()

    def gradients(max_memory: int | None) -> tuple[torch.Tensor, ...]:
        raw = generator.render(planes, ws, around(2), max_memory=max_memory).raw
        return torch.autograd.grad(raw.square().sum(), inputs)

    for a, b in zip(gradients(None), gradients(taken + 200_000), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_recording_gradients_changes_no_picture() -> None:
    generator, ws, planes = opened(2)
    recorded = generator.render(planes.clone().requires_grad_(), ws, around(2))
    with torch.no_grad():
        same(generator.render(planes, ws, around(2)), recorded, 3e-6)


def test_a_camera_has_a_gradient() -> None:
    generator, ws, planes = opened()
    yaw = torch.tensor([0.2], requires_grad=True)

    def brightness(yaw: torch.Tensor) -> torch.Tensor:
        pose = look_at_pose(yaw, torch.zeros(1), radius=2.7, pivot=[0, 0, 0.2])
        camera = camera_label(pose, focal=4.2647)
        return generator.render(planes, ws, camera, samples=(24, 0)).raw.mean()

    (slope,) = torch.autograd.grad(brightness(yaw), yaw)
    with torch.no_grad():
        difference = (brightness(yaw + 1e-2) - brightness(yaw - 1e-2)) / 2e-2
    assert float(slope) == pytest.approx(float(difference), rel=0.1, abs=1e-4)


@torch.no_grad()
def test_density_is_that_of_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, _, planes = opened(2)
    points = torch.rand(2, 100, 3) - 0.5
    densities, features = generator.colours(planes, points)
    assert densities.shape == (2, 100)
    assert features.shape == (2, 100, 4)
    torch.testing.assert_close(generator.density(planes, points), densities)
    monkeypatch.setattr(triplane, "_TILE", 7)
    torch.testing.assert_close(generator.density(planes, points), densities)


@pytest.mark.parametrize("scale", [1, 30, 3000])  # the last: beyond what float32 can exponentiate
def test_the_decoder_says_the_same_whether_it_learns_or_not(scale: float) -> None:
    torch.manual_seed(0)
    decoder = triplane.Decoder(32, 32, hidden=64, lr_multiplier=1.0)
    points = scale * torch.randn(1000, 32)
    wanted = decoder(points)
    with torch.no_grad():
        got = (decoder.densities(points), decoder(points)[1])
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * scale)


def test_gradients_of_a_batch_are_kept_within_the_bound() -> None:
    """Each picture alone would fit; together they are rendered anew in the backward pass."""
    generator, ws, planes = opened(2)
    planes = planes.detach().requires_grad_()
    calls = []
    generator.decoder.register_forward_hook(lambda *_: calls.append(1))
    sample = 4 * (64 + 4 + 2 * generator.config["decoder_features"] + 3 * 5) * 2
    for pictures, anew in ((1.5, 2), (2.5, 1)):
        calls.clear()
        rays = int(pictures * 64 * (6 + 6) * sample)
        taken = 2 * 64 * 4 * (16 + 3 * 4) + 6 * 4 * planes[0].numel()
        generator.render(planes, ws, around(2), max_memory=taken + rays).raw.sum().backward()
        assert len(calls) == anew * 2 * 2  # pictures, passes


@torch.no_grad()
def test_white_back_fills_what_nothing_stopped() -> None:
    generator, ws, planes = opened(sr_channels=[])
    white = make_triplane(sr_channels=[], white_back=True)
    black, light = (x.render(planes, ws, around(1)) for x in (generator, white))
    torch.testing.assert_close(light.raw, black.raw + 2 * (1 - black.opacity))


@torch.no_grad()
def test_too_little_memory_names_the_least_that_does() -> None:
    generator, ws, planes = opened()
    with pytest.raises(GaneditError, match=r"64 rays of 6 \+ 6 samples do not fit") as caught:
        generator.render(planes, ws, around(1), max_memory=1000)
    least = parse_size(str(caught.value).split("at least ")[1].split()[0])
    same(
        generator.render(planes, ws, around(1), max_memory=least),
        generator.render(planes, ws, around(1)),
        3e-6,
    )


def test_planes_of_another_number_are_refused() -> None:
    generator, ws, planes = opened(2)
    with pytest.raises(ValueError, match="planes: expected 3 or 1 of them, got 2"):
        generator.render(planes, ws, around(3))


def test_latents_and_cameras_of_another_shape_are_refused() -> None:
    generator, ws, planes = opened(2)
    for bad in (ws[:, 0], ws[..., :-1], ws.repeat(2, 1, 1)[:3]):
        with pytest.raises(ValueError, match=r"ws: expected \[2 or 1, "):
            generator.render(planes, bad, around(2))
    for camera in (around(2)[:, :16], around(2)[0]):
        with pytest.raises(ValueError, match=r"camera: expected \["):
            generator.render(planes, ws, camera)


@pytest.mark.parametrize("noise", ["none", "const"])
def test_superresolution_that_only_enlarges_takes_no_more_rays_than_its_input(noise: str) -> None:
    generator, ws, planes = opened(1, sr_shrinks=False, sr_noise=noise)
    for rays in (6, 8):
        assert generator.render(planes, ws, around(1), resolution=rays).image.shape[3] == 16
    for refuse in (
        lambda: generator.render(planes, ws, around(1), resolution=9),
        lambda: generator.check_rays(9, None, None),
    ):
        with pytest.raises(GaneditError, match="takes 8 at most; choose a lower resolution"):
            refuse()


def test_memory_stays_below_its_bound() -> None:
    """In a fresh process: 64 x 64 rays, whose samples together would take 240 MiB."""
    command = [sys.executable, "-m", "tests.generators.test_triplane"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert 1 < int(output) // 1024 < 48


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_cuda_sees_the_same() -> None:
    generator, ws, planes = opened()
    wanted = generator.render(planes, ws, around(2))
    got = generator.cuda().render(planes.cuda(), ws.cuda(), around(2).cuda())
    for name in ("raw", "depth", "opacity"):
        torch.testing.assert_close(
            getattr(got, name).cpu(), getattr(wanted, name), rtol=0, atol=1e-4
        )


if __name__ == "__main__":
    settings = {"sr_channels": [], "coarse_samples": 24, "fine_samples": 24}
    with torch.no_grad():
        generator, ws, planes = opened(decoder_features=64, plane_channels=32, **settings)
        generator.render(planes, ws, around(1), resolution=4)
        before = peak_kilobytes()
        generator.render(planes, ws, around(1), resolution=64, max_memory=48 * 2**20)
    print(peak_kilobytes() - before)  # noqa: T201  the test reads it


def test_the_usual_cameras_are_where_the_network_says() -> None:
    generator = make_triplane(camera_radius=2.5, camera_pivot=[0, 0, 0.1], camera_focal=3)
    yaw = torch.tensor([0.4, -0.2], requires_grad=True)
    cameras = generator.cameras_at(yaw, [0.1, 0.0])
    wanted = camera_label(
        look_at_pose(yaw, torch.tensor([0.1, 0.0]), radius=2.5, pivot=[0, 0, 0.1]), focal=3
    )
    torch.testing.assert_close(cameras, wanted)
    (slope,) = torch.autograd.grad(cameras[:, 3].sum(), yaw)  # of x
    assert (slope > 2).all()
    torch.testing.assert_close(generator.cameras_at([0.0], [0.0])[0], generator.default_camera)


def test_the_bytes_told_are_those_at_which_rays_are_rendered_in_portions() -> None:
    generator = make_triplane()
    planes = generator.planes(generator.w_avg.expand(1, generator.num_ws, -1)).requires_grad_(True)
    enough = generator.learning_bytes()
    rays = generator.neural_resolution**2
    for bound, portions in ((enough, None), (enough - 1, rays - 1)):
        found = generator._rays_at_once(rays, generator.rays, bound, planes, learns=True)
        assert found == portions
