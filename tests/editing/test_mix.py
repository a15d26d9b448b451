from dataclasses import replace

import pytest
import torch

from ganedit.editing import mix, sample, synthesize
from ganedit.errors import GaneditError
from ganedit.io import Alignment


def test_every_row_meets_every_column(network):
    rows, columns = sample(network, [1, 2]), sample(network, [3, 4, 5])
    mixed = mix(rows, columns, layers=[2, 4])
    assert len(mixed) == 6
    assert mixed.names[:2] == ("seed0001+seed0003", "seed0001+seed0004")
    for row in range(2):
        for column in range(3):
            ws = mixed.ws[3 * row + column]
            for layer in range(network.generator.num_ws):
                source = columns.ws[column] if layer in (2, 4) else rows.ws[row]
                assert torch.equal(ws[layer], source[layer])


def test_mixing_a_latent_with_itself_changes_nothing(network):
    latent = sample(network, [7])
    assert torch.equal(mix(latent, latent, layers=[0, 1]).ws, latent.ws)


def test_all_layers_of_the_column_give_the_column(network):
    rows, columns = sample(network, [1]), sample(network, [2])
    everything = range(network.generator.num_ws)
    assert torch.equal(mix(rows, columns, layers=everything).ws, columns.ws)


def test_noise_maps_are_the_rows(network):
    rows = sample(network, [1, 2], noise="random")
    mixed = mix(rows, sample(network, [3, 4]), layers=[0])
    assert torch.equal(mixed.noise[1][1], rows.noise[1][0])
    assert torch.equal(mixed.noise[1][2], rows.noise[1][1])
    assert len(list(synthesize(network, mixed))) == 4


def test_the_place_in_a_photo_is_the_rows(network):
    quad = ((5.0, 5.0), (5.0, 25.0), (25.0, 25.0), (25.0, 5.0))
    first, second = (Alignment(name, (40, 30), quad) for name in ("a.jpg", "b.jpg"))
    rows = replace(sample(network, [1, 2]), alignment=(first, second))
    columns = sample(network, [3, 4])
    assert mix(rows, columns, layers=[0]).alignment == (first, first, second, second)
    assert mix(columns, rows, layers=[0]).alignment == ()


def test_layers_that_do_not_exist_are_refused(network):
    latent = sample(network, [1])
    top = network.generator.num_ws
    for layers in ([top], [-1], []):
        with pytest.raises(GaneditError, match=f"layers 0-{top - 1}"):
            mix(latent, latent, layers=layers)


def test_latents_of_different_generators_are_refused(network):
    latent = sample(network, [1])
    with pytest.raises(GaneditError, match="different generators"):
        mix(latent, replace(latent, fingerprint="sha256:def"), layers=[0])
