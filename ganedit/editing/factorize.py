"""Directions that a generator's own weights or latents tell, without any labels.

`sefa` is closed-form factorization (Shen and Zhou 2021, "Closed-Form Factorization of Latent
Semantics in GANs"), `closed_form` rosinality's variant of it, `ganspace` the principal components
of w (Härkönen et al. 2020).

A direction has no sign of its own. Here the entry of largest magnitude is always positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.progress import OnStep

PCA_SAMPLES = 50_000
"""How many latents `ganspace` looks at."""

_SEED = 1  # GANSpace's
_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class Factorization:
    """Directions in w, the strongest first.

    Attributes:
        directions: Of length one, orthogonal, [K, w_dim].
        strengths: How much each moves: eigenvalues of `sefa`, singular values of `closed_form`,
            variances of `ganspace`; [K], descending.
        layers: Latents that they are meant for, indices below num_ws, ascending.
    """

    directions: Tensor
    strengths: Tensor
    layers: tuple[int, ...]


def convolutions(generator: Generator) -> tuple[int, ...]:
    """Return the style layers that SeFa counts: all convolutions, and the last layer.

    Indices into `Generator.style_layers`; SeFa's own layer numbers are places in this list. The
    input of StyleGAN3, which latent 0 turns and shifts, is none of them.
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
    rows = torch.cat([weights[counted[index]].cpu() for index in chosen]).double()  # [C, w_dim]
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    told = generator.style_layers
    return _strongest(rows.mT @ rows, count, [told[counted[index]].layer for index in chosen])


def closed_form(
    generator: Generator, *, layers: Sequence[int] | None = None, count: int | None = None
) -> Factorization:
    """Return the right singular vectors of all modulation weights, as rosinality's code does.

    Nothing is normalised, and of the layers that make the picture only the first takes part: of
    StyleGAN3's the only one, which is its last layer.

    Args:
        generator: Any with styles.
        layers: Latents to apply the directions to; None takes all.
        count: Directions to return; None returns w_dim.

    Raises:
        GaneditError: A layer does not exist, or there are not so many directions.
    """
    told, weights = generator.style_layers, generator.style_weights()
    first = next((i for i, layer in enumerate(told) if layer.kind == "rgb"), None)
    taking = [i for i, layer in enumerate(told) if layer.kind == "conv" or i == first]
    chosen = _chosen(layers, generator.num_ws)
    # Stored weights are scaled when they are used, all by the same: the reference reads them as is.
    rows = torch.cat([weights[i].cpu() for i in taking]).double() * generator.w_dim**0.5
    found = _strongest(rows.mT @ rows, count, chosen)
    return replace(found, strengths=found.strengths.clamp_min(0).sqrt())


@torch.no_grad()
def ganspace(
    generator: Generator,
    *,
    label: Tensor | None = None,
    layers: Sequence[int] | None = None,
    count: int | None = None,
    samples: int = PCA_SAMPLES,
    on_step: OnStep | None = None,
) -> Factorization:
    """Return the principal components of w (Härkönen et al. 2020, section 3.1).

    The covariance is summed up chunk by chunk in float64, so that the components are exact, and the
    memory does not grow with the samples. The same samples are drawn each time.

    Args:
        generator: Whose mapping network.
        label: Of a conditional generator, [1, c_dim].
        layers: Latents to apply the directions to; None takes all.
        count: Components to return; None returns w_dim.
        samples: How many z to map; with fewer than w_dim the last components mean nothing.
        on_step: Called after each chunk.

    Raises:
        GaneditError: A layer does not exist, or there are not so many components.
        ValueError: Fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"samples: expected at least 2, got {samples}")
    chosen = _chosen(layers, generator.num_ws)
    _check_count(count, generator.w_dim)
    place, stream = generator.w_avg.device, torch.Generator().manual_seed(_SEED)
    sums = torch.zeros(generator.w_dim, dtype=torch.float64)
    products = torch.zeros(generator.w_dim, generator.w_dim, dtype=torch.float64)
    for start in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - start)
        z = torch.randn(size, generator.z_dim, generator=stream).to(place)
        w = generator.map(z, None if label is None else label.to(place).expand(size, -1))[:, 0]
        # Away from the average, sums of squares lose nothing to the square of the sum.
        w = (w - generator.w_avg).cpu().double()  # not all devices have doubles
        sums += w.sum(dim=0)
        products += w.mT @ w
        if on_step is not None:
            on_step(start + size, samples, {})
    covariance = (products - torch.outer(sums, sums) / samples) / (samples - 1)
    return _strongest(covariance, count, chosen)


def _chosen(layers: Sequence[int] | None, number: int) -> list[int]:
    chosen = list(range(number)) if layers is None else sorted(set(layers))
    wrong = [layer for layer in chosen if not 0 <= layer < number]
    if wrong or not chosen:
        got = f"layer {wrong[0]}" if wrong else "none"
        raise GaneditError(f"layers: got {got}, but the generator has layers 0-{number - 1}")
    return chosen


def _check_count(count: int | None, size: int) -> int:
    if count is not None and not 1 <= count <= size:
        raise GaneditError(f"count: got {count}, but there are 1 to {size} directions in w")
    return size if count is None else count


def _strongest(matrix: Tensor, count: int | None, layers: Sequence[int]) -> Factorization:
    """Return the eigenvectors of a symmetric matrix by descending eigenvalue."""
    count = _check_count(count, len(matrix))
    values, vectors = torch.linalg.eigh(matrix)  # ascending
    rows = vectors.mT.flip(0)[:count]  # [K, w_dim]
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return Factorization(
        directions=(rows * largest.sign()).float(),
        strengths=values.flip(0)[:count].float(),
        layers=tuple(sorted(set(layers))),
    )
