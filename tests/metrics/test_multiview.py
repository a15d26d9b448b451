import math

import pytest
import torch

from ganedit.data.clayheads import sample_factors
from ganedit.features import load_clay_features
from ganedit.losses.identity import IDENTITY
from ganedit.metrics.multiview import clay_views, measure_views, volume_views
from tests.conftest import make_triplane

YAWS = [math.radians(yaw) for yaw in (-25.0, -5.0, 25.0)]


@pytest.fixture(scope="module")
def features():
    return load_clay_features()


def test_heads_of_the_clay_world_turn_as_asked_and_stay_who_they_are(features) -> None:
    found = measure_views(clay_views(sample_factors(range(2**30, 2**30 + 4))), YAWS, features)
    assert found.yaws == pytest.approx((-25, -5, 25))
    assert found.slope == pytest.approx(1, abs=0.1)
    assert found.read == pytest.approx((-25, -5, 25), abs=5)
    assert 0.3 < found.error < 5  # degrees
    assert set(found.spread) == set(found.between) == set(IDENTITY)
    assert sum(found.spread.values()) < sum(found.between.values()) / 2


def test_a_world_seen_from_the_wrong_side_has_a_slope_of_minus_one(features) -> None:
    draw = clay_views(sample_factors(range(2**30, 2**30 + 4)))
    found = measure_views(lambda yaw: draw(-yaw), YAWS, features)
    assert found.slope == pytest.approx(-1, abs=0.1)
    assert found.error > 20


def test_a_volume_is_seen_from_the_yaw_that_is_asked() -> None:
    generator = make_triplane()
    with torch.no_grad():
        generator.decoder.net[2].bias[0] = 3
        ws = generator.map(torch.ones(2, 16))
        drawn = volume_views(generator, ws)(0.4)
        alone = generator.synthesize(ws, camera=generator.cameras_at([0.4], [0.0]))
    torch.testing.assert_close(drawn, alone.clamp(-1, 1))
