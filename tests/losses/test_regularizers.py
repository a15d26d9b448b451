import numpy as np
import torch

from ganedit.losses import average_pull, noise_correlation, normalize_noise_, pixel_distance


def _by_formula(noise: list[np.ndarray]) -> float:
    """L = sum over maps and scales of the squared mean products with shifted copies."""
    total = 0.0
    for level in noise:
        x = level
        while True:
            side = len(x)
            for dy, dx in ((0, 1), (1, 0)):
                shifted = np.array(
                    [
                        [x[(i - dy) % side, (j - dx) % side] for j in range(side)]
                        for i in range(side)
                    ]
                )
                total += float((x * shifted).mean()) ** 2
            if side <= 8:
                break
            x = (x[0::2, 0::2] + x[1::2, 0::2] + x[0::2, 1::2] + x[1::2, 1::2]) / 4
    return total


def test_noise_correlation_equals_the_formula_for_each_sample():
    torch.manual_seed(0)
    maps = [torch.randn(3, 1, side, side, dtype=torch.float64) for side in (4, 8, 16, 32)]
    maps[3] += maps[3].roll(1, dims=2)
    got = noise_correlation(maps)
    for row in range(3):
        wanted = _by_formula([x[row, 0].numpy() for x in maps])
        assert abs(got[row].item() - wanted) < 1e-6 * wanted


def test_a_picture_in_the_noise_is_punished():
    noise = [torch.randn(1, 1, 64, 64)]
    ramp = [torch.linspace(-1, 1, 64).expand(1, 1, 64, 64).clone()]
    normalize_noise_(noise)
    normalize_noise_(ramp)
    assert noise_correlation(ramp) > 100 * noise_correlation(noise)


def test_normalised_noise_has_zero_mean_and_unit_variance():
    noise = [torch.randn(2, 1, 8, 8) * 3 + 1, torch.rand(2, 1, 4, 4)]
    normalize_noise_(noise)
    for x in noise:
        torch.testing.assert_close(x.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
        torch.testing.assert_close(x.square().mean(dim=(1, 2, 3)), torch.ones(2))


def test_average_pull_counts_in_spreads():
    w_avg = torch.randn(6)
    ws = w_avg.expand(2, 4, 6).clone()
    assert average_pull(ws, w_avg, w_std=1.0).tolist() == [0, 0]
    ws[1] += 2.0 / 6**0.5
    torch.testing.assert_close(average_pull(ws, w_avg, w_std=2.0), torch.tensor([0.0, 1.0]))


def test_pixel_distance_is_a_mean_square_per_picture():
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    b[1] = 0.5
    assert pixel_distance(a, b).tolist() == [0, 0.25]
