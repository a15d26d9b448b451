import pytest
import torch
import torch.nn.functional as F

from ganedit.errors import GaneditError
from ganedit.features.clay_clip import build_clay_clip, grammar_tokens, standard_tokenizer
from ganedit.features.clip import PHOTO_TEMPLATES, Clip, Scaling

SCALING = Scaling(side=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_clay_clip(standard_tokenizer().vocab_size).eval()


@pytest.fixture(scope="module")
def make_clip(model):
    """A CLIP with random weights; keyword arguments replace its settings."""

    def make(**settings):
        known = {"name": "random", "scaling": SCALING} | settings
        return Clip(model, standard_tokenizer(), **known)

    return make


class Passed(torch.nn.Module):
    """A model whose features are the picture that it is given."""

    def encode_image(self, images):
        return images


def prepared(scaling, images, **settings):
    return Clip(Passed(), standard_tokenizer(), name="p", scaling=scaling, **settings).prepared(
        images
    )


@pytest.mark.parametrize("size", [(64, 64), (32, 48), (130, 70)])
def test_pictures_of_any_size_become_directions_with_gradients(make_clip, size):
    images = (torch.rand(2, 3, *size) * 2 - 1).requires_grad_()
    directions = make_clip().encode_images(images)
    assert directions.shape == (2, 128)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(2))
    directions[:, 0].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in make_clip().parameters())


def test_channels_are_normalised_from_minus_one_to_one():
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    means = prepared(SCALING, images).mean(dim=(2, 3))[0]
    torch.testing.assert_close(means, torch.tensor([-2.5, 1 / 3, 1.75]))


def test_shapes_are_cropped_or_squashed_as_the_model_wants():
    wide = torch.zeros(1, 3, 64, 128)
    wide[:, :, :, :32] = 1  # what a crop of the middle leaves out
    plain = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert prepared(Scaling(64, **plain), wide).abs().max() < 1e-6
    squashed = prepared(Scaling(64, resize_mode="squash", **plain), wide)
    assert squashed.shape == (1, 3, 64, 64)
    assert (squashed[..., :14] > 0.9).all()


@pytest.mark.parametrize("side", [32, 64, 256])
def test_the_references_way_with_pictures_is_kept(side):
    scaling = Scaling(224, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    images = torch.rand(2, 3, side, side) * 2 - 1
    repeated = F.interpolate(images, scale_factor=7, mode="nearest")
    wanted = F.avg_pool2d(repeated, side // 32)
    torch.testing.assert_close(prepared(scaling, images, preprocess="reference"), wanted)


def test_the_references_way_is_refused_where_it_cannot_work(make_clip):
    with pytest.raises(GaneditError, match=r"reads 64 pixels.*224"):
        make_clip(preprocess="reference")
    scaling = Scaling(224, mean=(0.5,) * 3, std=(0.5,) * 3)
    for size in ((48, 48), (64, 96)):
        with pytest.raises(GaneditError, match="multiple of 32"):
            prepared(scaling, torch.zeros(1, 3, *size), preprocess="reference")
    with pytest.raises(ValueError, match=r"expected \[N, 3, H, W\]"):
        prepared(scaling, torch.zeros(3, 64, 64))


def test_the_8_bit_way_rounds_to_levels():
    scaling = Scaling(64, mean=(0.0,) * 3, std=(1.0,) * 3)
    levels = prepared(scaling, torch.rand(1, 3, 90, 80) * 2 - 1, preprocess="open_clip") * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


def test_a_text_is_the_same_alone_and_among_others(make_clip):
    clip = make_clip()
    together = clip.encode_texts(["a smiling face", "an old man", "bald"])
    assert together.shape == (3, 128)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(together[1:2], clip.encode_texts(["an old man"]))
    assert clip.encode_texts([]).shape == (0, 128)


def test_templates_are_averaged(make_clip):
    clip = make_clip()
    filled = [template.replace("{}", "a face") for template in PHOTO_TEMPLATES]
    mean = F.normalize(clip.encode_texts(filled).mean(dim=0), dim=0)
    torch.testing.assert_close(clip.encode_texts(["a face"], templates=PHOTO_TEMPLATES)[0], mean)


def test_mis_encoded_texts_are_repaired(make_clip):
    clip = make_clip()
    broken = "a caf\u00c3\u00a9 owner"  # UTF-8 read as Latin-1
    torch.testing.assert_close(
        clip.encode_texts([broken]), clip.encode_texts(["a caf\u00e9 owner"])
    )


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_prompts_are_refused(make_clip, text):
    with pytest.raises(GaneditError, match="prompt is empty"):
        make_clip().encode_texts(["face", text])


def test_long_prompts_are_cut_and_it_is_said(make_clip):
    clip = make_clip()
    long = "smile " * 2000
    assert clip.remarks(["smile"]) == []
    (line,) = clip.remarks([long])
    assert "2002 tokens" in line
    assert "first 77" in line
    assert len(line) < 120
    torch.testing.assert_close(clip.encode_texts([long]), clip.encode_texts(["smile " * 100]))


def test_words_that_were_never_trained_are_left_out_and_named(make_clip):
    clip = make_clip(vocabulary=frozenset(grammar_tokens()))
    assert clip.remarks(["a really angry face!", "Smile Face", "brown-haired man"]) == []
    (line,) = clip.remarks(["a robot with blond hair and a fez \U0001f600"])
    for word in ("'robot'", "'fez'", "'\U0001f600'", "--clip"):
        assert word in line
    assert "'blond'" not in line
    torch.testing.assert_close(
        clip.encode_texts(["a robot with blond hair!"]), clip.encode_texts(["a with blond hair"])
    )
    for text in ("xylophone", "\U0001f600", "!!!", "-"):
        with pytest.raises(GaneditError, match="knows none of these words"):
            clip.encode_texts([text])
