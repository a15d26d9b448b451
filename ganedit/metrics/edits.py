"""What edits of clay heads did: which factors moved, and whether those that were named did."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count as count_up

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS, sample_factors
from ganedit.features.clay import TURNS, ClayFeatures

MOVED = 1 / 3
"""Part of a factor's range by which an edit has to move it."""

_FIRST_SEED = 2**30  # no network was trained on heads from here on
_ROOM = 0.5  # of a factor's range: heads are edited that have so much left before the end


@dataclass(frozen=True)
class EditCase:
    """A prompt, and what it should do to a clay head.

    Attributes:
        prompt: As a user types it.
        factor: What has to move.
        towards: 1 for up, -1 for down.
        also: Other factors that the prompt is about: they may move and are not counted.
        where: Intervals of factors that a head has to lie in for the prompt to make sense.
    """

    prompt: str
    factor: str
    towards: int
    also: tuple[str, ...] = ()
    where: tuple[tuple[str, float, float], ...] = ()


EDIT_CASES = (
    EditCase("smile", "smile", 1, also=("mouth_open",)),
    EditCase("angry", "brows", -1, also=("smile",)),
    EditCase("surprised", "brows", 1, also=("mouth_open",)),
    EditCase("old", "age", 1, also=("grey",)),
    EditCase("young", "age", -1, also=("grey",)),
    EditCase("glasses", "glasses", 1),
    EditCase("no glasses", "glasses", -1),
    EditCase("beard", "beard", 1),
    # A bald head shows neither length nor colour of its hair, nor how grey it is.
    EditCase("bald", "hair_style", -1, also=("hair_length", "hair_colour", "grey")),
    EditCase("blond hair", "hair_colour", 1, also=("grey",), where=(("hair_style", 0.5, 3),)),
    EditCase("looking left", "yaw", 1),
    EditCase("dark skin", "skin_tone", 1),
)
"""What users ask for first."""


@dataclass(frozen=True)
class EditScore:
    """How well edits of a case did.

    Attributes:
        right: Share of heads whose factor moved the right way by `MOVED` of its range at least; of
            hair styles, of heads that have the one asked for now.
        moved: Mean signed movement of that factor, in parts of its range; positive is right.
        others: Mean absolute change of all factors that the case does not name, in parts of their
            ranges.
    """

    right: float
    moved: float
    others: float


def factor_changes(features: ClayFeatures, before: Tensor, after: Tensor) -> Tensor:
    """Return how the factors of heads changed, in parts of their ranges, [N, len(FACTORS)].

    Both pictures are read by the network, so that its own errors cancel as far as they are alike.
    Turns count the short way round.

    Args:
        features: The network.
        before: Clay heads, [N, 3, H, W] in [-1, 1].
        after: The same after the edit.
    """
    change = features.predict(after).factors - features.predict(before).factors
    change = change / change.new_tensor([factor.high - factor.low for factor in FACTORS])
    change[:, TURNS] = (change[:, TURNS] + 0.5) % 1 - 0.5
    return change


def pick_heads(case: EditCase, count: int) -> list[int]:
    """Return seeds of unseen heads on which a case can be tried, the first ``count`` of them.

    A head counts when its factor has half of its range left, and a choice can be made: what is old
    cannot become older.
    """
    return [seed for seed, _ in zip(_suitable(case), range(count), strict=False)]


def _suitable(case: EditCase) -> Iterator[int]:
    factor = FACTORS[FACTOR_INDEX[case.factor]]
    end = factor.high if case.towards > 0 else factor.low
    for seed in count_up(_FIRST_SEED):
        (head,) = sample_factors([seed])
        room = abs(end - float(head[FACTOR_INDEX[case.factor]])) / (factor.high - factor.low)
        inside = (low <= float(head[FACTOR_INDEX[name]]) <= high for name, low, high in case.where)
        if room >= (MOVED if factor.unit == "choice" else _ROOM) - 1e-6 and all(inside):
            yield seed


def score_edits(case: EditCase, features: ClayFeatures, before: Tensor, after: Tensor) -> EditScore:
    """Return how well edits did.

    A choice between more than two has no middle: there a head is right when it has become what was
    asked for.

    Args:
        case: What was asked for.
        features: The network that reads heads.
        before: Clay heads, [N, 3, H, W] in [-1, 1].
        after: The same after the edit.
    """
    changes = factor_changes(features, before, after)
    moved = changes[:, FACTOR_INDEX[case.factor]] * case.towards
    right = moved >= MOVED
    factor = FACTORS[FACTOR_INDEX[case.factor]]
    if factor.unit == "choice" and factor.high - factor.low > 1:
        end = factor.high if case.towards > 0 else factor.low
        right = features.predict(after).factors[:, FACTOR_INDEX[case.factor]] == end
    named = {case.factor, *case.also}
    others = [index for index, factor in enumerate(FACTORS) if factor.name not in named]
    return EditScore(
        right=float(right.double().mean()),
        moved=float(moved.mean()),
        others=float(changes[:, others].abs().mean()),
    )


def largest_changes(changes: Tensor) -> Mapping[str, float]:
    """Return the change of each factor of one head by name, largest first.

    Args:
        changes: One row of `factor_changes`, [len(FACTORS)].
    """
    order = torch.argsort(changes.abs(), descending=True).tolist()
    return {FACTORS[index].name: float(changes[index]) for index in order}
