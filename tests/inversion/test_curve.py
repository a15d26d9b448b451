import math

import pytest
import torch

from ganedit.inversion import draw_curves, draw_loss_curve


@pytest.mark.parametrize(
    "losses",
    [
        [1.0],
        [0.5, 0.5, 0.5],
        [10 ** (-i / 10) for i in range(90)],
        [1.0, math.nan, 0.0, math.inf, 0.1],
        [],
    ],
)
def test_any_history_can_be_drawn(losses):
    picture = draw_loss_curve(losses, best_step=max(len(losses) - 1, 0), title="photo")
    assert picture.shape == (1, 3, 540, 960)
    assert picture.max() == 1


def test_the_curve_falls_from_left_to_right():
    picture = draw_loss_curve([2.0**-i for i in range(50)], best_step=49, title="")
    blue = (picture[0, 2] - picture[0, 0]) > 0.4
    rows = torch.arange(540.0)[:, None].expand_as(blue)
    left = rows[:, 100:150][blue[:, 100:150]].mean()
    right = rows[:, 850:900][blue[:, 850:900]].mean()
    assert left < 150 < 400 < right


def test_several_curves_lie_in_one_picture():
    curves = {name: [(x, k / x) for x in range(1, 200)] for k, name in enumerate("abcd", start=1)}
    picture = draw_curves(curves, title="title", below="seconds")
    assert picture.shape == (1, 3, 540, 960)
    flat = draw_curves({"a": [(1.0, 1.0)]}, title="", below="")
    assert flat.max() == 1
