"""Edits by a global direction: words become a change of style channels that suits all pictures.

StyleCLIP's third method (Patashnik et al. 2021, section 6). What each channel does is measured once
(`style_statistics`); a prompt then costs a matrix product.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.editing.changes import Change, apply_change
from ganedit.editing.style_statistics import StyleRelevance
from ganedit.editing.synthesis import synthesize
from ganedit.errors import GaneditError
from ganedit.features.clip import Clip
from ganedit.io.latents import Latent
from ganedit.losses.clip import TextTarget

NEUTRAL = "a face"
"""What pictures show before the edit, when nobody says."""

_RIDGE = 0.1  # of the largest eigenvalue: channels that agree less than this count little
_FARTHEST = 1.5  # length of the way that CLIP's direction of a picture is predicted to go, at most
_LARGEST = 12.0  # standard deviations that a channel goes, at most, when nobody says how many
_TRIED = 15  # strengths between nothing and that
_WORTH = 0.1  # of a step: where it gains less of the direction, it breaks more than it helps


def default_neutral(clip: Clip) -> str:
    """Return the neutral prompt to use with a CLIP when the user gives none.

    Args:
        clip: The CLIP; small ones may not know the word "face".
    """
    known = clip.vocabulary is None or not clip.remarks([NEUTRAL])
    return NEUTRAL if known else "a head"


def global_change(
    relevance: StyleRelevance,
    target: TextTarget | Tensor,
    *,
    alpha: float | None = None,
    beta: float | None = None,
) -> Change:
    """Return the change of styles that follows a direction of CLIP's, one row for all pictures.

    Args:
        relevance: What the channels do.
        target: Prompts with a neutral one, or a direction, [D].
        alpha: Standard deviations that the channel which moves most goes at strength 1; the
            reference starts at 3. None goes half as far as `global_edit` tries.
        beta: StyleCLIP's own recipe: channels whose relevance is smaller stay, the others move by
            it; the reference uses 0.15. Without ``beta``, all channels move together
            such that what they do beside the direction cancels (see `balanced_amounts`).

    Raises:
        GaneditError: No channel is relevant enough, or the prompts say the same.
        ValueError: A direction of another CLIP's width.
    """
    amounts = _amounts(relevance, target, beta=beta)
    largest = _limit(relevance, amounts) / 2 if alpha is None else alpha
    return Change(offsets=relevance.offsets(largest * amounts[None]))


def _amounts(
    relevance: StyleRelevance,
    target: TextTarget | Tensor,
    *,
    beta: float | None,
) -> Tensor:
    """Return how far each channel goes, the largest 1 or -1, [K]; see `global_change`."""
    direction = (target.direction if isinstance(target, TextTarget) else target).float().cpu()
    width = relevance.effects.shape[1]
    if direction.shape != (width,):
        raise ValueError(f"target: expected a direction of [{width}], got {list(direction.shape)}")
    direction = F.normalize(direction, dim=0)
    if not (relevance.effects @ direction).any():
        raise GaneditError(
            "no channel of this generator moves pictures towards the prompt; use other words"
        )
    if beta is None:
        amounts = balanced_amounts(relevance.effects, direction)
    else:
        amounts = relevant_amounts(relevance.effects, direction, beta=beta)
    return amounts / amounts.abs().max()


def global_edit(
    network: Network,
    latent: Latent,
    clip: Clip,
    target: TextTarget,
    relevance: StyleRelevance,
    *,
    alpha: float | None = None,
    beta: float | None = None,
) -> Change:
    """Return the change of each of N latents, [N, channels] a layer.

    Pictures differ in how far they are from what the prompt says. Without ``alpha``, some strengths
    are tried on each; beyond the one that is taken, going on gains less than a tenth of its way.

    Args:
        network: The generator.
        latent: N latents of it.
        clip: The CLIP.
        target: Prompts with a neutral one.
        relevance: What the channels do, of this generator and CLIP.
        alpha: See `global_change`; then no picture is looked at.
        beta: See `global_change`.

    Raises:
        GaneditError: As `global_change`, or the latents are of another generator.
        ValueError: The measurement is of another generator or CLIP.
    """
    if (relevance.network, relevance.clip) != (network.fingerprint, clip.fingerprint):
        raise ValueError("relevance: of another generator or CLIP")
    if alpha is not None:
        return global_change(relevance, target, alpha=alpha, beta=beta)
    amounts = _amounts(relevance, target, beta=beta)
    farthest = _limit(relevance, amounts) * amounts
    whole = Change(offsets=relevance.offsets(farthest[None]))
    way = _predicted(relevance, farthest)
    strengths = _fitted(network, latent, clip, target.direction, whole, way)  # [N]
    return Change(offsets=relevance.offsets(strengths[:, None] * farthest))


def relevant_amounts(effects: Tensor, direction: Tensor, *, beta: float) -> Tensor:
    """Return how far each channel goes by StyleCLIP's recipe, [K].

    Args:
        effects: What the channels do, [K, D].
        direction: Where to go, length one, [D].
        beta: Channels of a smaller relevance stay.

    Raises:
        GaneditError: All channels would stay.
    """
    # Patashnik et al. 2021, section 6.2; the reference scales the mean effects to length one.
    relevances = F.normalize(effects, dim=1) @ direction  # [K]
    sizes = relevances.abs()
    most = float(sizes.max())
    if most < beta:
        raise GaneditError(
            f"beta is {beta:g}, and no channel's relevance is larger than {most:.3f};"
            f" give --beta {0.6 * most:.2g}, or leave it out"
        )
    return relevances * (sizes >= beta)


def balanced_amounts(effects: Tensor, direction: Tensor) -> Tensor:
    """Return how far each channel goes so that all of them together go along a direction, [K].

    The ridge regression of the direction on the effects: with e_c the effect of channel c scaled
    to length one, it minimises |sum_c d_c e_c - direction|^2 + lambda |d|^2. StyleCLIP's recipe,
    d_c = e_c . direction, is its limit for a large lambda. What the channels do beside the
    direction adds up there, and cancels here.

    Args:
        effects: What the channels do, [K, D].
        direction: Where to go, length one, [D].
    """
    unit = F.normalize(effects, dim=1)
    gram = unit.mT @ unit  # [D, D]
    ridge = _RIDGE * torch.linalg.matrix_norm(gram, ord=2)
    return unit @ torch.linalg.solve(gram + ridge * torch.eye(len(gram)), direction)


def _limit(relevance: StyleRelevance, amounts: Tensor) -> float:
    """Return how many standard deviations the largest amount stands for, at most."""
    reached = _predicted(relevance, amounts)
    return min(_LARGEST, _FARTHEST / reached) if reached > 0 else _LARGEST


def _predicted(relevance: StyleRelevance, amounts: Tensor) -> float:
    """Return how far CLIP's direction of a picture goes if the channels' effects add up."""
    return float((amounts * relevance.sizes @ relevance.effects).norm())


@torch.no_grad()
def _fitted(
    network: Network, latent: Latent, clip: Clip, direction: Tensor, change: Change, way: float
) -> Tensor:
    """Return how much of a change each latent needs, [N] in 0..1.

    Args:
        network: The generator.
        latent: N latents.
        clip: The CLIP.
        direction: Where to go, length one, [D].
        change: All of it.
        way: How far that is predicted to go.
    """
    strengths = torch.linspace(0, 1, _TRIED + 1)
    assert change.offsets is not None
    steps = Change(offsets=tuple(strengths[:, None] * row for row in change.offsets))
    costs = _WORTH * way * strengths
    # One latent at a time: hundreds of large pictures need not fit into the memory together.
    best = []
    for index in range(len(latent)):
        row = latent.row(index)
        ws = row.ws.expand(len(strengths), -1, -1)
        same = replace(row, ws=ws, names=(), alignment=(), cameras=None)
        drawn = synthesize(network, apply_change(same, steps), cameras=row.cameras)
        images = torch.cat([*drawn]).clamp(-1, 1)
        gains = clip.encode_images(images.to(direction.device)) @ direction
        best.append((gains.cpu() - costs).argmax())
    return strengths[torch.stack(best)]
