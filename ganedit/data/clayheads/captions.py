"""Factors into words."""

from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX, HAIR_STYLES


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
