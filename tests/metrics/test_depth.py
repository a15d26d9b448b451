import pytest
import torch

from ganedit.metrics import depth_correlation


def test_only_the_object_counts_and_a_shape_is_the_same_at_any_distance():
    truth = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    near = truth * 0.3 + 2
    near[:, :, :2] = 99  # where the truth shows background
    truth[:, :, :2] = torch.inf
    found = depth_correlation(torch.cat([near[:1], -near[1:]]), truth)
    torch.testing.assert_close(found, torch.tensor([1.0, -1.0]))


def test_small_depths_are_enlarged():
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    small = torch.linspace(0, 1, 4).expand(1, 1, 4, 4)
    assert float(depth_correlation(small, ramp)) > 0.97


def test_depths_must_fit():
    with pytest.raises(ValueError, match=r"expected \[2, 1, r, r\]"):
        depth_correlation(torch.zeros(1, 1, 4, 4), torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match="fewer than three pixels"):
        depth_correlation(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), torch.inf))
