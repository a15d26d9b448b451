import pytest
import torch

from ganedit.metrics.reconstruction import psnr


def test_psnr_of_known_errors():
    images = torch.zeros(2, 3, 4, 4)
    targets = torch.zeros(2, 3, 4, 4)
    targets[0] = 0.2
    targets[1] = 0.02
    torch.testing.assert_close(psnr(images, targets), torch.tensor([20.0, 40.0]))


def test_psnr_sees_what_a_file_would_hold():
    assert psnr(torch.full((1, 3, 4, 4), 1.7), torch.ones(1, 3, 4, 4)).isinf()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="targets"):
        psnr(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))
