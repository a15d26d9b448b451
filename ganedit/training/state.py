"""Everything that a training changes while it runs, and its way to disk and back."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganedit.checkpoints import Network, load_discriminator, load_network, open_checkpoint
from ganedit.checkpoints.sources import home, locate
from ganedit.errors import GaneditError
from ganedit.features import load_clay_features
from ganedit.generators import (
    Generator,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    TriPlaneGenerator,
)
from ganedit.io.latents import load_latent
from ganedit.io.torch_files import load_tensors, open_pickled, save_tensors
from ganedit.training.config import TrainingConfig
from ganedit.training.freeze import (
    check_kept,
    freeze_layers,
    train_last_blocks,
    train_top_blocks,
)
from ganedit.training.transfer import KeptFactors, kept_factors
from ganedit.training.triplane import Teacher, lift, lift_discriminator, new_teacher, new_triplane

STATE_FILE = "training-state.pt"
_FORMAT = "ganedit-training"
_COUNTERS = ("step", "images", "seconds", "augment_p", "sign_sum", "sign_count")


@dataclass
class TrainingState:
    """Networks, optimisers and counters.

    Random numbers are no part of it: every step seeds them anew from (seed, step), so a resumed
    run draws what the uninterrupted one would have drawn.

    Attributes:
        generator: The network that is trained.
        discriminator: Its opponent.
        averaged: Exponential moving average of the generator; what is kept.
        generator_optimizer: Adam of the generator.
        discriminator_optimizer: Adam of the discriminator's unfrozen layers.
        pl_mean: Running mean of the path length, a scalar.
        step: Steps done.
        images: Images shown so far.
        seconds: Time spent so far, over all processes.
        augment_p: Probability of each augmentation.
        sign_sum: Sum of the signs of D(real) since the last adjustment of augment_p.
        sign_count: Their number.
        trainable: Weights of the discriminator that train.
        source: The starting network, frozen, where something of it is to be kept.
        kept: Factors that pictures should share with the starting network's, if any.
        adapted_from: Fingerprints of the starting network and of those before it.
        teacher: The generator of pictures that a volume is shown first, if any.
    """

    generator: StyleGAN2Generator | TriPlaneGenerator
    discriminator: StyleGAN2Discriminator
    averaged: StyleGAN2Generator | TriPlaneGenerator
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    pl_mean: Tensor
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    augment_p: float = 0.0
    sign_sum: float = 0.0
    sign_count: int = 0
    trainable: list[nn.Parameter] = field(default_factory=list)
    source: StyleGAN2Generator | None = None
    kept: KeptFactors | None = None
    adapted_from: tuple[str, ...] = ()
    teacher: Teacher | None = None


def initial_state(
    config: TrainingConfig, *, resolution: int, labels: Tensor | None, device: torch.device
) -> TrainingState:
    """Build networks and optimisers, from a seed or from ``config.init``.

    Draws from torch's generators; the caller seeds them.

    Args:
        config: Resolved options.
        resolution: Side of the pictures.
        labels: Of the data, [N, c_dim]; None is unconditional.
        device: Where everything lives.

    Raises:
        GaneditError: The initial network does not fit the data, or lacks what is to be kept of it.
    """
    if config.init is None and config.keeping:
        raise GaneditError(
            f"{' and '.join(config.keeping)}: nothing to keep without a network to start from;"
            " name it with --resume"
        )
    adapted_from: tuple[str, ...] = ()
    network = None if config.init is None else load_network(str(config.init), device="cpu")
    generator: StyleGAN2Generator | TriPlaneGenerator
    if config.family == "triplane":
        assert labels is not None  # checked
        generator, discriminator = _triplane_pair(config, network, resolution, labels)
    else:
        generator, discriminator = _pair(config, network, resolution, labels)
    if network is not None and type(network.generator) is type(generator):
        adapted_from = (network.fingerprint, *network.ancestors)
    teacher = _teacher(config, network, labels, device)
    generator.to(device).train()
    discriminator.to(device).train()
    averaged = copy.deepcopy(generator).eval().requires_grad_(False)
    if isinstance(generator, StyleGAN2Generator):
        check_kept(generator, styles=config.freeze_style, structure=config.structure_loss)
        generator_trainable = train_top_blocks(generator, config.freeze_g)
    else:
        generator_trainable = list(generator.requires_grad_().parameters())
    keeps = config.freeze_style or config.structure_loss or config.keep_factors is not None
    if config.train_d_blocks:
        trainable = train_last_blocks(discriminator, config.train_d_blocks)
    else:
        trainable = freeze_layers(discriminator, config.freeze_d)
    pl_interval = config.pl_interval if config.pl_weight > 0 else None
    r1_interval = config.r1_interval if config.r1_gamma else None
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        averaged=averaged,
        generator_optimizer=_adam(config, generator_trainable, pl_interval),
        discriminator_optimizer=_adam(config, trainable, r1_interval),
        pl_mean=torch.zeros([], device=device),
        augment_p=0.0 if config.augment == "off" else config.augment_p,
        trainable=trainable,
        source=_frozen_copy(averaged) if keeps else None,
        kept=_kept_factors(config, averaged, adapted_from),
        adapted_from=adapted_from,
        teacher=teacher,
    )


def _teacher(
    config: TrainingConfig,
    network: Network | None,
    cameras: Tensor | None,
    device: torch.device,
) -> Teacher | None:
    """Return what a volume is shown at the beginning, if anything.

    Raises:
        GaneditError: The pose of its pictures cannot be read.
    """
    if not config.lift_kimg:
        return None
    assert network is not None
    assert cameras is not None  # both checked
    return new_teacher(network, cameras, device, directions=config.lift_directions)


def _frozen_copy(generator: StyleGAN2Generator | TriPlaneGenerator) -> StyleGAN2Generator:
    assert isinstance(generator, StyleGAN2Generator)  # of the other family nothing is kept
    return copy.deepcopy(generator)


def _pair(
    config: TrainingConfig, network: Network | None, resolution: int, labels: Tensor | None
) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator]:
    """Return generator and discriminator of a training of pictures."""
    c_dim = 0 if labels is None else labels.shape[1]
    if network is None:
        generator = _new_generator(config, resolution=resolution, c_dim=c_dim)
        return generator, _new_discriminator(config, generator, c_dim=c_dim, channels=3)
    generator = _checked_generator(network, resolution=resolution, c_dim=c_dim)
    return generator, _loaded_discriminator(config, network)


def _triplane_pair(
    config: TrainingConfig, network: Network | None, resolution: int, cameras: Tensor
) -> tuple[TriPlaneGenerator, StyleGAN2Discriminator]:
    """Return generator and discriminator of a training of volumes.

    They start from those of a tri-plane network, or from what they share with a StyleGAN2's.

    Raises:
        GaneditError: The network to start from does not fit, or the cameras do not see its box.
    """
    if network is not None and isinstance(network.generator, TriPlaneGenerator):
        generator = network.generator
        if generator.img_resolution != resolution:
            raise GaneditError(
                f"{network.source}: makes {generator.img_resolution}-pixel pictures; the data has"
                f" {resolution}"
            )
        _check_reach(config, generator, cameras)
        return generator, _loaded_discriminator(config, network)
    try:
        generator = new_triplane(config, resolution=resolution, cameras=cameras)
    except ValueError as error:  # such as too few channels for the planes' side
        raise GaneditError(
            f"these sizes make no tri-plane network ({error}); see --plane-resolution,"
            " --channel-base and the sizes after --family"
        ) from error
    _check_reach(config, generator, cameras)
    channels = 2 * generator.img_channels
    c_dim = generator.camera_dim
    discriminator = _new_discriminator(config, generator, c_dim=c_dim, channels=channels)
    if network is not None:
        flat = network.generator
        if not isinstance(flat, StyleGAN2Generator):
            raise GaneditError(
                f"{network.source}: a tri-plane training can start from a StyleGAN2 or a tri-plane"
                " network, this is neither"
            )
        _check_lift(config, flat, resolution=resolution, planes=generator.backbone.img_resolution)
        source = str(config.init)
        lift(generator, flat)
        if has_discriminator(source):
            lift_discriminator(discriminator, load_discriminator(source))
    return generator, discriminator


def _check_reach(config: TrainingConfig, generator: TriPlaneGenerator, cameras: Tensor) -> None:
    try:
        generator.check_reach(cameras)
    except ValueError as error:
        told = str(error).partition("; ")[0]  # what follows is for single cameras
        raise GaneditError(
            f"{config.data}: {told}; set --ray-start, --ray-end and --box-size so that its cameras"
            " see the box"
        ) from error


def _check_lift(
    config: TrainingConfig, flat: StyleGAN2Generator, *, resolution: int, planes: int
) -> None:
    """Check that a generator of pictures can start one of volumes."""
    side, source = flat.img_resolution, str(config.init)
    if side > planes:
        raise GaneditError(
            f"{source}: makes {side}-pixel pictures, and planes of {planes} have no place for its"
            f" layers; use --plane-resolution {side}"
        )
    if side != resolution and config.lift_kimg:
        raise GaneditError(
            f"{source}: makes {side}-pixel pictures, the data has {resolution}; leave --lift-kimg"
            " out, or make the data as large"
        )


def _kept_factors(
    config: TrainingConfig,
    source: StyleGAN2Generator | TriPlaneGenerator,
    marks: Sequence[str],
) -> KeptFactors | None:
    """Return the factors to keep; None for none.

    Raises:
        GaneditError: The reader or the latents cannot be used.
    """
    if config.keep_factors is None:
        return None
    assert isinstance(source, StyleGAN2Generator)  # of the other family it is refused
    if source.c_dim:
        raise GaneditError(
            "--keep-factors: the network to start from takes labels, and factors are compared"
            " without; leave it out, or start from an unconditional network"
        )
    ws = None
    if config.keep_latents is not None:
        latent = load_latent(config.keep_latents)
        if latent.fingerprint not in marks or latent.ws.shape[1:] != (source.num_ws, source.w_dim):
            raise GaneditError(
                f"{config.keep_latents}: latents of {latent.network}, not of the network that this"
                " training starts from; project photos into that one"
            )
        ws = latent.ws
    reader = load_clay_features(source.w_avg.device, path=config.keep_reader)
    return kept_factors(source, config.keep_factors.split(","), reader=reader, ws=ws)


def has_discriminator(source: Path | str) -> bool:
    """Return whether a training that starts from a network starts from its discriminator too.

    Args:
        source: An embedded name, a file, an address.

    Raises:
        GaneditError: There is no such network, or it cannot be read.
    """
    return open_checkpoint(locate(str(source))).contents.discriminator is not None


def save_state(path: Path, state: TrainingState, config: TrainingConfig) -> None:
    """Write everything needed to continue, atomically: the file before stays until replaced."""
    content = {
        "format": _FORMAT,
        "version": 1,
        # Absolute, for a resume from any folder; snapshots do not carry it.
        "options": config.to_json() | ({"init": home(str(config.init))} if config.init else {}),
        "generator": state.generator.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "averaged": state.averaged.state_dict(),
        "generator_optimizer": state.generator_optimizer.state_dict(),
        "discriminator_optimizer": state.discriminator_optimizer.state_dict(),
        "pl_mean": state.pl_mean,
        "adapted_from": list(state.adapted_from),
        "kept": None if state.kept is None else state.kept.digest(),
        **{name: getattr(state, name) for name in _COUNTERS},
    }
    save_tensors(path, content)


def read_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote; only tensors and plain values are ever loaded.

    Raises:
        GaneditError: The file is missing, damaged or something else.
    """
    if not path.exists():
        raise GaneditError(f"{path}: no such file; there is no training to resume")
    try:
        content = open_pickled(path).trusted()
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise GaneditError(f"{path}: not a training state of ganedit")
        state: dict[str, Any] = load_tensors(content)
    except GaneditError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise GaneditError(f"{path}: not a readable training state ({reason})") from error
    return state


def restore_state(path: Path, state: TrainingState, content: dict[str, Any]) -> None:
    """Put what `read_state` returned into ``state``.

    Raises:
        GaneditError: It belongs to other networks, started from another one or kept other factors,
            or lacks a part.
    """
    begun = content.get("adapted_from", list(state.adapted_from))  # older states do not say it
    if begun != list(state.adapted_from):
        raise GaneditError(
            f"{path}: started from another network than --resume or --init names now; name that"
            " one, or choose another --out"
        )
    kept = None if state.kept is None else state.kept.digest()
    if content.get("kept", kept) != kept:  # older states do not say it
        raise GaneditError(
            f"{path}: kept factors by another reader or other latents than --keep-reader and"
            " --keep-latents name now; name those, or choose another --out"
        )
    parts = ("generator", "discriminator", "averaged", "generator_optimizer")
    try:
        for name in (*parts, "discriminator_optimizer"):
            getattr(state, name).load_state_dict(content[name])
        state.pl_mean.copy_(content["pl_mean"])
        for name in _COUNTERS:
            setattr(state, name, content[name])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise GaneditError(f"{path}: does not fit this training ({reason:.120})") from error


def _new_generator(config: TrainingConfig, *, resolution: int, c_dim: int) -> StyleGAN2Generator:
    return StyleGAN2Generator(
        z_dim=config.z_dim,
        c_dim=c_dim,
        w_dim=config.w_dim,
        img_resolution=resolution,
        mapping_layers=config.mapping_layers,
        channel_base=config.channel_base,
        channel_max=config.channel_max,
    )


def _new_discriminator(
    config: TrainingConfig, generator: Generator, *, c_dim: int, channels: int
) -> StyleGAN2Discriminator:
    """Build an untrained discriminator, as wide as the generator.

    Args:
        config: Resolved options.
        generator: Its opponent.
        c_dim: Length of what it is told of a picture.
        channels: Of what it sees.
    """
    sizes = ("img_resolution", "channel_base", "channel_max")
    return StyleGAN2Discriminator(
        **{name: generator.config[name] for name in sizes},
        c_dim=c_dim,
        img_channels=channels,
        channels=generator.config.get("channels"),
        conv_clamp=generator.config["conv_clamp"],
        mbstd_group_size=config.mbstd_group,
    )


def _checked_generator(network: Network, *, resolution: int, c_dim: int) -> StyleGAN2Generator:
    """Return the generator of the network to start from, if it fits the data."""
    generator = network.generator
    if not isinstance(generator, StyleGAN2Generator):
        raise GaneditError(f"{network.source}: only a StyleGAN2 can start a training")
    if generator.img_channels != 3:
        raise GaneditError(
            f"{network.source}: makes pictures of {generator.img_channels} channels; the data has 3"
        )
    if (generator.img_resolution, generator.c_dim) != (resolution, c_dim):
        raise GaneditError(
            f"{network.source}: makes {generator.img_resolution}-pixel pictures with "
            f"{generator.c_dim} label numbers; the data has {resolution} and {c_dim}"
        )
    return generator


def _loaded_discriminator(config: TrainingConfig, network: Network) -> StyleGAN2Discriminator:
    """Return the discriminator of the network to start from, or a new one if it has none."""
    source, generator = str(config.init), network.generator
    c_dim, channels = generator.c_dim, generator.img_channels
    if isinstance(generator, TriPlaneGenerator):
        c_dim, channels = generator.camera_dim, 2 * channels
    if not has_discriminator(source):
        if config.freeze_d or config.train_d_blocks:
            option = "--freeze-d" if config.freeze_d else "--train-d-blocks"
            raise GaneditError(
                f"{source}: has no discriminator, so a new one is trained, and nothing of that"
                f" can stay as it is; leave out {option}, or start from a training snapshot"
            )
        return _new_discriminator(config, generator, c_dim=c_dim, channels=channels)
    discriminator = load_discriminator(source)
    if not isinstance(discriminator, StyleGAN2Discriminator):
        raise GaneditError(f"{source}: its discriminator is none of StyleGAN2")
    shape = discriminator.img_resolution, discriminator.c_dim, discriminator.img_channels
    if shape != (generator.img_resolution, c_dim, channels):
        raise GaneditError(f"{source}: its discriminator reads other pictures than it makes")
    discriminator.b4.mbstd_group_size = config.mbstd_group
    discriminator.config["mbstd_group_size"] = config.mbstd_group
    return discriminator


def _adam(
    config: TrainingConfig, parameters: list[nn.Parameter], interval: int | None
) -> torch.optim.Optimizer:
    """Return Adam with the correction for lazy regularisation (StyleGAN2, appendix B)."""
    ratio = 1.0 if interval is None else interval / (interval + 1)
    assert config.learning_rate is not None  # resolved
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate * ratio,
        betas=(config.beta1**ratio, config.beta2**ratio),
        eps=1e-8,
        fused=True,
    )
