"""Seeds, paths and mixes of a generator without noise maps."""

from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import Network
from ganedit.editing import interpolate, mix, sample, synthesize
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN3Generator, image_transform
from ganedit.io import load_latent, save_latent


@pytest.fixture(scope="module")
def alias_free():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN3Generator(
            z_dim=16, w_dim=16, img_resolution=16, channel_base=256, channel_max=8, num_layers=4
        )
        with torch.no_grad():
            generator.synthesis.input.affine.weight.copy_(0.3 * torch.randn(4, 16))
    return Network(generator.eval().requires_grad_(False), "tiny", "sha256:0", {})


def pictures(network, latent, **settings):
    return torch.cat(list(synthesize(network, latent, **settings)))


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_a_seeds_picture_never_depends_on_the_batch_or_on_noise(alias_free, noise, tmp_path):
    many = sample(alias_free, range(6), noise=noise)
    assert many.noise is None
    save_latent(tmp_path / "many.pt", many)
    assert load_latent(tmp_path / "many.pt").noise is None
    together = pictures(alias_free, many, noise=noise, batch_size=4)
    alone = pictures(alias_free, sample(alias_free, [5]), batch_size=1)
    torch.testing.assert_close(together[5:], alone, atol=1e-5, rtol=0)


def test_paths_end_at_their_latents(alias_free):
    ends = [sample(alias_free, [seed]) for seed in (1, 2)]
    path = interpolate(ends, frames=4, mode="slerp", network=alias_free)
    frames = pictures(alias_free, path)
    for end, frame in zip(ends, (frames[:1], frames[-1:]), strict=True):
        torch.testing.assert_close(frame, pictures(alias_free, end), atol=1e-5, rtol=0)
    assert not torch.allclose(frames[0], frames[1])


def test_mixing_all_layers_is_the_other_picture(alias_free):
    row, column = (sample(alias_free, [seed]) for seed in (1, 2))
    num_ws = alias_free.generator.num_ws
    everything = mix(row, column, layers=range(num_ws))
    assert torch.equal(pictures(alias_free, everything), pictures(alias_free, column))
    # The first latent drives the Fourier features alone.
    moved = mix(row, column, layers=[0])
    assert not torch.allclose(pictures(alias_free, moved), pictures(alias_free, row))


def test_pictures_can_be_moved_only_by_stylegan3(alias_free, network):
    transform = image_transform(translate=(0.25, 0))
    latent = sample(alias_free, [1, 2, 3])
    wanted = alias_free.generator.synthesize(latent.ws, transform=transform)
    got = pictures(alias_free, latent, transform=transform, batch_size=2)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    with pytest.raises(GaneditError, match="only StyleGAN3"):
        next(synthesize(network, sample(network, [1]), transform=transform))


def test_foreign_noise_maps_are_refused(alias_free):
    noisy = replace(sample(alias_free, [1]), noise=(torch.zeros(1, 1, 4, 4),))
    with pytest.raises(GaneditError, match="noise maps do not fit"):
        next(synthesize(alias_free, noisy))
