import pytest
import torch

from ganedit.io.sheets import labelled_table


def test_pictures_stand_in_rows_beside_their_text():
    colours = torch.linspace(-0.8, 0.8, 6)
    images = colours[:, None, None, None].expand(6, 3, 8, 8)
    sheet = labelled_table(images, ["a\nb", "c"], ["1", "2", "3"], min_side=16)
    side, height = 16, sheet.shape[2]
    pictures = sheet[:, :, height - 2 * side :, sheet.shape[3] - 3 * side :]
    centres = pictures[0, 0, 8::16, 8::16]
    assert torch.allclose(centres, colours.reshape(2, 3))
    text = sheet[:, :, height - 2 * side :, : sheet.shape[3] - 3 * side]
    for row in text.split(side, dim=2):
        assert (row < 0).any()  # something is written
        assert (row == 1).float().mean() > 0.5


def test_long_texts_are_shortened_and_counts_checked():
    images = torch.zeros(2, 3, 32, 32)
    usual = labelled_table(images, ["x"], ["1", "2"])
    assert labelled_table(images, ["x" * 500], ["1" * 500, "2"]).shape == usual.shape
    with pytest.raises(ValueError, match="expected 2 rows of 2"):
        labelled_table(images, ["x", "y"], ["1", "2"])
