from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import Network, class_label, load_network
from ganedit.editing import sample, synthesize
from ganedit.errors import GaneditError
from tests.conftest import make_generator


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_a_seeds_picture_never_depends_on_the_batch(network, noise):
    many = sample(network, range(9), noise=noise)
    together = list(synthesize(network, many, noise=noise, batch_size=8))
    alone = list(synthesize(network, sample(network, [5], noise=noise), noise=noise))
    assert together[5].shape == (1, 3, 16, 16)
    torch.testing.assert_close(together[5], alone[0], atol=1e-5, rtol=0)


def test_noise_modes_differ_and_random_noise_repeats(network):
    def picture(noise):
        return next(synthesize(network, sample(network, [3], noise=noise), noise=noise))

    assert torch.equal(picture("random"), picture("random"))
    assert not torch.allclose(picture("random"), picture("const"), atol=1e-3)
    assert not torch.allclose(picture("none"), picture("const"), atol=1e-3)


def test_noise_maps_of_the_latent_are_used(network):
    latent = sample(network, [3])
    kept = replace(latent, noise=tuple(network.generator.noise_maps()))
    assert torch.equal(
        next(synthesize(network, kept, noise="none")), next(synthesize(network, latent))
    )


def test_truncation_zero_is_the_average(network):
    latent = sample(network, [1, 2], truncation_psi=0)
    w_avg = network.generator.w_avg.expand_as(latent.ws)
    torch.testing.assert_close(latent.ws, w_avg)


def test_a_cutoff_truncates_the_first_layers_only(network):
    full, cut = sample(network, [1]), sample(network, [1], truncation_psi=0, truncation_cutoff=2)
    assert torch.equal(full.ws[:, 2:], cut.ws[:, 2:])
    assert not torch.allclose(full.ws[:, :2], cut.ws[:, :2])
    assert (full.space, cut.space) == ("w", "w+")


def test_a_latent_names_its_seeds_and_its_generator(network):
    latent = sample(network, [7, 42])
    assert latent.names == ("seed0007", "seed0042")
    assert latent.fingerprint == network.fingerprint
    again = load_network(latent.network, device="cpu")
    assert again.fingerprint == network.fingerprint
    assert replace(network, source="clay").home == "clay"


def test_classes_change_the_latent_and_must_exist(class_network_path):
    network = load_network(class_network_path, device="cpu")
    labels = [class_label(network, index) for index in (0, 2)]
    first, second = (sample(network, [1], label=label).ws for label in labels)
    assert not torch.allclose(first, second)
    with pytest.raises(GaneditError, match="0 to 2"):
        class_label(network, 3)
    with pytest.raises(GaneditError, match="needs a class"):
        sample(network, [1])


def test_an_unconditional_generator_takes_no_class(network):
    with pytest.raises(GaneditError, match="no classes"):
        class_label(network, 0)
    with pytest.raises(GaneditError, match="no classes"):
        sample(network, [1], label=[1.0])


def test_foreign_latents_and_noise_are_refused(network):
    latent = sample(network, [1])
    with pytest.raises(GaneditError, match="another generator"):
        next(synthesize(network, replace(latent, fingerprint="sha256:def")))
    with pytest.raises(GaneditError, match="shape"):
        next(synthesize(network, replace(latent, ws=latent.ws[:, :3])))
    with pytest.raises(GaneditError, match="noise maps do not fit"):
        next(synthesize(network, replace(latent, noise=(torch.zeros(1, 1, 4, 4),))))


@pytest.mark.parametrize("psi", [float("nan"), float("inf")])
def test_an_endless_truncation_is_a_programming_error(network, psi):
    with pytest.raises(ValueError, match="truncation_psi"):
        sample(network, [1], truncation_psi=psi)


def test_a_camera_is_no_class():
    metadata = {"provenance": {"labels": "cameras"}}
    network = Network(make_generator(c_dim=25), "cameras", "sha256:abc", metadata)
    for ask in (lambda: class_label(network, 3), lambda: sample(network, [1])):
        with pytest.raises(GaneditError, match="takes cameras of 25 numbers"):
            ask()
    assert len(sample(network, [1], label=[0.5] * 25)) == 1
    classes = replace(network, metadata={"provenance": {"labels": "classes"}})
    assert sum(class_label(classes, 3)) == 1
