import numpy as np
import pytest
import torch
from PIL import Image

from ganedit.io.depth import depth_picture, depth_scale, write_depth_npy, write_depth_png

DEPTH = torch.tensor([[0.0, 2.25004], [3.3, 6.5535]])[None, None]


def test_a_png_holds_levels_of_a_scale_that_it_tells(tmp_path) -> None:
    write_depth_png(tmp_path / "d.png", DEPTH, scale=1e-4)
    with Image.open(tmp_path / "d.png") as picture:
        assert np.array(picture).tolist() == [[0, 22500], [33000, 65535]]
        assert picture.text["Scale"] == "0.0001 world units a level"
        assert "along the ray; 0 is unknown" in picture.text["Unit"]


def test_what_is_near_does_not_become_unknown_and_what_is_far_does_not_wrap(tmp_path) -> None:
    write_depth_png(tmp_path / "d.png", torch.tensor([1e-6, 0.0, 9.0]).view(1, 1, 1, 3), scale=1e-4)
    with Image.open(tmp_path / "d.png") as picture:
        assert np.array(picture).tolist() == [[1, 0, 65535]]


@pytest.mark.parametrize(
    ("farthest", "scale"), [(0.5, 1e-4), (6.5535, 1e-4), (6.6, 1e-3), (70, 1e-2), (1e6, 100)]
)
def test_the_scale_is_the_finest_power_of_ten_that_fits(farthest, scale) -> None:
    assert depth_scale(farthest) == scale


def test_an_array_holds_world_units(tmp_path) -> None:
    write_depth_npy(tmp_path / "d.npy", DEPTH)
    array = np.load(tmp_path / "d.npy")
    assert array.dtype == np.float32
    assert array.tolist() == DEPTH[0, 0].tolist()


def test_near_is_light_and_unknown_is_black() -> None:
    grey = depth_picture(DEPTH, 2.0, 4.0)[0, 0]
    assert grey[0, 1] > grey[1, 0] > grey[1, 1] > grey[0, 0] == -1
