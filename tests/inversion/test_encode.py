import dataclasses

import pytest
import torch

import ganedit
from ganedit.checkpoints import LoadedEncoder, Network, load_encoder, load_network
from ganedit.errors import GaneditError
from ganedit.inversion import check_encoder, encode
from ganedit.metrics import psnr


@pytest.fixture
def loaded(encoder_path) -> LoadedEncoder:
    return load_encoder(encoder_path, device="cpu")


def test_the_average_is_added(network: Network, loaded: LoadedEncoder) -> None:
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    ws = encode(network, loaded, images)
    assert torch.equal(ws, loaded.average + loaded.encoder(images))
    assert ws.shape == (3, 6, 16)


def test_a_photos_latent_is_its_own(network: Network, loaded: LoadedEncoder) -> None:
    images = torch.rand(5, 3, 16, 16) * 2 - 1
    alone = torch.cat([encode(network, loaded, image[None]) for image in images])
    torch.testing.assert_close(encode(network, loaded, images), alone)


def test_pictures_of_other_sizes_are_resized(network: Network, loaded: LoadedEncoder) -> None:
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    large = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    found, wanted = encode(network, loaded, large), encode(network, loaded, images)
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)
    with pytest.raises(ValueError, match=r"images: expected \[N, 3, H, H\], got \[1, 3, 16, 8\]"):
        encode(network, loaded, torch.zeros(1, 3, 16, 8))


def test_an_encoder_of_another_generator_is_refused(
    loaded: LoadedEncoder, other_network_path
) -> None:
    other = load_network(other_network_path, device="cpu")
    with pytest.raises(GaneditError, match="an encoder of another generator") as error:
        check_encoder(other, loaded)
    assert "\n" not in str(error.value)


def test_encoders_of_other_pictures_are_refused(network: Network, loaded: LoadedEncoder) -> None:
    labels = dataclasses.replace(loaded, in_channels=19, family="pSp")
    with pytest.raises(GaneditError, match=r"19 channels, photos have 3$"):
        check_encoder(network, labels)


def test_only_sams_encoder_takes_an_age(network: Network, loaded: LoadedEncoder) -> None:
    images = torch.zeros(1, 3, 16, 16)
    with pytest.raises(GaneditError, match=r"\(CompactEncoder\) takes no age, .* leave out --age"):
        encode(network, loaded, images, age=30)


def test_the_embedded_encoder_knows_heads() -> None:
    network, encoder = (
        ganedit.load("clay", device="cpu"),
        load_encoder("clay-encoder", device="cpu"),
    )
    heads = ganedit.render(ganedit.sample_factors(range(2**30, 2**30 + 8))).image
    found = network.generator.synthesize(encode(network, encoder, heads))
    average = network.generator.synthesize(encoder.average[:, None].expand(-1, 10, -1))
    assert psnr(found, heads).mean() > psnr(average.expand_as(heads), heads).mean() + 6
    assert psnr(found, heads).min() > 17
