import copy
from dataclasses import replace

import pytest
import torch

from ganedit.checkpoints import LoadedMapper, Network
from ganedit.editing.changes import apply_change
from ganedit.editing.mapper import map_change
from ganedit.encoders import LevelsMapper
from ganedit.errors import GaneditError
from ganedit.io import Latent


@pytest.fixture
def loaded(network: Network) -> LoadedMapper:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mapper = LevelsMapper(num_ws=6, w_dim=16).eval().requires_grad_(False)
    return LoadedMapper(mapper, 6, 16, network.fingerprint, "smile", "smile.safetensors", "ganedit")


def test_a_change_is_a_tenth_of_what_the_mapper_finds(
    loaded: LoadedMapper, network: Network, latents: list[Latent]
) -> None:
    latent = replace(latents[0], ws=torch.cat([one.ws for one in latents]), names=())
    change = map_change(loaded, network, latent)
    assert change.ws is not None
    assert change.offsets is None
    torch.testing.assert_close(change.ws, 0.1 * loaded.mapper(latent.ws))
    edited = apply_change(latent, change, 2.0)
    torch.testing.assert_close(edited.ws, latent.ws + 0.2 * loaded.mapper(latent.ws))
    assert edited.space == "w+"
    alone = map_change(loaded, network, latents[1]).ws
    torch.testing.assert_close(alone, change.ws[1:2])


def test_a_mapper_of_another_generator_is_refused(
    loaded: LoadedMapper, network: Network, latents: list[Latent]
) -> None:
    for changes, message in [
        ({"num_ws": 18}, "a mapper for 18 latents; this generator takes 6"),
        ({"w_dim": 512}, "latents of 512 numbers; this generator's have 16"),
        ({"fingerprint": "sha256:00"}, "smile.safetensors: a mapper of another generator"),
    ]:
        with pytest.raises(GaneditError, match=message):
            map_change(replace(loaded, **changes), network, latents[0])
    unknown = replace(loaded, fingerprint=None)  # official files without their generator
    assert map_change(unknown, network, latents[0]).ws is not None


def test_a_mapper_serves_what_its_generator_was_adapted_to(
    loaded: LoadedMapper, network: Network, latents: list[Latent]
) -> None:
    told = {"provenance": {"adapted_from": [network.fingerprint]}}
    adapted = replace(network, fingerprint="sha256:01", metadata=told)
    (changed, same) = (map_change(loaded, one, latents[0]).ws for one in (adapted, network))
    assert changed is not None
    assert same is not None
    assert torch.equal(changed, same)


def test_a_mapper_that_returns_nan_is_refused(
    loaded: LoadedMapper, network: Network, latents: list[Latent]
) -> None:
    mapper = copy.deepcopy(loaded.mapper)
    for parameter in mapper.parameters():
        parameter.fill_(1e37)  # finite, and too large
    with pytest.raises(GaneditError, match=r"smile\.safetensors: changes these latents by NaN"):
        map_change(replace(loaded, mapper=mapper), network, latents[0])
