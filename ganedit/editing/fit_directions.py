"""Directions that labels tell: where latents have to go for a factor to rise.

As InterFaceGAN (Shen et al. 2020, "Interpreting the Latent Space of GANs for Semantic Face
Editing"): a linear model from latents to a label, whose gradient is the direction. Two things
differ. The model is fitted in coordinates in which latents vary alike in all directions, so that
its gradient is the way that is most usual among latents, not one on which they hardly vary. And
latents may have a w of their own in each layer: then so has the direction, and what one layer does
is told apart from what another does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganedit.editing.directions import scales_of
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.statistics import batch_size, principal_axes
from ganedit.progress import OnStep

FEWEST = 20
"""Labelled latents that a fit takes at least."""

_FEWEST_OF_A_CLASS = 5
_HELD_OUT = 0.2
_FLOOR = 1e-3  # of the largest deviation: axes on which w varies less say nothing
_LEFT = 1e-3  # of a direction's length: less than this is rounding
_CORRECTED = 0.7  # of what was measured: corrections of several directions add up
_LARGEST = 1e30  # of labels: squares of larger ones are beyond all numbers
_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """What is known of N latents.

    Attributes:
        name: Of the factor.
        values: A number each, [N]; of a binary label 0 or 1.
        binary: Whether latents have it or have it not.
    """

    name: str
    values: Tensor
    binary: bool

    def __post_init__(self) -> None:
        """Check that something can be learnt.

        Raises:
            GaneditError: Values are NaN or too large, or all alike, or there are too few.
        """
        values = self.values
        if values.ndim != 1:
            raise ValueError(f"{self.name}: expected [N], got {list(values.shape)}")
        if not bool(values.isfinite().all()):
            raise GaneditError(f"{self.name}: a label is NaN or infinite; leave such latents out")
        largest = float(values.abs().max()) if len(values) else 0.0
        if largest > _LARGEST:
            raise GaneditError(f"{self.name}: a label is beyond {_LARGEST:g}; take smaller units")
        if len(values) < FEWEST:
            raise GaneditError(
                f"{self.name}: {len(values)} labelled latents; a fit takes {FEWEST} at least"
            )
        if self.binary:
            few = min(int((values == 1).sum()), int((values == 0).sum()))
            if few < _FEWEST_OF_A_CLASS:
                raise GaneditError(
                    f"{self.name}: only {few} of {len(values)} latents differ from the others in"
                    f" it; a fit takes {_FEWEST_OF_A_CLASS} of each kind at least"
                )
        elif float(values.max() - values.min()) <= max(1e-9 * largest, 1 / _LARGEST):
            raise GaneditError(f"{self.name}: is the same for all latents; a fit takes two values")


@dataclass(frozen=True, eq=False)
class FittedDirections:
    """Directions along which labels rise.

    Attributes:
        vectors: [K, R, w_dim] as the latents had R; rows have length 1 in the root mean square.
        scales: One standard deviation of latents along each, in lengths of it, [K].
        facts: For each: ``r2`` or ``accuracy`` on held-out latents (and ``majority``, the accuracy
            of always saying the same), ``labels``, their number, and ``unlike``. Scores are of the
            model, before its direction is made unlike others.
    """

    vectors: Tensor
    scales: Tensor
    facts: tuple[Mapping[str, float | str], ...]


@torch.no_grad()
def sample_latents(
    generator: Generator, count: int, *, mixed: bool, seed: int = 0, label: Tensor | None = None
) -> Tensor:
    """Return latents to be labelled, [count, num_ws, w_dim], or [count, 1, w_dim] unless mixed.

    Args:
        generator: Whose mapping network.
        count: How many.
        mixed: Each layer gets a w of its own, as in style mixing.
        seed: Of the random z.
        label: Of a conditional generator, [1, c_dim].
    """
    rows, place = (generator.num_ws if mixed else 1), generator.w_avg.device
    stream = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, count * rows, _CHUNK):
        size = min(_CHUNK, count * rows - start)
        z = torch.randn(size, generator.z_dim, generator=stream).to(place)
        parts.append(
            generator.map(z, None if label is None else label.to(place).expand(size, -1))[:, 0]
        )
    return torch.cat(parts).unflatten(0, (count, rows))


@torch.no_grad()
def score_latents(
    generator: Generator,
    latents: Tensor,
    read: Callable[[Tensor], Tensor],
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return what is read off the pictures of latents, [N, F].

    Args:
        generator: Renders them.
        latents: [N, 1 or num_ws, w_dim].
        read: From pictures [N, 3, R, R] in [-1, 1] to numbers [N, F].
        on_step: Called after each batch.
    """
    rows = []
    for part in latents.split(batch_size(generator)):
        ws = part.expand(-1, generator.num_ws, -1).to(generator.w_avg.device)
        rows.append(read(generator.synthesize(ws).clamp(-1, 1)).cpu())
        if on_step is not None:
            on_step(sum(map(len, rows)), len(latents), {})
    return torch.cat(rows)


def fit_directions(
    latents: Tensor,
    columns: Sequence[LabelColumn],
    samples: Tensor,
    *,
    unlike: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> FittedDirections:
    """Return a direction for each label: ridge regression, or logistic for binary ones.

    A fifth of the latents is held out; the fit never sees them, and is judged by them.

    Args:
        latents: [N, R, w_dim]; R is 1 where all layers share a w.
        columns: Labels of the N latents, each of another name.
        samples: The generator's latents as `map_samples` returns them, [S, w_dim]: what is usual.
        unlike: For names of columns, others that the direction must not move: it is made orthogonal
            to theirs (InterFaceGAN, section 3.3), in the coordinates of the fit, where that means
            that the other model's prediction stays.
        seed: Of the choice of what is held out.
        on_step: Called after each column.

    Raises:
        GaneditError: Nothing is left of a direction, or a name is unknown.
        ValueError: Another number of labels.
    """
    unlike = unlike or {}
    known = [column.name for column in columns]
    _check_columns(latents, columns, unlike)
    axes = principal_axes(samples.cpu().double())  # [w_dim, w_dim]
    deviations = axes.norm(dim=1)
    floor = _FLOOR * deviations.max()
    if not bool(floor > 0):
        raise GaneditError("the generator's latents do not vary; is it trained?")
    inverse = axes.mT / deviations.clamp_min(floor).square()
    centred = latents.detach().cpu().double() - samples.cpu().double().mean(dim=0)
    features = (centred @ inverse).flatten(1)  # [N, R * w_dim], of variance 1
    gradients, scores = [], []
    for done, column in enumerate(columns, start=1):
        gradient, score = _fit(features, column, seed)
        gradients.append(gradient)
        scores.append(score)
        if on_step is not None:
            on_step(done, len(columns), {})
    vectors = []
    facts: list[Mapping[str, float | str]] = []
    for index, name in enumerate(known):
        others = [known.index(other) for other in unlike.get(name, ()) if other != name]
        kept = _without(gradients[index], [gradients[other] for other in others], name)
        vector = kept.unflatten(0, (latents.shape[1], -1)) @ axes  # [R, w_dim]
        vector = vector / vector.square().sum(dim=1).mean().sqrt()
        vectors.append(vector)
        told = {"unlike": ", ".join(known[other] for other in others)} if others else {}
        facts.append({**scores[index], "labels": float(len(latents)), **told})
    return FittedDirections(*_scaled(vectors, axes), tuple(facts))


def refine_directions(
    vectors: Tensor,
    effects: Tensor,
    own: Sequence[int | None],
    unlike: Sequence[Sequence[int]],
    samples: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return directions that move less of what they should not, and their scales, [K].

    Linear models know the mean over samples; what a direction does to pictures differs. So each is
    corrected by those of the others, as far as it was seen to move what is theirs. Measured and
    refined twice, `clay`'s become a fifth purer.

    Args:
        vectors: One standard deviation each, [K, R, w_dim].
        effects: What each was seen to do, [K, F].
        own: For each, which of the F things it is meant to move; None where that is not measured.
        unlike: For each, indices of the others whose things it must not move. Those that
            move something else more than their own can undo nothing, and are not used.
        samples: The generator's latents as `map_samples` returns them, [S, w_dim].
    """
    effects = effects.double()
    axes = principal_axes(samples.cpu().double())
    steps = vectors.cpu().double()
    able = [
        place is not None and int(row.abs().argmax()) == place and float(row[place]) > 0
        for row, place in zip(effects, own, strict=True)
    ]
    refined = []
    for index, others in enumerate(unlike):
        step = steps[index]
        for other in others:
            place = own[other]
            if able[other] and place is not None and other != index:
                share = effects[index, place] / effects[other, place]
                step = step - _CORRECTED * share * steps[other]
        refined.append(step / step.square().sum(dim=1).mean().sqrt())
    return _scaled(refined, axes)


def _check_columns(
    latents: Tensor, columns: Sequence[LabelColumn], unlike: Mapping[str, Sequence[str]]
) -> None:
    known = [column.name for column in columns]
    if not columns or len(set(known)) < len(known):
        raise ValueError(f"columns: expected different ones, got {known}")
    for column in columns:
        if len(column.values) != len(latents):
            raise ValueError(f"{column.name}: expected {len(latents)} labels")
    wanted = {*unlike, *(other for others in unlike.values() for other in others)}
    for name in sorted(wanted - set(known)):
        raise GaneditError(f"unlike: there are no labels of {name}; there are {', '.join(known)}")


def _fit(features: Tensor, column: LabelColumn, seed: int) -> tuple[Tensor, dict[str, float]]:
    """Return the gradient of a linear model, [features], and how good it is on what it never saw.

    Features have variance 1, so one penalty suits all: as many as there are of them (a prior under
    which half of a label's variance can be explained).
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import train_test_split

    x, y = features.numpy(), column.values.double().numpy()
    seen, unseen = train_test_split(
        range(len(y)),
        test_size=_HELD_OUT,
        random_state=seed,
        stratify=y if column.binary else None,
    )
    model: Any
    if column.binary:
        model = LogisticRegression(C=4 / x.shape[1], max_iter=1000)
        model.fit(x[seen], y[seen])
        share = float(y[unseen].mean())
        scores = {"accuracy": model.score(x[unseen], y[unseen]), "majority": max(share, 1 - share)}
    else:
        y = y / y.std()
        model = Ridge(alpha=x.shape[1])
        model.fit(x[seen], y[seen])
        scores = {"r2": model.score(x[unseen], y[unseen])}
    gradient = torch.from_numpy(model.coef_).double().flatten()
    return gradient, {key: round(float(score), 4) for key, score in scores.items()}


def _without(gradient: Tensor, others: Sequence[Tensor], name: str) -> Tensor:
    """Return the part of a gradient that is orthogonal to the others."""
    if not bool(gradient.any()):
        raise GaneditError(f"{name}: the latents tell nothing about it")
    if not others:
        return gradient
    span = torch.stack([other / other.norm().clamp_min(1e-12) for other in others], dim=1)
    basis, sizes, _ = torch.linalg.svd(span, full_matrices=False)
    basis = basis[:, sizes > _LEFT * sizes[0]]  # others that are alike count once
    left = gradient - basis @ (basis.mT @ gradient)
    if left.norm() < _LEFT * gradient.norm():
        raise GaneditError(
            f"{name}: nothing is left of its direction without the others; name fewer by --unlike"
        )
    return left


def _scaled(vectors: Sequence[Tensor], axes: Tensor) -> tuple[Tensor, Tensor]:
    """Return directions of [R, w_dim] as one tensor, and one standard deviation along each."""
    stacked = torch.stack(list(vectors))
    scales = scales_of(stacked, [()] * len(stacked), axes)
    if not bool((scales.isfinite() & (scales > 0)).all()):
        raise GaneditError("a direction has no length; the labels tell nothing")
    return stacked.float(), scales
