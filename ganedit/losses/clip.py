"""How well pictures fit words, in the space of a CLIP (Radford et al. 2021).

`clip_loss` is StyleCLIP's (Patashnik et al. 2021, equation 1), `directional_loss` StyleGAN-NADA's
(Gal et al. 2022, equation 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.features.clip import Clip

_LEAST_WEIGHT = 1e-6
_LARGEST_WEIGHT = 1e6
_SAME = 1e-4  # length of the difference of two texts' directions below which they say the same


@dataclass(frozen=True)
class Prompt:
    """What a picture should show.

    Attributes:
        text: The words.
        weight: Relative to other prompts; a negative one says what it should not show.
    """

    text: str
    weight: float = 1.0


def parse_prompt(text: str) -> Prompt:
    """Return a prompt as it is typed: words, and perhaps ``:`` and a weight behind them.

    Raises:
        GaneditError: The weight is too small or too large, or not finite.
    """
    words, colon, number = text.rpartition(":")
    try:
        weight = float(number) if colon else None
    except ValueError:
        weight = None
    if weight is None:
        return Prompt(text)
    if not _LEAST_WEIGHT <= abs(weight) <= _LARGEST_WEIGHT:  # NaN is not, either
        raise GaneditError(
            f"{text[:40]!r}: the weight behind its last colon must be a number of {_LEAST_WEIGHT:g}"
            f" to {_LARGEST_WEIGHT:g}, or of -{_LARGEST_WEIGHT:g} to -{_LEAST_WEIGHT:g}"
        )
    return Prompt(words, weight)


@dataclass(frozen=True, eq=False)
class TextTarget:
    """Prompts as a CLIP sees them.

    Attributes:
        texts: Directions of the prompts, length one, [T, D].
        weights: Of the prompts, [T], their absolute values summing to one.
        neutral: Direction of what the prompts are compared with, [D]; None when nothing was given.
    """

    texts: Tensor
    weights: Tensor
    neutral: Tensor | None = None

    @property
    def direction(self) -> Tensor:
        """The way from the neutral prompt to the others, length one, [D].

        Raises:
            GaneditError: They say the same.
            ValueError: There is no neutral prompt.
        """
        if self.neutral is None:
            raise ValueError("direction: needs a neutral prompt")
        change = ((self.texts - self.neutral) * self.weights[:, None]).sum(dim=0)
        if float(change.norm()) < _SAME:
            raise GaneditError(
                "the prompt and the neutral prompt say the same to this CLIP; change one of them"
            )
        return F.normalize(change, dim=0)

    def score(self, pictures: Tensor) -> Tensor:
        """Return the weighted mean cosine of pictures [N, D] and prompts, [N]."""
        return pictures @ self.texts.mT @ self.weights

    def fit(self, pictures: Tensor) -> Tensor:
        """Return how far pictures [N, D] are on the way from the neutral prompt, [N].

        Without a neutral prompt that is the `score`.
        """
        return self.score(pictures) if self.neutral is None else pictures @ self.direction


def encode_prompts(
    clip: Clip,
    prompts: Sequence[Prompt],
    *,
    neutral: str | None = None,
    templates: Sequence[str] = ("{}",),
) -> TextTarget:
    """Return what a CLIP makes of prompts.

    Args:
        clip: The CLIP.
        prompts: At least one.
        neutral: What the pictures show now, in words.
        templates: Sentences that each of them is put into; the mean direction counts.

    Raises:
        GaneditError: A prompt is empty, or holds no word that the CLIP knows.
    """
    if not prompts:
        raise ValueError("prompts: expected at least one")
    texts = clip.encode_texts([prompt.text for prompt in prompts], templates=templates)
    weights = texts.new_tensor([prompt.weight for prompt in prompts])
    given = None if neutral is None else clip.encode_texts([neutral], templates=templates)[0]
    return TextTarget(texts, weights / weights.abs().sum(), given)


def clip_loss(pictures: Tensor, target: TextTarget) -> Tensor:
    """Return one minus the target's score of each picture, [N].

    Args:
        pictures: Directions of the pictures, length one, [N, D].
        target: The prompts.
    """
    return 1 - target.score(pictures)


def score_loss(scores: Tensor, *, enough: float, deviation: float) -> Tensor:
    """Return what scores lack, in standard deviations of a generator's own, [N].

    One weight then serves every prompt and every CLIP. More than enough earns nothing: what a CLIP
    likes even more is rarely a face.

    Args:
        scores: Of pictures, [N].
        enough: The score to reach.
        deviation: Of the scores of many samples of the generator.
    """
    return (enough - scores).clamp_min(0) / deviation


def directional_loss(
    before: Tensor, after: Tensor, direction: Tensor, *, shortest: float = 0.1
) -> Tensor:
    """Return one minus the cosine between how pictures moved and how they should, [N].

    Args:
        before: Directions of the pictures before the edit, [N or 1, D].
        after: And now, [N, D].
        direction: Where they should go, length one, [D] or [N, D].
        shortest: A movement that is shorter counts as this long: where a picture has hardly moved
            the cosine is noise with a huge gradient, which Adam would remember.
    """
    change = after - before
    return 1 - (change * direction).sum(dim=1) / change.norm(dim=1).clamp_min(shortest)


class View:
    """A slightly moved, zoomed and grainy view, the same for all pictures that are shown it.

    What only fools a CLIP about the pixels of one view does nothing in the next.
    """

    def __init__(
        self,
        stream: torch.Generator,
        side: int,
        *,
        shift: float = 0.03,
        zoom: float = 0.05,
        grain: float = 0.02,
    ) -> None:
        """Draw a view.

        Args:
            stream: Random numbers, on the CPU.
            side: Of the view, in pixels: the CLIP's.
            shift: Largest movement, of the picture's side.
            zoom: Largest relative change of size.
            grain: Standard deviation of the noise on pictures in [-1, 1].
        """
        x, y, z = (2 * torch.rand(3, generator=stream) - 1).tolist()
        factor = 1 + zoom * z
        self._matrix = torch.tensor([[factor, 0, 2 * shift * x], [0, factor, 2 * shift * y]])
        self._grain = grain * torch.randn(1, 3, side, side, generator=stream)

    def of(self, images: Tensor) -> Tensor:
        """Return the views of pictures [N, 3, R, R] in [-1, 1], [N, 3, side, side]."""
        side = self._grain.shape[-1]
        if images.shape[-1] > side:
            images = F.interpolate(images, size=(side, side), mode="area")
        matrix = self._matrix.to(images).expand(len(images), -1, -1)
        grid = F.affine_grid(matrix, [len(images), 3, side, side], align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return moved + self._grain.to(images)
