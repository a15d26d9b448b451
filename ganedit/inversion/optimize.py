"""Inversion by optimisation: the latent whose picture is closest to a photo.

The schedule is that of the StyleGAN2 projector (Karras et al. 2020, appendix D): a learning
rate with warm-up and cosine ramp-down, noise on the latent that fades away, and noise maps that
are optimised too but held to be noise. Around it: W+, a start from the best of many samples, the
best step instead of the last, and a schedule of each photo's own, so that a photo's result does
not depend on the others of its batch.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from ganedit.assets import embedded
from ganedit.checkpoints import Network, label_batch
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.statistics import SAMPLES, map_samples, spread
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.inversion.cameras import Poses, move_cameras
from ganedit.inversion.comparison import Comparison, read_mask
from ganedit.io.latents import Latent
from ganedit.losses.perceptual import PerceptualDistance, load_perceptual
from ganedit.losses.regularizers import average_pull, noise_correlation, normalize_noise_

DOMAIN_GAP_LIMIT = 1.5
"""Photos with a larger `Projection.domain_gap` are unlike the generator's pictures."""

SEARCH_STEPS = 500
"""Steps from a start that was searched for."""

REFINEMENT_STEPS = 100
"""Steps from a start that was given."""

_WARM_UP = 0.05
_RAMP_DOWN = 0.25
_LATENT_NOISE_END = 0.75
_SECOND_STAGE = 0.5
_SEARCH_BETAS = (0.9, 0.999)
_REFINEMENT_BETAS = (0.8, 0.99)  # a short run is over before Adam's usual averages settle
_IMPROVEMENT = 1e-3
_CAMERA_RATE = 0.05  # radians a step for each unit of a latent
_PROBES = 32
_PIXELS_AT_ONCE = 32 * 64**2  # rendered without gradients: less memory than a step takes


@dataclass(frozen=True, eq=False)
class Projection:
    """What an inversion found, one entry a photo.

    Of photos of one head, there is one entry for all in ``ws``, ``noise``, ``best_step``,
    ``history`` and ``deviation``.

    Attributes:
        ws: Latents, [N, num_ws, w_dim].
        space: Where they were looked for.
        noise: Noise maps in network order, [N, 1, R, R] each; None when they were not optimised.
        images: What ``ws`` and ``noise`` render, [N, 3, R, R].
        distance: Perceptual distance of ``images`` to the photos, [N].
        best_step: The step that gave the result, [N], counted from 0.
        history: Loss of every step, [steps, N]; NaN after a photo's own early stop.
        domain_gap: How far each photo is from the generator's pictures, [N]: its distance to the
            closest of some samples, in units of the largest such distance among those samples.
        deviation: How far ``ws`` are from the average latent, [N], in units of that distance of a
            typical sample: about 1 is where edits work best.
        seconds: Wall-clock time.
        cameras: From where ``images`` are seen, [N, 25]; None of a generator of flat pictures.
        moved: How far they moved in yaw and in pitch, radians, [N, 2]; None where they did not.
    """

    ws: Tensor
    space: Literal["w", "w+"]
    noise: tuple[Tensor, ...] | None
    images: Tensor
    distance: Tensor
    best_step: Tensor
    history: Tensor
    domain_gap: Tensor
    deviation: Tensor
    seconds: float
    cameras: Tensor | None = None
    moved: Tensor | None = None

    def latent(self, network: Network, *, names: Sequence[str] = ()) -> Latent:
        """Return what was found as latents to save and edit.

        That of one head has the camera of its first photo.

        Args:
            network: The one whose generator was projected into.
            names: One a latent, or none.
        """
        return Latent(
            ws=self.ws.cpu(),
            space=self.space,
            fingerprint=network.fingerprint,
            network=network.home,
            noise=self.noise and tuple(x.cpu() for x in self.noise),
            names=tuple(names),
            cameras=None if self.cameras is None else self.cameras[: len(self.ws)].cpu(),
        )


def project(
    network: Network,
    targets: Tensor,
    *,
    perceptual: PerceptualDistance | None = None,
    space: Literal["w", "w+"] = "w+",
    initial: Tensor | Latent | None = None,
    mask: Tensor | None = None,
    target_features: Sequence[Tensor] | None = None,
    cameras: Tensor | None = None,
    optimize_cameras: bool = False,
    one_head: bool = False,
    steps: int | None = None,
    pixel_weight: float = 10.0,
    optimize_noise: bool | None = None,
    two_stage: bool = False,
    noise_regularization: float = 1e5,
    average_weight: float = 0.0,
    initial_learning_rate: float = 0.1,
    latent_noise: float | None = None,
    candidates: int | None = None,
    seeds: Sequence[int] | None = None,
    label: Sequence[float] | None = None,
    patience: int | None = None,
    max_seconds: float | None = None,
    dtype: torch.dtype = torch.float32,
    on_step: Callable[[int, int, Mapping[str, Tensor]], None] | None = None,
) -> Projection:
    """Find the latents, and optionally the noise maps, that reproduce photos.

    Args:
        network: Only latents and noise maps get gradients.
        targets: Photos, [N, 3, R, R] in [-1, 1], at the generator's resolution.
        perceptual: The distance to minimise; None is `default_perceptual` of the network.
        space: ``w`` looks for one vector for all layers, ``w+`` for one each.
        initial: Latents to start from, [N or 1, num_ws, w_dim]: an encoder's, or those of a
            `Latent`, whose noise maps are then started from too. None searches for a start.
        mask: What of the photos counts, [N or 1, 1, R, R]: 1 counts, 0 is ignored by all losses
            and so becomes what the generator thinks likely there.
        target_features: What pictures are compared with instead of the photos' own features, as
            `PerceptualDistance.encode` returns them.
        cameras: From where the photos were taken, for a tri-plane generator, [N or 1, 25]; None is
            its front.
        optimize_cameras: Move the cameras too, around the head.
        one_head: The photos are views of one head: they share one latent and its noise maps, whose
            loss is the mean of theirs.
        steps: Optimisation steps; None is 500 from a searched start, `REFINEMENT_STEPS` from
            ``initial``.
        pixel_weight: Weight of the mean squared pixel difference beside the distance.
        optimize_noise: Optimise noise maps too; otherwise the generator's own are used. None does
            but for tri-plane generators, whose maps hold texture of planes, not of pictures.
        two_stage: Move only the latents in the first half of the schedule and only the noise maps
            in the second (Image2StyleGAN++, Abdal et al. 2020), so that maps hold only what no
            latent can.
        noise_regularization: Weight of `noise_correlation`, which keeps a picture out of them.
        average_weight: Weight of `average_pull`, which holds latents near the average.
        initial_learning_rate: Adam's, before its ramps.
        latent_noise: Noise on the latents at first, in units of their spread; None is the
            reference's 0.05 in ``w``, where it explores, and 0 in ``w+``, where it only delays.
        candidates: Samples to choose the start from, the average latent first (1 is only that);
            None decides by resolution.
        seeds: One a latent; by default all 0, so that equal photos give equal results.
        label: The condition of a conditional generator, c_dim numbers: latents of this class are
            where the search starts, and measure its steps.
        patience: Steps without progress until a photo's ramp-down is brought forward, and then
            until it stops; None is a fifth of ``steps``.
        max_seconds: Compresses the schedule to end in time; at least one step is made.
        dtype: What synthesis and perceptual features of the steps are computed in, float32 or
            bfloat16. Latents, noise maps and their moments are always float32, and so are the
            picture and the distance of the result.
        on_step: Called after each step with ``loss`` and ``distance`` [N] and ``images``
            [N, 3, R, R], detached.

    Returns:
        The best step of each photo.

    Raises:
        GaneditError: The generator needs a label and has none, or the other way round; or there are
            cameras, and it draws flat pictures; or it renders values that are not finite.
    """
    generator = network.generator
    rows = 1 if one_head else len(targets)
    seeds = [0] * rows if seeds is None else list(seeds)
    optimize_noise = _default(optimize_noise, not isinstance(generator, TriPlaneGenerator))
    if two_stage and not optimize_noise:
        raise ValueError("two_stage: its second stage moves the noise maps; set optimize_noise")
    steps = _default(steps, SEARCH_STEPS if initial is None else REFINEMENT_STEPS)
    searched_noise = 0.05 if space == "w" and initial is None else 0.0
    latent_noise = _default(latent_noise, searched_noise)
    _check(generator, targets, space=space, steps=steps, max_seconds=max_seconds, dtype=dtype)
    if len(seeds) != rows:
        raise ValueError(f"seeds: expected {rows}, got {len(seeds)}")
    poses = Poses(generator, cameras, photos=len(targets))
    given, given_noise = _read_initial(network, initial, rows)
    started = time.monotonic()
    targets = targets.to(generator.w_avg.device)
    mask = None if mask is None else read_mask(mask, targets)
    if perceptual is None:
        perceptual = load_perceptual(default_perceptual(network), device=targets.device)
    with torch.no_grad():
        comparison = Comparison(perceptual, targets, mask, features=target_features)
        samples = map_samples(generator, label_batch(network, label, SAMPLES))
        goal = _Goal(
            comparison,
            average=samples.mean(dim=0),
            w_std=spread(samples),
            pixel_weight=pixel_weight,
            noise_regularization=noise_regularization,
            average_weight=average_weight,
            one_head=one_head,
        )
        start, gap = _choose_start(
            poses,
            samples,
            comparison,
            candidates=1 if given is not None else candidates,
            one_head=one_head,
        )
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = given_noise or _initial_noise(generator, streams, targets.device)
    run = _Run(
        _in_space(start if given is None else given, space, generator.num_ws),
        noise=noise if optimize_noise else (),
        moves=poses.no_moves() if optimize_cameras else None,
        schedule=_Schedule(
            rows, steps=steps, patience=patience or max(1, steps // 5), staged=two_stage
        ),
        betas=_SEARCH_BETAS if initial is None else _REFINEMENT_BETAS,
    )
    history = []
    for step in range(steps):
        if max_seconds is not None and step > 0:
            run.schedule.at_least((time.monotonic() - started) / max_seconds)
        if run.schedule.finished:
            break
        jitter = goal.w_std * latent_noise * run.schedule.latent_noise().to(targets.device)
        latents = run.latents + jitter * _normal(streams, run.latents.shape[1:], targets.device)
        ws = latents.expand(-1, generator.num_ws, -1)
        with torch.autocast(
            targets.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16
        ):
            images = poses.draw(ws, noise=run.noise or "const", moves=run.moves)
            distance = comparison.distance(images)
        loss, regularized = goal.losses(images, distance, ws, run.noise)
        gradients = torch.autograd.grad(regularized.sum(), run.variables)
        history.append(run.record(step, loss.detach(), ws.detach()))
        run.update(gradients, learning_rate=initial_learning_rate)
        run.schedule.advance(loss.detach())
        if on_step is not None:
            values = {"loss": loss, "distance": distance, "images": images}
            on_step(step + 1, steps, {name: value.detach() for name, value in values.items()})
    return _result(run, poses, goal, history, gap=gap, started=started)


def default_perceptual(network: Network) -> Literal["lpips", "clay"]:
    """Return the perceptual distance to use for a network when the user names none.

    ``clay`` for networks of the clay world, as their provenance says (and the embedded ones are);
    for all others ``lpips``, whose weights the user must have: no weaker stand-in is chosen
    silently.
    """
    told = network.metadata.get("provenance", {}).get("perceptual")
    return "clay" if told == "clay" or network.source in embedded() else "lpips"


@dataclass(frozen=True, eq=False)
class _Goal:
    """What is minimised; the settings are those of `project`."""

    comparison: Comparison
    average: Tensor
    w_std: float
    pixel_weight: float
    noise_regularization: float
    average_weight: float
    one_head: bool

    def losses(
        self, images: Tensor, distance: Tensor, ws: Tensor, noise: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of latents without and with what holds them, [N], or [1] of one head.

        Args:
            images: What is drawn of them, [N, 3, R, R].
            distance: Perceptual, of these to the photos, [N].
            ws: The latents, [N or 1, num_ws, w_dim].
            noise: Maps, [N or 1, 1, R, R] each.
        """
        loss = distance + self.pixel_weight * self.comparison.pixel_distance(images)
        if self.one_head:
            loss = loss.mean(dim=0, keepdim=True)
        held = loss
        if noise:
            held = held + self.noise_regularization * noise_correlation(noise)
        if self.average_weight:
            pull = average_pull(ws, self.average, w_std=self.w_std)
            held = held + self.average_weight * pull
        return loss, held


class _Schedule:
    """Where each photo is in the schedule: from 0 to 1, at its own pace."""

    def __init__(self, count: int, *, steps: int, patience: int, staged: bool = False) -> None:
        self.position = torch.zeros(count, dtype=torch.float64)
        self._pace = 1 / steps
        self._patience = patience
        self._staged = staged
        places = [_SECOND_STAGE, 1 - _RAMP_DOWN, 1] if staged else [1 - _RAMP_DOWN, 1]
        self._milestones = torch.tensor(places, dtype=torch.float64)
        self._mark = torch.full((count,), math.inf, dtype=torch.float64)
        self._stale = torch.zeros(count, dtype=torch.long)

    @property
    def running(self) -> Tensor:
        """Which photos have not ended, bool [N]."""
        return self.position < 1 - 1e-9

    @property
    def finished(self) -> bool:
        return not bool(self.running.any())

    def learning_rate(self) -> Tensor:
        """Factor of the learning rate, [N]: warm-up from 0, cosine ramp-down to 0."""
        down = ((1 - self.position) / _RAMP_DOWN).clamp(0, 1)
        down = 0.5 - 0.5 * torch.cos(math.pi * down)
        # Half a step ahead of the reference, whose first step has rate 0 and does nothing.
        up = ((self.position + self._pace / 2) / _WARM_UP).clamp(max=1)
        return down * up

    def moving(self) -> tuple[Tensor, Tensor]:
        """Whether latents and whether noise maps move now, 0 or 1, [N] each."""
        everything = torch.ones_like(self.position)
        if not self._staged:
            return everything, everything
        second = (self.position >= _SECOND_STAGE).double()
        return 1 - second, second

    def latent_noise(self) -> Tensor:
        """Factor of the latent noise, [N, 1, 1]: fades out quadratically."""
        fade = (1 - self.position / _LATENT_NOISE_END).clamp(min=0).square()
        return fade.float().reshape(-1, 1, 1)

    def at_least(self, position: float) -> None:
        """Move on to ``position``, when time demands it."""
        self.position.clamp_(min=min(position, 1.0))

    def advance(self, loss: Tensor) -> None:
        """Count one step with these losses [N]; a plateau leads to what comes next."""
        loss = loss.double().cpu()
        progressed = loss < self._mark * (1 - _IMPROVEMENT)
        self._mark = torch.where(progressed, loss, self._mark)
        self._stale = torch.where(progressed, 0, self._stale + 1)
        self.position += self._pace
        stuck = self._stale >= self._patience
        ahead = self._milestones > self.position[:, None]
        following = torch.where(ahead, self._milestones, 1.0).amin(dim=1)
        self.position = torch.where(stuck, following, self.position)
        self._stale[stuck] = 0


class _Run:
    """The variables of an optimisation, Adam's moments, and the best of each photo so far."""

    def __init__(
        self,
        latents: Tensor,
        *,
        noise: tuple[Tensor, ...],
        moves: Tensor | None,
        schedule: _Schedule,
        betas: tuple[float, float],
    ) -> None:
        self.latents = latents.detach().clone().requires_grad_(True)
        self.noise = tuple(x.detach().clone().requires_grad_(True) for x in noise)
        self.moves = None if moves is None else moves.requires_grad_(True)
        self.variables = [self.latents, *self.noise, *(() if moves is None else (moves,))]
        self.schedule = schedule
        self._means = [torch.zeros_like(x) for x in self.variables]
        self._squares = [torch.zeros_like(x) for x in self.variables]
        self._betas = betas
        self._updates = 0
        count = len(latents)
        self.best_loss = latents.new_full((count,), math.inf)
        self.best_step = torch.zeros(count, dtype=torch.long, device=latents.device)
        self.best_ws: Tensor | None = None
        self.best_noise = [x.detach().clone() for x in self.noise]
        self.best_moves = None if moves is None else moves.detach().clone()

    def record(self, step: int, loss: Tensor, ws: Tensor) -> Tensor:
        """Keep what was just rendered where it is the best so far; return the losses to log."""
        running = self.schedule.running.to(loss.device)
        better = (loss < self.best_loss) & running
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_step = torch.where(better, step, self.best_step)
        if self.best_ws is None:
            self.best_ws = ws.clone()
        self.best_ws = torch.where(better[:, None, None], ws, self.best_ws)
        for kept, x in zip(self.best_noise, self.noise, strict=True):
            kept.copy_(torch.where(better[:, None, None, None], x.detach(), kept))
        if self.moves is not None and self.best_moves is not None:
            self.best_moves = torch.where(better[:, None], self.moves.detach(), self.best_moves)
        return torch.where(running, loss, math.nan)

    def update(self, gradients: Sequence[Tensor], *, learning_rate: float) -> None:
        """Make one step of Adam, elementwise, with each photo's own learning rate."""
        self._updates += 1
        rate = self.schedule.learning_rate() * learning_rate
        latents, noise = self.schedule.moving()
        rates = [rate * latents, *[rate * noise] * len(self.noise)]
        if self.moves is not None:
            rates.append(rate * latents * _CAMERA_RATE)
        first, second = self._betas
        correction = 1 - first**self._updates
        with torch.no_grad():
            for x, gradient, mean, square, rate in zip(
                self.variables, gradients, self._means, self._squares, rates, strict=True
            ):
                mean.lerp_(gradient, 1 - first)
                square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
                scale = (square / (1 - second**self._updates)).sqrt_().add_(1e-8)
                pace = rate.float().to(x.device)
                step_size = pace.reshape(-1, *[1] * (x.ndim - 1)) / correction
                x.sub_(step_size * mean / scale)
        normalize_noise_(self.noise)


def _check(
    generator: Generator,
    targets: Tensor,
    *,
    space: str,
    steps: int,
    max_seconds: float | None,
    dtype: torch.dtype,
) -> None:
    side = generator.img_resolution
    if targets.ndim != 4 or tuple(targets.shape[1:]) != (3, side, side) or not len(targets):
        raise ValueError(f"targets: expected [N, 3, {side}, {side}], got {list(targets.shape)}")
    if generator.img_channels != 3:
        raise GaneditError(
            f"this generator's pictures have {generator.img_channels} channels; photos have 3"
        )
    if space not in ("w", "w+"):
        raise ValueError(f"space: expected 'w' or 'w+', got {space!r}")
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype: expected torch.float32 or torch.bfloat16, got {dtype}")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds: expected more than 0, got {max_seconds}")


_Setting = TypeVar("_Setting")


def _default(value: _Setting | None, otherwise: _Setting) -> _Setting:
    return otherwise if value is None else value


def _read_initial(
    network: Network, initial: Tensor | Latent | None, count: int
) -> tuple[Tensor | None, tuple[Tensor, ...] | None]:
    """Return the latents [N, num_ws, w_dim] and noise maps to start from, where they are given."""
    if initial is None:
        return None, None
    noise = None
    if isinstance(initial, Latent):
        if initial.fingerprint != network.fingerprint:
            raise GaneditError(
                f"the initial latent belongs to another generator ({initial.network},"
                f" {initial.fingerprint[:19]}...) than {network.source}"
            )
        if initial.offsets is not None:
            raise GaneditError(
                "the initial latent was edited in style space, where no projection searches; start"
                " from the latent before that edit"
            )
        noise, initial = initial.noise, initial.ws
    average = network.generator.w_avg
    wanted = (network.generator.num_ws, average.shape[-1])
    if tuple(initial.shape[1:]) != wanted or len(initial) not in (1, count):
        shape = [f"{count} or 1", *wanted]
        raise ValueError(f"initial: expected {shape}, got {list(initial.shape)}")
    ws = initial.detach().to(average).expand(count, -1, -1)
    return ws, noise and tuple(x.to(average).expand(count, -1, -1, -1) for x in noise)


def _in_space(ws: Tensor, space: Literal["w", "w+"], num_ws: int) -> Tensor:
    """Return [N, 1, w_dim] in ``w``, the mean of layers, and [N, num_ws, w_dim] in ``w+``."""
    return ws.mean(dim=1, keepdim=True) if space == "w" else ws.expand(-1, num_ws, -1)


def _choose_start(
    poses: Poses,
    samples: Tensor,
    comparison: Comparison,
    *,
    candidates: int | None,
    one_head: bool,
) -> tuple[Tensor, Tensor]:
    """Return the closest of some samples for each photo, [N, 1, w_dim], and the domain gaps, [N].

    The first of the candidates is the average latent. Photos of one head get one start.
    """
    if candidates is None:
        side = poses.generator.img_resolution
        most = 256 if poses.cameras is None else 64  # rays take longer, and each photo has its own
        candidates = min(most, max(32, 256 * 64**2 // side**2))
    w = torch.cat([samples.mean(dim=0, keepdim=True), samples[: max(candidates, _PROBES) - 1]])
    tables, gaps = [], []
    for photos, camera in poses.groups():
        table, gap = _distances(poses.generator, w, comparison.rows(photos), camera)
        tables.append(table[:, :candidates])
        gaps.append(gap)
    table = torch.cat(tables)
    if one_head:
        table = table.mean(dim=0, keepdim=True)
    return w[table.argmin(dim=1)][:, None], torch.cat(gaps)


def _distances(
    generator: Generator, w: Tensor, comparison: Comparison, camera: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return how far photos are from what latents render, [N, M], and their domain gaps, [N].

    Args:
        generator: Which renders.
        w: Latents, [M, w_dim], the first `_PROBES` of which measure how far pictures can be apart.
        comparison: With N photos.
        camera: From where all are seen, [1, 25]; None of flat pictures.
    """
    perceptual = comparison.perceptual
    probes: list[Tensor] = []
    rows = []
    for part in w.split(_PROBES):
        features = _features(generator, perceptual, part, camera)
        probes = probes or features
        between = perceptual.distance_table(probes, features)
        rows.append(torch.cat([comparison.to_each(features), between]))
    table = torch.cat(rows, dim=1)  # [N + probes, M]
    if not bool(table.isfinite().all()):
        raise GaneditError("the network renders values that are not finite; it is damaged")
    count = len(comparison.targets)
    own = table[count:].clone()
    own.fill_diagonal_(math.inf)
    farthest = own.amin(dim=1).max().clamp_min(1e-12)
    return table[:count], table[:count].amin(dim=1) / farthest


def _features(
    generator: Generator, perceptual: PerceptualDistance, w: Tensor, camera: Tensor | None
) -> list[Tensor]:
    """Return the features of what latents [M, w_dim] render, M rows each, a few at a time."""
    size = max(1, _PIXELS_AT_ONCE // generator.img_resolution**2)
    kept: list[Tensor] = []
    for start in range(0, len(w), size):
        ws = w[start : start + size, None].expand(-1, generator.num_ws, -1)
        images = Poses(generator, camera, photos=len(ws)).draw(ws, noise="const")
        maps = perceptual.encode(images)
        kept = kept or [_empty(len(w), x) for x in maps]
        for all_of_it, x in zip(kept, maps, strict=True):
            all_of_it[start : start + size] = x
    return kept


def _empty(count: int, like: Tensor) -> Tensor:
    shape = (count, *like.shape[1:])
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _initial_noise(
    generator: Generator, streams: Sequence[torch.Generator], device: torch.device
) -> tuple[Tensor, ...]:
    noise = tuple(_normal(streams, (1, *shape), device) for shape in generator.noise_shapes)
    normalize_noise_(noise)
    return noise


def _normal(
    streams: Sequence[torch.Generator], shape: Sequence[int], device: torch.device
) -> Tensor:
    """Standard normal numbers, [N, *shape], each row from its own stream."""
    return torch.stack([torch.randn(tuple(shape), generator=s) for s in streams]).to(device)


def _result(
    run: _Run,
    poses: Poses,
    goal: _Goal,
    history: Sequence[Tensor],
    *,
    gap: Tensor,
    started: float,
) -> Projection:
    if run.best_ws is None or not bool(run.best_loss.isfinite().all()):
        raise GaneditError("the optimisation gave values that are not finite")
    noise, moved = tuple(run.best_noise) or None, run.best_moves
    cameras = poses.cameras
    if cameras is not None and moved is not None:
        assert isinstance(poses.generator, TriPlaneGenerator)
        cameras = move_cameras(cameras, moved, poses.generator)
    with torch.no_grad():
        images = poses.draw(run.best_ws, noise=noise or "const", moves=moved)
        distance = goal.comparison.distance(images)
    return Projection(
        ws=run.best_ws,
        space="w" if run.latents.shape[1] == 1 else "w+",
        noise=noise,
        images=images,
        distance=distance,
        best_step=run.best_step,
        history=torch.stack(list(history)),
        domain_gap=gap,
        deviation=average_pull(run.best_ws, goal.average, w_std=goal.w_std).sqrt(),
        seconds=time.monotonic() - started,
        cameras=cameras,
        moved=moved,
    )
