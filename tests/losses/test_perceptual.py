import pytest
import torch
from torch import nn

from ganedit.errors import GaneditError
from ganedit.features import VGG16
from ganedit.losses import (
    IMAGE2STYLEGAN_LAYERS,
    PerceptualDistance,
    image2stylegan_distance,
    load_perceptual,
    lpips_distance,
    perceptual,
)


class Pyramid(nn.Module):
    """The picture, and its half: features without weights."""

    def forward(self, images):
        return [images, nn.functional.avg_pool2d(images, 2)]


def test_image2stylegan_is_the_sum_of_mean_squares():
    torch.manual_seed(0)
    vgg = VGG16(IMAGE2STYLEGAN_LAYERS)
    a, b = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        got = image2stylegan_distance(vgg)(a, b)
        wanted = sum(
            (x.double() - y.double()).square().mean(dim=(1, 2, 3))
            for x, y in zip(vgg(a), vgg(b), strict=True)
        )
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=0)


def test_halves_agree_with_the_whole_and_broadcast_over_a_batch_of_one():
    weights = [torch.tensor(1.0), torch.rand(1, 3, 1, 1)]
    distance = PerceptualDistance(Pyramid(), weights, unit_length=True, name="test")
    a, b = torch.rand(3, 3, 8, 8), torch.rand(1, 3, 8, 8)
    one_by_one = torch.cat([distance(a[i : i + 1], b) for i in range(3)])
    torch.testing.assert_close(
        distance.distance(distance.encode(a), distance.encode(b)), one_by_one
    )
    assert distance(a, a).abs().max() == 0


def test_unit_length_ignores_the_scale_of_features_but_not_their_direction():
    distance = PerceptualDistance(
        Pyramid(), [torch.tensor(1.0), torch.tensor(0.0)], unit_length=True, name="test"
    )
    a = torch.rand(1, 3, 8, 8) + 0.1
    assert distance(a, 2 * a).item() < 1e-12
    assert distance(a, -a).item() == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("numbers", [50, 2**16])
def test_the_distance_for_gradients_is_the_same(monkeypatch, layout, targets, unit_length, numbers):
    monkeypatch.setattr(perceptual, "_CACHED_NUMBERS", numbers)
    weights = [torch.tensor(0.3), torch.rand(1, 3, 1, 1)]
    distance = PerceptualDistance(Pyramid(), weights, unit_length=unit_length, name="test").double()
    images = (torch.rand(2, 3, 10, 14).double() - 0.5).contiguous(memory_format=layout)
    images[:, :, 2:6, 2:6] = 0  # both maps have vectors without a direction
    images.requires_grad_()
    wanted = distance.encode(torch.rand(targets, 3, 10, 14).double() - 0.5)
    got = distance.distance_to(wanted, images)
    expected = distance.distance(distance.encode(images), wanted)
    torch.testing.assert_close(got, expected)
    factors = torch.tensor([1.0, -3.0])
    gradients = [torch.autograd.grad(x, images, factors.double())[0] for x in (got, expected)]
    torch.testing.assert_close(*gradients)


def test_the_distance_for_gradients_under_autocast_is_near():
    distance = lpips_distance(VGG16(), [torch.rand(1, c, 1, 1) for c in (64, 128, 256, 512, 512)])
    distance.requires_grad_(False)
    images, target = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    images.requires_grad_()
    wanted = distance.encode(target)
    expected = distance.distance_to(wanted, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = distance.distance_to(wanted, images)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=0)
    a, b = (torch.autograd.grad(x.sum(), images)[0].flatten() for x in (got, expected))
    assert torch.cosine_similarity(a, b, dim=0) > 0.98


def test_a_table_holds_the_distances_of_all_pairs():
    weights = [torch.tensor(0.3), torch.rand(1, 3, 1, 1)]
    distance = PerceptualDistance(Pyramid(), weights, unit_length=True, name="test")
    a, b = torch.rand(7, 3, 8, 8), torch.rand(5, 3, 8, 8)
    table = distance.distance_table(distance.encode(a), distance.encode(b))
    expected = torch.stack([distance(x[None], b) for x in a])
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-6)
    own = distance.distance_table(distance.encode(a), distance.encode(a)).diagonal()
    assert own.min() >= 0
    assert own.max() < 1e-5


def test_gradients_stay_finite_where_features_vanish():
    weights = [torch.tensor(1.0)] * 2
    distance = PerceptualDistance(Pyramid(), weights, unit_length=True, name="test")
    a = torch.zeros(1, 3, 8, 8, requires_grad=True)
    distance(a, torch.rand(1, 3, 8, 8)).sum().backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())


def test_large_pictures_are_compared_at_256_pixels():
    distance = PerceptualDistance(
        Pyramid(), [torch.tensor(1.0)] * 2, unit_length=False, name="test"
    )
    assert distance.encode(torch.zeros(1, 3, 512, 512))[0].shape == (1, 3, 256, 256)
    assert distance.encode(torch.zeros(1, 3, 128, 128))[0].shape == (1, 3, 128, 128)


def test_layers_must_be_those_of_the_distance():
    with pytest.raises(ValueError, match="relu5_3"):
        lpips_distance(VGG16(["relu1_1"]))


def test_absent_weights_say_what_to_fetch(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GaneditError, match=r"fetch https://.*vgg16-397923af.pth and put it at"):
        load_perceptual("lpips")


@pytest.mark.parametrize("side", [2, 16, 256, 512])
def test_pixels_are_compared_at_four_scales_without_weights(side):
    distance = load_perceptual("pixel")
    a, b = torch.rand(2, 2, 3, side, side) * 2 - 1
    maps = distance.encode(a)
    sides = [max(1, min(side, 256) >> step) for step in range(4)]
    assert [x.shape[-1] for x in maps] == sides
    grey = torch.zeros_like(a)
    torch.testing.assert_close(distance(grey, grey + 0.5), torch.full((2,), 4 * 0.25))
    assert (distance(a, b) > distance(a, a)).all()
