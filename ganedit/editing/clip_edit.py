"""Editing by words: optimise a latent until a CLIP says that its picture fits a text.

The loss is that of StyleCLIP's first method (Patashnik et al. 2021, equation 1): CLIP's loss, the
squared distance to the start, and identity. What is moved differs. StyleCLIP gives each number of
W+ to Adam, whose steps are of one size in all directions; after a few dozen the latent has left
what the mapping network makes, and the picture satisfies CLIP without being a face. Here

- the coordinates are the principal components of mapped latents, in units of their deviation, so
  that the distance to the start is Mahalanobis', and directions in which latents do not vary are
  hardly used;
- the change is a sum of one that all layers share, as in W, and one of each layer's own.

CLIP is fooled more easily than people are. So the same change is also tried on other heads, new
ones at each step: what only fools CLIP about one picture does nothing for the next. CLIP looks at a
slightly different view at each step; and it is asked for no more than the generator's best pictures
have. Its score is measured in standard deviations over pictures of the generator, which differ
several times between prompts, so that one set of weights serves all.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.data.clayheads.factors import FACTORS
from ganedit.editing.changes import Change
from ganedit.editing.synthesis import synthesize
from ganedit.errors import GaneditError
from ganedit.features.clay import ClayFeatures
from ganedit.features.clip import Clip
from ganedit.generators.base import Generator, Noise
from ganedit.generators.statistics import SAMPLES, companions_of, map_samples, principal_axes
from ganedit.io.latents import Latent
from ganedit.losses.clip import TextTarget, View, clip_loss, directional_loss, score_loss
from ganedit.losses.identity import IdentityLoss, read_factors, spoken_factors
from ganedit.progress import OnStep

KEEP_WEIGHT = 100.0

_LARGEST_WITH_THREE = 256
_BETAS = (0.9, 0.99)
_MOST_SAMPLES = 512
_FEWEST_SAMPLES = 16
_SAMPLED_PIXELS = _MOST_SAMPLES * 64**2
_STYLE_SAMPLES = 1000
_PIXELS_AT_ONCE = 16 * 64**2


@dataclass(frozen=True, eq=False)
class ClipEdit:
    """What optimisation found.

    Attributes:
        change: To apply to the latents: their ``ws`` or their ``offsets``, one row each.
        history: Loss of each step, [steps, N].
        seconds: Wall-clock time of all rows.
    """

    change: Change
    history: Tensor
    seconds: float


@dataclass(frozen=True)
class PromptScale:
    """How a prompt's score varies over pictures of a generator.

    Attributes:
        deviation: Standard deviation of the score.
        best: Of the pictures looked at.
        told: Of each clay factor, by name, how much it tells of the score: the share of the
            variance that a line explains, relative to that of the factor that tells most. Empty
            where heads were not read.
    """

    deviation: float
    best: float
    told: dict[str, float]

    @property
    def enough(self) -> float:
        """A deviation beyond the best: an edit has to go further than a sample by chance."""
        return self.best + self.deviation


@dataclass(frozen=True)
class Recipe:
    """How a latent is optimised, where a call does not say otherwise.

    Attributes:
        steps: Of Adam.
        learning_rate: Its largest, in the units of what moves.
        warm_up: Share of the steps until then.
        ramp_down: Share of the steps at the end in which it falls to 0.
        latent_weight: Weight of the squared distance to the start.
        identity_weight: Weight of the identity loss.
        plain: Whether the numbers of the latents move, CLIP sees the pictures as they are, and
            nothing is measured before or tried on companions.
    """

    steps: int
    learning_rate: float
    warm_up: float
    ramp_down: float
    latent_weight: float
    identity_weight: float
    plain: bool = False


RECIPES = {
    "ganedit": Recipe(60, 0.1, 0.08, 0.5, latent_weight=0.01, identity_weight=0.7),
    # Section 4 of the paper, and its code's settings.
    "styleclip": Recipe(
        300, 0.1, 0.05, 0.25, latent_weight=0.008, identity_weight=0.005, plain=True
    ),
}


def optimize_edit(
    network: Network,
    latent: Latent,
    clip: Clip,
    target: TextTarget,
    *,
    recipe: Literal["ganedit", "styleclip"] = "ganedit",
    space: Literal["w+", "s"] = "w+",
    steps: int | None = None,
    learning_rate: float | None = None,
    latent_weight: float | None = None,
    identity_weight: float | None = None,
    identity: IdentityLoss | None = None,
    layers: Sequence[int] | None = None,
    keep: Tensor | None = None,
    keep_weight: float = KEEP_WEIGHT,
    companions: int | None = None,
    scale: PromptScale | None = None,
    on_step: OnStep | None = None,
) -> ClipEdit:
    """Find changes of latents that make their pictures fit a text.

    A row's change does not depend on the other rows, beyond rounding. The last step counts, not the
    best: views differ from step to step, and the learning rate has ramped down.

    Args:
        network: Only the change gets gradients.
        latent: N latents of the network; noise maps, tuning and offsets are used as they are, and
            those that remember a camera are seen from there.
        clip: Judges the pictures.
        target: What they should show. With a neutral prompt, StyleGAN-NADA's directional loss
            counts beside the score, which is then that of the way from the neutral prompt.
        recipe: ``ganedit`` is what this module's first lines describe; ``styleclip`` the paper's
            code, without all of that: for a large CLIP, which is harder to fool.
        space: ``w+`` changes the latents, ``s`` the styles of the layers.
        steps: At least 1; None is the recipe's, as for the next three.
        learning_rate: Of Adam before its ramps, in standard deviations of latents or styles; in
            ``styleclip`` in their own numbers.
        latent_weight: Weight of the squared distance to the start, in the same units. All weights
            are relative to one deviation of the prompt's score, in ``styleclip`` to its cosine.
        identity_weight: Weight of ``identity``.
        identity: How far pictures are from those before the edit: `ClayIdentity`, or a partial
            `identity_loss` with ArcFace. None leaves it out.
        layers: Latents that may change, of num_ws; for ``s``, styles that read them. All by
            default.
        keep: Where pictures should stay as they are, [N or 1, 1, R, R]: 1 stays, 0 is free.
        keep_weight: Weight of the mean squared difference there.
        companions: Other heads on which a row's change is tried at each step; time and memory grow
            with them. None is 3, and 1 for pictures of more than 256 pixels a side, and 0 in
            ``styleclip``.
        scale: From `measure_prompt`, which is asked when None is given; ``styleclip`` needs none.
        on_step: Called after each step with ``loss`` [N].

    Raises:
        GaneditError: The latent belongs to another generator, or values are not finite.
    """
    chosen = _settings(
        RECIPES[recipe],
        steps=steps,
        learning_rate=learning_rate,
        latent_weight=latent_weight,
        identity_weight=identity_weight,
    )
    _check(network, clip, space=space, steps=chosen.steps, layers=layers)
    started = time.monotonic()
    generator = network.generator
    device = generator.w_avg.device
    start = torch.cat(list(synthesize(network, latent))).to(device)
    if keep is not None:
        keep = _read_keep(keep, start)
    if scale is None and not chosen.plain:
        scale = measure_prompt(network, clip, target)
    build = _Latents if space == "w+" else _Styles
    moved: _Moved = build(generator, latent, layers, plain=chosen.plain)
    # Adam works on each number alone, so a row never sees the others.
    optimizer = torch.optim.Adam(moved.variables, lr=chosen.learning_rate, betas=_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_pace, recipe=chosen))
    others = _Companions(
        generator, latent, count_companions(generator, recipe) if companions is None else companions
    )
    random = torch.Generator().manual_seed(0)  # one draw a step for all rows: none sees the others
    history = []
    for step in range(chosen.steps):
        heads = others.draw(random)
        images = others.render(heads, moved)
        # Without both terms nothing is compared with what was before.
        compared = identity is not None or target.neutral is not None
        before = others.unchanged(heads, start) if compared else images.detach()
        seen = images, before
        if not chosen.plain:
            view = View(random, clip.scaling.side)
            seen = view.of(images), view.of(before)
        loss = others.mean(_words_loss(clip, target, None if chosen.plain else scale, *seen))
        if identity is not None:
            loss = loss + chosen.identity_weight * others.mean(identity(images, before))
        images = images[: len(start)]
        squares = [x.square().flatten(1).sum(dim=1) for x in moved.variables]
        loss = loss + chosen.latent_weight * torch.stack(squares).sum(dim=0)
        if keep is not None:
            loss = loss + keep_weight * _kept(images, start, keep)
        gradients = torch.autograd.grad(loss.sum(), moved.variables)
        history.append(loss.detach())
        _check_finite([history[-1], *gradients], step=step + 1)
        for variable, gradient in zip(moved.variables, gradients, strict=True):
            variable.grad = gradient
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1, chosen.steps, {"loss": history[-1]})
    return ClipEdit(
        change=_detached(moved.added()),
        history=torch.stack(history).cpu(),
        seconds=time.monotonic() - started,
    )


def _settings(recipe: Recipe, **given: Any) -> Recipe:
    """Return a recipe with what a call says of it."""
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _check_finite(values: Sequence[Tensor], *, step: int) -> None:
    if not all(bool(x.isfinite().all()) for x in values):
        raise GaneditError(
            f"step {step} gave values that are not finite; the network is damaged, or --lr or a"
            " weight is far too large"
        )


def count_companions(generator: Generator, recipe: str) -> int:
    """Return how many companions a row has where a call does not say it."""
    if RECIPES[recipe].plain:
        return 0
    return 3 if generator.img_resolution <= _LARGEST_WITH_THREE else 1


@torch.no_grad()
def measure_prompt(
    network: Network, clip: Clip, target: TextTarget, features: ClayFeatures | None = None
) -> PromptScale:
    """Measure how a prompt's score varies over the generator's own pictures.

    512 pictures, fewer of more than 64 pixels a side, at least 16; always the same. With
    ``features``, what the prompt speaks of is found too: `ClayIdentity(features,
    spared=scale.told)` then does not fight the very thing asked for, nor what comes with it in
    the generator's world, as grey hair does with age.

    Args:
        network: The generator.
        clip: Judges the pictures.
        target: The prompts.
        features: Reads factors off clay heads; only for generators of them.

    Raises:
        GaneditError: The score is the same for all pictures, or not finite.
    """
    generator = network.generator
    side = generator.img_resolution
    count = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, _SAMPLED_PIXELS // side**2))
    scores, readings, owners = [], [], None
    for w in _samples(generator)[:count].split(max(1, _PIXELS_AT_ONCE // side**2)):
        images = generator.synthesize(w[:, None].expand(-1, generator.num_ws, -1))
        scores.append(target.fit(clip.encode_images(images)))
        if features is not None:
            read, owners = read_factors(features, images)
            readings.append(read)
    score = torch.cat(scores)
    deviation, best = float(score.std()), float(score.max())
    if not deviation > 1e-6:
        raise GaneditError(
            "the prompt fits all pictures of this generator alike, or its values are not finite;"
            " say something that pictures differ in"
        )
    if owners is None:
        return PromptScale(deviation, best, {})
    told = spoken_factors(torch.cat(readings), owners, score)
    names = (factor.name for factor in FACTORS)
    return PromptScale(deviation, best, dict(zip(names, told.tolist(), strict=True)))


def _words_loss(
    clip: Clip, target: TextTarget, scale: PromptScale | None, images: Tensor, before: Tensor
) -> Tensor:
    """Return CLIP's loss of pictures [M, 3, R, R], [M]; with a scale in deviations of the score."""
    after = clip.encode_images(images)
    if scale is None and target.neutral is None:
        return clip_loss(after, target)
    loss = after.new_zeros(len(after))
    if scale is not None:
        loss = score_loss(target.fit(after), enough=scale.enough, deviation=scale.deviation)
    if target.neutral is None:
        return loss
    with torch.no_grad():
        first = clip.encode_images(before)
    return loss + directional_loss(first, after, target.direction)


def _kept(images: Tensor, start: Tensor, keep: Tensor) -> Tensor:
    """Return the mean squared difference where ``keep`` [N, 1, R, R] says so, [N]."""
    area = keep.sum(dim=(1, 2, 3)).clamp_min(1) * images.shape[1]
    return ((images - start).square() * keep).sum(dim=(1, 2, 3)) / area


class _Moved(Protocol):
    """Variables of N rows, and what they add to latents or styles."""

    variables: list[Tensor]

    def added(self) -> Change:
        """Return what the variables add to each row, with gradients."""
        ...


class _Latents:
    """A change of W+ in principal components of W: one for all layers, and one for each.

    ``plain`` is one for each, in the numbers of the latents.
    """

    def __init__(
        self,
        generator: Generator,
        latent: Latent,
        layers: Sequence[int] | None,
        *,
        plain: bool,
    ) -> None:
        device = generator.w_avg.device
        self._axes = None if plain else principal_axes(_samples(generator))
        count, num_ws, w_dim = latent.ws.shape
        self._free = torch.zeros(num_ws, 1, device=device)
        self._free[list(range(num_ws) if layers is None else layers)] = 1
        shapes = [(count, num_ws, w_dim)] if plain else [(count, 1, w_dim), (count, num_ws, w_dim)]
        self.variables = [torch.zeros(s, device=device, requires_grad=True) for s in shapes]

    def added(self) -> Change:
        change = sum(self.variables[1:], self.variables[0])
        if self._axes is not None:
            change = change @ self._axes
        return Change(ws=change * self._free)


class _Styles:
    """A change of styles in units of their standard deviations; ``plain`` in their numbers."""

    def __init__(
        self,
        generator: Generator,
        latent: Latent,
        layers: Sequence[int] | None,
        *,
        plain: bool,
    ) -> None:
        ws = _samples(generator)[:_STYLE_SAMPLES, None].expand(-1, generator.num_ws, -1)
        with torch.no_grad():
            self._deviations = [x.std(dim=0) for x in generator.styles(ws)]
        if plain:
            self._deviations = [torch.ones_like(x) for x in self._deviations]
        free = [layers is None or layer.layer in layers for layer in generator.style_layers]
        self._where = [index for index, chosen in enumerate(free) if chosen]
        self._count = len(latent)
        self.variables = [
            x.new_zeros(self._count, len(x)).requires_grad_()
            for x in (self._deviations[index] for index in self._where)
        ]

    def added(self) -> Change:
        added = [x.new_zeros(self._count, len(x)) for x in self._deviations]
        for index, x in zip(self._where, self.variables, strict=True):
            added[index] = x * self._deviations[index]
        return Change(offsets=tuple(added))


class _Companions:
    """The rows of a latent, and some heads beside each, on which its change is tried too."""

    def __init__(self, generator: Generator, latent: Latent, count: int) -> None:
        device = generator.w_avg.device
        self._ws = latent.ws.to(device)
        self._offsets = latent.offsets and tuple(x.to(device) for x in latent.offsets)
        self._samples = _samples(generator)
        self._centre = self._samples.mean(dim=0)
        self._count = count
        self._render: Callable[..., Tensor] = generator.synthesize
        if latent.cameras is not None:  # a companion is seen from where its row is
            render: Callable[..., Tensor] = generator.synthesize
            self._render = partial(render, camera=self._each(latent.cameras.to(device)))
        self._noise: Noise = "const"
        if latent.noise is not None:
            rows = len(latent) * count
            own = zip(latent.noise, generator.noise_maps(), strict=True)
            self._noise = [
                torch.cat(
                    [m.to(device).expand(len(latent), -1, -1, -1), c.expand(rows, -1, -1, -1)]
                )
                for m, c in own
            ]

    def draw(self, random: torch.Generator) -> Tensor:
        """Return latents of the rows and then of new companions, [N + N * count, num_ws, w_dim]."""
        which = torch.randint(len(self._samples), (self._count,), generator=random)
        samples = self._samples[which.to(self._samples.device)]
        return torch.cat([self._ws, companions_of(self._ws, samples, self._centre)])

    def render(self, ws: Tensor, moved: _Moved | None) -> Tensor:
        """Return the pictures of what `draw` gave, [N + N * count, 3, R, R], changed or not."""
        change = Change() if moved is None else moved.added()
        offsets = change.offsets
        if self._offsets is not None:
            base = [x.expand(len(self._ws), -1) for x in self._offsets]
            added = offsets or [torch.zeros_like(x) for x in base]
            offsets = tuple(torch.add(a, b) for a, b in zip(base, added, strict=True))
        if change.ws is not None:
            ws = ws + self._each(change.ws)
        return self._render(
            ws, noise=self._noise, offsets=offsets and [self._each(x) for x in offsets]
        )

    @torch.no_grad()
    def unchanged(self, ws: Tensor, start: Tensor) -> Tensor:
        """Return the pictures of what `draw` gave before any change; ``start`` are the rows'."""
        if not self._count:
            return start
        return torch.cat([start, self.render(ws, None)[len(start) :]])

    def mean(self, loss: Tensor) -> Tensor:
        """Return the loss of each row and the mean of its companions', added, [N]."""
        own, beside = loss.split([len(self._ws), len(loss) - len(self._ws)])
        return own + beside.reshape(len(own), -1).mean(dim=1) if self._count else own

    def _each(self, rows: Tensor) -> Tensor:
        """Repeat what belongs to rows [N, ...] for their companions."""
        return torch.cat([rows, rows.repeat_interleave(self._count, dim=0)])


def _pace(step: int, *, recipe: Recipe) -> float:
    """Return the factor of the learning rate: warm-up, and a ramp to 0 at the end."""
    up = (step + 1) / (recipe.warm_up * recipe.steps)
    return min(1, up, (1 - step / recipe.steps) / recipe.ramp_down)


def _detached(change: Change) -> Change:
    offsets = change.offsets
    return Change(
        ws=None if change.ws is None else change.ws.detach().cpu(),
        offsets=None if offsets is None else tuple(x.detach().cpu() for x in offsets),
    )


def _samples(generator: Generator) -> Tensor:
    """Return w of the generator, [SAMPLES, w_dim]; of all classes in turn when it has any."""
    if not generator.c_dim:
        return map_samples(generator)
    device = generator.w_avg.device
    classes = torch.arange(SAMPLES, device=device) % generator.c_dim
    return map_samples(generator, F.one_hot(classes, generator.c_dim).float())


def _read_keep(keep: Tensor, start: Tensor) -> Tensor:
    side = start.shape[3]
    if tuple(keep.shape[1:]) != (1, side, side) or len(keep) not in (1, len(start)):
        raise ValueError(
            f"keep: expected [{len(start)} or 1, 1, {side}, {side}], got {list(keep.shape)}"
        )
    if not bool(((keep >= 0) & (keep <= 1)).all()):
        raise ValueError("keep: expected values in [0, 1]")
    return keep.to(start).expand(len(start), -1, -1, -1)


def _check(
    network: Network, clip: Clip, *, space: str, steps: int, layers: Sequence[int] | None
) -> None:
    if space not in ("w+", "s"):
        raise ValueError(f"space: expected 'w+' or 's', got {space!r}")
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    num_ws = network.generator.num_ws
    if layers is not None and not (layers and all(0 <= layer < num_ws for layer in layers)):
        raise GaneditError(
            f"layers {list(layers)}: expected some of 0 to {num_ws - 1}, the layers of"
            f" {network.source}"
        )
    if clip.preprocess == "open_clip":
        raise GaneditError(
            "--clip-preprocess open_clip goes through 8 bits and has no gradients; choose model or"
            " reference"
        )
