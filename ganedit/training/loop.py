"""The training loop of StyleGAN2-ADA (Karras et al. 2020)."""

import dataclasses
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.checkpoints import open_checkpoint
from ganedit.checkpoints.sources import is_here, locate
from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.generators import Generator, StyleGAN2Generator, TriPlaneGenerator
from ganedit.losses.adversarial import (
    discriminator_logistic_loss,
    generator_logistic_loss,
    path_lengths,
    r1_penalty,
)
from ganedit.progress import OnStep
from ganedit.runtime import resolve_device
from ganedit.three_d.cameras import mirror_camera
from ganedit.training.augment import augment
from ganedit.training.config import OF_VOLUMES, TrainingConfig
from ganedit.training.snapshots import (
    LOG_FILE,
    METRICS_FILE,
    STATS_FILE,
    append_line,
    claim_folder,
    keep_lines_until,
    peak_memory_gib,
    read_origin,
    write_options,
    write_reals,
    write_snapshot,
)
from ganedit.training.state import (
    STATE_FILE,
    TrainingState,
    initial_state,
    read_state,
    restore_state,
)
from ganedit.training.transfer import attribute_loss, structure_loss
from ganedit.training.triplane import (
    check_cameras,
    check_sizes,
    density_penalty,
    fake_pictures,
    lift_loss,
    real_pictures,
    told_cameras,
)

Evaluate = Callable[[Generator], dict[str, float]]
Trained = StyleGAN2Generator | TriPlaneGenerator
Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        reason: ``done``, ``time`` (max_minutes) or ``interrupted`` (a signal).
        images: Images shown, over all processes.
        seconds: Time spent, over all processes.
        snapshot: The last network file.
        figures: What ``evaluate`` returned for it.
    """

    reason: Literal["done", "time", "interrupted"]
    images: int
    seconds: float
    snapshot: Path
    figures: dict[str, float]


def train(  # noqa: C901, PLR0915  # the loop reads best in one piece, in titled steps
    config: TrainingConfig,
    *,
    resume: Path | None = None,
    on_step: OnStep | None = None,
    on_tick: Callable[[dict[str, Any]], None] | None = None,
    evaluate: Evaluate | None = None,
) -> TrainingResult:
    """Train a generator and leave snapshots, sample grids and statistics in ``config.out``.

    A training that the folder already holds continues if its options are the same. SIGINT and
    SIGTERM finish the current step, save everything and return.

    Args:
        config: All options.
        resume: Folder of a training to continue from while ``config.out`` holds none itself; so
            the same call goes on where it was stopped. A training that started from a network
            remembers it.
        on_step: Called after every step as ``on_step(images, total_images, figures)``.
        on_tick: Called with every line of statistics.
        evaluate: Called with the averaged generator at every snapshot; its figures are kept.

    Raises:
        GaneditError: Bad options, data or folder, or the training diverged.
    """
    # Options, data, networks.
    config.validate()
    dataset = ImageDataset(config.data)
    found = _state_path(config, resume)
    content = None if found is None else read_state(found)
    config = _checked_against(_with_start(config, content), dataset)
    device = resolve_device(config.device)
    labels = _labels(config, dataset)
    claim_folder(config.out)
    config = _decided(config, found, content)
    with _isolated(device, config), interruptible() as interrupted:
        torch.manual_seed(config.seed)
        state = initial_state(
            config,
            resolution=dataset.resolution,
            labels=labels,
            device=device,
        )
        if found is not None and content is not None:
            restore_state(found, state, content)
            del content
        origin = read_origin(config, dataset, adapted_from=state.adapted_from)
        autocast = _autocast(config, device)
        order = _EndlessOrder(len(dataset), seed=config.seed)

        # The folder.
        write_options(config)
        write_reals(config, dataset)
        for name in (STATS_FILE, METRICS_FILE):
            keep_lines_until(config.out / name, state.images if state.step else -1)

        total_images = round(config.kimg * 1000)
        tick_images = max(round(config.tick_kimg * 1000), config.batch)
        tick_averages = _Averages()
        tick_start, tick_images_start = time.monotonic(), state.images
        process_start, seconds_before = tick_start, state.seconds
        reason: Literal["done", "time", "interrupted"] | None = None
        figures: dict[str, float] = {}
        if state.images >= total_images:
            reason = "done"
            snapshot = write_snapshot(config, state, dataset, origin=origin)
        while reason is None:
            # Every random number of a step follows from (seed, step).
            torch.manual_seed(step_seed(config.seed, state.step))
            chosen = order.take(state.images, config.batch)
            mirror = torch.rand(config.batch) < 0.5 if config.mirror else None
            reals = dataset.batch(chosen, mirror).to(device)
            c = None if labels is None else labels[chosen].to(device)
            if mirror is not None and c is not None and config.family == "triplane":
                c = torch.where(mirror[:, None].to(device), mirror_camera(c), c)

            # One step of both networks, and at intervals their regularisers.
            lifting = _lifts(config, state)
            if lifting:
                values = _lift_step(config, state, len(reals), autocast)
            else:
                values = _adversarial_step(config, state, reals, c, autocast)
            if not lifting and config.r1_gamma and state.step % config.r1_interval == 0:
                values |= _r1_step(config, state, reals, c, autocast)
            if config.pl_weight > 0 and state.step % config.pl_interval == 0:
                values |= _path_length_step(config, state, c, autocast)
            if config.family == "triplane" and state.step % config.density_interval == 0:
                values |= _density_step(config, state, c, autocast)
            state.step += 1
            state.images += config.batch
            _update_average(config, state)
            if not lifting:
                _adapt_augmentation(config, state, values["sign_real"])
            tick_averages.add(values)

            # Stop?
            now = time.monotonic()
            state.seconds = seconds_before + now - process_start
            if state.images >= total_images:
                reason = "done"
            elif interrupted():
                reason = "interrupted"
            elif config.max_minutes is not None and now - process_start > config.max_minutes * 60:
                reason = "time"

            # Report.
            seen = state.images - tick_images_start
            if on_step is not None:
                rate = {"images/s": seen / (now - tick_start), "p": state.augment_p}
                on_step(state.images, total_images, rate)
            if reason is None and state.images % tick_images >= config.batch:
                continue

            # A tick: one line of statistics.
            line = {
                "kimg": round(state.images / 1000, 3),
                "images": state.images,
                "seconds": round(state.seconds, 1),
                "images_per_second": round(seen / (now - tick_start), 2),
                "augment_p": round(state.augment_p, 5),
                "memory_gib": round(peak_memory_gib(), 3),
                **tick_averages.means(),
            }
            _check_finite(line, config)
            append_line(config.out / STATS_FILE, json.dumps(line))
            append_line(config.out / LOG_FILE, " ".join(f"{k} {v}" for k, v in line.items()))
            if on_tick is not None:
                on_tick(line)

            # A snapshot, every few ticks and at the end.
            if reason is not None or state.images // tick_images % config.snapshot_ticks == 0:
                snapshot = write_snapshot(config, state, dataset, origin=origin)
                if evaluate is not None:
                    figures = evaluate(state.averaged)
                    record = {"images": state.images, **figures}
                    append_line(config.out / METRICS_FILE, json.dumps(record))
            tick_averages = _Averages()
            tick_start, tick_images_start = time.monotonic(), state.images
    return TrainingResult(reason, state.images, state.seconds, snapshot, figures)


def plan(config: TrainingConfig, *, resume: Path | None = None) -> dict[str, Any]:
    """Return what `train` would do: the options with automatic numbers, and the sizes.

    Args:
        config: As in `train`.
        resume: As in `train`.

    Raises:
        GaneditError: Bad options or data.
    """
    config.validate()
    dataset = ImageDataset(config.data)
    found = _state_path(config, resume)
    content = None if found is None else read_state(found)
    config = _checked_against(_with_start(config, content), dataset)
    labels = _labels(config, dataset)
    with torch.random.fork_rng(devices=[]):
        state = initial_state(
            config,
            resolution=dataset.resolution,
            labels=labels,
            device=torch.device("cpu"),
        )
    return {
        "options": config.to_json(),
        "pictures": len(dataset),
        "resolution": dataset.resolution,
        "label_numbers": 0 if labels is None else labels.shape[1],
        **_sizes("generator", state.generator),
        **_sizes("discriminator", state.discriminator),
        "steps": round(config.kimg * 1000 / config.batch),
    }


def _sizes(name: str, network: nn.Module) -> dict[str, int]:
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return {
        f"{name}_parameters": sum(size for size, _ in sizes),
        f"{name}_trainable": sum(size for size, trains in sizes if trains),
    }


# Steps


def _adversarial_step(
    config: TrainingConfig,
    state: TrainingState,
    reals: Tensor,
    c: Tensor | None,
    autocast: Autocast,
) -> dict[str, Tensor]:
    """Train the discriminator, then the generator, on the same generated images."""
    with autocast():
        drawn = _draw(config, state.generator, len(reals), reals.device)
        taught = _taught(config, state, drawn)
        seen = c if taught is None else taught[1]  # what the generated images are told to be
        told = _told(config, state, seen)
        # What the mapping network gives on average moves only if that network does.
        ws = _latents(config, state, drawn, told, update_w_avg=config.freeze_g == 0)
        fakes, fog = _fakes(config, state, ws, seen)
        reals = _reals(config, state, reals)

    # Discriminator.
    with autocast():
        real_logits = state.discriminator(augment(reals, state.augment_p), c)
        fake_logits = state.discriminator(augment(fakes.detach(), state.augment_p), seen)
    discriminator_loss = discriminator_logistic_loss(real_logits, fake_logits)
    discriminator_loss.backward()
    _descend(state.discriminator_optimizer, state.trainable)

    # Generator, through the discriminator, whose weights need no gradient now.
    with _without_gradients(state.trainable):
        with autocast():
            logits = state.discriminator(augment(fakes, state.augment_p), seen)
        generator_loss = generator_logistic_loss(logits)
        kept = _kept(config, state, drawn, ws, fakes, c, autocast)
        if fog is not None and config.fog_weight:
            kept["loss_fog"] = config.fog_weight, fog
        if taught is not None:
            kept["loss_lift"] = config.lift_weight, _lift_loss(config, state, fakes, taught[0])
        (generator_loss + sum(weight * loss for weight, loss in kept.values())).backward()
    _descend(state.generator_optimizer, list(state.generator.parameters()))
    return {
        "loss_generator": generator_loss.detach(),
        **{name: loss.detach() for name, (_, loss) in kept.items()},
        "loss_discriminator": discriminator_loss.detach(),
        "sign_real": real_logits.detach().sign().mean(),
        "sign_fake": fake_logits.detach().sign().mean(),
    }


def _kept(
    config: TrainingConfig,
    state: TrainingState,
    drawn: "_Draw",
    ws: Tensor,
    fakes: Tensor,
    c: Tensor | None,
    autocast: Autocast,
) -> dict[str, tuple[float, Tensor]]:
    """Return the losses that hold the pictures just made to the start's, with their weights."""
    kept: dict[str, tuple[float, Tensor]] = {}
    if state.source is None:
        return kept
    with autocast():
        with torch.no_grad():
            source_ws = _mapped(state.source, drawn, c)
        if config.structure_loss:
            assert isinstance(state.generator, StyleGAN2Generator)
            blocks = config.structure_loss
            loss = structure_loss(state.generator, state.source, ws, source_ws, blocks=blocks)
            kept["loss_structure"] = config.structure_weight, loss
        if state.kept is None:
            return kept
        if state.kept.ws is not None:
            rows = state.kept.ws[torch.randint(len(state.kept.ws), [len(fakes)])]
            fakes = torch.cat([fakes, state.generator.synthesize(rows, noise="random")])
            source_ws = torch.cat([source_ws, rows])
        with torch.no_grad():
            before = state.source.synthesis(source_ws)
    # Without autocast: rounded readings would hide what differs little.
    kept["loss_factors"] = config.keep_weight, attribute_loss(state.kept, fakes, before)
    return kept


def _r1_step(
    config: TrainingConfig,
    state: TrainingState,
    reals: Tensor,
    c: Tensor | None,
    autocast: Autocast,
) -> dict[str, Tensor]:
    """Regularise the discriminator (StyleGAN2, section 4.1: lazily)."""
    assert config.r1_gamma is not None
    reals = _reals(config, state, reals).detach().requires_grad_()
    with autocast():
        logits = state.discriminator(augment(reals, state.augment_p), c)
    penalty = r1_penalty(logits, reals)
    (penalty * (config.r1_gamma / 2 * config.r1_interval)).backward(inputs=state.trainable)
    _descend(state.discriminator_optimizer, state.trainable)
    return {"r1_penalty": penalty.detach()}


def _path_length_step(
    config: TrainingConfig, state: TrainingState, c: Tensor | None, autocast: Autocast
) -> dict[str, Tensor]:
    """Pull the generator's path lengths to their running mean (StyleGAN2, Eq. 4)."""
    count = max(config.batch // config.pl_batch_shrink, 1)
    device = state.pl_mean.device
    with autocast():
        drawn = _draw(config, state.generator, count, device)
        ws = _latents(config, state, drawn, None if c is None else c[:count])
        if not ws.requires_grad:  # all of them come from the starting network
            ws.requires_grad_()
        images = state.generator.synthesize(ws, noise="random")
    lengths = path_lengths(images, ws, torch.randn_like(images))
    mean = state.pl_mean.lerp(lengths.mean(), config.pl_decay)
    state.pl_mean.copy_(mean.detach())
    penalty = (lengths - mean).square().mean()
    (penalty * (config.pl_weight * config.pl_interval)).backward()
    _descend(state.generator_optimizer, list(state.generator.parameters()))
    return {"path_length": lengths.detach().mean(), "path_penalty": penalty.detach()}


def _lift_step(
    config: TrainingConfig, state: TrainingState, count: int, autocast: Autocast
) -> dict[str, Tensor]:
    """Show the volume the pictures that it starts from, and nothing else."""
    with autocast():
        drawn = _draw(config, state.generator, count, state.pl_mean.device)
        taught = _taught(config, state, drawn)
        assert taught is not None
        images, cameras = taught
        ws = _latents(config, state, drawn, _told(config, state, cameras), update_w_avg=True)
        fakes, fog = _fakes(config, state, ws, cameras)
        assert fog is not None
    loss = _lift_loss(config, state, fakes, images)
    (loss + config.fog_weight * fog).backward()
    _descend(state.generator_optimizer, list(state.generator.parameters()))
    return {"loss_lift": loss.detach(), "loss_fog": fog.detach()}


def _taught(
    config: TrainingConfig, state: TrainingState, drawn: "_Draw"
) -> tuple[Tensor, Tensor] | None:
    """Return what a volume's teacher shows of the latents, and from where; None without one."""
    if state.teacher is None or not (config.lift_weight or _lifts(config, state)):
        return None
    return state.teacher.show(_mapped(state.teacher.generator, drawn, None))


def _lifts(config: TrainingConfig, state: TrainingState) -> bool:
    """Return whether the training is still at the stage without a discriminator."""
    return state.images < config.lift_kimg * 1000


def _lift_loss(
    config: TrainingConfig, state: TrainingState, fakes: Tensor, images: Tensor
) -> Tensor:
    """Return how far what a volume shows is from what its teacher shows, without autocast."""
    assert state.teacher is not None
    wanted = real_pictures(config, images, state.images)
    return lift_loss(fakes.float(), wanted, state.teacher.distance)


def _density_step(
    config: TrainingConfig, state: TrainingState, c: Tensor | None, autocast: Autocast
) -> dict[str, Tensor]:
    """Smooth the volume."""
    assert isinstance(state.generator, TriPlaneGenerator)
    assert c is not None
    if not config.density_weight:
        return {}
    with autocast():
        drawn = _draw(config, state.generator, len(c), c.device)
        ws = _latents(config, state, drawn, _told(config, state, c))
        penalty = density_penalty(config, state.generator, ws)
    (penalty * (config.density_weight * config.density_interval)).backward()
    _descend(state.generator_optimizer, list(state.generator.parameters()))
    return {"density_penalty": penalty.detach()}


def _told(config: TrainingConfig, state: TrainingState, c: Tensor | None) -> Tensor | None:
    """Return what the mapping network is told of the pictures."""
    if c is None or config.family != "triplane":
        return c
    return told_cameras(config, c, state.images)


def _fakes(
    config: TrainingConfig, state: TrainingState, ws: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return what the generator shows the discriminator, and how foggy a volume is."""
    if not isinstance(state.generator, TriPlaneGenerator):
        return state.generator.synthesis(ws, noise="random"), None
    assert c is not None
    return fake_pictures(config, state.generator, ws, c, state.images)


def _reals(config: TrainingConfig, state: TrainingState, reals: Tensor) -> Tensor:
    """Return what the discriminator sees of pictures of the data, in the same layout."""
    return real_pictures(config, reals, state.images) if config.family == "triplane" else reals


@dataclass(frozen=True, eq=False)
class _Draw:
    """What a batch of latents is made of.

    Attributes:
        z: Random vectors, [N, z_dim], or [2N, z_dim] where two latents may share a picture.
        cutoff: The layer from which on the second latent is used, [N, 1, 1]; None without one.
    """

    z: Tensor
    cutoff: Tensor | None


def _draw(config: TrainingConfig, generator: Trained, count: int, device: torch.device) -> _Draw:
    z = torch.randn(2 * count, generator.z_dim, device=device)
    if config.style_mixing == 0:
        return _Draw(z[:count], None)
    cutoff = torch.randint(1, generator.num_ws, [count, 1, 1])
    unmixed = torch.rand(count, 1, 1) >= config.style_mixing
    return _Draw(z, cutoff.masked_fill(unmixed, generator.num_ws).to(device))


def _mapped(
    generator: Trained, drawn: _Draw, c: Tensor | None, *, update_w_avg: bool = False
) -> Tensor:
    """Return a generator's latents, [N, num_ws, w_dim]."""
    if drawn.cutoff is None:
        return _map(generator, drawn.z, c, update_w_avg)
    both = None if c is None else c.repeat(2, 1)
    first, second = _map(generator, drawn.z, both, update_w_avg).chunk(2)
    layer = torch.arange(generator.num_ws, device=drawn.z.device)[:, None]
    return torch.where(layer < drawn.cutoff, first, second)


def _map(generator: Trained, z: Tensor, c: Tensor | None, update_w_avg: bool) -> Tensor:
    if isinstance(generator, TriPlaneGenerator):
        return generator.map(z, camera=c, update_w_avg=update_w_avg)
    return generator.mapping(z, c, update_w_avg=update_w_avg)


def _latents(
    config: TrainingConfig,
    state: TrainingState,
    drawn: _Draw,
    c: Tensor | None,
    *,
    update_w_avg: bool = False,
) -> Tensor:
    """Return the latents of a step, [N, num_ws, w_dim], the first of the starting network's."""
    ws = _mapped(state.generator, drawn, c, update_w_avg=update_w_avg)
    if state.source is None or not config.freeze_style:
        return ws
    with torch.no_grad():
        kept = _mapped(state.source, drawn, c)
    return torch.cat([kept[:, : config.freeze_style], ws[:, config.freeze_style :]], dim=1)


def _descend(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def _update_average(config: TrainingConfig, state: TrainingState) -> None:
    """Move the averaged generator; its half-life is counted in images."""
    assert config.ema_kimg is not None  # resolved
    half_life = config.ema_kimg * 1000
    if config.ema_rampup > 0 and config.init is None:
        half_life = min(half_life, state.images * config.ema_rampup)
    keep = 0.5 ** (config.batch / max(half_life, 1e-8))
    averaged: list[Tensor] = list(state.averaged.parameters())
    current: list[Tensor] = list(state.generator.parameters())
    torch._foreach_lerp_(averaged, current, 1 - keep)
    state.averaged.w_avg.copy_(state.generator.w_avg)


def _adapt_augmentation(config: TrainingConfig, state: TrainingState, sign: Tensor) -> None:
    """Raise p while D is too sure of the data, lower it otherwise (ADA paper, section 3.1)."""
    if config.augment != "ada":
        return
    state.sign_sum += float(sign)
    state.sign_count += 1
    if state.sign_count < config.ada_interval:
        return
    assert config.ada_kimg is not None  # resolved
    excess = state.sign_sum / state.sign_count - config.ada_target
    travel = config.batch * state.sign_count / (config.ada_kimg * 1000)
    direction = (excess > 0) - (excess < 0)
    state.augment_p = min(max(state.augment_p + direction * travel, 0.0), 1.0)
    state.sign_sum, state.sign_count = 0.0, 0


# Surroundings


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Catch SIGINT and SIGTERM inside the block and yield a function that tells of them.

    A second signal acts as it would have without this. Outside the main thread signals stay as
    they are.
    """
    caught = False
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _frame: Any) -> None:
        nonlocal caught
        caught = True
        for name, handler in before.items():
            signal.signal(name, handler)

    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, note)
    try:
        yield lambda: caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _isolated(device: torch.device, config: TrainingConfig) -> Iterator[None]:
    """Keep the caller's random numbers and thread count."""
    threads = torch.get_num_threads()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _without_gradients(parameters: list[nn.Parameter]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _autocast(config: TrainingConfig, device: torch.device) -> Autocast:
    """Return a factory of autocast contexts; each phase gets its own, so no stale weights."""
    half = config.dtype == "bfloat16"
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)


def faster_dtype(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Measure on a small convolution which number format this device runs faster."""
    x = torch.ones(8, 64, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, device=device)

    def seconds(dtype: torch.dtype) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            float(F.conv2d(x.to(dtype), weight.to(dtype)).float().mean())
            best = min(best, time.perf_counter() - start)
        return best

    try:
        return "bfloat16" if seconds(torch.bfloat16) < 0.9 * seconds(torch.float32) else "float32"
    except RuntimeError:  # the device lacks the format
        return "float32"


def _checked_against(config: TrainingConfig, dataset: ImageDataset) -> TrainingConfig:
    """Return the options resolved for the data.

    Raises:
        GaneditError: They contradict each other.
    """
    side = dataset.resolution
    if side < 8 or side & (side - 1):
        raise GaneditError(
            f"{config.data}: pictures are {side}x{side}; training needs a power of two from 8; "
            "`ganedit dataset folder --resolution` resizes"
        )
    if config.family == "triplane":
        check_cameras(config, dataset.labels)
        config = dataclasses.replace(config, conditional=True)
    if config.conditional and dataset.labels is None:
        raise GaneditError(f"{config.data}: has no labels; train without --cond")
    cameras = dataset.label_kind == "cameras" and config.family != "triplane"
    if config.conditional and config.mirror and cameras:
        raise GaneditError("--mirror would contradict camera labels; drop --mirror or --cond")
    if config.init is not None:
        # The networks come with their sizes; the options say what is trained.
        origin = open_checkpoint(locate(str(config.init))).generator.config
        sizes = ("z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", *OF_VOLUMES)
        known = {name: origin[name] for name in sizes if name in origin}
        config = dataclasses.replace(config, **known)
    if config.family == "triplane":
        check_sizes(config.resolved(side), side)
    return config.resolved(side)


def _labels(config: TrainingConfig, dataset: ImageDataset) -> Tensor | None:
    """Return the labels that the networks are told: classes or cameras."""
    return dataset.labels if config.conditional else None


def _state_path(config: TrainingConfig, resume: Path | None) -> Path | None:
    """Return the state to continue from: of the output folder, else of ``resume``, else none."""
    own = config.out / STATE_FILE
    if resume is None or own.is_file():
        return own if own.is_file() else None
    return resume / STATE_FILE


def _with_start(config: TrainingConfig, content: Mapping[str, Any] | None) -> TrainingConfig:
    """Return the options with the network that the training goes on from started from.

    Raises:
        GaneditError: It is not on this machine.
    """
    options = {} if content is None else content.get("options")
    if config.init is not None or not isinstance(options, dict):
        return config
    init = options.get("init")
    if not isinstance(init, str):
        return config
    # States come from anywhere: what they name is opened, but never fetched.
    try:
        if not is_here(init):
            raise GaneditError(f"{init} is not on this machine")
        locate(init)
    except (GaneditError, OSError) as error:  # OSError: a name that no system takes
        raise GaneditError(
            f"the network that the training started from cannot be opened ({error}); name it with"
            " --init"
        ) from error
    return dataclasses.replace(config, init=init)


def _decided(
    config: TrainingConfig, path: Path | None, content: Mapping[str, Any] | None
) -> TrainingConfig:
    """Return the options with the number format decided.

    Raises:
        GaneditError: The state at ``path``, if any, is of a training with other options.
    """
    if content is None:
        if config.dtype == "auto":
            dtype = faster_dtype(resolve_device(config.device))
            config = dataclasses.replace(config, dtype=dtype)
        return config
    options = content.get("options")
    if not isinstance(options, dict):
        raise GaneditError(f"{path}: lacks its options")
    if config.dtype == "auto":
        config = dataclasses.replace(config, dtype=options.get("dtype", "float32"))
    changed = config.differences(options)
    if config.init is not None and options.get("init") is None:
        changed.append("it started from no network")
    if changed:
        raise GaneditError(
            f"{path}: was trained with other options ({'; '.join(changed)}); "
            "give the same ones or choose another --out"
        )
    return config


def _check_finite(line: dict[str, Any], config: TrainingConfig) -> None:
    for name in ("loss_generator", "loss_discriminator", "loss_lift"):
        if not abs(line.get(name, 0.0)) < float("inf"):
            assert config.learning_rate is not None  # resolved
            snapshots = sorted(config.out.glob("network-snapshot-*.safetensors"))
            start = f"--init {snapshots[-1]} " if snapshots else ""
            raise GaneditError(
                f"the training diverged at {line['kimg']} kimg ({name} {line[name]}); start anew "
                f"with {start}--lr {config.learning_rate / 2:g} --out NEW, or a higher --gamma"
            )


def step_seed(seed: int, step: int) -> int:
    """Return the seed of every random number of a step."""
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class _EndlessOrder:
    """Shuffled indices without end: every picture once an epoch, a new order each."""

    def __init__(self, count: int, *, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def take(self, start: int, count: int) -> Tensor:
        """Return the indices at positions ``start`` to ``start + count - 1``."""
        parts = []
        while count > 0:
            epoch, position = divmod(start, self.count)
            if epoch != self._epoch:
                stream = torch.Generator().manual_seed(step_seed(self.seed, -1 - epoch))
                self._epoch = epoch
                self._order = torch.randperm(self.count, generator=stream)
            part = self._order[position : position + count]
            parts.append(part)
            start += len(part)
            count -= len(part)
        return torch.cat(parts)


class _Averages:
    """Means of the values of a tick, on the device until asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        return {
            name: round(float(total) / self._counts[name], 5) for name, total in self._sums.items()
        }
