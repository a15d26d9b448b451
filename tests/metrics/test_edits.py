import pytest
import torch

from ganedit.data.clayheads import render, sample_factors
from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS
from ganedit.features.clay import load_clay_features
from ganedit.metrics.edits import (
    EDIT_CASES,
    MOVED,
    factor_changes,
    largest_changes,
    pick_heads,
    score_edits,
)

SEEDS = range(2**30, 2**30 + 8)


def test_true_changes_are_read_off_pictures():
    features = load_clay_features()
    before = sample_factors(SEEDS)
    after = before.clone()
    after[:, FACTOR_INDEX["smile"]] = 1.0
    wanted = (after - before)[:, FACTOR_INDEX["smile"]] / 2
    pictures = [render(heads, resolution=64).image for heads in (before, after)]
    changes = factor_changes(features, *pictures)
    assert float((changes[:, FACTOR_INDEX["smile"]] - wanted).abs().mean()) < 0.1
    assert next(iter(largest_changes(changes[0]))) == "smile"


def test_a_turn_counts_the_short_way_round():
    class Fixed:
        def __init__(self):
            self.hues = iter([0.95, 0.05])

        def predict(self, images):
            factors = torch.zeros(1, len(FACTORS))
            factors[:, FACTOR_INDEX["background"]] = next(self.hues)
            return type("Prediction", (), {"factors": factors})

    picture = torch.zeros(1, 3, 8, 8)
    changes = factor_changes(Fixed(), picture, picture)
    # The first call is for the picture after the edit.
    assert changes[0, FACTOR_INDEX["background"]].item() == pytest.approx(-0.1, abs=1e-6)


@pytest.mark.parametrize("case", EDIT_CASES, ids=lambda case: case.prompt)
def test_heads_are_picked_that_can_move(case):
    seeds = pick_heads(case, 4)
    assert len(set(seeds)) == 4
    assert min(seeds) >= 2**30
    factor = FACTORS[FACTOR_INDEX[case.factor]]
    values = sample_factors(seeds)[:, FACTOR_INDEX[case.factor]]
    end = factor.high if case.towards > 0 else factor.low
    assert bool(((end - values).abs() >= MOVED * (factor.high - factor.low) - 1e-6).all())


class Readings:
    """Reads what it is shown: pictures whose first channel is a list of factors."""

    def predict(self, images):
        return type("Prediction", (), {"factors": images[:, 0, 0]})


def heads(**factors):
    values = torch.zeros(2, 3, 1, len(FACTORS))
    for name, value in factors.items():
        values[:, 0, 0, FACTOR_INDEX[name]] = torch.tensor(value)
    return values


def case_of(prompt):
    return next(case for case in EDIT_CASES if case.prompt == prompt)


def test_the_score_counts_what_was_named_apart_from_the_rest():
    before = heads(age=[0.9, 0.3], grey=[1.0, 1.0], yaw=[0.1, 0.1])
    after = heads(age=[0.4, 0.8], grey=[0.0, 0.0], yaw=[0.1 + 0.46 * 1.2, 0.1])
    score = score_edits(case_of("young"), Readings(), before, after)
    assert score.right == 0.5
    assert score.moved == pytest.approx(0.0, abs=1e-6)
    assert score.others == pytest.approx(0.46 / 2 / (len(FACTORS) - 2), abs=1e-6)


def test_another_style_of_hair_is_not_bald():
    before = heads(hair_style=[3.0, 1.0])
    after = heads(hair_style=[1.0, 0.0])
    assert score_edits(case_of("bald"), Readings(), before, after).right == 0.5
