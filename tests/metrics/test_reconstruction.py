import math

import pytest
import torch

from ganedit.data.clayheads import FACTOR_INDEX, render, sample_factors
from ganedit.features import load_clay_features
from ganedit.metrics import IDENTITY, identity_errors, mse, psnr, ssim


def test_psnr_of_known_errors():
    images = torch.zeros(2, 3, 4, 4)
    targets = torch.zeros(2, 3, 4, 4)
    targets[0] = 0.2
    targets[1] = 0.02
    torch.testing.assert_close(psnr(images, targets), torch.tensor([20.0, 40.0]))


def test_psnr_sees_what_a_file_would_hold():
    assert psnr(torch.full((1, 3, 4, 4), 1.7), torch.ones(1, 3, 4, 4)).isinf()


@pytest.mark.parametrize("measure", [psnr, mse, ssim])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match="targets"):
        measure(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 24, 24))


def test_mse_is_the_mean_of_squares():
    images, targets = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), -0.25)
    assert mse(images, targets).item() == pytest.approx(0.75**2)


def slow_ssim(a, b):
    """The paper's definition window by window, for one channel of values in [0, 255]."""
    weights = torch.tensor(
        [[math.exp(-(i**2 + j**2) / 4.5) for i in range(-5, 6)] for j in range(-5, 6)]
    )
    weights = (weights / weights.sum()).double()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (v[top : top + 11, left : left + 11] for v in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            up = (2 * mx * my + c1) * (2 * cov + c2)
            values.append(up / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return sum(values) / len(values)


def test_ssim_is_the_paper_s_formula():
    torch.manual_seed(0)
    a = torch.rand(2, 3, 13, 17).double()
    b = (a + 0.2 * torch.randn(2, 3, 13, 17)).clamp(0, 1)
    for n in range(2):
        wanted = sum(slow_ssim(255 * a[n, c], 255 * b[n, c]) for c in range(3)) / 3
        got = ssim((2 * a - 1)[n : n + 1].float(), (2 * b - 1)[n : n + 1].float())
        assert got.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_ssim_of_a_picture_with_itself_is_one():
    image = torch.rand(1, 3, 20, 20) * 2 - 1
    assert ssim(image, image).item() == pytest.approx(1)
    assert ssim(image, -image).item() < 0
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(image[..., :10], image[..., :10])


def test_identity_is_read_off_the_head():
    features = load_clay_features()
    factors = sample_factors([2**30]).repeat(3, 1)
    factors[1, FACTOR_INDEX["smile"]] = 1
    factors[2, FACTOR_INDEX["skin_tone"]] = 1 - factors[2, FACTOR_INDEX["skin_tone"]].round()
    images = render(factors).image
    errors = identity_errors(features, images, images[:1].expand(3, -1, -1, -1))
    assert tuple(errors) == IDENTITY
    assert all(float(error[0]) == 0 for error in errors.values())
    assert max(float(error[1]) for error in errors.values()) < 0.15
    assert float(errors["skin_tone"][2]) > 0.4
