import math

import pytest
import torch

from ganedit.data.clayheads.factors import FACTORS
from ganedit.features import load_clay_features, load_clip
from ganedit.metrics.directions import (
    Meter,
    clay_meter,
    clip_meter,
    measure_effects,
    name_directions,
    purity,
    rising,
)


class Linear:
    """A generator of one-pixel pictures: red is what latent 0 says, green what latent 1 says."""

    z_dim = w_dim = 2
    num_ws = 3
    c_dim = 0
    img_resolution = 1
    w_avg = torch.zeros(2)

    def __init__(self):
        self.labels = []

    def map(self, z, c=None, *, truncation_psi=1.0):
        self.labels.append(c)
        return 0.01 * truncation_psi * z[:, None].expand(-1, 3, -1)

    def synthesize(self, ws):
        pixels = torch.stack([ws[:, 0].sum(1), ws[:, 1].sum(1), 0 * ws[:, 2, 0]], dim=1)
        return pixels[:, :, None, None]


COLOURS = Meter(("red", "green", "blue"), "levels", lambda a, b: (b - a)[:, :, 0, 0])


def test_effects_are_slopes_of_the_layers_that_move():
    vectors = torch.tensor([[[0.1, 0.0]], [[0.0, 0.2]]])
    effects = measure_effects(Linear(), vectors, [(), (1, 2)], COLOURS, heads=3)
    assert torch.allclose(effects, torch.tensor([[0.1, 0.1, 0], [0, 0.2, 0]]), atol=1e-6)
    rows = torch.tensor([[[0.1, 0.0], [0.0, -0.2], [5.0, 5.0]]])
    own = measure_effects(Linear(), rows, [()], COLOURS, heads=3, degree=0.5)
    assert torch.allclose(own, torch.tensor([[0.1, -0.2, 0]]), atol=1e-6)


def test_conditional_generators_get_their_label():
    generator = Linear()
    label = torch.tensor([[0.0, 1.0]])
    measure_effects(generator, torch.ones(1, 1, 2), [()], COLOURS, heads=4, label=label)
    assert torch.equal(generator.labels[0], label.expand(4, 2))


@pytest.mark.parametrize(
    ("vectors", "layers", "message"),
    [
        (torch.ones(1, 2, 2), [()], "expected"),
        (torch.ones(1, 1, 3), [()], "expected"),
        (torch.ones(2, 1, 2), [()], "expected 2 entries, got 1"),
    ],
)
def test_other_shapes_are_refused(vectors, layers, message):
    with pytest.raises(ValueError, match=message):
        measure_effects(Linear(), vectors, layers, COLOURS)


@pytest.mark.parametrize("settings", [{"heads": 0}, {"degree": 0.0}, {"degree": math.nan}])
def test_nothing_to_measure_is_refused(settings):
    with pytest.raises(ValueError, match="expected heads"):
        measure_effects(Linear(), torch.ones(1, 1, 2), [()], COLOURS, **settings)


EFFECTS = torch.tensor([[0.1, -0.6, 0.1], [0.3, 0.2, -0.29], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])


def test_purity_and_sign():
    assert torch.allclose(purity(EFFECTS), torch.tensor([0.75, 0.3 / 0.79, 1.0, 0.0]), atol=1e-6)
    assert rising(EFFECTS).tolist() == [-1, 1, 1, 1]


def test_names_tell_what_moves_and_differ():
    assert name_directions(EFFECTS[:3], ["age", "smile", "yaw"]) == ("smile", "age-yaw", "smile-2")
    assert name_directions(-EFFECTS[1:2], ["age", "smile", "yaw"]) == ("age-yaw",)
    # A number added to a name may be somebody else's name.
    twice = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert len(set(name_directions(twice, ["smile", "smile-2"]))) == 3


def test_names_can_be_typed_and_stored():
    from ganedit.io.directions import Directions

    phrases = ["a=b: c", "7", "x" * 200, "\x07", "y" * 200]
    effects = torch.cat([torch.eye(5), torch.ones(3, 5)])
    names = name_directions(effects, phrases)
    Directions(vectors=torch.ones(8, 1, 4), layers=((),) * 8, names=names)
    assert names[0] == "a b c"


def test_the_meters_read_pictures():
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    clay = clay_meter(load_clay_features())
    clip = clip_meter(load_clip("clay-clip"), ["smile", "glasses"])
    assert clay.names == tuple(factor.name for factor in FACTORS)
    for meter in (clay, clip):
        there, back = meter.read(pictures[:1], pictures[1:]), meter.read(pictures[1:], pictures[:1])
        assert there.shape == (1, len(meter.names))
        assert bool(there.any())
        assert torch.allclose(there, -back, atol=1e-5)
    with pytest.raises(ValueError, match="expected different ones"):
        clip_meter(load_clip("clay-clip"), ["smile", "smile"])
