"""How well a CLIP knows clay heads that it has not seen."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.data.clayheads import CLAIMS, Caption, holds, render, sample_factors, vary_caption
from ganedit.features.clip import Clip

PROMPTS = (
    ("smile", "frown"),
    ("angry", "not angry"),
    ("surprised", "not surprised"),
    ("old", "young"),
    ("young", "not young"),
    ("glasses", "no glasses"),
    ("no glasses", "glasses"),
    ("beard", "no beard"),
    ("bald", "hair"),
    ("blond hair", "dark hair"),
    ("looking left", "looking right"),
    ("dark skin", "light skin"),
)
"""What users ask for, each with its opposite."""

_LONG = 8  # claims in a caption that should fit one head only
_HEADS = 64  # rendered and encoded at a time


@dataclass(frozen=True)
class ClipScores:
    """Shares of 0 to 1, over unseen heads.

    Attributes:
        top1: Pictures whose own caption is the likeliest of all; each says eight things.
        top5: Pictures whose own caption is among the five likeliest.
        true1: Pictures of which the likeliest caption is true; captions say as much as in training.
        chance: Captions that are true of a picture, on average: what ``true1`` is by chance.
        prompts: For each of `PROMPTS`, the heads told apart: the mean of those of which the prompt
            is true and those of which its opposite is.
    """

    top1: float
    top5: float
    true1: float
    chance: float
    prompts: dict[str, float]


@torch.no_grad()
def score_clip(clip: Clip, seeds: Sequence[int], *, resolution: int = 64) -> ClipScores:
    """Measure a CLIP on rendered heads.

    Args:
        clip: The CLIP.
        seeds: Heads that it was not trained on; at least six.
        resolution: Side of the rendered pictures in pixels.
    """
    factors = sample_factors(seeds)
    pictures = torch.cat(
        [clip.encode_images(_rendered(clip, part, resolution)) for part in factors.split(_HEADS)]
    )
    words = random.Random(0)
    own = _cosines(clip, pictures, [vary_caption(row, words, count=_LONG) for row in factors])
    rank = (own > own.diagonal()[:, None]).sum(dim=1)
    partial = [vary_caption(row, words) for row in factors]
    best = _cosines(clip, pictures, partial).argmax(dim=1)
    truth = holds([caption.where for caption in partial], factors).T  # [N, T]
    return ClipScores(
        top1=_share(rank == 0),
        top5=_share(rank < 5),
        true1=_share(truth[torch.arange(len(best)), best]),
        chance=_share(truth),
        prompts={prompt: _told(clip, pictures, factors, pair) for pair in PROMPTS
                 for prompt in pair[:1]},
    )  # fmt: skip


def _rendered(clip: Clip, factors: Tensor, resolution: int) -> Tensor:
    return render(factors, resolution=resolution).image.to(clip.mean.device)


def _cosines(clip: Clip, pictures: Tensor, captions: Sequence[Caption]) -> Tensor:
    """Return the cosines of N pictures and T captions, [N, T] on the CPU."""
    return (pictures @ clip.encode_texts([caption.text for caption in captions]).T).cpu()


def _told(clip: Clip, pictures: Tensor, factors: Tensor, pair: tuple[str, str]) -> float:
    """Return the mean share of heads whose side of a pair is the likelier one."""
    scores = (pictures @ clip.encode_texts(pair).T).cpu()  # [N, 2]
    wheres = [next(c.where for c in CLAIMS if phrase in c.phrases()) for phrase in pair]
    first, second = holds(wheres, factors)
    right = scores[:, 0] > scores[:, 1]
    return (_share(right[first]) + _share(~right[second])) / 2


def _share(true: Tensor) -> float:
    return float(true.double().mean())
