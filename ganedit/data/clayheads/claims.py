"""What words may say of a head, and of which heads each of them is true.

A claim asks factors to lie in intervals, so its truth can be looked up for every head. Between a
word and its opposite lies a gap in which neither is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS

Interval = tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """Something that can be said of a head, in several ways.

    Attributes:
        about: The factor that it is about; a caption says one thing about each.
        where: Interval of each factor that has to hold, ends included. An interval of a turn may
            go below 0 or beyond 1.
        adjectives: Before the noun: ``old``.
        things: After ``with`` or ``has``: ``a full beard``.
        doings: After the noun or ``is``: ``looking left``, ``without glasses``.
        notes: As prompts are typed: ``no glasses``.
        nouns: In place of ``person``: ``woman``.
        weight: How often it is chosen, relative to others.
    """

    about: str
    where: Mapping[str, Interval]
    adjectives: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    doings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    weight: float = field(default=1.0, compare=False)

    def phrases(self) -> tuple[str, ...]:
        """Return all its ways of saying."""
        return self.adjectives + self.things + self.doings + self.notes + self.nouns


def holds(where: Sequence[Mapping[str, Interval]], factors: Tensor) -> Tensor:
    """Tell which conditions are true of which heads.

    Args:
        where: T conditions: the interval of each factor that has to hold.
        factors: [N, len(FACTORS)].

    Returns:
        bool [T, N].
    """
    bounds = torch.tensor([-1e9, 1e9]).repeat(len(where), len(FACTORS), 1)  # [T, F, 2]
    bounds[:, _TURNS] = torch.tensor([-1.0, 2.0])
    for row, condition in enumerate(where):
        for name, interval in condition.items():
            bounds[row, FACTOR_INDEX[name]] = torch.tensor(interval)
    low, high = bounds[:, None].to(factors).unbind(-1)  # [T, 1, F]
    values = factors.expand(len(where), *factors.shape).clone()  # [T, N, F]
    middle = (low + high)[..., _TURNS] / 2
    # A hue of 0.97 is one of -0.03: the turn that is nearest to the interval counts.
    values[..., _TURNS] = middle + (values[..., _TURNS] - middle + 0.5) % 1 - 0.5
    return ((values >= low) & (values <= high)).all(dim=-1)


def together(claims: Sequence[Claim]) -> dict[str, Interval]:
    """Return what has to hold when all of these claims are made."""
    where: dict[str, Interval] = {}
    for claim in claims:
        for name, (low, high) in claim.where.items():
            before = where.get(name, (low, high))
            where[name] = (max(low, before[0]), min(high, before[1]))
    return where


_TURNS = [index for index, factor in enumerate(FACTORS) if factor.unit == "turn"]
_STRONGLY = ("very", "really", "extremely")
_WEAKLY = ("slightly", "somewhat")


# How a table is written: intervals in the words of the factor


def _above(name: str, limit: float) -> dict[str, Interval]:
    return {name: (limit, FACTORS[FACTOR_INDEX[name]].high)}


def _below(name: str, limit: float) -> dict[str, Interval]:
    return {name: (FACTORS[FACTOR_INDEX[name]].low, limit)}


def _graded(
    about: str,
    limit: float,
    strong: float,
    *,
    adjectives: tuple[str, ...] = (),
    things: tuple[str, ...] = (),
    doings: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    weight: float = 1.0,
) -> Iterator[Claim]:
    """Yield a claim, and the stronger one that "very" makes of it.

    Args:
        about: The factor; ``strong`` beyond ``limit`` tells which way the claim goes.
        limit: From here on it is true.
        strong: From here on it is very true.
        adjectives: See `Claim`; each can be intensified.
        things: Each can be intensified after its article: "a very big nose".
        doings: Not intensified.
        notes: Not intensified.
        weight: See `Claim`.
    """
    bound = _above if strong > limit else _below
    yield Claim(about, bound(about, limit), adjectives, things, doings, notes, weight=weight)
    adverbs = [(adverb, word) for adverb in _STRONGLY for word in adjectives]
    yield Claim(
        about,
        bound(about, strong),
        tuple(f"{adverb} {word}" for adverb, word in adverbs),
        tuple(_intensified(thing, adverb) for thing in things for adverb in _STRONGLY),
        weight=0.7 * weight,
    )


def _intensified(thing: str, adverb: str) -> str:
    article, _, rest = thing.partition(" ")
    if article not in ("a", "an"):
        return f"{adverb} {thing}"
    return f"{'an' if adverb[0] == 'e' else 'a'} {adverb} {rest}"


def _mood(
    about: str,
    sign: int,
    *,
    adjectives: tuple[str, ...],
    things: tuple[str, ...] = (),
    doings: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    strong: Claim,
    denied: tuple[str, ...],
) -> Iterator[Claim]:
    """Yield a mood in three strengths, and its denial.

    Args:
        about: ``smile`` or ``brows``.
        sign: Which end of the factor.
        adjectives: Its words.
        things: See `Claim`.
        doings: See `Claim`.
        notes: See `Claim`.
        strong: Words of their own for much of it; ``where`` is theirs.
        denied: Words for its absence, as doings.
    """
    bound = _above if sign > 0 else _below
    yield Claim(about, bound(about, sign * 0.36), adjectives, things, doings, notes, weight=3)
    very = tuple(f"{adverb} {word}" for adverb in (*_STRONGLY, "so") for word in adjectives)
    yield Claim(about, bound(about, sign * 0.7), very, weight=2)
    yield strong
    slight: Interval = (min(sign * 0.2, sign * 0.5), max(sign * 0.2, sign * 0.5))
    weak = tuple(f"{adverb} {word}" for adverb in _WEAKLY for word in adjectives)
    little = tuple(f"a {much} {word}" for much in ("bit", "little") for word in adjectives)
    yield Claim(about, {about: slight}, weak, (), little)
    other = _below if sign > 0 else _above
    yield Claim(about, other(about, sign * 0.1), (), (), denied)


def _moods() -> Iterator[Claim]:
    yield from _mood(
        "smile",
        1,
        adjectives=("smiling", "happy", "cheerful", "grinning", "joyful"),
        things=("a smile", "a happy face", "a happy expression", "a grin"),
        doings=("smiling", "with a smile"),
        notes=("smile", "smile face", "smiley face", "happiness"),
        strong=Claim(
            "smile",
            _above("smile", 0.7) | _above("mouth_open", 0.2),
            ("beaming", "laughing"),
            ("a big smile", "a wide smile", "a broad grin"),
            ("laughing", "beaming", "smiling broadly", "with a big smile"),
            ("big smile", "laugh"),
        ),
        denied=("not smiling", "without a smile", "not happy"),
    )
    yield from _mood(
        "smile",
        -1,
        adjectives=("frowning", "sad", "unhappy", "gloomy"),
        things=("a frown", "a sad face", "a sad expression"),
        doings=("frowning", "looking sad"),
        notes=("frown", "sad face", "sadness"),
        strong=Claim(
            "smile",
            _below("smile", -0.36) | _below("brows", -0.36),
            ("furious", "grim"),
            ("a furious face",),
            ("looking furious",),
            ("fury",),
        ),
        denied=("not sad", "not frowning"),
    )
    yield from _mood(
        "brows",
        -1,
        adjectives=("angry", "mad"),
        things=("an angry face", "an angry expression", "angry eyebrows", "lowered eyebrows"),
        doings=("looking angry", "with angry brows"),
        notes=("angry", "anger", "angry face"),
        strong=Claim(
            "brows", _below("brows", -0.7), ("enraged",), ("very angry eyebrows",), ("in a rage",)
        ),
        denied=("not angry", "not mad"),
    )
    yield from _mood(
        "brows",
        1,
        adjectives=("surprised", "astonished", "amazed"),
        things=("a surprised face", "a surprised expression", "raised eyebrows", "raised brows"),
        doings=("looking surprised", "raising the eyebrows"),
        notes=("surprise", "surprised face"),
        strong=Claim(
            "brows",
            _above("brows", 0.36) | _above("mouth_open", 0.36),
            ("shocked", "stunned"),
            ("a shocked face",),
            ("in shock", "with mouth wide open in surprise"),
            ("shock",),
        ),
        denied=("not surprised", "without surprise"),
    )
    calm: dict[str, Interval] = {"smile": (-0.19, 0.19), "brows": (-0.19, 0.19)}
    yield Claim(
        "smile",
        calm | _below("mouth_open", 0.15),
        ("serious", "calm", "neutral"),
        ("a neutral expression", "a serious face", "a neutral face"),
        ("looking serious", "with a neutral expression"),
        ("neutral face", "no expression"),
    )
    yield from _graded(
        "mouth_open",
        0.3,
        0.65,
        things=("an open mouth",),
        doings=("with the mouth open", "with mouth open"),
        notes=("open mouth",),
    )
    yield Claim(
        "mouth_open",
        _below("mouth_open", 0.08),
        things=("a closed mouth",),
        doings=("with the mouth closed", "with mouth shut"),
        notes=("closed mouth",),
    )


def _people() -> Iterator[Claim]:
    woman, man = _above("lips", 0.5), _below("lips", 0.45)
    yield Claim("sex", woman, ("female",), nouns=("woman", "lady"), weight=5)
    yield Claim("sex", man, ("male",), nouns=("man", "guy", "gentleman"), weight=5)
    yield from _graded(
        "age",
        0.66,
        0.85,
        adjectives=("old", "elderly", "aged", "wrinkled"),
        things=("wrinkles", "wrinkled skin", "an old face"),
        notes=("old", "old face", "wrinkles", "old age"),
        weight=3,
    )
    yield from _graded(
        "age",
        0.25,
        0.1,
        adjectives=("young", "youthful"),
        things=("smooth skin", "a young face"),
        doings=("without wrinkles",),
        notes=("young", "young face", "youth", "no wrinkles"),
        weight=3,
    )
    yield Claim("age", {"age": (0.35, 0.6)}, ("middle-aged",), doings=("of middle age",))
    yield Claim("age", _below("age", 0.5), doings=("not old",))
    yield Claim("age", _above("age", 0.4), doings=("not young",))
    old = _above("age", 0.66)
    yield Claim("age", _below("age", 0.25) | woman, nouns=("girl",))
    yield Claim("age", old | woman, nouns=("grandmother", "grandma"))
    yield Claim("age", old | man, nouns=("grandfather", "grandpa"))
    yield from _graded(
        "skin_tone",
        0.66,
        0.85,
        adjectives=("dark-skinned",),
        things=("dark skin", "a dark complexion", "brown skin"),
        notes=("dark skin", "dark skinned"),
        weight=3,
    )
    yield from _graded(
        "skin_tone",
        0.33,
        0.15,
        adjectives=("light-skinned", "pale", "fair-skinned"),
        things=("light skin", "pale skin", "fair skin", "a pale complexion"),
        notes=("light skin", "pale skin", "light skinned"),
        weight=3,
    )
    tan: Interval = (0.36, 0.62)
    yield Claim("skin_tone", {"skin_tone": tan}, ("tanned",), ("tanned skin",), (), ("tan skin",))


_HAIR: dict[str, Interval] = {"hair_style": (0.5, 3)}
_COLOURED = _HAIR | _below("grey", 0.35)
_HAIR_COLOURS: tuple[tuple[str, tuple[str, ...], dict[str, Interval]], ...] = (
    ("hair_colour", ("black",), _COLOURED | {"hair_colour": (0, 0.16)}),
    ("hair_colour", ("dark",), _COLOURED | {"hair_colour": (0, 0.35)}),
    ("hair_colour", ("brown",), _COLOURED | {"hair_colour": (0.22, 0.58)}),
    ("hair_colour", ("red", "ginger", "orange"), _COLOURED | {"hair_colour": (0.64, 0.84)}),
    ("hair_colour", ("blond", "blonde", "golden"), _COLOURED | {"hair_colour": (0.87, 1)}),
    ("grey", ("grey", "gray", "silver"), _HAIR | _above("grey", 0.55)),
    ("grey", ("white",), _HAIR | _above("grey", 0.85)),
)  # fmt: skip
_HAIR_STYLES: tuple[tuple[str, Interval], ...] = (
    ("short {}", (1, 1)),
    ("long {}", (2, 2)),
    ("{} in a bun", (3, 3)),
)


def _hair() -> Iterator[Claim]:
    bald: Interval = (0, 0)
    yield Claim(
        "hair_style",
        {"hair_style": bald},
        ("bald", "hairless", "bald-headed"),
        ("a bald head", "no hair"),
        ("without hair",),
        ("bald", "bald head", "no hair"),
        weight=4,
    )
    yield Claim("hair_style", _HAIR, (), ("hair",), ("not bald",), ("hair",))
    for style, interval in _HAIR_STYLES:
        name = style.format("hair")
        where = {"hair_style": interval}
        adjectives = (name.replace(" hair", "-haired"),) if "bun" not in name else ()
        yield Claim("hair_style", where, adjectives, (name,), (), (name,), weight=2)
    yield Claim("hair_style", {"hair_style": (3, 3)}, (), ("a bun", "a hair bun"), (), ("bun",))
    for about, words, where in _HAIR_COLOURS:
        haired = tuple(f"{word}-haired" for word in words)
        if words[0] == "blond":
            haired += ("blond", "blonde")
        names = tuple(f"{word} hair" for word in words)
        yield Claim(about, where, haired, names, (), names, weight=3)
        for style, interval in _HAIR_STYLES:
            both = tuple(style.format(name) for name in names)
            yield Claim(about, where | {"hair_style": interval}, (), both, (), both, weight=1.5)
    grown: dict[str, Interval] = {"hair_style": (1, 2)}
    full, thin = grown | _above("hair_length", 0.66), grown | _below("hair_length", 0.3)
    yield Claim("hair_length", full, (), ("thick hair", "full hair"), (), ("thick hair",))
    yield Claim("hair_length", thin, (), ("thin hair", "sparse hair"), (), ("thin hair",))


def _glasses_and_beard() -> Iterator[Claim]:
    yield Claim(
        "glasses",
        _above("glasses", 0.5),
        ("bespectacled",),
        ("glasses", "round glasses", "spectacles", "eyeglasses", "black glasses"),
        ("wearing glasses", "wearing round glasses", "in glasses", "wearing spectacles"),
        ("glasses", "round glasses", "eyeglasses", "glasses face"),
        weight=5,
    )  # fmt: skip
    yield Claim(
        "glasses",
        _below("glasses", 0.5),
        things=("no glasses",),
        doings=("without glasses", "not wearing glasses", "without spectacles"),
        notes=("no glasses", "no eyeglasses", "without glasses"),
        weight=3,
    )
    yield Claim(
        "beard",
        _above("beard", 0.36),
        ("bearded", "unshaven"),
        ("a beard", "facial hair"),
        ("wearing a beard",),
        ("beard", "bearded", "facial hair"),
        weight=5,
    )
    yield Claim(
        "beard",
        _above("beard", 0.7),
        ("heavily bearded",),
        ("a full beard", "a thick beard", "a big beard", "a bushy beard"),
        (),
        ("full beard", "thick beard", "big beard"),
        weight=2,
    )
    yield Claim("beard", {"beard": (0.12, 0.25)}, ("stubbly",), ("stubble", "light stubble"))
    yield Claim(
        "beard",
        _below("beard", 0.05),
        things=("no beard", "no facial hair"),
        doings=("without a beard", "without facial hair"),
        notes=("no beard", "without beard"),
        weight=2,
    )
    shaven = _below("beard", 0.05) | _below("lips", 0.45)
    yield Claim(
        "beard", shaven, ("clean-shaven", "shaved"), ("a shaved face",), ("freshly shaved",)
    )


def _pose() -> Iterator[Claim]:
    for about, limit, way in (
        ("yaw", 0.2, "left"),
        ("yaw", -0.2, "right"),
        ("pitch", 0.09, "up"),
        ("pitch", -0.09, "down"),
    ):
        bound = _above if limit > 0 else _below
        whither = (f"to the {way}",) if about == "yaw" else (f"{way}wards", f"{way}ward")
        doings = [f"{verb} {way}" for verb in ("looking", "facing", "turned")]
        doings += [f"{verb} {where}" for verb in ("looking", "facing") for where in whither]
        notes = (f"look {way}", f"looking {way}", f"head turned {way}", f"facing {way}")
        where = bound(about, limit)
        yield Claim(about, where, (), (), tuple(doings), notes, weight=4 if about == "yaw" else 2)
        far = (f"looking far {way}", f"turned far {way}")
        yield Claim(about, bound(about, 1.9 * limit), (), (), far, weight=0.7)
    yield Claim(
        "yaw",
        {"yaw": (-0.1, 0.1), "pitch": (-0.07, 0.07)},
        doings=("facing the camera", "looking straight ahead", "looking at the camera"),
        notes=("frontal view", "frontal face", "looking straight"),
        weight=2,
    )
    light = ("lit from the {}", "with light from the {}")
    for bound, limit, way in ((_below, -0.4, "left"), (_above, 0.4, "right")):
        doings = [text.format(way) for text in light]
        yield Claim("light", bound("light", limit), doings=tuple(doings))


def _build() -> Iterator[Claim]:
    for about, more, less in (
        ("head_width", ("a wide face", "a wide head", "a round face", "a broad face"),
         ("a narrow face", "a narrow head", "a thin face")),
        ("head_height", ("a long face", "a tall head"), ("a short face", "a flat head")),
        ("jaw", ("a square jaw", "a strong jaw", "a wide jaw"),
         ("a pointed chin", "a narrow jaw", "a small chin")),
        ("nose_size", ("a big nose", "a long nose", "a large nose"),
         ("a small nose", "a flat nose", "a little nose")),
        ("eye_size", ("big eyes", "large eyes"), ("small eyes", "little eyes")),
        ("eye_spacing", ("wide-set eyes",), ("close-set eyes",)),
    ):  # fmt: skip
        yield from _graded(about, 0.4, 0.75, things=more, notes=(_bare(more[0]),))
        yield from _graded(about, -0.4, -0.75, things=less, notes=(_bare(less[0]),))
    for words, low, high in (
        (("brown", "dark"), 0, 0.2),
        (("green",), 0.5, 0.76),
        (("blue",), 0.86, 1),
    ):
        eyes = tuple(f"{word} eyes" for word in words)
        eyed = tuple(f"{word}-eyed" for word in words)
        yield Claim("iris", {"iris": (low, high)}, eyed, eyes, (), eyes)
    full, thin = ("full lips", "red lips", "lipstick"), ("thin lips", "pale lips")
    yield Claim("lips", _above("lips", 0.75), (), full, (), full)
    yield Claim("lips", _below("lips", 0.15), (), thin, (), thin)


def _bare(thing: str) -> str:
    return thing.removeprefix("a ")


_HUES: tuple[tuple[str, Interval], ...] = (
    ("red", (-0.05, 0.05)),
    ("orange", (0.06, 0.12)),
    ("yellow", (0.14, 0.2)),
    ("green", (0.27, 0.4)),
    ("turquoise", (0.46, 0.54)),
    ("blue", (0.57, 0.69)),
    ("purple", (0.72, 0.8)),
    ("pink", (0.84, 0.94)),
)


def _colours() -> Iterator[Claim]:
    for colour, interval in _HUES:
        clothes = tuple(f"a {colour} {thing}" for thing in ("shirt", "sweater", "top"))
        wearing = (f"wearing {colour}", f"in a {colour} shirt", f"dressed in {colour}")
        behind = (f"on a {colour} background", f"in front of a {colour} wall")
        where = {"clothing": interval}
        yield Claim("clothing", where, (), clothes, wearing, (f"{colour} shirt",), weight=0.3)
        where = {"background": interval}
        yield Claim("background", where, (), (), behind, (f"{colour} background",), weight=0.3)


CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for table in (_people, _moods, _hair, _glasses_and_beard, _pose, _build, _colours)
    for claim in table()
)
"""All that is ever said of a head."""


def true_claims(factors: Tensor) -> Tensor:
    """Tell what is true of heads, factors [N, len(FACTORS)]: bool [N, len(CLAIMS)]."""
    return holds([claim.where for claim in CLAIMS], factors).T
