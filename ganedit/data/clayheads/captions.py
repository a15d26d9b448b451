"""Factors into words: one fixed caption a head, or as many as people would type."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ganedit.data.clayheads.claims import CLAIMS, Claim, Interval, together, true_claims
from ganedit.data.clayheads.factors import FACTOR_INDEX, HAIR_STYLES

_PERSONS = ("person", "face", "head", "human", "character")
_OPENINGS = (
    "a photo of {}",
    "a picture of {}",
    "a portrait of {}",
    "an image of {}",
    "a close-up of {}",
    "a clay head of {}",
    "a rendering of {}",
    "a photo of the face of {}",
)
_SUBJECTS = ("this {}", "the {}")
_MOST = 8  # claims in one caption, unless more are asked for


@dataclass(frozen=True)
class Caption:
    """Words, and the heads that they are true of.

    Attributes:
        text: A phrase as people type it, in lower case.
        where: Interval of each factor that has to hold (see `holds`).
    """

    text: str
    where: Mapping[str, Interval]


def caption(factors: Tensor) -> str:
    """Describe one head, for instance ``"an old man with glasses and a beard, smiling"``.

    Only what stands out is named, so that words and factors agree: a word is used where its
    factor is past a third of its range.

    Args:
        factors: One row of factors, [len(FACTORS)].

    Returns:
        A phrase in English without a final full stop.
    """
    value = dict(zip(FACTOR_INDEX, factors.tolist(), strict=True))
    person = "woman" if value["lips"] > 0.5 else "man"
    age = "old " if value["age"] > 0.66 else "young " if value["age"] < 0.25 else ""
    things = _things(value)
    joined = ", ".join(things[:-1]) + " and " + things[-1] if len(things) > 1 else "".join(things)
    moods = _moods(value)
    phrase = f"{'an' if age == 'old ' else 'a'} {age}{person}"
    phrase += f" with {joined}" if joined else ""
    return phrase + (f", {' and '.join(moods)}" if moods else "")


def _things(value: dict[str, float]) -> list[str]:
    things = []
    style = HAIR_STYLES[round(value["hair_style"])]
    if style == "bald":
        things.append("a bald head")
    else:
        hair = {"short": "short {} hair", "long": "long {} hair", "bun": "{} hair in a bun"}[style]
        things.append(hair.format(_hair_word(value)))
    if value["glasses"] > 0.5:
        things.append("glasses")
    if value["beard"] > 0.33:
        things.append("a beard")
    return things


def _hair_word(value: dict[str, float]) -> str:
    if value["grey"] > 0.5:
        return "grey"
    colour = value["hair_colour"]
    names = ((0.2, "black"), (0.55, "brown"), (0.75, "red"), (1.01, "blond"))
    return next(name for limit, name in names if colour < limit)


def _moods(value: dict[str, float]) -> list[str]:
    moods = []
    if value["smile"] > 0.75 and value["mouth_open"] > 0.25:
        moods.append("beaming")
    elif value["smile"] > 0.33:
        moods.append("smiling")
    elif value["smile"] < -0.33:
        moods.append("furious" if value["brows"] < -0.33 else "frowning")
    if value["brows"] > 0.5:
        moods.append("surprised")
    elif value["brows"] < -0.5 and "furious" not in moods:
        moods.append("angry")
    return moods


# As people would type it


def vary_caption(factors: Tensor, stream: random.Random, *, count: int | None = None) -> Caption:
    """Say something true of a head, in the words and the order of people who type prompts.

    For instance ``"smile face"``, ``"a photo of an old woman with round glasses"``, ``"bald"``,
    ``"the man is really angry and has a beard"``.

    Args:
        factors: One row of factors, [len(FACTORS)].
        stream: Where choices come from; the same state gives the same words.
        count: Things to say; None draws a number, often a small one. No more than are true.
    """
    (row,) = true_claims(factors[None]).tolist()
    return say(
        [claim for claim, true in zip(CLAIMS, row, strict=True) if true], stream, count=count
    )


def say(claims: Sequence[Claim], stream: random.Random, *, count: int | None = None) -> Caption:
    """Put some of the claims that are true of a head into words; see `vary_caption`."""
    if count is None:
        count = stream.choices(range(1, _MOST + 1), (30, 24, 18, 10, 7, 5, 3, 3))[0]
    chosen = _choose(claims, stream, count)
    form = stream.choices((_phrase, _list, _sentence), (5, 4 if len(chosen) < 4 else 1, 2))[0]
    return Caption(form(chosen, stream), together(chosen))


def grammar_words() -> list[str]:
    """Return every word and sign that a varied caption can hold, sorted."""
    texts = [phrase for claim in CLAIMS for phrase in claim.phrases()]
    texts += [*_PERSONS, *_OPENINGS, *_SUBJECTS, "a an with and is has he she , -"]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+|[,-]", text)})


def _choose(claims: Sequence[Claim], stream: random.Random, count: int) -> list[Claim]:
    """Draw claims by their weight, one about each factor."""
    # Efraimidis and Spirakis 2006: the largest keys are a weighted sample without replacement.
    order = sorted(claims, key=lambda claim: stream.random() ** (1 / claim.weight), reverse=True)
    chosen: dict[str, Claim] = {}
    for claim in order:
        if len(chosen) == count:
            break
        chosen.setdefault(claim.about, claim)
    return list(chosen.values())


def _phrase(claims: Sequence[Claim], stream: random.Random) -> str:
    """Say "an old smiling woman with glasses, looking left"."""
    noun, before, things, after = stream.choice(_PERSONS), [], [], []
    nouns = [claim for claim in claims if claim.nouns]
    spoken = stream.choice(nouns) if nouns else None
    for claim in claims:
        if claim is spoken:
            noun = stream.choice(claim.nouns)
            continue
        kind = _kind(claim, stream)
        if kind == "adjectives":
            before.append(stream.choice(claim.adjectives))
        elif kind == "things":
            things.append(stream.choice(claim.things))
        else:
            after.append(stream.choice(claim.doings or [f"a {noun}" for noun in claim.nouns]))
    words = " ".join([*before, noun])
    bare = stream.random() < 0.3
    text = words if bare else _with_article(words)
    text += f" with {_joined(things)}" if things else ""
    text += stream.choice((", ", " ")) + _joined(after) if after else ""
    return stream.choice(_OPENINGS).format(text) if not bare and stream.random() < 0.25 else text


def _kind(claim: Claim, stream: random.Random) -> str:
    """Draw how a claim joins a noun."""
    kinds = [kind for kind in ("adjectives", "things", "doings") if getattr(claim, kind)]
    return stream.choice(kinds) if kinds else "nouns"


def _list(claims: Sequence[Claim], stream: random.Random) -> str:
    """Say "really angry face, no glasses"."""
    between = stream.choice((", ", ", ", " ", " and "))
    return between.join(_note(claim, stream) for claim in claims)


def _note(claim: Claim, stream: random.Random) -> str:
    if claim.notes and stream.random() < 0.5:
        return stream.choice(claim.notes)
    if claim.adjectives and stream.random() < 0.7:
        word = stream.choice(claim.adjectives)
        return f"{word} {stream.choice(_PERSONS)}" if stream.random() < 0.7 else word
    return stream.choice(claim.things + claim.doings + claim.nouns or claim.phrases())


def _sentence(claims: Sequence[Claim], stream: random.Random) -> str:
    """Say "the man is angry and has a beard"."""
    named = next((claim for claim in claims if claim.about == "sex"), None)
    noun = stream.choice(named.nouns if named else _PERSONS)
    subject = stream.choice((*_SUBJECTS, "{}")).format(noun)
    if named and stream.random() < 0.4:
        subject = "she" if named.nouns[0] == "woman" else "he"
    parts = []
    for claim in claims:
        if claim is named:
            continue
        kind = _kind(claim, stream)
        if kind == "things":
            parts.append(f"has {stream.choice(claim.things)}")
        elif kind == "nouns":
            parts.append(f"is a {stream.choice(claim.nouns)}")
        else:
            parts.append(f"is {stream.choice(getattr(claim, kind))}")
    return f"{subject} {_joined(parts)}" if parts else subject


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
