import time

import pytest
import torch

from ganedit.data.clayheads import render, sample_factors
from ganedit.editing.background import _flood, cut_out


def test_emoji_are_cut_out_as_they_were_rendered():
    heads = render(sample_factors([2**30, 2**30 + 1, 2**30 + 2, 2**30 + 3]), style="emoji")
    truth = heads.depth.isfinite()
    found = cut_out(heads.image)[1] > 0.5
    both = (found & truth).sum((1, 2, 3))
    assert bool((both / (found | truth).sum((1, 2, 3)) > 0.97).all())


def test_mixed_edges_give_back_both_colours_and_holes_stay_filled():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij")
    radius = (x * x + y * y).sqrt()
    opacity = ((0.62 - radius) * 23.5).clamp(0, 1)  # mixed over one pixel at the edge
    colour = torch.tensor([0.9, 0.6, -0.8]).reshape(3, 1, 1)
    backdrop = torch.stack([0.3 * x - 0.4, 0.2 * y, 0.5 + 0.2 * x * x])
    image = opacity * colour + (1 - opacity) * backdrop
    image[:, radius < 0.15] = backdrop[:, radius < 0.15]  # an eye of the background's colour
    image[:, 44:, :6] = colour  # a stray blot at the border
    colours, found = cut_out(image[None])
    assert float(found[0, 0][radius < 0.5].min()) == 1
    assert float(found[0, 0][radius > 0.75].max()) == 0
    edge = (opacity > 0.3) & (opacity < 0.9)
    error = (colours[0] - colour).abs()[:, edge & (found[0, 0] > 0.5)]
    assert float(error.mean()) < 0.02
    assert float((found[0, 0] - opacity).abs()[edge].mean()) < 0.05


def test_a_picture_of_nothing_is_all_background():
    assert float(cut_out(torch.full((1, 3, 16, 16), 0.2))[1].max()) == 0


def test_a_flood_goes_round_corners_but_not_across_them():
    rows = [[1, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    mask = torch.tensor([rows, [[0] * 4, *rows[1:]]]).bool()[:, None]
    start = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    start[0, 0, 0, 0] = True
    wanted = mask[0, 0].clone()
    wanted[3, 3] = False
    assert torch.equal(_flood(mask, start)[0, 0], wanted)
    assert not _flood(mask, start)[1].any()


def test_a_large_picture_is_flooded_in_a_moment():
    mask = torch.ones(1, 1, 513, 513, dtype=torch.bool)
    mask[..., 1::4, 1:] = mask[..., 3::4, :-1] = False  # one winding path
    start = torch.zeros_like(mask)
    start[..., 0, 0] = True
    began = time.perf_counter()
    assert torch.equal(_flood(mask, start), mask)
    assert time.perf_counter() - began < 2


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"images: expected \[N, 3, H, W\]"):
        cut_out(torch.zeros(3, 16, 16))
