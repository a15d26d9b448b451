"""Directions that a generator's own weights or latents tell, without any labels.

`sefa` is closed-form factorization (Shen and Zhou 2021, "Closed-Form Factorization of Latent
Semantics in GANs"), `closed_form` rosinality's variant of it, `ganspace` the principal components
of w (Härkönen et al. 2020).

A direction has no sign of its own. Here the entry of largest magnitude is always positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.statistics import map_samples


@dataclass(frozen=True, eq=False)
class Factorization:
    """Directions in w, the strongest first.

    Attributes:
        directions: Of length one, orthogonal, [K, w_dim].
        strengths: How much each moves: eigenvalues of `sefa`, singular values of `closed_form`,
            variances of `ganspace`; [K], descending.
        layers: Latents that each is meant for, indices below num_ws.
    """

    directions: Tensor
    strengths: Tensor
    layers: tuple[int, ...]


def convolutions(generator: Generator) -> tuple[int, ...]:
    """Return the style layers that SeFa counts: all convolutions, and the last layer.

    Indices into `Generator.style_layers`; SeFa's own layer numbers are places in this list.
    """
    layers = generator.style_layers
    last = len(layers) - 1
    return tuple(i for i, layer in enumerate(layers) if layer.kind == "conv" or i == last)


def sefa(
    generator: Generator, *, layers: Sequence[int] | None = None, count: int | None = None
) -> Factorization:
    """Return the directions that move the styles most (Shen and Zhou 2021, equation 7).

    As genforce's code, every row of the affine maps counts the same: it is scaled to length one.

    Args:
        generator: Any with styles.
        layers: Which of `convolutions` take part, counted from 0; None takes all.
        count: Directions to return; None returns w_dim.

    Raises:
        GaneditError: A layer does not exist, or there are not so many directions.
    """
    counted = convolutions(generator)
    chosen = _chosen(layers, len(counted))
    weights = generator.style_weights()
    rows = torch.cat([weights[counted[index]] for index in chosen]).double()  # [sum C, w_dim]
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    told = generator.style_layers
    return _strongest(rows.mT @ rows, count, [told[counted[index]].layer for index in chosen])


def closed_form(generator: Generator, *, count: int | None = None) -> Factorization:
    """Return the right singular vectors of all modulation weights, as rosinality's code does.

    Nothing is normalised, and of the layers that make the picture only the first takes part.

    Args:
        generator: Any with styles.
        count: Directions to return; None returns w_dim.

    Raises:
        GaneditError: There are not so many directions.
    """
    layers, weights = generator.style_layers, generator.style_weights()
    first = next((i for i, layer in enumerate(layers) if layer.kind == "rgb"), None)
    taking = [i for i, layer in enumerate(layers) if layer.kind == "conv" or i == first]
    # Stored weights are scaled when they are used, all by the same: the reference reads them as is.
    rows = torch.cat([weights[i] for i in taking]).double() * generator.w_dim**0.5
    found = _strongest(rows.mT @ rows, count, [layers[i].layer for i in taking])
    return Factorization(found.directions, found.strengths.clamp_min(0).sqrt(), found.layers)


def ganspace(
    generator: Generator, *, labels: Tensor | None = None, count: int | None = None
) -> Factorization:
    """Return the principal components of w (Härkönen et al. 2020, section 3.1), over many samples.

    Args:
        generator: Whose mapping network.
        labels: Of a conditional generator, [SAMPLES, c_dim].
        count: Components to return; None returns w_dim.

    Raises:
        GaneditError: There are not so many components.
    """
    w = map_samples(generator, labels).double()
    w = w - w.mean(dim=0)
    return _strongest(w.mT @ w / (len(w) - 1), count, range(generator.num_ws))


def _chosen(layers: Sequence[int] | None, number: int) -> list[int]:
    chosen = list(range(number)) if layers is None else sorted(set(layers))
    wrong = [layer for layer in chosen if not 0 <= layer < number]
    if wrong or not chosen:
        got = f"layer {wrong[0]}" if wrong else "none"
        raise GaneditError(f"layers: got {got}, but the generator has layers 0-{number - 1}")
    return chosen


def _strongest(matrix: Tensor, count: int | None, layers: Sequence[int]) -> Factorization:
    """Return the eigenvectors of a symmetric matrix by descending eigenvalue."""
    size = len(matrix)
    count = size if count is None else count
    if not 1 <= count <= size:
        raise GaneditError(f"count: got {count}, but there are 1 to {size} directions in w")
    values, vectors = torch.linalg.eigh(matrix)  # ascending
    rows = vectors.mT.flip(0)[:count]  # [K, w_dim]
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return Factorization(
        directions=(rows * largest.sign()).float(),
        strengths=values.flip(0)[:count].float(),
        layers=tuple(sorted(set(layers))),
    )
