import copy

import pytest
import torch

from ganedit.editing.factorize import closed_form, convolutions, ganspace, sefa
from ganedit.errors import GaneditError
from tests.conftest import make_generator


def affine_weights(generator):
    names = dict(generator.named_parameters())
    return [names[f"synthesis.{layer.name}.affine.weight"] for layer in generator.style_layers]


@pytest.fixture(scope="module")
def planted():
    """A generator whose styles all move along one direction above all, and that direction."""
    generator = copy.deepcopy(make_generator())
    stream = torch.Generator().manual_seed(3)
    direction = torch.randn(generator.w_dim, generator=stream)
    direction[5] = -3.0  # the largest, and negative
    direction = direction / direction.norm()
    for weight in affine_weights(generator):
        noise = 0.1 * torch.randn(weight.shape, generator=stream)
        weight.copy_(noise + torch.randn(len(weight), 1, generator=stream) * direction)
    return generator, direction


@pytest.mark.parametrize("find", [sefa, closed_form])
def test_a_planted_direction_is_found_with_the_documented_sign(find, planted):
    generator, direction = planted
    found = find(generator, count=3)
    assert found.strengths[0] > 3 * found.strengths[1] >= found.strengths[2]
    first = found.directions[0]
    assert first[first.abs().argmax()] > 0
    assert torch.dot(first, -direction) > 0.99  # planted with the other sign
    assert torch.allclose(found.directions @ found.directions.mT, torch.eye(3), atol=1e-5)
    assert found.layers == tuple(range(generator.num_ws))


def test_sefa_looks_at_the_chosen_convolutions_only(planted):
    generator, direction = copy.deepcopy(planted[0]), planted[1]
    layer = generator.style_layers[convolutions(generator)[2]]
    index = generator.style_layers.index(layer)
    weight = affine_weights(generator)[index]
    other = torch.linalg.svd(direction[None])[2][-1]  # orthogonal to the planted one
    weight.copy_(torch.linspace(1, 2, len(weight))[:, None] * other)
    found = sefa(generator, layers=[2], count=1)
    assert abs(float(found.directions[0] @ other)) > 0.999
    assert found.layers == (layer.layer,)
    assert abs(float(sefa(generator, layers=[0], count=1).directions[0] @ other)) < 0.5


@pytest.mark.parametrize(("classes", "samples"), [(0, 4500), (3, 300)])
def test_ganspace_is_the_pca_of_what_it_mapped(classes, samples, monkeypatch):
    generator = make_generator(c_dim=classes)
    seen = []
    real = generator.map

    def mapped(z, c=None, **settings):
        assert (c is None) == (classes == 0)
        seen.append(real(z, c, **settings)[:, 0])
        return real(z, c, **settings)

    monkeypatch.setattr(generator, "map", mapped)
    label = torch.tensor([[0.0, 1.0, 0.0]]) if classes else None
    found = ganspace(generator, label=label, layers=[1, 3], samples=samples, count=4)
    w = torch.cat(seen).double()
    assert w.shape == (samples, generator.w_dim)
    values, vectors = torch.linalg.eigh(torch.cov(w.mT))
    assert torch.allclose(found.strengths.double(), values.flip(0)[:4], rtol=1e-5)
    cosines = (found.directions.double() * vectors.mT.flip(0)[:4]).sum(dim=1)
    assert torch.allclose(cosines.abs(), torch.ones(4).double(), atol=1e-5)
    assert found.layers == (1, 3)
    again = ganspace(generator, label=label, samples=samples, count=4)
    assert torch.equal(again.directions, found.directions)


@pytest.mark.parametrize("find", [sefa, closed_form, ganspace])
def test_counts_and_layers_that_are_not_there(find, generator):
    for count in (0, -1, 1_000_000):
        with pytest.raises(GaneditError, match=f"count: got {count}, but there are 1 to 16"):
            find(generator, count=count)
    with pytest.raises(GaneditError, match="layers: got layer 99, but the generator has layers 0-"):
        find(generator, layers=[0, 99])
    with pytest.raises(GaneditError, match="layers: got none"):
        find(generator, layers=[])
