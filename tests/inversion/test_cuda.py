"""Inversion where everything lives on a GPU."""

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.inversion import compose, project, tune
from ganedit.losses import load_perceptual

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_photos_are_projected_composed_and_tuned_to(network_path, dtype):
    network = load_network(network_path, device="cuda")
    generator = network.generator
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(9)).to("cuda")
    with torch.no_grad():
        photos = generator.synthesize(generator.map(z)).clamp(-1, 1)
    mask = torch.ones(1, 1, 16, 16, device="cuda")
    mask[..., 8:] = 0
    settings = {"perceptual": load_perceptual("pixel", device="cuda"), "steps": 3, "dtype": dtype}
    found = project(network, photos, mask=mask, **settings)
    assert found.images.device.type == "cuda"
    latent = found.latent(network, names=("a", "b"))
    tuned = tune(network, latent, photos, mask=mask, perceptual=settings["perceptual"], steps=2)
    assert bool(tuned.distance.isfinite().all())
    composed = compose(network, photos[:1], photos[1:], mask, **settings)
    assert bool(composed.distance.isfinite().all())
