import torch

from ganedit.generators.statistics import companions_of, map_samples, principal_axes


def test_principal_axes_give_normal_numbers_the_spread_of_w():
    stream = torch.Generator().manual_seed(0)
    w = torch.randn(5000, 4, generator=stream) @ torch.diag(torch.tensor([3.0, 1.0, 0.5, 0.0])) + 2
    axes = principal_axes(w)
    torch.testing.assert_close(axes.mT @ axes, torch.cov(w.mT, correction=0), atol=1e-4, rtol=1e-4)


def test_companions_lie_between_and_keep_the_spread(generator):
    samples = map_samples(generator)
    centre = samples.mean(dim=0)
    ws = samples[:2000, None].expand(-1, 3, -1)
    beside = companions_of(ws, samples[5000:5002], centre)
    assert beside.shape == (4000, 3, samples.shape[1])
    # Each sample in turn for each latent.
    one = companions_of(ws[:1], samples[5000:5001], centre)
    torch.testing.assert_close(beside[:1], one)
    many = companions_of(ws[:40], samples[5000:5100], centre)
    spread = (many[:, 0] - centre).square().sum(dim=1).mean()
    torch.testing.assert_close(
        spread, (samples - centre).square().sum(dim=1).mean(), atol=0, rtol=0.15
    )
