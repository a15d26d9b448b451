"""How entangled latents are with the factors of clay heads: separability, and DCI."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganedit.data.clayheads.factors import FACTORS, HAIR_STYLES
from ganedit.errors import GaneditError
from ganedit.features.clay import TURNS, ClayFeatures
from ganedit.generators.base import Generator
from ganedit.generators.statistics import batch_size
from ganedit.progress import OnStep

UNREAD = ("nose_width",)
"""Factors that the feature network cannot read off a head (R² of 0.06 on its card)."""

FEWEST = 200
"""Heads below which nothing is fitted."""

_FEWEST_OF_A_CLASS = 8
_TEST = 4  # one row in so many is held out
_PENALTIES = np.geomspace(0.5, 1e-3, 12)  # of the lasso, on standardised latents and factors
_SAME = 1e-6  # standard deviation, relative to the largest value, of a column that does not vary

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Readings:
    """Random heads of a generator: their latents, and what is read off their pictures.

    Attributes:
        z: [N, z_dim].
        w: [N, w_dim].
        factors: Readings by factor, [N, 1]; cosine and sine of those that are turns, [N, 2];
            logits of the hair styles, [N, 4]; the logit of glasses. All but logits are parts of
            the factor's range, and are not cut off at its ends.
    """

    z: Array
    w: Array
    factors: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Attribute:
    """A question with two answers about each of N heads.

    Attributes:
        name: ``smile``, or ``hair_style: bald``.
        answers: Boolean [N].
        confidence: How sure they are, [N]; only the order matters.
    """

    name: str
    answers: NDArray[np.bool_]
    confidence: Array


@dataclass(frozen=True)
class Separability:
    """How well planes in a space part heads.

    Attributes:
        entropies: H(Y|X) of each attribute in nats: what remains unknown of the answer Y when the
            side X of the plane is known.
        accuracies: Share of held-out heads on the right side.
    """

    entropies: Mapping[str, float]
    accuracies: Mapping[str, float]

    @property
    def score(self) -> float:
        """exp(sum of the entropies) (Karras et al. 2019, section 4.2): 1 where planes tell all."""
        return math.exp(sum(self.entropies.values()))

    @property
    def accuracy(self) -> float:
        """Mean of the accuracies."""
        return sum(self.accuracies.values()) / len(self.accuracies)


@dataclass(frozen=True, eq=False)
class DCI:
    """Eastwood and Williams' three measures, each from 0 to 1, larger is better.

    Attributes:
        importance: |coefficient| of each latent number for each factor, [D, K].
        explained: R² of each factor on held-out heads, at least 0.
    """

    importance: Array
    explained: Mapping[str, float]

    @property
    def disentanglement(self) -> float:
        """1 - the entropy of a number's importance over factors, weighted by its importance."""
        weights = self.importance.sum(axis=1)
        total = weights.sum()
        return float(weights @ _purity(self.importance) / total) if total > 0 else 0.0

    @property
    def completeness(self) -> float:
        """1 - the entropy of a factor's importance over numbers, mean over factors."""
        return float(_purity(self.importance.T).mean())

    @property
    def informativeness(self) -> float:
        """Mean R² of the factors (the paper has the error; 1 - R² is its normalised square)."""
        return sum(self.explained.values()) / len(self.explained)


@torch.no_grad()
def read_heads(
    generator: Generator,
    features: ClayFeatures,
    *,
    samples: int,
    labels: Tensor | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Readings:
    """Draw random heads without truncation, and read their factors off the pictures.

    Args:
        generator: Of clay heads.
        features: The network that reads them, on the generator's device.
        samples: Their number, at least `FEWEST`.
        labels: Of a conditional generator, [samples, c_dim].
        seed: Of z; a larger number of samples begins with the same heads.
        on_step: Called with the number of heads done.

    Raises:
        ValueError: Fewer samples.
        GaneditError: The pictures are not finite.
    """
    if samples < FEWEST:
        raise ValueError(f"samples: expected at least {FEWEST}, got {samples}")
    stream = torch.Generator().manual_seed(seed)
    rows = [torch.randn(generator.z_dim, generator=stream) for _ in range(samples)]
    z = torch.stack(rows)  # one after the other: a larger draw would give other numbers
    batch = batch_size(generator)
    latents, readings = [], []
    for start in range(0, samples, batch):
        part = slice(start, start + batch)
        c = None if labels is None else labels[part].to(generator.w_avg.device)
        ws = generator.map(z[part].to(generator.w_avg.device), c)
        factors, styles, turns, _ = features.outputs(generator.synthesize(ws, noise="const"))
        latents.append(ws[:, 0].cpu())
        readings.append(torch.cat([factors, styles, turns.flatten(1)], dim=1).cpu())
        if on_step is not None:
            on_step(min(start + batch, samples), samples, {})
    w, read = _array(torch.cat(latents)), _array(torch.cat(readings))
    if not (np.isfinite(w).all() and np.isfinite(read).all()):
        raise GaneditError("this generator makes pictures that are not finite; nothing to measure")
    return Readings(_array(z), w, _by_factor(read))


def _by_factor(read: Array) -> dict[str, Array]:
    found = {}
    for index, factor in enumerate(FACTORS):
        if factor.name == "hair_style":
            columns = read[:, len(FACTORS) :][:, : len(HAIR_STYLES)]
        elif index in TURNS:
            first = len(FACTORS) + len(HAIR_STYLES) + 2 * TURNS.index(index)
            columns = read[:, first : first + 2]
        else:
            columns = read[:, index : index + 1]
        if factor.name not in UNREAD:
            found[factor.name] = columns
    return found


def attributes_of(heads: Readings) -> list[Attribute]:
    """Return questions about the factors.

    - Glasses, and each hair style against the others: as the network decides, as sure as its logit
      is far from the border.
    - Factors that are numbers: above the median or not, as sure as the reading's rank is far from
      the middle. So the surest half is the lowest and the highest quarter, and both answers are
      equally frequent, also of beards, which most heads lack.

    Turns have no above and below and are left out, as are factors that do not vary.
    """
    turns = {FACTORS[index].name for index in TURNS}
    found = []
    for name, columns in heads.factors.items():
        if name in turns:
            continue
        if name == "hair_style":
            for index, style in enumerate(HAIR_STYLES):
                margin = columns[:, index] - np.delete(columns, index, axis=1).max(axis=1)
                found.append(Attribute(f"{name}: {style}", margin > 0, np.abs(margin)))
        elif name == "glasses":
            found.append(Attribute(name, columns[:, 0] > 0, np.abs(columns[:, 0])))
        elif _varies(columns).all():
            rank = columns[:, 0].argsort(kind="stable").argsort(kind="stable")
            middle = (len(rank) - 1) / 2
            found.append(Attribute(name, rank > middle, np.abs(rank - middle)))
    return found


def separability(latents: Array, attributes: Sequence[Attribute]) -> Separability:
    """Measure how well planes part latents by attributes (Karras et al. 2019, section 4.2).

    Of each attribute the surer half of the heads is kept; a linear support vector machine is fitted
    to three quarters of them, on standardised latents, and judged on the rest. The paper judges
    on the heads that it fitted to, of which it has 100,000. An attribute is left out when one
    answer hardly occurs among those heads.

    Args:
        latents: [N, D].
        attributes: Of the same heads.

    Raises:
        GaneditError: All attributes are left out.
    """
    from sklearn.svm import LinearSVC

    entropies, accuracies = {}, {}
    for attribute in attributes:
        # Back in the order of the heads, which is random, so that the last ones can be held out.
        surest = np.argsort(-attribute.confidence, kind="stable")[: len(latents) // 2]
        chosen = np.sort(surest)
        answers, (train, test) = attribute.answers[chosen], _split(len(chosen))
        counts = [np.bincount(answers[part], minlength=2).min() for part in (train, test)]
        if min(counts) < _FEWEST_OF_A_CLASS:
            continue
        x = _standardise(latents[chosen], train)
        # The primal problem: fewer unknowns than rows, and no random order.
        sides = LinearSVC(dual=False).fit(x[train], answers[train]).predict(x[test])
        entropies[attribute.name] = conditional_entropy(sides, answers[test])
        accuracies[attribute.name] = float((sides == answers[test]).mean())
    if not entropies:
        raise GaneditError(
            "this generator's heads are all alike: no attribute has both answers often enough"
        )
    return Separability(entropies, accuracies)


def conditional_entropy(given: NDArray[np.bool_], answers: NDArray[np.bool_]) -> float:
    """Return H(answers | given) in nats, of two columns of booleans [N]."""
    total = 0.0
    for side in (False, True):
        here = answers[given == side]
        for answer in (False, True):
            count = int((here == answer).sum())
            if count:
                total -= count / len(answers) * math.log(count / len(here))
    return total


def dci(latents: Array, factors: Mapping[str, Array]) -> DCI:
    """Measure disentanglement, completeness, informativeness (Eastwood and Williams 2018).

    A lasso predicts each factor from standardised latents; its penalty is the one that predicts
    an eighth of the heads best, and R² is that of another eighth. A factor of several columns
    (turns, hair styles) counts once: its importances are summed over them, its R² is their mean.
    Latent numbers and factors that do not vary have no importance; such factors are left out.

    Args:
        latents: [N, D], at least two numbers.
        factors: By name, [N, columns] of the same heads.

    Raises:
        GaneditError: Fewer than two factors vary.
    """
    varying = {name: columns for name, columns in factors.items() if _varies(columns).any()}
    if len(varying) < 2:
        raise GaneditError("this generator's heads are all alike: fewer than two factors vary")
    train, held = _split(len(latents))
    parts = [train, held[: len(held) // 2], held[len(held) // 2 :]]
    x = [_standardise(latents, train)[part] for part in parts]
    importance, explained = [], {}
    for name, columns in varying.items():
        used = columns[:, _varies(columns)]
        y = [_standardise(used, train)[part] for part in parts]
        fits = [_fit_lasso(x, [part[:, index] for part in y]) for index in range(used.shape[1])]
        importance.append(sum(np.abs(coefficients) for coefficients, _ in fits))
        explained[name] = max(0.0, sum(r2 for _, r2 in fits) / len(fits))
    return DCI(np.stack(importance, axis=1), explained)


def _fit_lasso(x: Sequence[Array], y: Sequence[Array]) -> tuple[Array, float]:
    """Return coefficients [D] and R², fitted, chosen and measured on three parts of the rows."""
    from sklearn.linear_model import lasso_path

    _, paths, _ = lasso_path(x[0], y[0], alphas=_PENALTIES, max_iter=20_000, tol=1e-3)  # [D, A]
    errors = ((x[1] @ paths - y[1][:, None]) ** 2).mean(axis=0)
    best = paths[:, errors.argmin()]
    spread = float(y[2].var())
    error = float(((x[2] @ best - y[2]) ** 2).mean())
    return best, 1 - error / spread if spread > 0 else 0.0


def _split(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows to fit to, and the last ones, which are held out."""
    rows = np.arange(count)
    return rows[: count - count // _TEST], rows[count - count // _TEST :]


def _varies(columns: Array) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = columns.std(axis=0) > _SAME * np.abs(columns).max(axis=0)
    return varies


def _standardise(columns: Array, rows: NDArray[np.intp]) -> Array:
    """Return columns with mean 0 and deviation 1 over some rows; zeros where they do not vary."""
    centred = columns - columns[rows].mean(axis=0)
    varies = _varies(columns[rows])
    scale = np.where(varies, columns[rows].std(axis=0), 1.0)
    scaled: Array = np.where(varies, centred / scale, 0.0)
    return scaled


def _purity(importance: Array) -> Array:
    """Return 1 - the entropy of each row, in units of the largest possible; 0 for rows of zeros."""
    total = importance.sum(axis=1, keepdims=True)
    shares = importance / np.where(total > 0, total, 1.0)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    purity: Array = 1 + (shares * logs).sum(axis=1) / math.log(importance.shape[1])
    return np.where(total[:, 0] > 0, purity, 0.0)


def _array(x: Tensor) -> Array:
    return x.double().numpy()
