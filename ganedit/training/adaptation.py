"""Text-driven domain adaptation: StyleGAN-NADA (Gal et al. 2022).

A copy of a generator learns to draw another domain, which words or a few pictures describe: what
a CLIP sees of a latent has to move from the frozen original's picture to the copy's in the
direction from one text to the other (section 4.1, equations 2 and 3). No picture of the new domain
is needed. Only convolutions are trained, those that matter most for the target (section 4.2): the
mapping, the affine maps and the layers to RGB stay, so that latents keep their meaning.

Of a tri-plane generator the convolutions that draw its planes are trained, and both networks are
seen from one random camera a picture, so that the change goes around the head.
"""

import copy
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.checkpoints import Network, open_checkpoint, save_network
from ganedit.data.sources import MAX_PICTURE_BYTES, open_source
from ganedit.errors import GaneditError
from ganedit.features.clip import PHOTO_TEMPLATES, Clip
from ganedit.generators import Generator, TriPlaneGenerator
from ganedit.io.files import file_digest, write_bytes
from ganedit.io.images import decode_image, encode_image, image_grid
from ganedit.io.torch_files import load_tensors
from ganedit.losses import PerceptualDistance
from ganedit.losses.clip import Prompt, View, directional_loss, encode_prompts
from ganedit.progress import OnStep
from ganedit.runtime import seeded_normal
from ganedit.three_d import sample_cameras
from ganedit.training.adaptation_config import AdaptationConfig
from ganedit.training.loop import step_seed
from ganedit.training.resuming import Part, diverged_at, restore_state, run_steps, save_state
from ganedit.training.targets import check_target

COLLAPSED = 0.5
"""Share of the diversity below which the samples have become too much alike."""

_FORMAT = "ganedit-adaptation"
_COMMAND = "ganedit adapt"
_BETAS = (0.0, 0.99**0.8)  # the reference's: StyleGAN2's for one step in five without a penalty
_SHIFT = 0.04  # views that the CLIPs are shown: without them the networks learn patterns that only
_ZOOM = 0.05  # a CLIP takes for what was asked
_GRAIN = 0.15
_YAW_SPREAD = 0.3  # radians, of the cameras around a head: those of EG3D's sampler for faces
_PITCH_SPREAD = 0.155
_CHOICE_LATENTS = 8
_CHOICE_INTERVAL = 10  # steps; the paper chooses in each, at twice the cost of a step
_SAMPLES = 64  # seeds that the figures are measured on
_SAMPLES_PSI = 0.7  # truncation of the pictures that are measured and shown, as generate draws them
_CHUNK = 8  # pictures at a time
_PREVIEW_SEEDS = 8
_PREVIEW_SIDE = 256


@dataclass(frozen=True)
class AdaptationResult:
    """How an adaptation ended.

    Attributes:
        reason: ``done``, or ``interrupted`` by a signal: then only the state was written.
        step: Steps done, over all processes.
        figures: What became of the samples, see `measure`; empty when interrupted.
    """

    reason: Literal["done", "interrupted"]
    step: int
    figures: dict[str, float]


@dataclass(frozen=True, eq=False)
class Goal:
    """Where one CLIP says that pictures should go.

    Attributes:
        clip: The CLIP.
        place: The target's direction in its space, length one, [D].
        direction: The way there from the source, length one, [D].
    """

    clip: Clip
    place: Tensor
    direction: Tensor


@dataclass
class _State:
    """What an adaptation changes; random numbers follow from (seed, step)."""

    generator: Generator
    optimizer: torch.optim.Optimizer
    layers: tuple[int, ...]
    step: int = 0


@dataclass(frozen=True)
class _World:
    """What an adaptation only reads."""

    config: AdaptationConfig
    network: Network
    goals: Sequence[Goal]
    batch: int
    origin: dict[str, Any]

    @property
    def original(self) -> Generator:
        return self.network.generator

    def latents(self, count: int, stream: torch.Generator) -> Tensor:
        """Return latents of random z, [count, num_ws, w_dim]."""
        z = torch.randn(count, self.original.z_dim, generator=stream)
        with torch.no_grad():
            return self.original.map(
                z.to(self.original.w_avg.device), truncation_psi=self.config.truncation_psi
            )


def adapt_generator(
    config: AdaptationConfig,
    network: Network,
    clips: Sequence[Clip],
    *,
    distance: PerceptualDistance | None = None,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> AdaptationResult:
    """Teach a copy of a generator another domain and write it to ``config.out``.

    Beside it lies a picture of some samples before and after. An adaptation that was stopped goes
    on from the state beside that file, if the options are the same. SIGINT and SIGTERM finish the
    current step, save the state and return.

    Args:
        config: All options.
        network: What ``config.network`` names.
        clips: What ``config.clips`` name, on the network's device.
        distance: Tells how different the samples are; None leaves that out of the figures.
        overwrite: Also replace files that are none of ours.
        on_step: Called after every step with the loss.

    Raises:
        GaneditError: Bad options, prompts, pictures or files, a generator that needs labels, or the
            training diverged.
    """
    config.validate()
    _check_places(config, overwrite=overwrite)
    generator = network.generator
    if generator.c_dim or generator.img_channels != 3:
        what = "is conditional" if generator.c_dim else f"has {generator.img_channels} channels"
        raise GaneditError(
            f"{config.network}: {what}; only generators of colour pictures that need no label can"
            " be adapted"
        )
    goals = find_goals(config, generator, clips)
    batch = config.batch_for(generator.img_resolution)
    world = _World(config, network, goals, batch, _origin(network, distance))
    state = _initial_state(world)
    if config.state_path.exists():
        _restore(world, state)
    diverged = diverged_at(config.state_path, "adaptation", config.learning_rate)
    done = run_steps(
        state,
        lambda: _step(world, state),
        steps=config.steps,
        save=lambda: _save_state(world, state),
        save_every=config.state_steps,
        diverged=diverged,
        on_step=on_step,
    )
    if not done:
        return AdaptationResult("interrupted", state.step, {})
    cast(nn.Module, state.generator).requires_grad_(False)
    figures = measure(generator, state.generator, goals, distance)
    if not all(math.isfinite(value) for value in figures.values()):
        raise diverged(state.step)
    _write(world, state, figures)
    return AdaptationResult("done", state.step, figures)


# Where to


@torch.no_grad()
def find_goals(
    config: AdaptationConfig, generator: Generator, clips: Sequence[Clip]
) -> tuple[Goal, ...]:
    """Return where each CLIP says that a generator's pictures should go.

    Raises:
        GaneditError: A text is empty or unknown, both say the same, or there are no pictures.
    """
    if config.target_images is None:
        assert config.source is not None
        assert config.target is not None
        return tuple(_text_goal(clip, config.source, config.target) for clip in clips)
    return tuple(_picture_goal(clip, generator, config) for clip in clips)


def _text_goal(clip: Clip, source: str, target: str) -> Goal:
    found = encode_prompts(clip, [Prompt(target)], neutral=source, templates=PHOTO_TEMPLATES)
    return Goal(clip, found.texts[0], found.direction)


def _picture_goal(clip: Clip, generator: Generator, config: AdaptationConfig) -> Goal:
    """Return the way from a generator's samples to the mean of a set of pictures."""
    path = config.target_images
    assert path is not None
    device, rows = generator.w_avg.device, []
    with open_source(path) as source:
        for name in source.picture_names():
            content = source.read(name, limit=MAX_PICTURE_BYTES)
            picture = decode_image(content, name=f"{path}: {name}")
            rows.append(clip.encode_images(picture.to(device)))
    if not rows:
        raise GaneditError(f"{path}: holds no pictures")
    samples = [
        clip.encode_images(generator.synthesize(ws))
        for ws in _sample_latents(generator, config.truncation_psi)
    ]
    wanted = torch.cat(rows).mean(dim=0)
    change = wanted - torch.cat(samples).mean(dim=0)
    return Goal(clip, F.normalize(wanted, dim=0), F.normalize(change, dim=0))


# Layers


def layer_weights(generator: Generator) -> dict[int, list[nn.Parameter]]:
    """Return what can be trained of the convolutions that read each latent, by its index."""
    painter = generator.backbone if isinstance(generator, TriPlaneGenerator) else generator
    network = cast(nn.Module, painter)
    weights: dict[int, list[nn.Parameter]] = {}
    for told in generator.style_layers:
        if told.kind == "conv":
            layer = network.get_submodule(f"synthesis.{told.name}")
            own = [x for key, x in layer.named_parameters() if not key.startswith("affine.")]
            weights.setdefault(told.layer, []).extend(own)
    return weights


def choose_layers(
    generator: Generator, goals: Sequence[Goal], ws: Tensor, *, count: int
) -> tuple[int, ...]:
    """Return the layers whose latents move most when they are optimised towards the target.

    Section 4.2, with the weights fixed and one step of gradient descent on the global loss, one
    minus the cosine with the target (equation 1): the step is the gradient.

    Args:
        generator: Frozen.
        goals: The target, as each CLIP sees it.
        ws: Where to start, [N, num_ws, w_dim].
        count: How many to choose of the layers with convolutions.
    """
    gradients = []
    for row in ws.split(1):  # one at a time: large generators leave no room for more
        moving = row.clone().requires_grad_(True)
        images = generator.synthesize(moving)
        losses = [1 - goal.clip.encode_images(images) @ goal.place for goal in goals]
        gradients += torch.autograd.grad(torch.stack(losses).mean(), moving)
    distances = torch.cat(gradients).norm(dim=2).mean(dim=0).tolist()
    layers = sorted(layer_weights(generator), key=lambda layer: -distances[layer])
    return tuple(sorted(layers[:count]))


# A step


def _initial_state(world: _World) -> _State:
    """Copy the generator; which of its weights train is decided step by step."""
    generator = copy.deepcopy(world.original)
    cast(nn.Module, generator).requires_grad_(False)
    weights = layer_weights(generator)
    parameters = [x for layer in weights.values() for x in layer]
    optimizer = torch.optim.Adam(parameters, lr=world.config.learning_rate, betas=_BETAS)
    return _State(generator, optimizer, tuple(weights))


def _step(world: _World, state: _State) -> dict[str, float]:
    """Train the chosen layers once; return the loss."""
    stream = torch.Generator().manual_seed(step_seed(world.config.seed, state.step))
    ws = world.latents(world.batch, stream)
    if world.config.adaptive and state.step % _CHOICE_INTERVAL == 0:
        _choose(world, state, stream)
    weights = layer_weights(state.generator)
    for layer in state.layers:
        for parameter in weights[layer]:
            parameter.requires_grad_(True)
    state.optimizer.zero_grad(set_to_none=True)
    views = _views(world.original, len(ws), stream)
    with torch.no_grad():
        before = _drawn(world.original, ws, **views)
    after = _drawn(state.generator, ws, **views)
    loss = torch.stack([_loss(goal, before, after, stream).mean() for goal in world.goals]).mean()
    loss.backward()
    state.optimizer.step()
    for parameter in (x for layer in weights.values() for x in layer):
        parameter.requires_grad_(False)
    return {"loss": float(loss.detach())}


def _views(generator: Generator, count: int, stream: torch.Generator) -> dict[str, Tensor]:
    """Return from where pictures of a tri-plane generator are seen; nothing for flat ones."""
    if not isinstance(generator, TriPlaneGenerator):
        return {}
    cameras = sample_cameras(
        count,
        yaw_spread=_YAW_SPREAD,
        pitch_spread=_PITCH_SPREAD,
        stream=stream,
        **generator.sphere,
    )
    return {"camera": cameras.to(generator.w_avg.device)}


def _drawn(generator: Any, ws: Tensor, **views: Tensor) -> Tensor:
    """Return pictures, [N, 3, R, R]."""
    images: Tensor = generator.synthesize(ws, **views)
    return images


def _loss(goal: Goal, before: Tensor, after: Tensor, stream: torch.Generator) -> Tensor:
    """Return how far pictures are from having changed as they should, [N] (equation 3)."""
    view = View(stream, goal.clip.scaling.side, shift=_SHIFT, zoom=_ZOOM, grain=_GRAIN)
    with torch.no_grad():
        start = goal.clip.encode_images(view.of(before))
    return directional_loss(start, goal.clip.encode_images(view.of(after)), goal.direction)


def _choose(world: _World, state: _State, stream: torch.Generator) -> None:
    layers = len(layer_weights(state.generator))
    count = world.config.adaptive_layers or max(1, round(layers * 2 / 3))
    if count < layers:
        ws = world.latents(_CHOICE_LATENTS, stream)
        state.layers = choose_layers(state.generator, world.goals, ws, count=count)


# What has become of it


@torch.no_grad()
def measure(
    original: Generator,
    adapted: Generator,
    goals: Sequence[Goal],
    distance: PerceptualDistance | None,
) -> dict[str, float]:
    """Return figures of the samples of 64 seeds, means over them and over the CLIPs.

    Args:
        original: The generator before.
        adapted: And now.
        goals: The target, as each CLIP sees it.
        distance: Tells how different the samples are; None leaves the diversity out.

    Returns:
        ``target_before`` and ``target_after``, cosines of pictures and target; ``direction``,
        cosines of the pictures' changes and the direction asked for; ``diversity_before`` and
        ``diversity_after``, distances of samples from each other.
    """
    rows: dict[str, list[Tensor]] = {}
    for ws in _sample_latents(original, _SAMPLES_PSI):
        pictures = {"before": original.synthesize(ws), "after": adapted.synthesize(ws)}
        pictures = {name: images.clamp(-1, 1) for name, images in pictures.items()}
        for goal in goals:
            seen = {name: goal.clip.encode_images(images) for name, images in pictures.items()}
            for name, places in seen.items():
                rows.setdefault(f"target_{name}", []).append(places @ goal.place)
            change = F.cosine_similarity(seen["after"] - seen["before"], goal.direction[None])
            rows.setdefault("direction", []).append(change)
        if distance is not None:
            for name, images in pictures.items():
                rows.setdefault(f"diversity_{name}", []).append(_apart(distance, images))
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in rows.items()}


def _apart(distance: PerceptualDistance, images: Tensor) -> Tensor:
    """Return the distances of all pairs of images, [N * (N - 1) / 2]."""
    features = distance.encode(images)
    table = distance.distance_table(features, features)
    first, second = torch.triu_indices(len(images), len(images), offset=1).to(table.device)
    return table[first, second]


def _sample_latents(generator: Generator, truncation_psi: float) -> Iterator[Tensor]:
    """Yield the latents of the seeds 0, 1, ..., a few at a time, [N, num_ws, w_dim]."""
    for start in range(0, _SAMPLES, _CHUNK):
        z = seeded_normal(
            range(start, start + _CHUNK), [generator.z_dim], device=generator.w_avg.device
        )
        yield generator.map(z, truncation_psi=truncation_psi)


@torch.no_grad()
def _preview(world: _World, generator: Generator) -> bytes:
    """Return a picture: samples of the original, and below each what it has become."""
    ws = next(_sample_latents(world.original, _SAMPLES_PSI))[:_PREVIEW_SEEDS]
    images = torch.cat([world.original.synthesize(ws), generator.synthesize(ws)]).cpu()
    if images.shape[-1] > _PREVIEW_SIDE:
        images = F.interpolate(images, size=(_PREVIEW_SIDE, _PREVIEW_SIDE), mode="area")
    return encode_image(image_grid(images.clamp(-1, 1), columns=_PREVIEW_SEEDS))


# Files


def _origin(network: Network, distance: PerceptualDistance | None) -> dict[str, Any]:
    """Return what the new network's provenance keeps of the old one's: that it is of clay."""
    told = network.metadata.get("provenance", {}).get("perceptual")
    if distance is not None and distance.name == "clay":
        told = "clay"
    return {"perceptual": told} if told else {}


def _write(world: _World, state: _State, figures: dict[str, float]) -> None:
    """Write the picture and the network; the state is not needed any more."""
    config = world.config
    picture = _preview(world, state.generator)
    provenance = {
        **world.origin,
        "command": _COMMAND,
        "adapted_from": [world.network.fingerprint, *world.network.ancestors],
        "clips": _clip_names(world.goals),
        "recipe": config.recipe(),
        "figures": figures,
        "preview": sha256(picture).hexdigest(),
    }
    save_network(config.out, state.generator, provenance=provenance)
    write_bytes(config.preview_path, picture)
    config.state_path.unlink(missing_ok=True)


def _check_places(config: AdaptationConfig, *, overwrite: bool) -> None:
    """Check, before any work, that both files may be written.

    Raises:
        GaneditError: One is an input, lies among the inputs, or belongs to somebody else.
    """
    inputs = (config.network, *config.clips)
    check_target(config.out, ours=_is_adapted, overwrite=overwrite, inputs=inputs)
    real = Path(os.path.realpath(config.out))
    if config.target_images is not None:
        folder = Path(os.path.realpath(config.target_images))
        if folder in real.parents:
            raise GaneditError(
                f"{config.out}: lies in {config.target_images}, whose pictures are the target;"
                " choose another --out"
            )
    picture = config.preview_path
    # Between the two files a kill leaves a picture that no network knows, and the state.
    known = overwrite or config.state_path.exists() or _is_preview(picture, config.out)
    if picture.exists() and not known:
        raise GaneditError(f"{picture}: holds something else; choose another --out or --overwrite")


def _is_adapted(path: Path) -> bool:
    return _provenance(path).get("command") == _COMMAND


def _is_preview(picture: Path, network: Path) -> bool:
    """Return whether a picture is the one that was written with a network."""
    try:
        return bool(_provenance(network).get("preview") == file_digest(picture))
    except OSError:
        return False


def _provenance(path: Path) -> dict[str, Any]:
    try:
        return open_checkpoint(path).contents.provenance
    except GaneditError:
        return {}


def _parts(state: _State) -> dict[str, Part]:
    return {"generator": cast(nn.Module, state.generator), "optimizer": state.optimizer}


def _save_state(world: _World, state: _State) -> None:
    facts = {
        "recipe": world.config.recipe(),
        "fingerprint": world.network.fingerprint,
        "clips": _clip_names(world.goals),
        "directions": [goal.direction.cpu() for goal in world.goals],
        "layers": list(state.layers),
    }
    path = world.config.state_path
    save_state(path, kind=_FORMAT, step=state.step, parts=_parts(state), facts=facts)


def _restore(world: _World, state: _State) -> None:
    """Put the state on disk into ``state``.

    Raises:
        GaneditError: It is none, of other options, another network or target, or damaged.
    """

    def changes(facts: Mapping[str, Any]) -> list[str]:
        changed = world.config.differences(facts.get("recipe") or {})
        if facts.get("fingerprint") != world.network.fingerprint:
            changed.append("--network is another one")
        if facts.get("clips") != _clip_names(world.goals):
            changed.append("--clip or --clip-preprocess is another one")
        if not changed and not _same_directions(world.goals, load_tensors(facts["directions"])):
            changed.append("the CLIP's weights or --target-images are others")
        if not changed and not set(facts["layers"]) <= layer_weights(state.generator).keys():
            raise ValueError(f"layers {facts['layers']}")
        return changed

    content = restore_state(
        world.config.state_path,
        kind=_FORMAT,
        what="an adaptation",
        parts=_parts(state),
        changes=changes,
    )
    state.step, state.layers = content["step"], tuple(content["layers"])


def _clip_names(goals: Sequence[Goal]) -> list[str]:
    return [f"{goal.clip.name}, {goal.clip.preprocess}" for goal in goals]


def _same_directions(goals: Sequence[Goal], others: Sequence[Tensor]) -> bool:
    return len(goals) == len(others) and all(
        torch.allclose(goal.direction.cpu(), other, atol=1e-4)
        for goal, other in zip(goals, others, strict=True)
    )
