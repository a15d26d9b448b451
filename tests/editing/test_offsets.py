"""Style offsets on their way through every edit of latents."""

from dataclasses import replace

import pytest
import torch

from ganedit.editing import combine, fill_missing, interpolate, mix, sample, stack, synthesize
from ganedit.editing.changes import Change, apply_change
from ganedit.errors import GaneditError


def moved(network, latent, seed: int = 0):
    stream = torch.Generator().manual_seed(seed)
    layers = network.generator.style_layers
    offsets = tuple(torch.randn(len(latent), x.channels, generator=stream) for x in layers)
    return replace(latent, offsets=offsets)


def pictures(network, latent):
    return torch.cat(list(synthesize(network, latent)))


def test_offsets_change_the_picture_and_zeros_do_not(network):
    latent = sample(network, [1, 2])
    other = moved(network, latent)
    assert not torch.allclose(pictures(network, latent), pictures(network, other), atol=1e-3)
    zeros = replace(other, offsets=tuple(torch.zeros_like(x[:1]) for x in other.offsets))
    assert torch.equal(pictures(network, latent), pictures(network, zeros))


def test_offsets_of_another_generator_are_refused(network):
    latent = moved(network, sample(network, [1]))
    with pytest.raises(GaneditError, match="style offsets do not fit"):
        pictures(network, replace(latent, offsets=latent.offsets[1:]))


def test_a_stack_keeps_every_row(network):
    plain, other = sample(network, [1]), moved(network, sample(network, [2, 3]))
    stacked = stack([plain, other])
    wanted = torch.cat([pictures(network, plain), pictures(network, other)])
    torch.testing.assert_close(pictures(network, stacked), wanted, atol=1e-5, rtol=1e-4)


def test_a_path_passes_through_its_keys(network):
    plain, other = sample(network, [1]), moved(network, sample(network, [2]))
    path = interpolate([plain, other], frames=3)
    assert torch.equal(path.rows(2, 3).offsets[0], other.offsets[0])
    torch.testing.assert_close(path.rows(1, 2).offsets[0], other.offsets[0] / 2)
    torch.testing.assert_close(
        pictures(network, path.rows(0, 1)), pictures(network, plain), atol=1e-5, rtol=1e-4
    )


def test_a_combination_weighs_offsets(network):
    plain, other = sample(network, [1]), moved(network, sample(network, [2]))
    torch.testing.assert_close(
        combine([plain, other], [0.75, 0.25]).offsets[0], other.offsets[0] / 4
    )


def test_mixed_layers_bring_their_offsets(network):
    rows, columns = (moved(network, sample(network, [seed]), seed) for seed in (1, 2))
    mixed = mix(rows, columns, layers=[0, 1], network=network)
    for told, got, row, column in zip(
        network.generator.style_layers, mixed.offsets, rows.offsets, columns.offsets, strict=True
    ):
        assert torch.equal(got, column if told.layer in (0, 1) else row)
    with pytest.raises(GaneditError, match="give network"):
        mix(rows, columns, layers=[0])


def test_all_layers_of_the_column_give_its_picture(network):
    rows, columns = sample(network, [1]), moved(network, sample(network, [2]))
    mixed = mix(rows, columns, layers=range(network.generator.num_ws), network=network)
    assert torch.equal(pictures(network, mixed), pictures(network, columns))


def test_latents_whose_offsets_differ_in_shape_do_not_belong_together(network):
    latent = moved(network, sample(network, [1]))
    with pytest.raises(GaneditError, match="style offsets of different shapes"):
        stack([latent, replace(latent, offsets=latent.offsets[1:])])


def test_missing_offsets_are_zeros(network):
    plain, other = sample(network, [1]), moved(network, sample(network, [2]))
    filled = fill_missing([plain, other], None)
    assert filled[1] is other
    assert all(not bool(x.any()) for x in filled[0].offsets)


@pytest.mark.parametrize("strength", [-1.0, 0.5, 2.0])
def test_a_change_is_added_as_often_as_its_strength(network, strength):
    latent = moved(network, sample(network, [1, 2]))
    change = Change(ws=torch.ones_like(latent.ws[:1]), offsets=latent.offsets)
    edited = apply_change(latent, change, strength)
    torch.testing.assert_close(edited.ws, latent.ws + strength)
    torch.testing.assert_close(edited.offsets[0], latent.offsets[0] * (1 + strength))
    assert edited.space == "w+"
    assert edited.names == latent.names


def test_no_strength_changes_nothing(network):
    latent = sample(network, [1])
    assert apply_change(latent, Change(ws=torch.ones_like(latent.ws)), 0) is latent


def test_a_change_of_styles_leaves_the_space(network):
    latent = sample(network, [1])
    offsets = tuple(torch.ones(1, x.channels) for x in network.generator.style_layers)
    edited = apply_change(latent, Change(offsets=offsets), 0.5)
    assert edited.space == latent.space
    assert float(edited.offsets[0].max()) == 0.5
