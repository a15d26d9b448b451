import random
import re
from collections.abc import Callable

import pytest
import torch

from ganedit.data.clayheads import (
    CLAIMS,
    FACTOR_INDEX,
    FACTORS,
    Caption,
    grammar_words,
    holds,
    sample_factors,
    say,
    together,
    true_claims,
    vary_caption,
)

Head = dict[str, float]

# Written independently of the table: where a phrase stands in a caption, this is so.
MEANINGS: dict[str, Callable[[Head], bool]] = {
    r"(smil|(?<!un)happy|cheer|joy|grin|laugh|beaming)": lambda h: h["smile"] >= 0.2,
    r"(frown|sad|unhappy|gloomy)": lambda h: h["smile"] <= -0.2,
    r"(furious|grim\b|fury)": lambda h: h["smile"] < -1 / 3 and h["brows"] < -1 / 3,
    r"(angry|anger|mad\b|rage|enraged)": lambda h: h["brows"] <= -0.2,
    r"really angry": lambda h: h["brows"] <= -2 / 3,
    r"(surpris|astonish|amaz|raised)": lambda h: h["brows"] >= 0.2,
    r"(shock|stunned)": lambda h: h["brows"] > 1 / 3 and h["mouth_open"] > 1 / 3,
    r"(big|wide) smile": lambda h: h["smile"] > 2 / 3,
    r"(neutral|serious|calm)": lambda h: abs(h["smile"]) < 0.2 and abs(h["brows"]) < 0.2,
    r"(open mouth|mouth open)": lambda h: h["mouth_open"] > 0.25,
    r"(closed mouth|mouth closed|mouth shut)": lambda h: h["mouth_open"] < 0.1,
    r"(\bold\b|elderly|(?<![-\w])aged\b|grand|wrinkled)": lambda h: h["age"] > 0.65,
    r"(young|youth|girl|smooth)": lambda h: h["age"] < 1 / 3,
    r"middle": lambda h: 1 / 3 < h["age"] < 2 / 3,
    r"\b(woman|lady|she|girl|female|grandm\w+)": lambda h: h["lips"] >= 0.5,
    r"\b(man|guy|gentleman|he|male|grandf\w+)\b": lambda h: h["lips"] < 0.5,
    r"(dark|brown)(-| )(skin|complexion)": lambda h: h["skin_tone"] > 0.65,
    r"(pale|light|fair)(-| )(skin|complexion)": lambda h: h["skin_tone"] < 1 / 3,
    r"(bald|hairless|no hair|without hair)": lambda h: h["hair_style"] == 0,
    r"short (?!face)(\w+ )?hair": lambda h: h["hair_style"] == 1,
    r"long (\w+ )?hair": lambda h: h["hair_style"] == 2,
    r"\bbun\b": lambda h: h["hair_style"] == 3,
    r"(blond|golden)": lambda h: (
        h["hair_colour"] > 0.85 and h["grey"] < 0.5 and h["hair_style"] > 0
    ),
    r"(black|dark) hair": lambda h: h["hair_colour"] < 0.36 and h["grey"] < 0.5,
    r"(red|ginger|orange)(-| )hair": lambda h: 0.6 < h["hair_colour"] < 0.85 and h["grey"] < 0.5,
    r"(grey|gray|silver|white)(-| )hair": lambda h: h["grey"] > 0.5 and h["hair_style"] > 0,
    r"(glasses|eyeglasses|spectacle)": lambda h: h["glasses"] == 1,
    r"(beard|facial hair|unshaven)": lambda h: h["beard"] > 1 / 3,
    r"(full|thick|big|bushy) beard": lambda h: h["beard"] > 2 / 3,
    r"(clean-shaven|shaved)": lambda h: h["beard"] < 0.1 and h["lips"] < 0.5,
    r"(looking|facing|turned|look) (to the )?left": lambda h: h["yaw"] >= 0.2,
    r"(looking|facing|turned|look) (to the )?right": lambda h: h["yaw"] <= -0.2,
    r"far (left|right)": lambda h: abs(h["yaw"]) > 0.35,
    r"(?<!close-)\bup(ward|wards)?\b": lambda h: h["pitch"] > 0.08,
    r"\bdown(ward|wards)?\b": lambda h: h["pitch"] < -0.08,
    r"(frontal|straight|the camera)": lambda h: abs(h["yaw"]) < 0.11 and abs(h["pitch"]) < 0.08,
    r"from the left": lambda h: h["light"] < -1 / 3,
    r"from the right": lambda h: h["light"] > 1 / 3,
    r"(big|large) eyes": lambda h: h["eye_size"] > 1 / 3,
    r"(small|little) eyes": lambda h: h["eye_size"] < -1 / 3,
    r"blue(-| )eye": lambda h: h["iris"] > 0.8,
    r"(big|large|long) nose": lambda h: h["nose_size"] > 1 / 3,
    r"square jaw": lambda h: h["jaw"] > 1 / 3,
    r"red background": lambda h: h["background"] < 0.1 or h["background"] > 0.9,
    r"blue shirt": lambda h: 0.5 < h["clothing"] < 0.75,
}

# What denies the words that it stands before.
DENIED = r"(not( wearing)? |no |without( a)? )"

DENIALS: dict[str, Callable[[Head], bool]] = {
    r"(not smiling|without a smile|not happy)": lambda h: h["smile"] < 0.15,
    r"(not sad|not frowning)": lambda h: h["smile"] > -0.15,
    r"(not angry|not mad)": lambda h: h["brows"] > -0.15,
    r"(not surprised|without surprise)": lambda h: h["brows"] < 0.15,
    r"not old": lambda h: h["age"] <= 0.5,
    r"not young": lambda h: h["age"] >= 0.4,
    r"(no wrinkles|without wrinkles)": lambda h: h["age"] < 1 / 3,
    r"not bald": lambda h: h["hair_style"] > 0,
    r"(no|without|not wearing) (glasses|spectacles|eyeglasses)": lambda h: h["glasses"] == 0,
    r"(no|without|without a) (beard|facial hair)": lambda h: h["beard"] < 0.1,
}


@pytest.fixture(scope="module")
def captions() -> list[tuple[Head, Caption]]:
    """Captions of the prior's heads, and of others from all over the ranges."""
    stream = torch.Generator().manual_seed(0)
    low, high = (torch.tensor([getattr(f, end) for f in FACTORS]) for end in ("low", "high"))
    even = low + (high - low) * torch.rand(700, len(FACTORS), generator=stream)
    for name in ("hair_style", "glasses"):
        even[:, FACTOR_INDEX[name]].round_()
    rows = torch.cat([sample_factors(range(700)), even])
    words = random.Random(0)
    heads = [dict(zip(FACTOR_INDEX, row, strict=True)) for row in rows.tolist()]
    truth = true_claims(rows).tolist()
    claims = [[c for c, true in zip(CLAIMS, row, strict=True) if true] for row in truth]
    return [(h, say(c, words)) for h, c in zip(heads, claims, strict=True) for _ in range(6)]


@pytest.mark.parametrize("words", MEANINGS)
def test_a_word_is_only_said_where_it_is_true(words, captions):
    plain = [(head, re.sub(DENIED + words, "", caption.text)) for head, caption in captions]
    said = [(head, text) for head, text in plain if re.search(words, text)]
    assert said, "is never said"
    assert [text for head, text in said if not MEANINGS[words](head)] == []


@pytest.mark.parametrize("words", DENIALS)
def test_a_denial_is_only_said_where_it_is_true(words, captions):
    said = [(h, c.text) for h, c in captions if re.search(words, c.text)]
    assert said, "is never said"
    assert [text for head, text in said if not DENIALS[words](head)] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("smiling", "frowning"),
        ("angry", "surprised"),
        ("angry", "not angry"),
        ("old", "young"),
        ("old", "not old"),
        ("bald", "long hair"),
        ("bald", "blond hair"),
        ("blond hair", "black hair"),
        ("grey hair", "blond hair"),
        ("glasses", "no glasses"),
        ("a beard", "no beard"),
        ("a beard", "clean-shaven"),
        ("looking left", "looking right"),
        ("looking up", "looking down"),
        ("dark skin", "light skin"),
        ("woman", "man"),
        ("a big nose", "a small nose"),
    ],
)
def test_opposites_are_never_true_of_one_head(one, other):
    first, second = ([c for c in CLAIMS if words in c.phrases()] for words in (one, other))
    assert first
    assert second
    truth = true_claims(sample_factors(range(2000)))
    for a in first:
        for b in second:
            assert not (truth[:, CLAIMS.index(a)] & truth[:, CLAIMS.index(b)]).any()


def test_every_claim_is_true_of_some_head_and_within_the_ranges():
    ranges = {factor.name: factor for factor in FACTORS}
    for claim in CLAIMS:
        assert claim.about == "sex" or claim.about in ranges
        for name, (low, high) in claim.where.items():
            turn = 0.5 * (ranges[name].unit == "turn")
            assert ranges[name].low - turn <= low <= high <= ranges[name].high + turn
    truth = true_claims(sample_factors(range(3000)))
    assert truth.any(dim=0).all()


def test_conditions_hold_as_a_plain_comparison_says():
    factors = sample_factors(range(50))
    where = {"smile": (-0.2, 0.4), "background": (-0.1, 0.1)}
    for row, held in zip(factors, holds([where], factors)[0], strict=True):
        smile, hue = float(row[FACTOR_INDEX["smile"]]), float(row[FACTOR_INDEX["background"]])
        assert bool(held) == (-0.2 <= smile <= 0.4 and (hue <= 0.1 or hue >= 0.9))
    assert holds([], factors).shape == (0, 50)
    assert holds([{}], factors).all()


def test_a_caption_holds_for_its_own_head_and_says_which_others():
    factors = sample_factors(range(40))
    words = random.Random(1)
    captions = [vary_caption(row, words) for row in factors]
    truth = holds([caption.where for caption in captions], factors)
    assert truth.diagonal().all()
    assert 0.02 < truth.float().mean() < 0.5


def test_the_same_stream_says_the_same():
    row = sample_factors([3])[0]
    first, again, other = (
        [vary_caption(row, stream).text for _ in range(20)]
        for stream in (random.Random(5), random.Random(5), random.Random(6))
    )
    assert first == again
    assert first != other
    assert len(set(first)) > 12


def test_more_can_be_said_on_request():
    row = sample_factors([3])[0]
    words = random.Random(0)
    counts = [len(vary_caption(row, words, count=count).where) for count in (1, 99)]
    assert counts[0] <= 3
    assert counts[1] >= 10


def test_two_claims_hold_where_both_do():
    both = together([CLAIMS[0], CLAIMS[0]])
    assert both == dict(CLAIMS[0].where)
    (one,), (other,) = ([c for c in CLAIMS if w in c.phrases()] for w in ("not old", "not young"))
    assert together([one, other])["age"] == (0.4, 0.5)


def test_the_list_of_words_is_complete(captions):
    known = set(grammar_words())
    for _, caption in captions:
        assert set(re.findall(r"[a-z]+|[^a-z\s]+", caption.text)) <= known
