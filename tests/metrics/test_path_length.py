import math

import numpy as np
import pytest
import torch
from torch import nn

from ganedit.errors import GaneditError
from ganedit.losses.perceptual import PerceptualDistance
from ganedit.metrics.path_length import PathLengths, path_lengths


class Linear(nn.Module):
    """A generator whose w is z scaled to length one, and whose pictures are linear in w."""

    z_dim = w_dim = 12
    num_ws = 2
    c_dim = 0
    img_channels = 3

    def __init__(self, *, gain=3.0, side=8, label_gain=0.0):
        super().__init__()
        self.img_resolution = side
        self.label_gain = label_gain
        matrix = torch.randn(
            3 * side * side, self.w_dim, generator=torch.Generator().manual_seed(0)
        )
        self.matrix = gain * torch.linalg.qr(matrix)[0]  # lengths of changes are kept, times gain
        self.w_avg = torch.zeros(self.w_dim)
        self.seen = []

    def map(self, z, c=None):
        assert z.dtype == torch.float32
        w = z / z.norm(dim=1, keepdim=True)
        if c is not None:
            w = w * (1 + self.label_gain * c[:, :1])
        return w[:, None].expand(-1, self.num_ws, -1)

    def synthesize(self, ws, *, noise):
        assert noise == "const"
        self.seen.append(ws[:, 0])
        side = self.img_resolution
        return (ws[:, 0] @ self.matrix.mT).reshape(-1, 3, side, side)


class Same(nn.Module):
    def forward(self, images):
        return [images]


def pixels(name="pixels"):
    """Sum over channels and mean over space of squared differences."""
    return PerceptualDistance(Same(), [torch.tensor(1.0)], unit_length=False, name=name)


def angles_and_chords(count, seed=0):
    """The angle between the z of each pair, and the squared distance of their w."""
    stream = torch.Generator().manual_seed(seed)
    angles, chords = [], []
    for _ in range(count):
        a, b = torch.randn(2, Linear.z_dim, generator=stream).double()
        torch.rand((), generator=stream)
        a, b = a / a.norm(), b / b.norm()
        angles.append(math.acos(float(a @ b)))
        chords.append(float((a - b).square().sum()))
    return torch.tensor(angles).double(), torch.tensor(chords).double()


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_lengths_of_a_linear_generator_are_exact(sampling):
    found = path_lengths(Linear(), pixels(), samples=20, sampling=sampling, epsilon=1e-2)
    angles, chords = angles_and_chords(20)
    scale = 3.0**2 / 8**2
    torch.testing.assert_close(found["w"].lengths, scale * chords, rtol=1e-3, atol=0)
    # On the arc a step is a chord: 2 sin(epsilon * angle / 2), for epsilon * angle.
    torch.testing.assert_close(found["z"].lengths, scale * angles**2, rtol=1e-3, atol=0)


def test_the_published_step_agrees_with_a_larger_one():
    small, large = (
        path_lengths(Linear(), pixels(), samples=10, epsilon=e)["z"].mean for e in (1e-4, 1e-2)
    )
    assert small == pytest.approx(large, rel=5e-3)


def test_one_space_alone_and_another_batch_give_the_same_lengths(monkeypatch):
    both = path_lengths(Linear(), pixels(), samples=9, sampling="full")
    monkeypatch.setattr("ganedit.generators.statistics._PIXELS", 2 * 8 * 8 * 4)  # four pairs
    alone = path_lengths(Linear(), pixels(), samples=9, sampling="full", spaces=["w"])
    assert list(alone) == ["w"]
    torch.testing.assert_close(alone["w"].lengths, both["w"].lengths, rtol=1e-2, atol=0)
    other = path_lengths(Linear(), pixels(), samples=9, sampling="full", seed=1)
    assert not torch.allclose(other["w"].lengths, both["w"].lengths, rtol=0.05)


def test_the_end_is_the_start_of_a_path_and_both_spaces_start_there():
    generator = Linear()
    path_lengths(generator, pixels(), samples=3, sampling="end")
    in_z, in_w = (ws[:3] for ws in generator.seen)
    torch.testing.assert_close(in_z, in_w)
    generator.seen.clear()
    path_lengths(generator, pixels(), samples=3, sampling="full")
    in_z, in_w = (ws[:3] for ws in generator.seen)
    assert not torch.allclose(in_z, in_w, atol=0.01)


def test_both_points_of_a_path_have_its_label():
    labels = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    settings = {"samples": 4, "epsilon": 1e-2, "spaces": ["w"]}
    plain = path_lengths(Linear(), pixels(), **settings)["w"].lengths
    labelled = path_lengths(Linear(label_gain=1.0), pixels(), labels=labels, **settings)[
        "w"
    ].lengths
    torch.testing.assert_close(labelled / plain, torch.tensor([1.0, 4.0, 1.0, 4.0]).double())


def test_the_crop_is_the_reference_s():
    class Corner(Linear):
        """Changes outside rows 6 to 13 and columns 4 to 11 of 16."""

        def synthesize(self, ws, *, noise):
            images = super().synthesize(ws, noise=noise).clone()
            images[:, :, 6:14, 4:12] = 0
            return images

    whole = path_lengths(Corner(side=16), pixels(), samples=3)
    cropped = path_lengths(Corner(side=16), pixels(), samples=3, crop=True)
    assert whole["w"].mean > 0
    assert cropped["w"].mean == 0


def test_large_pictures_are_reduced_by_the_factor_of_the_whole():
    class Board(Linear):
        """A board of two colours, pixel by pixel: grey when it is reduced."""

        def synthesize(self, ws, *, noise):
            rows = torch.arange(512)
            board = ((rows[:, None] + rows) % 2 * 2 - 1.0).expand(len(ws), 3, 512, 512)
            return board * ws[:, 0, 0].reshape(-1, 1, 1, 1)

    generator = Board()
    generator.img_resolution = 512
    found = path_lengths(generator, pixels(), samples=2, spaces=["w"], crop=True)
    assert found["w"].mean < 1e-6  # 256 pixels are cropped out, and still reduced


def test_the_extremes_are_left_out_as_numpy_s_percentiles_say():
    lengths = torch.randn(1234, generator=torch.Generator().manual_seed(0)).double().exp()
    found = PathLengths(lengths[torch.randperm(1234)], 0.0)
    low = np.percentile(lengths.numpy(), 1, method="lower")
    high = np.percentile(lengths.numpy(), 99, method="higher")
    inside = lengths[(lengths >= low) & (lengths <= high)]
    assert len(found.kept) == len(inside) < 1234
    assert found.mean == pytest.approx(float(inside.mean()))


def test_the_standard_error_is_that_of_repetitions():
    stream = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 500, generator=stream).double().exp()
    found = [PathLengths(row, 0.0) for row in rows]
    spread = torch.tensor([lengths.mean for lengths in found]).std()
    told = torch.tensor([lengths.standard_error for lengths in found]).mean()
    assert float(told) == pytest.approx(float(spread), rel=0.15)


@pytest.mark.parametrize(
    "settings",
    [{"samples": 0}, {"samples": 1}, *({"epsilon": e} for e in (0.0, -1.0, 2.0, math.nan))],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected samples >= 2 and epsilon"):
        path_lengths(Linear(), pixels(), **{"samples": 4, **settings})


def test_small_and_broken_pictures_are_refused():
    with pytest.raises(GaneditError, match="at least 16 pixels a side, and here are 8"):
        path_lengths(Linear(), pixels("lpips"), samples=2)
    with pytest.raises(GaneditError, match=r"here are 4; .* or the whole pictures"):
        path_lengths(Linear(), pixels("clay"), samples=2, crop=True)
    with pytest.raises(GaneditError, match="not finite"):
        path_lengths(Linear(gain=math.nan), pixels(), samples=2)
    four = Linear()
    four.img_channels = 4
    with pytest.raises(GaneditError, match="have 4 channels"):
        path_lengths(four, pixels(), samples=2)
