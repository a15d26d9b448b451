"""Projection into a generator without noise maps."""

import math

import pytest
import torch
from torch import nn

from ganedit.checkpoints import Network
from ganedit.generators import StyleGAN3Generator
from ganedit.inversion import project
from ganedit.losses import PerceptualDistance


@pytest.fixture(scope="module", params=["t", "r"])
def network(request):
    settings = {} if request.param == "t" else {"conv_kernel": 1, "use_radial_filters": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN3Generator(
            z_dim=16,
            w_dim=16,
            img_resolution=16,
            channel_base=256,
            channel_max=8,
            num_layers=4,
            **settings,
        )
        with torch.no_grad():
            generator.w_avg.copy_(generator.map(torch.randn(1000, 16))[:, 0].mean(dim=0))
    return Network(generator.eval().requires_grad_(False), "tiny", "sha256:0", {})


@pytest.fixture(scope="module")
def perceptual():
    class Scales(nn.Module):
        def forward(self, images):
            return [images, nn.functional.avg_pool2d(images, 2)]

    return PerceptualDistance(Scales(), [torch.tensor(1.0)] * 2, unit_length=False, name="scales")


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_planted_picture_is_recovered_without_noise_maps(network, perceptual, space):
    generator = network.generator
    w = generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(5)))
    planted = generator.synthesize(w)
    found = project(network, planted, perceptual=perceptual, space=space, steps=150)
    assert found.noise is None
    assert found.latent(network).noise is None
    error = (found.images - planted).square().mean(dim=(1, 2, 3)) / planted.var(dim=(1, 2, 3))
    assert float(error.max()) < 0.03
    assert bool((found.history.nan_to_num(math.inf).amin(dim=0) < 0.05 * found.history[0]).all())
