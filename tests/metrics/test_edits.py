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


def test_the_score_counts_what_was_named_apart_from_the_rest():
    case = next(case for case in EDIT_CASES if case.prompt == "young")
    changes = torch.zeros(2, len(FACTORS))
    changes[:, FACTOR_INDEX["age"]] = torch.tensor([-0.5, 0.5])
    changes[:, FACTOR_INDEX["grey"]] = 1.0  # named, too
    changes[0, FACTOR_INDEX["yaw"]] = -0.46
    score = score_edits(case, changes)
    assert score.right == 0.5
    assert score.moved == pytest.approx(0.0)
    assert score.others == pytest.approx(0.46 / 2 / (len(FACTORS) - 2))
