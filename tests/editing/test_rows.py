from dataclasses import replace

import pytest
import torch

from ganedit.editing import fill_missing, sample, stack, synthesize
from ganedit.errors import GaneditError


def test_a_stack_has_all_rows_with_their_noise(network):
    noisy, plain = sample(network, [1, 2], noise="random"), sample(network, [3])
    stacked = stack([noisy, plain], network=network)
    assert stacked.names == ("seed0001", "seed0002", "seed0003")
    assert torch.equal(stacked.ws, torch.cat([noisy.ws, plain.ws]))
    alone = [*synthesize(network, noisy, batch_size=1), *synthesize(network, plain)]
    for one, other in zip(synthesize(network, stacked, batch_size=1), alone, strict=True):
        assert torch.equal(one, other)


def test_a_stack_without_noise_or_names_has_none(network):
    stacked = stack([sample(network, [1]), replace(sample(network, [2]), names=())])
    assert stacked.noise is None
    assert stacked.names == ()


def test_a_stack_of_one_is_that_latent(network):
    latent = sample(network, [1, 2])
    assert stack([latent]) is latent


def test_a_stack_of_strangers_is_refused(network):
    latent = sample(network, [1])
    with pytest.raises(GaneditError, match="different generators"):
        stack([latent, replace(latent, fingerprint="sha256:def")])


def test_noise_is_filled_only_where_some_have_it(network):
    plain = [sample(network, [seed]) for seed in (1, 2)]
    assert fill_missing(plain, None) == plain
    noisy = sample(network, [3], noise="random")
    filled = fill_missing([noisy, *plain], network)
    assert filled[0] is noisy
    assert all(latent.noise is not None for latent in filled)
