"""Training of encoders: from pictures, and from the generator's own samples.

The losses are those of pSp (Richardson et al. 2021, section 3: pixels, perception, distance from
the average latent) and e4e (Tov et al. 2021, section 4: small offsets, added layer by layer, and
a discriminator between mapped and found latents). Samples of the generator add what photos lack:
the latent itself is known. pSp's identity loss needs weights that are not part of this package.

Latents are measured in standard deviations of each dimension of w from its mean.
"""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganedit.checkpoints import Network, load_network, open_checkpoint, save_encoder
from ganedit.data.dataset import ImageDataset
from ganedit.encoders import (
    PYRAMID_RESOLUTION,
    PYRAMID_WIDTH,
    CompactEncoder,
    Encoder4Editing,
    GradualStyleEncoder,
    resized,
)
from ganedit.errors import GaneditError
from ganedit.features.arcface import ArcFace, arcface_path, find_arcface
from ganedit.generators import Generator
from ganedit.generators.statistics import map_samples
from ganedit.losses import PerceptualDistance, load_perceptual, offset_penalty, pixel_distance
from ganedit.losses.adversarial import (
    discriminator_logistic_loss,
    generator_logistic_loss,
    r1_penalty,
)
from ganedit.losses.identity import identity_loss
from ganedit.progress import OnStep
from ganedit.runtime import resolve_device
from ganedit.training.encoder_config import EncoderTrainingConfig
from ganedit.training.loop import step_seed
from ganedit.training.resuming import Part, diverged_at, restore_state, run_steps, save_state
from ganedit.training.targets import check_target

_FORMAT = "ganedit-encoder-training"
_WARM_UP = 200  # steps
_LAST_RATE = 0.01  # of the learning rate, where the cosine ends
_LARGEST_GRADIENT = 5.0
_AVERAGE_DECAY = 0.998  # a step
_DISCRIMINATOR_LAYERS = 4
_R1_INTERVAL = 16  # steps
_POOL_SIZE = 50  # pictures

Evaluate = Callable[[Tensor, Tensor], dict[str, float]]
Encoder = CompactEncoder | Encoder4Editing | GradualStyleEncoder


@dataclass(frozen=True)
class EncoderTrainingResult:
    """How a training ended.

    Attributes:
        reason: ``done``, or ``interrupted`` by a signal: then only the state was written.
        step: Steps done, over all processes.
        figures: Of the held-out pictures: mean ``distance``, and what ``evaluate`` found; empty
            when interrupted.
    """

    reason: Literal["done", "interrupted"]
    step: int
    figures: dict[str, float]


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of each dimension of w, [w_dim], over mapped z."""

    mean: Tensor
    std: Tensor


class LatentDiscriminator(nn.Sequential):
    """Tells mapped latents from found ones (e4e, section 4): a perceptron on one w."""

    def __init__(self, w_dim: int) -> None:
        """Build it for latents of ``w_dim`` numbers; it returns one logit each."""
        layers: list[nn.Module] = []
        for _ in range(_DISCRIMINATOR_LAYERS - 1):
            layers += [nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(w_dim, 1))


class LatentPool(nn.Module):
    """Latents of earlier steps for the discriminator, so that it does not only know the last ones.

    Like e4e's pool, but of all of a picture's latents instead of one layer's: a full pool hands
    each picture's latents through, or, half of the time, keeps them and hands out an earlier
    picture's.
    """

    latents: Tensor
    filled: Tensor

    def __init__(self, num_ws: int, w_dim: int) -> None:
        """Make an empty pool for 50 pictures."""
        super().__init__()
        self.register_buffer("latents", torch.zeros(_POOL_SIZE, num_ws, w_dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def exchange(self, latents: Tensor, stream: torch.Generator) -> Tensor:
        """Return as many latents, [N, num_ws, w_dim], some of them of earlier steps.

        Args:
            latents: Of this step, [N, num_ws, w_dim].
            stream: Random numbers, on the CPU.
        """
        given = latents.clone()
        filled = int(self.filled)
        for row, latent in enumerate(latents):
            if filled < _POOL_SIZE:
                self.latents[filled] = latent
                filled += 1
            elif torch.rand((), generator=stream) < 0.5:
                place = int(torch.randint(_POOL_SIZE, (), generator=stream))
                given[row] = self.latents[place]
                self.latents[place] = latent
        self.filled.fill_(filled)
        return given


@dataclass
class _State:
    """What a training changes; random numbers follow from (seed, step)."""

    encoder: Encoder
    averaged: Encoder
    discriminator: LatentDiscriminator
    pool: LatentPool
    optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    step: int = 0


@dataclass(frozen=True)
class _World:
    """What a training only reads."""

    config: EncoderTrainingConfig
    generator: Generator
    dataset: ImageDataset
    perceptual: PerceptualDistance
    arcface: ArcFace | None
    statistics: LatentStatistics
    device: torch.device

    def autocast(self) -> AbstractContextManager[Any]:
        """Each phase gets its own context, so no stale weights."""
        half = self.config.dtype == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    @property
    def held_out(self) -> int:
        """Pictures at the end of the data that are only for the figures."""
        return min(self.config.held_out, len(self.dataset) // 8)


def train_encoder(
    config: EncoderTrainingConfig,
    *,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    evaluate: Evaluate | None = None,
) -> EncoderTrainingResult:
    """Train an encoder for a generator and write its moving average to ``config.out``.

    A training that was stopped goes on from the state beside that file, if the options are the
    same. SIGINT and SIGTERM finish the current step, save the state and return.

    Args:
        config: All options.
        overwrite: Also replace a file that is no encoder of ours.
        on_step: Called after every step with the terms of the loss.
        evaluate: Called at the end with the held-out pictures' reconstructions and the pictures,
            both [N, 3, R, R]; its figures are kept.

    Raises:
        GaneditError: Bad options, data or files, or the training diverged.
    """
    config.validate()
    check_target(config.out, ours=_is_encoder, overwrite=overwrite)
    network = load_network(config.network, device=config.device)
    world = _world(config, network)
    state = _initial_state(world)
    if config.state_path.exists():
        _restore(config, state)
    done = run_steps(
        state,
        lambda: _step(world, state),
        steps=config.steps,
        save=lambda: _save_state(config, state),
        save_every=round(config.state_kimg * 1000 / config.batch),
        diverged=diverged_at(config.state_path, "training", config.learning_rate),
        on_step=on_step,
    )
    if not done:
        return EncoderTrainingResult("interrupted", state.step, {})
    figures = _measure(world, state.averaged, evaluate)
    provenance = {
        "images": state.step * config.batch,
        "recipe": config.recipe(),
        **figures,
    }
    save_encoder(
        config.out,
        state.averaged,
        average=world.statistics.mean[None],
        fingerprint=network.fingerprint,
        provenance=provenance,
    )
    config.state_path.unlink(missing_ok=True)
    return EncoderTrainingResult("done", state.step, figures)


@torch.no_grad()
def latent_statistics(generator: Generator) -> LatentStatistics:
    """Return mean and deviation of each dimension of w."""
    w = map_samples(generator)
    return LatentStatistics(w.mean(dim=0), w.std(dim=0))


# Start


def _world(config: EncoderTrainingConfig, network: Network) -> _World:
    """Open the data and check that everything fits together."""
    generator, device = network.generator, resolve_device(config.device)
    if generator.c_dim:
        raise GaneditError(f"{config.network}: is conditional; encoders are for generators that"
                           " need no label")  # fmt: skip
    if config.kind != "compact" and generator.w_dim != PYRAMID_WIDTH:
        raise GaneditError(
            f"{config.network}: its latents have {generator.w_dim} numbers, {config.kind} finds"
            f" {PYRAMID_WIDTH}; choose --kind compact"
        )
    dataset = ImageDataset(config.data)
    side = generator.img_resolution
    if dataset.resolution != side:
        raise GaneditError(
            f"{config.data}: pictures are {dataset.resolution}x{dataset.resolution}, the"
            f" generator's {side}x{side}; 'ganedit dataset folder --resolution {side}' resizes"
        )
    if len(dataset) < 8:
        raise GaneditError(f"{config.data}: holds {len(dataset)} pictures; at least 8 are needed")
    perceptual = load_perceptual(config.perceptual, vgg_weights=config.vgg_weights, device=device)
    arcface = _arcface(config, device)
    statistics = latent_statistics(generator)
    return _World(config, generator, dataset, perceptual, arcface, statistics, device)


def _arcface(config: EncoderTrainingConfig, device: torch.device) -> ArcFace | None:
    """Return what the identity loss needs; None without that loss.

    Raises:
        GaneditError: Its weights are not on this machine, or damaged.
    """
    if not config.identity_weight:
        return None
    arcface = find_arcface(config.identity_weights, device)
    if arcface is None:
        raise GaneditError(
            "--identity-weight needs ArcFace's weights, model_ir_se50.pth of the pSp project; put"
            f" the file at {arcface_path()}, or give its path by --identity-weights FILE"
        )
    return arcface


def _initial_state(world: _World) -> _State:
    """Build networks and optimisers from the seed."""
    config, generator = world.config, world.generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = _new_encoder(config, generator, world.statistics).to(world.device)
        discriminator = LatentDiscriminator(generator.w_dim).to(world.device)
    return _State(
        encoder=encoder.train(),
        averaged=copy.deepcopy(encoder).eval().requires_grad_(False),
        discriminator=discriminator,
        pool=LatentPool(generator.num_ws, generator.w_dim).to(world.device),
        optimizer=torch.optim.AdamW(
            encoder.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        ),
        discriminator_optimizer=torch.optim.Adam(
            discriminator.parameters(), lr=config.discriminator_learning_rate
        ),
    )


def _new_encoder(
    config: EncoderTrainingConfig, generator: Generator, statistics: LatentStatistics
) -> Encoder:
    if config.kind == "e4e":
        return Encoder4Editing(num_ws=generator.num_ws)
    if config.kind == "psp":
        return GradualStyleEncoder(num_ws=generator.num_ws)
    side = min(generator.img_resolution, PYRAMID_RESOLUTION)
    encoder = CompactEncoder(num_ws=generator.num_ws, w_dim=generator.w_dim, resolution=side)
    encoder.w_std.copy_(statistics.std)
    return encoder


# A step


def _step(world: _World, state: _State) -> dict[str, float]:
    """Train once on data and once on samples, as one batch; return the terms of the loss."""
    config, statistics = world.config, world.statistics
    stream = torch.Generator().manual_seed(step_seed(config.seed, state.step))
    half = config.batch // 2
    samples, wanted = _samples(world, half, stream)
    images = torch.cat([_pictures(world, half, stream), samples])
    with torch.no_grad():
        target = world.perceptual.encode(images)
    with world.autocast():
        codes = _codes(world, state, images)
        found = world.generator.synthesize(statistics.mean + statistics.std * codes).float()
        features = world.perceptual.encode(found)
    terms = {
        "perceptual": world.perceptual.distance([x.float() for x in features], target).mean(),
        "pixel": pixel_distance(found, images).mean(),
        "latent": (codes[half:] - (wanted - statistics.mean) / statistics.std).square().mean(),
        "delta": offset_penalty(codes).mean(),
        "norm": codes.square().mean(),
    }
    if world.arcface is not None:
        terms["identity"] = identity_loss(world.arcface, found, images).mean()
    if config.discriminator_weight:
        # Its parameters get gradients here, too, which its own step clears.
        logits = state.discriminator(codes.flatten(0, 1))
        terms["discriminator"] = generator_logistic_loss(logits)
    loss = torch.stack([getattr(config, f"{k}_weight") * v for k, v in terms.items()]).sum()
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * _rate(state.step, config.steps)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.encoder.parameters(), _LARGEST_GRADIENT)
    state.optimizer.step()
    _update_average(state)
    if config.discriminator_weight:
        terms |= _discriminator_step(world, state, codes.detach(), stream)
    return {"loss": float(loss.detach())} | {k: float(v.detach()) for k, v in terms.items()}


def _pictures(world: _World, count: int, stream: torch.Generator) -> Tensor:
    """Return pictures of the data, some of them mirrored, [count, 3, R, R]."""
    rows = torch.randint(len(world.dataset) - world.held_out, (count,), generator=stream)
    mirror = torch.rand(count, generator=stream) < 0.5 if world.config.mirror else None
    return world.dataset.batch(rows, mirror).to(world.device)


@torch.no_grad()
def _samples(world: _World, count: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return samples of the generator, [count, 3, R, R], and their latents, half of them mixed."""
    generator = world.generator
    z = torch.randn(2 * count, generator.z_dim, generator=stream).to(world.device)
    first, second = generator.map(z).chunk(2)
    # A cut beyond the last layer mixes nothing.
    cut = torch.randint(1, 2 * generator.num_ws, (count, 1, 1), generator=stream).to(world.device)
    layer = torch.arange(generator.num_ws, device=world.device)[:, None]
    ws = torch.where(layer < cut, first, second)
    with world.autocast():
        return generator.synthesize(ws).float().clamp(-1, 1), ws


def _codes(world: _World, state: _State, images: Tensor) -> Tensor:
    """Return what the encoder finds, in standard deviations, [N, num_ws, w_dim]."""
    images = resized(images, _side(state.encoder))
    if isinstance(state.encoder, GradualStyleEncoder):
        found = state.encoder(images)
    else:
        stages = world.config.stages(state.step, num_ws=world.generator.num_ws)
        found = state.encoder(images, stages=stages)
    return found.float() / world.statistics.std


def _side(encoder: Encoder) -> int:
    return encoder.resolution if isinstance(encoder, CompactEncoder) else PYRAMID_RESOLUTION


def _discriminator_step(
    world: _World, state: _State, codes: Tensor, stream: torch.Generator
) -> dict[str, Tensor]:
    """Train the latent discriminator on mapped latents and on those found, now or earlier."""
    found = state.pool.exchange(codes, stream).flatten(0, 1)
    z = torch.randn(len(found), world.generator.z_dim, generator=stream).to(world.device)
    with torch.no_grad():
        mapped = (world.generator.map(z)[:, 0] - world.statistics.mean) / world.statistics.std
    mapped.requires_grad_()
    logits = state.discriminator(mapped)
    loss = discriminator_logistic_loss(logits, state.discriminator(found))
    total = loss
    if state.step % _R1_INTERVAL == 0:
        total = loss + world.config.r1_gamma / 2 * _R1_INTERVAL * r1_penalty(logits, mapped)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    total.backward()
    state.discriminator_optimizer.step()
    return {"discriminator_own": loss}


def _rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, half a cosine down."""
    down = 0.5 + 0.5 * math.cos(math.pi * step / steps) + _LAST_RATE
    return min(1.0, (step + 1) / _WARM_UP) * down


@torch.no_grad()
def _update_average(state: _State) -> None:
    """Move the averaged encoder towards the trained one, faster in the first steps."""
    keep = min(_AVERAGE_DECAY, (state.step + 1) / (state.step + 10))
    current = state.encoder.state_dict()
    for key, value in state.averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[key], 1 - keep)
        else:
            value.copy_(current[key])


@torch.no_grad()
def _measure(world: _World, encoder: Encoder, evaluate: Evaluate | None) -> dict[str, float]:
    """Return the mean distance over the held-out pictures, and what ``evaluate`` says of them."""
    count, held = len(world.dataset), world.held_out
    images, found = [], []
    for rows in torch.arange(count - held, count).split(world.config.batch):
        images.append(world.dataset.batch(rows).to(world.device))
        ws = world.statistics.mean + encoder(resized(images[-1], _side(encoder)))
        found.append(world.generator.synthesize(ws))
    pairs = zip(found, images, strict=True)
    distance = torch.cat([world.perceptual(*pair) for pair in pairs]).mean()
    figures = {} if evaluate is None else evaluate(torch.cat(found), torch.cat(images))
    return {"distance": round(float(distance), 5), **figures}


# The state on disk


_PARTS = ("encoder", "averaged", "discriminator", "pool", "optimizer", "discriminator_optimizer")


def _parts(state: _State) -> dict[str, Part]:
    return {name: getattr(state, name) for name in _PARTS}


def _save_state(config: EncoderTrainingConfig, state: _State) -> None:
    facts = {"recipe": config.recipe()}
    save_state(config.state_path, kind=_FORMAT, step=state.step, parts=_parts(state), facts=facts)


def _restore(config: EncoderTrainingConfig, state: _State) -> None:
    """Put the state on disk into ``state``.

    Raises:
        GaneditError: It is none, of other options, or damaged.
    """
    content = restore_state(
        config.state_path,
        kind=_FORMAT,
        what="an encoder's training",
        parts=_parts(state),
        changes=lambda facts: config.differences(facts.get("recipe") or {}),
    )
    state.step = content["step"]


def _is_encoder(path: Path) -> bool:
    try:
        return bool(open_checkpoint(path).contents.encoders)
    except GaneditError:
        return False
