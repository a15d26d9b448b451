import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.editing import sample, synthesize
from ganedit.editing.changes import Change, apply_change
from ganedit.editing.directions import (
    bind_directions,
    channel_change,
    direction_change,
    find_directions,
    latent_axes,
    sample_labels,
    scales_of,
    sum_changes,
)
from ganedit.errors import GaneditError
from ganedit.generators.statistics import map_samples
from ganedit.io.directions import Directions, load_directions, save_directions


def vectors(count=3, rows=1):
    return torch.randn(count, rows, 16, generator=torch.Generator().manual_seed(count + rows))


def foreign(found, **fields):
    count = len(found)
    return Directions(found, ((),) * count, tuple(map(str, range(count))), **fields)


@pytest.fixture
def directions(network):
    """Bound ones, the second for two layers."""
    found = replace(foreign(vectors()), layers=((), (1, 4), ()))
    return bind_directions(found, network)


# Scales


def test_a_scale_is_the_deviation_of_the_latents_in_lengths_of_the_vector(generator):
    found = vectors()
    w = map_samples(generator)
    along = w @ found[:, 0].T / found[:, 0].square().sum(dim=1)  # [SAMPLES, K]
    axes = latent_axes(generator)
    scales = scales_of(found, [(), (0, 3), (2,)], axes)
    torch.testing.assert_close(scales, along.std(dim=0, correction=0))
    torch.testing.assert_close(scales_of(5 * found, [()] * 3, axes), scales / 5)
    same_in_all = found.expand(-1, 6, -1)
    torch.testing.assert_close(scales_of(same_in_all, [(), (0, 3), (2,)], axes), scales)


def test_with_a_vector_for_each_layer_layers_are_looked_at_one_by_one(generator):
    found = vectors(1, rows=6)
    used = found[0, [1, 4]]
    lengths = used.norm(dim=1)
    deviations = (map_samples(generator) @ (used / lengths[:, None]).mT).std(dim=0, correction=0)
    fit = torch.linalg.lstsq(lengths[:, None], deviations[:, None]).solution[0, 0]
    axes = latent_axes(generator)
    torch.testing.assert_close(scales_of(found, [(1, 4)], axes)[0], fit)
    against = found * torch.tensor([1.0, 1, 1, 1, -1, 1])[:, None]  # each layer has its own w
    torch.testing.assert_close(scales_of(against, [(1, 4)], axes)[0], fit)


def test_the_embedded_scales_are_these():
    clay = load_network("clay", device="cpu")
    found = find_directions(clay)
    scales = scales_of(found.vectors, found.layers, latent_axes(clay.generator))
    torch.testing.assert_close(scales, found.scales, rtol=1e-5, atol=0)


def test_the_classes_of_a_conditional_network_count_alike(class_network_path, network):
    conditional = load_network(class_network_path, device="cpu")
    labels = sample_labels(conditional)
    assert labels.sum(dim=0).max() - labels.sum(dim=0).min() <= 1
    assert bind_directions(foreign(vectors()), conditional).scales.shape == (3,)
    assert sample_labels(network) is None


# Whose they are


def test_directions_of_the_network_and_of_its_ancestors_fit(network):
    own = foreign(vectors(), scales=torch.tensor([1.0, 2.0, 3.0]), fingerprint=network.fingerprint)
    own = replace(own, effects=({"smile": 0.5},) * 3)
    assert torch.equal(bind_directions(own, network).scales, own.scales)
    assert bind_directions(own, network).effects == own.effects
    told = {"provenance": {"adapted_from": ["sha256:parent"]}}
    child = replace(network, metadata=network.metadata | told)
    bound = bind_directions(replace(own, fingerprint="sha256:parent"), child)
    assert bound.fingerprint == network.fingerprint
    assert bound.effects == ()  # they were seen on the parent


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (foreign(vectors(), fingerprint="sha256:1", network="moon"), "directions of moon"),
        (foreign(torch.ones(2, 1, 8)), "1 vector of 8, but .* takes 6 of 16"),
        (foreign(vectors(2, rows=4)), "4 vectors of 16"),
        (replace(foreign(vectors()), layers=((), (6,), ())), "layer 6, but .* 0 to 5"),
        (foreign(torch.stack([vectors(1)[0], -vectors(1)[0]], dim=1)), "2 vectors of 16"),
        (foreign(vectors() * 1e-42), "above 0"),
    ],
)
def test_directions_that_do_not_fit_are_one_line(network, found, told):
    found = replace(found, fingerprint=found.fingerprint or network.fingerprint)
    with pytest.raises(GaneditError, match=told) as caught:
        bind_directions(found, network, name="a.pt")
    assert str(caught.value).startswith("a.pt: ")


def test_where_latents_do_not_vary_there_is_no_scale(network):
    axes = latent_axes(network.generator)
    axes[:, 3] = 0
    along = torch.zeros(2, 1, 16)
    along[0, 0, 5] = along[1, 0, 3] = 1
    with pytest.raises(GaneditError, match="do not vary along direction 1"):
        bind_directions(foreign(along), network, axes=axes)


def test_a_table_in_a_foreign_file_is_a_direction_a_row_unless_it_has_the_networks_layers(network):
    rows = vectors(1, rows=4)
    bound = bind_directions(foreign(rows), network)
    assert torch.equal(bound.vectors, rows.transpose(0, 1))
    assert bound.find("3") == 3
    assert len(bind_directions(foreign(vectors(1, rows=6)), network)) == 1


def test_embedded_directions_are_found_by_the_network(network, tmp_path, monkeypatch):
    from ganedit.assets import Asset

    own = foreign(vectors(), fingerprint=network.fingerprint)
    for name, found in {"a": replace(own, fingerprint="sha256:other"), "b": own}.items():
        save_directions(tmp_path / f"{name}.pt", found)
    assets = {
        name: Asset(name, tmp_path / f"{name}.pt", tmp_path / f"{name}.md", "directions")
        for name in ("gone", "a", "b")
    }
    monkeypatch.setattr("ganedit.editing.directions.embedded", lambda: assets)
    assert torch.equal(find_directions(network).vectors, own.vectors)
    assert find_directions(replace(network, fingerprint="sha256:nobody")) is None


# Edits


def test_a_degree_is_a_standard_deviation_on_the_directions_layers(directions):
    change = direction_change(directions, 1, -2.5, num_ws=6).ws
    expected = torch.zeros(1, 6, 16)
    expected[:, [1, 4]] = -2.5 * directions.scales[1] * directions.vectors[1]
    torch.testing.assert_close(change, expected)


def test_other_layers_can_be_named(directions):
    change = direction_change(directions, 1, 1.0, num_ws=6, layers=[0, 5]).ws
    moved = change.abs().amax(dim=(0, 2)).bool().tolist()
    assert moved == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("index", "layers", "told"),
    [
        (3, None, "no direction 3"),
        (0, [6], "no layer 6"),
        (0, [-1], "no layer -1"),
        (0, [], "left"),
    ],
)
def test_an_edit_that_is_not_there_is_one_line(directions, index, layers, told):
    with pytest.raises(GaneditError, match=told):
        direction_change(directions, index, 1.0, num_ws=6, layers=layers)


def test_degrees_must_be_finite_and_scales_known(directions, generator):
    for degree in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            direction_change(directions, 0, degree, num_ws=6)
        with pytest.raises(ValueError, match="finite"):
            channel_change(generator, "b8.conv0", 0, degree)
    with pytest.raises(ValueError, match="bind_directions"):
        direction_change(foreign(vectors()), 0, 1.0, num_ws=6)


def test_a_channel_moves_by_deviations_of_its_style(network):
    generator = network.generator
    names = [layer.name for layer in generator.style_layers]
    index = names.index("b8.conv0")
    change = channel_change(generator, "b8.conv0", 5, 3.0)
    ws = map_samples(generator)[:, None].expand(-1, generator.num_ws, -1)
    deviation = generator.styles(ws)[index][:, 5].std(correction=0)
    assert change.ws is None
    torch.testing.assert_close(change.offsets[index][0, 5], 3 * deviation)
    assert sum(int(offset.count_nonzero()) for offset in change.offsets) == 1
    latent = sample(network, [1])
    before, after = (next(synthesize(network, x)) for x in (latent, apply_change(latent, change)))
    assert not torch.equal(before, after)


def test_a_channel_that_is_not_there_is_one_line(generator):
    with pytest.raises(GaneditError, match=r"no style layer b9\.conv0; there are b4"):
        channel_change(generator, "b9.conv0", 0, 1.0)
    with pytest.raises(GaneditError, match="no channel 8, but 0 to 7"):
        channel_change(generator, "b8.conv0", 8, 1.0)


def test_edits_add_up(directions, generator):
    changes = [
        direction_change(directions, 0, 1.0, num_ws=6),
        direction_change(directions, 1, -2.0, num_ws=6),
        channel_change(generator, "b8.conv0", 1, 2.0),
        channel_change(generator, "b16.conv1", 0, 2.0),
    ]
    total = sum_changes(changes)
    torch.testing.assert_close(total.ws, changes[0].ws + changes[1].ws)
    for layer, first, second in zip(
        total.offsets, changes[2].offsets, changes[3].offsets, strict=True
    ):
        torch.testing.assert_close(layer, first + second)
    rows = Change(ws=torch.ones(4, 6, 16))
    assert sum_changes([changes[0], rows]).ws.shape == (4, 6, 16)
    assert (sum_changes([]).ws, sum_changes([]).offsets) == (None, None)


def test_the_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "edit.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/edit.md", "exec"), {})
    assert load_directions("sefa.pt").find("second") == 1
    assert Path("edited.png").stat().st_size > 1000
