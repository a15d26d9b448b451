import pytest
import torch
import torch.nn.functional as F

from ganedit.errors import GaneditError
from ganedit.features.clay_clip import load_clay_clip
from ganedit.losses.clip import (
    Prompt,
    View,
    clip_loss,
    directional_loss,
    encode_prompts,
    parse_prompt,
)


@pytest.fixture(scope="module")
def clip():
    return load_clay_clip()


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("smile face", Prompt("smile face")),
        ("smile face:0.5", Prompt("smile face", 0.5)),
        ("glasses:-1", Prompt("glasses", -1)),
        ("ratio 16:9", Prompt("ratio 16", 9)),
        ("a head: smiling", Prompt("a head: smiling")),
        ("", Prompt("")),
    ],
)
def test_a_number_after_the_last_colon_is_a_weight(typed, wanted):
    assert parse_prompt(typed) == wanted


@pytest.mark.parametrize("weight", ["0", "nan", "inf", "-inf", "1e999", "1e39", "-1e-46"])
def test_a_weight_must_be_finite_and_not_zero(weight):
    with pytest.raises(GaneditError, match="weight behind its last colon"):
        parse_prompt(f"smile:{weight}")


def test_the_score_of_one_prompt_is_its_cosine(clip):
    target = encode_prompts(clip, [Prompt("smile")])
    pictures = F.normalize(torch.randn(3, target.texts.shape[1]), dim=1)
    cosines = pictures @ clip.encode_texts(["smile"])[0]
    torch.testing.assert_close(target.score(pictures), cosines)
    torch.testing.assert_close(clip_loss(pictures, target), 1 - cosines)


def test_weights_count_relative_to_each_other(clip):
    one = encode_prompts(clip, [Prompt("smile", 3), Prompt("glasses", -1)])
    other = encode_prompts(clip, [Prompt("smile", 0.75), Prompt("glasses", -0.25)])
    pictures = F.normalize(torch.randn(2, one.texts.shape[1]), dim=1)
    torch.testing.assert_close(one.score(pictures), other.score(pictures))
    cosines = pictures @ clip.encode_texts(["smile", "glasses"]).T
    torch.testing.assert_close(one.score(pictures), 0.75 * cosines[:, 0] - 0.25 * cosines[:, 1])


def test_the_direction_leads_from_the_neutral_prompt(clip):
    direction = encode_prompts(clip, [Prompt("old")], neutral="young").direction
    old, young = clip.encode_texts(["old", "young"])
    torch.testing.assert_close(direction, F.normalize(old - young, dim=0))
    away = encode_prompts(clip, [Prompt("old", -2)], neutral="young").direction
    torch.testing.assert_close(away, -direction)


def test_a_direction_needs_two_different_texts(clip):
    with pytest.raises(GaneditError, match="say the same"):
        _ = encode_prompts(clip, [Prompt("old")], neutral="old").direction
    with pytest.raises(ValueError, match="neutral"):
        _ = encode_prompts(clip, [Prompt("old")]).direction


def test_the_directional_loss_measures_the_angle_of_the_movement():
    before, direction = torch.zeros(3, 2), torch.tensor([1.0, 0.0])
    after = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-0.1, 0.0]])
    torch.testing.assert_close(
        directional_loss(before, after, direction), torch.tensor([0.0, 1.0, 2.0])
    )


def test_a_short_movement_counts_little_and_has_a_gradient():
    after = torch.tensor([[0.01, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = directional_loss(torch.zeros(2, 2), after, torch.tensor([1.0, 0.0]), shortest=0.1)
    torch.testing.assert_close(loss, torch.tensor([0.9, 1.0]))
    loss.sum().backward()
    torch.testing.assert_close(after.grad, torch.tensor([[-10.0, 0.0], [-10.0, 0.0]]))


def test_a_view_without_movement_or_grain_is_the_picture():
    picture = torch.rand(2, 3, 16, 16)
    still = View(torch.Generator().manual_seed(0), 16, shift=0, zoom=0, grain=0)
    torch.testing.assert_close(still.of(picture), picture)
    smaller = View(torch.Generator().manual_seed(0), 8, shift=0, zoom=0, grain=0)
    torch.testing.assert_close(smaller.of(picture), F.avg_pool2d(picture, 2))


def test_all_pictures_are_shown_the_same_view():
    picture = torch.rand(1, 3, 16, 16)
    view = View(torch.Generator().manual_seed(0), 16, shift=0.1, zoom=0.1, grain=0.1)
    both = view.of(torch.cat([picture, picture]))
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[:1], view.of(picture))
    other = View(torch.Generator().manual_seed(1), 16, shift=0.1, zoom=0.1, grain=0.1)
    assert not torch.allclose(other.of(picture), view.of(picture), atol=0.05)


def test_there_must_be_a_prompt(clip):
    with pytest.raises(ValueError, match="at least one"):
        encode_prompts(clip, [])
