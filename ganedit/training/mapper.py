"""Training of latent mappers (Patashnik et al. 2021, section 5): from words to a change of latents.

The loss has the paper's three terms: how well the edited pictures fit the prompts, whether they
show the same person, and how far the latents went (equation 5). What differs from the official
code:

- The prompts' score counts in standard deviations over the generator's samples, so that one set of
  weights serves every prompt and every CLIP, and no longer where it is that of the best of them.
- The mapper finds coordinates along the ways in which w varies: other changes please a CLIP and
  show nothing.
- Clay heads are the same as far as all that can be read off them stays, but for what the prompt
  speaks of.
- Samples are moved off the mapped latents, layer by layer: projected photos lie there, and a mapper
  that never saw such latents barely moves them.
- Adam stands in for Ranger.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganedit.checkpoints import PROMPT_JOINT, Network, open_checkpoint, save_mapper
from ganedit.encoders import MAPPER_STRENGTH, LevelsMapper, SingleMapper
from ganedit.errors import GaneditError
from ganedit.features.arcface import arcface_path, find_arcface
from ganedit.features.clay import load_clay_features
from ganedit.features.clip import Clip
from ganedit.generators import Generator
from ganedit.generators.statistics import map_samples, principal_axes
from ganedit.losses.clip import TextTarget, View, encode_prompts, parse_prompt, score_loss
from ganedit.losses.identity import read_factors, spoken_factors
from ganedit.progress import OnStep
from ganedit.training.loop import step_seed
from ganedit.training.mapper_config import MapperTrainingConfig
from ganedit.training.resuming import Part, diverged_at, restore_state, run_steps, save_state
from ganedit.training.targets import check_target

_FORMAT = "ganedit-mapper-training"
_WARM_UP = 5  # steps
_RAMP_DOWN = 0.25  # of the training
_BETAS = (0.9, 0.99)
_LARGEST_GRADIENT = 1.0
_AVERAGE_DECAY = 0.98  # a step
_HELD_OUT = 32  # samples
_ENOUGH = 0.98  # of the samples score less: no edit has to go beyond
_SMALLEST_SPREAD = 1e-4  # of cosines
_SMOOTH = 0.05  # parts of a factor's range

Mapper = LevelsMapper | SingleMapper


@dataclass(frozen=True)
class MapperTrainingResult:
    """How a training ended.

    Attributes:
        reason: ``done``, or ``interrupted`` by a signal: then only the state was written.
        step: Steps done, over all processes.
        figures: Of latents that were not trained on, where there are enough: mean cosine of prompt
            and picture ``before`` and ``after``, and the other terms of the loss; empty when
            interrupted.
    """

    reason: Literal["done", "interrupted"]
    step: int
    figures: dict[str, float]


@dataclass(frozen=True)
class _Identity:
    """Who a face is.

    Attributes:
        read: From pictures [N, 3, R, R] to readings [N, K].
        distance: Between readings after and before, [N].
    """

    read: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Pool:
    """Latents, and what their pictures are like.

    Attributes:
        ws: [M, num_ws, w_dim].
        scores: Of the prompts, [M].
        readings: Of `_Identity`, [M, K].
    """

    ws: Tensor
    scores: Tensor
    readings: Tensor

    def rows(self, chosen: Tensor | slice) -> "_Pool":
        """Return some of them."""
        return _Pool(self.ws[chosen], self.scores[chosen], self.readings[chosen])


@dataclass(frozen=True)
class _World:
    """What a training only reads."""

    config: MapperTrainingConfig
    generator: Generator
    clip: Clip
    target: TextTarget
    identity: _Identity
    train: _Pool
    held_out: _Pool
    spread: float
    enough: float
    measure: Tensor
    mapped: Tensor
    centre: Tensor


@dataclass
class _State:
    """What a training changes; random numbers follow from (seed, step)."""

    mapper: Mapper
    averaged: Mapper
    optimizer: torch.optim.Optimizer
    step: int = 0


def train_mapper(
    config: MapperTrainingConfig,
    *,
    network: Network,
    clip: Clip,
    latents: Tensor | None = None,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> MapperTrainingResult:
    """Train a mapper for some prompts and write its moving average to ``config.out``.

    A training that was stopped goes on from the state beside that file, if the options are the
    same. SIGINT and SIGTERM finish the current step, save the state and return.

    Args:
        config: All options.
        network: Of ``config.network``.
        clip: Of ``config.clip``.
        latents: To train on, [M, num_ws, w_dim]; None samples the generator.
        overwrite: Also replace a file that is no mapper of ours.
        on_step: Called after every step with the terms of the loss.

    Raises:
        GaneditError: Bad options, prompts or files, or the training diverged.
    """
    config.validate()
    inputs = (config.network, config.clip, config.latents or "")
    check_target(config.out, ours=_is_mapper, overwrite=overwrite, inputs=inputs)
    world = _world(config, network, clip, latents)
    state = _initial_state(world)
    if config.state_path.exists():
        _restore(world, state)
    done = run_steps(
        state,
        lambda: _step(world, state),
        steps=config.steps,
        save=lambda: _save_state(world, state),
        save_every=round(config.state_kimg * 1000 / config.batch),
        diverged=diverged_at(config.state_path, "training", config.learning_rate),
        on_step=on_step,
    )
    if not done:
        return MapperTrainingResult("interrupted", state.step, {})
    figures = _measure(world, state.averaged)
    provenance = {"latents": state.step * config.batch, "recipe": config.recipe(), **figures}
    save_mapper(
        config.out,
        state.averaged,
        prompt=PROMPT_JOINT.join(config.prompts),
        fingerprint=network.fingerprint,
        provenance=provenance,
    )
    config.state_path.unlink(missing_ok=True)
    return MapperTrainingResult("done", state.step, figures)


# Start


def _world(
    config: MapperTrainingConfig, network: Network, clip: Clip, latents: Tensor | None
) -> _World:
    """Draw the samples, and measure all pictures before anything changes them."""
    generator = network.generator
    device = generator.w_avg.device
    if generator.c_dim:
        raise GaneditError(f"{config.network}: is conditional; mappers are for generators that"
                           " need no label")  # fmt: skip
    layers = range(generator.num_ws)
    if not any(getattr(config, level) and layers[part] for level, part in _LAYERS.items()):
        raise GaneditError(
            f"{config.network}: has {generator.num_ws} latents, none of them in the levels that are"
            " left; leave out one of --no-coarse and --no-medium"
        )
    prompts = [parse_prompt(prompt) for prompt in config.prompts]
    target = encode_prompts(clip, prompts, neutral=config.neutral)
    read = _reader(config, device)
    samples = _measured(config, generator, clip, target, read, _samples(config, generator))
    identity = _identity(config, read, samples)
    spread = float(samples.scores.std(correction=0).clamp_min(_SMALLEST_SPREAD))
    enough = float(samples.scores.quantile(_ENOUGH))
    if latents is not None:
        ws = latents.to(generator.w_avg)
        samples = _measured(config, generator, clip, target, read, ws)
    mapped = map_samples(generator)
    held = min(_HELD_OUT, len(samples.ws) // 8)
    train = samples.rows(slice(0, len(samples.ws) - held))
    held_out = samples.rows(slice(-held, None)) if held else train
    return _World(
        config=config,
        generator=generator,
        clip=clip,
        target=target,
        identity=identity,
        train=train,
        held_out=held_out,
        spread=spread,
        enough=enough,
        measure=torch.linalg.pinv(principal_axes(mapped)),
        mapped=mapped,
        centre=mapped.mean(dim=0),
    )


_LAYERS = {"coarse": slice(0, 4), "medium": slice(4, 8), "fine": slice(8, None)}


def _initial_state(world: _World) -> _State:
    """Build the mapper from the seed, so that it changes nothing yet, and its optimiser."""
    config, generator = world.config, world.generator
    sizes = {"num_ws": generator.num_ws, "w_dim": generator.w_dim}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        mapper: Mapper
        if config.kind == "single":
            mapper = SingleMapper(**sizes, shaped=True)
        else:
            mapper = LevelsMapper(**sizes, levels=config.levels, shaped=True)
    mapper.get_buffer("basis").copy_(principal_axes(world.mapped))
    mapper.get_buffer("centre").copy_(world.centre)
    for name, parameter in mapper.named_parameters():
        if name.endswith(_LAST):
            nn.init.zeros_(parameter)
    mapper.to(generator.w_avg.device)
    averaged = copy.deepcopy(mapper).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(mapper.parameters(), lr=config.learning_rate, betas=_BETAS)
    return _State(mapper, averaged, optimizer)


_LAST = "mapping.4.weight"


@torch.no_grad()
def _samples(config: MapperTrainingConfig, generator: Generator) -> Tensor:
    """Return latents of the generator, half of them mixed, most of them moved away."""
    stream = torch.Generator().manual_seed(config.seed)
    count, device = config.samples, generator.w_avg.device
    z = torch.randn(2 * count, generator.z_dim, generator=stream).to(device)
    first, second = generator.map(z).chunk(2)
    # A cut beyond the last layer mixes nothing.
    cut = torch.randint(1, 2 * generator.num_ws, (count, 1, 1), generator=stream).to(device)
    layer = torch.arange(generator.num_ws, device=device)[:, None]
    ws = torch.where(layer < cut, first, second)
    amount = config.spread * torch.rand(count, 1, 1, generator=stream)
    away = amount * torch.randn(ws.shape, generator=stream)
    return ws + away.to(device) * map_samples(generator).std(dim=0)


@torch.no_grad()
def _measured(
    config: MapperTrainingConfig,
    generator: Generator,
    clip: Clip,
    target: TextTarget,
    read: Callable[[Tensor], Tensor],
    ws: Tensor,
) -> _Pool:
    """Draw latents and note what their pictures are like."""
    scores, readings = [], []
    for some in ws.split(max(8, config.batch)):
        with _autocast(config, ws.device):
            images = generator.synthesize(some).float()
            seen = clip.encode_images(images).float()
        scores.append(target.fit(seen))
        readings.append(read(images))
    return _Pool(ws, torch.cat(scores), torch.cat(readings))


def _autocast(config: MapperTrainingConfig, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16, enabled=config.dtype == "bfloat16")


# Identity


def _reader(config: MapperTrainingConfig, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return what reads off pictures who they show.

    Raises:
        GaneditError: ArcFace's weights are asked for and not on this machine, or damaged.
    """
    if config.identity == "none":
        return lambda images: images.new_zeros(len(images), 0)
    if config.identity == "clay":
        features = load_clay_features(device)
        return lambda images: read_factors(features, images)[0]
    arcface = find_arcface(config.identity_weights, device)
    if arcface is None:
        raise GaneditError(
            "--identity arcface needs ArcFace's weights, model_ir_se50.pth of the pSp project; put"
            f" the file at {arcface_path()}, give its path by --identity-weights FILE, or choose"
            " --identity none"
        )
    return arcface


def _identity(
    config: MapperTrainingConfig, read: Callable[[Tensor], Tensor], samples: _Pool
) -> _Identity:
    """Return the distance between people that a training keeps small."""
    if config.identity == "clay":
        owners = _owners(samples.readings.device)
        weights = 1 - spoken_factors(samples.readings, owners, samples.scores)[owners]
        return _Identity(read, lambda after, before: _nearly_absolute(after - before) @ weights)
    # Of ArcFace's directions one minus the cosine; without identity both are empty.
    return _Identity(read, lambda after, before: (after - before).square().sum(dim=1) / 2)


def _nearly_absolute(x: Tensor) -> Tensor:
    """Return the absolute value, smooth around 0.

    Squares would let many factors drift a little.
    """
    return (x.square() + _SMOOTH**2).sqrt() - _SMOOTH


def _owners(device: torch.device) -> Tensor:
    """Return the factor that each column of `read_factors` is of, [K]."""
    side = 8  # any picture has the same columns
    _, owners = read_factors(load_clay_features(device), torch.zeros(1, 3, side, side).to(device))
    return owners


# A step


def _step(world: _World, state: _State) -> dict[str, float]:
    """Train on some latents; return the terms of the loss."""
    config = world.config
    stream = torch.Generator().manual_seed(step_seed(config.seed, state.step))
    rows = torch.randint(len(world.train.ws), (config.batch,), generator=stream)
    view = View(stream, world.clip.scaling.side)
    latents = world.train.rows(rows.to(world.train.ws.device))
    terms, _ = _terms(world, state.mapper, latents, view=view)
    loss = torch.stack([getattr(config, f"{k}_weight") * v.mean() for k, v in terms.items()]).sum()
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * _rate(state.step, config.steps)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.mapper.parameters(), _LARGEST_GRADIENT)
    state.optimizer.step()
    _update_average(state)
    return {"loss": float(loss.detach())} | {k: float(v.detach().mean()) for k, v in terms.items()}


def _terms(
    world: _World,
    mapper: Mapper,
    before: _Pool,
    *,
    view: View | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the terms of the loss for latents, and the new pictures' scores, [N] each.

    Args:
        world: What the training reads.
        mapper: Finds the changes.
        before: The latents.
        view: What the CLIP is shown of the pictures; None shows them as they are.
    """
    change = MAPPER_STRENGTH * mapper(before.ws)
    with _autocast(world.config, change.device):
        images = world.generator.synthesize(before.ws + change).float()
        seen = world.clip.encode_images(images if view is None else view.of(images)).float()
    scores = world.target.fit(seen)
    terms = {
        "clip": score_loss(scores, enough=world.enough, deviation=world.spread),
        "identity": world.identity.distance(world.identity.read(images), before.readings),
        "latent": (change @ world.measure).square().sum(dim=2).mean(dim=1),
    }
    return terms, scores


def _rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a short warm-up, half a cosine down at the end."""
    left = min(1.0, (1 - step / steps) / _RAMP_DOWN)
    return min(1.0, (step + 1) / _WARM_UP) * (0.5 - 0.5 * math.cos(math.pi * left))


@torch.no_grad()
def _update_average(state: _State) -> None:
    """Move the averaged mapper towards the trained one, faster in the first steps."""
    keep = min(_AVERAGE_DECAY, (state.step + 1) / (state.step + 10))
    for average, current in zip(
        state.averaged.parameters(), state.mapper.parameters(), strict=True
    ):
        average.lerp_(current, 1 - keep)


@torch.no_grad()
def _measure(world: _World, mapper: Mapper) -> dict[str, float]:
    """Return the mean scores before and after, and the terms of the loss, of held-out latents."""
    held, size = world.held_out, max(8, world.config.batch)
    terms: list[dict[str, Tensor]] = []
    scores: list[Tensor] = []
    for start in range(0, len(held.ws), size):
        some, after = _terms(world, mapper, held.rows(slice(start, start + size)))
        terms.append(some)
        scores.append(after)
    means = {name: torch.cat([one[name] for one in terms]).mean() for name in terms[0]}
    figures = {"before": held.scores.mean(), "after": torch.cat(scores).mean(), **means}
    return {name: round(float(value), 5) for name, value in figures.items()}


# The state on disk


_PARTS = ("mapper", "averaged", "optimizer")


def _digest(ws: Tensor) -> str:
    return hashlib.sha256(ws.cpu().numpy().tobytes()).hexdigest()


def _parts(state: _State) -> dict[str, Part]:
    return {name: getattr(state, name) for name in _PARTS}


def _save_state(world: _World, state: _State) -> None:
    facts = {"recipe": world.config.recipe(), "latents": _digest(world.train.ws)}
    path = world.config.state_path
    save_state(path, kind=_FORMAT, step=state.step, parts=_parts(state), facts=facts)


def _restore(world: _World, state: _State) -> None:
    """Put the state on disk into ``state``.

    Raises:
        GaneditError: It is none, of other options or latents, or damaged.
    """

    def changes(facts: Mapping[str, Any]) -> list[str]:
        changed = world.config.differences(facts.get("recipe") or {})
        if not changed and facts.get("latents") != _digest(world.train.ws):
            changed = ["other latents, or another generator"]
        return changed

    content = restore_state(
        world.config.state_path,
        kind=_FORMAT,
        what="a mapper's training",
        parts=_parts(state),
        changes=changes,
    )
    state.step = content["step"]


def _is_mapper(path: Path) -> bool:
    try:
        contents = open_checkpoint(path).contents
    except GaneditError:
        return False
    return contents.family == "ganedit" and contents.mapper is not None
