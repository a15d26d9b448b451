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
