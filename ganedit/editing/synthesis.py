"""Seeds to latents, and latents to pictures."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ganedit.checkpoints import Network, label_batch
from ganedit.editing.interpolate import LatentPath
from ganedit.editing.rows import row_name
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator, Noise, seeded_noise
from ganedit.generators.stylegan3 import StyleGAN3Generator
from ganedit.generators.triplane import volume_of
from ganedit.io.latents import Latent, check_latent
from ganedit.progress import OnStep
from ganedit.runtime import seeded_normal
from ganedit.three_d.cameras import check_camera

NoiseMode = Literal["const", "random", "none"]

_MAX_BATCH = 16
_BATCH_PIXELS = 2**19
_NOISE_SALT = 0x9E3779B9  # moves a seed's noise maps away from the numbers of its z


def sample(
    network: Network,
    seeds: Sequence[int],
    *,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
    noise: NoiseMode = "const",
    label: Sequence[float] | None = None,
) -> Latent:
    """Return the latents of seeds; a seed's latent never depends on the others.

    Args:
        network: The generator.
        seeds: One a row.
        truncation_psi: 0 is the average picture, 1 is untouched.
        truncation_cutoff: Only layers below it are truncated; all by default.
        noise: ``random`` draws noise maps for each seed and stores them in the latent, where the
            generator has any; ``const`` and ``none`` store none, and are chosen again in
            `synthesize`.
        label: The condition, c_dim numbers, for a conditional generator.

    Returns:
        N latents named ``seed0000`` and so on.

    Raises:
        GaneditError: The generator needs a label and has none, or the other way round.
    """
    if not math.isfinite(truncation_psi):
        raise ValueError(f"truncation_psi: expected a finite number, got {truncation_psi}")
    generator = network.generator
    device = generator.w_avg.device
    c = label_batch(network, label, len(seeds))
    z = seeded_normal(seeds, (generator.z_dim,), device=device)
    with torch.no_grad():
        ws = generator.map(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
    return Latent(
        ws=ws.float().cpu(),
        space="w" if truncation_cutoff is None else "w+",
        fingerprint=network.fingerprint,
        network=network.home,
        noise=(_own_noise(generator, seeds) or None) if noise == "random" else None,
        names=tuple(f"seed{seed:04d}" for seed in seeds),
    )


def _own_noise(generator: Generator, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    return seeded_noise(generator.noise_shapes, [seed ^ _NOISE_SALT for seed in seeds])


def synthesize(
    network: Network,
    latent: Latent | LatentPath,
    *,
    noise: NoiseMode = "const",
    transform: Tensor | None = None,
    cameras: Tensor | None = None,
    batch_size: int | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """Yield the pictures of a latent, one by one.

    Noise maps that the latent carries are used; ``noise`` is for latents without.

    Args:
        network: The generator that the latent belongs to.
        latent: N rows, or a path of N frames, which are then computed batch by batch.
        noise: ``const`` is the generator's own maps, ``none`` leaves noise out, ``random`` draws
            new maps from torch's global generator (use `sample` for repeatable ones).
        transform: How to move the pictures of a StyleGAN3 generator, [3, 3]; see
            `image_transform`.
        cameras: From where the pictures of a tri-plane generator are seen, [N or 1, 25]; None is
            each row's own camera where the latent tells it, else the front.
        batch_size: Pictures computed at a time; never changes them beyond rounding. By default
            what fits in about half a million pixels.
        on_step: Progress, called after each batch.

    Yields:
        float32 [1, 3, R, R] on the CPU, in [-1, 1] but for a generator's overshoot.

    Raises:
        GaneditError: The latent belongs to another generator, or to a tuned one and this is not,
            its noise maps do not fit, or the generator cannot move its pictures, or its camera.
    """
    if cameras is not None:
        check_cameras(network, cameras, count=len(latent))
    check_drawable(network, latent.rows(0, 1))
    generator = network.generator
    render = _render(network, transform)
    device = generator.w_avg.device
    step = batch_size or max(1, min(_MAX_BATCH, _BATCH_PIXELS // generator.img_resolution**2))
    for start in range(0, len(latent), step):
        end = min(start + step, len(latent))
        part = latent.rows(start, end)
        maps, offsets = maps_and_offsets(part, noise, device)
        posed = _posed(part, cameras, start, device)
        with torch.no_grad():
            images = render(part.ws.to(device), noise=maps, offsets=offsets, **posed)
        yield from images.float().cpu().split(1)
        if on_step:
            on_step(end, len(latent), {})


def _render(network: Network, transform: Tensor | None) -> Callable[..., Tensor]:
    """Return what draws latents, with its pictures moved.

    Raises:
        GaneditError: The generator cannot move them.
    """
    generator = network.generator
    if transform is None:
        return generator.synthesize
    if not isinstance(generator, StyleGAN3Generator):
        raise GaneditError(
            f"{network.source}: only StyleGAN3 generators can translate and rotate their"
            " pictures; leave --translate and --rotate out"
        )
    return partial(generator.synthesize, transform=transform)


def _posed(
    part: Latent, cameras: Tensor | None, start: int, device: torch.device
) -> dict[str, Tensor]:
    """Return what the generator is told of the cameras of some rows; nothing for the front."""
    if cameras is None:
        return {} if part.cameras is None else {"camera": part.cameras.to(device)}
    rows = cameras if len(cameras) == 1 else cameras[start : start + len(part)]
    return {"camera": rows.to(device)}


def check_cameras(network: Network, cameras: Tensor, *, count: int) -> None:
    """Check that a network's pictures can be seen from cameras.

    Args:
        network: The network.
        cameras: Labels, [N or 1, 25].
        count: N.

    Raises:
        GaneditError: The network draws flat pictures.
        ValueError: These are no such cameras.
    """
    generator = volume_of(network.generator, name=network.source)
    if cameras.ndim != 2 or len(cameras) not in (1, count):
        raise ValueError(f"cameras: expected [{count} or 1, 25], got {list(cameras.shape)}")
    check_camera(cameras)
    generator.check_reach(cameras)


def maps_and_offsets(
    latent: Latent, noise: NoiseMode, device: torch.device
) -> tuple[Noise, list[Tensor] | None]:
    """Return what a latent is drawn with besides its ws: its noise maps, and offsets of styles.

    Args:
        latent: N rows.
        noise: For a latent without maps.
        device: Where the generator is.
    """
    maps: Noise = noise if latent.noise is None else [m.to(device) for m in latent.noise]
    offsets = None if latent.offsets is None else [x.to(device) for x in latent.offsets]
    return maps, offsets


def check_drawable(network: Network, latent: Latent) -> None:
    """Check that a network is the one that draws a latent, tuned as the latent's was.

    Raises:
        GaneditError: See `check_fits`; or the latent's generator was tuned, and this one is not.
    """
    check_fits(network, latent)
    if latent.tuning is not None and "tuning" not in network.metadata:
        raise GaneditError(
            f"{row_name(latent)}: its generator was tuned; apply_tuning(network, "
            f"load_tuning(...)) of {latent.tuning}, which lies beside its file, returns that one"
        )


def check_fits(network: Network, latent: Latent, *, name: str | None = None) -> None:
    """Check that a latent belongs to a network.

    Args:
        network: The network.
        latent: The latent.
        name: Of the latent, for the error; its first row's by default.

    Raises:
        GaneditError: It has another shape, another generator made it, its noise maps do not fit, or
            its cameras are none.
    """
    generator = network.generator
    if latent.cameras is not None:
        try:
            check_cameras(network, latent.cameras, count=len(latent))
        except ValueError as error:
            raise GaneditError(f"{name or row_name(latent)}: {error}") from error
    mark = latent.fingerprint if network.accepts(latent.fingerprint) else network.fingerprint
    check_latent(
        latent,
        fingerprint=mark,
        num_ws=generator.num_ws,
        w_dim=generator.w_dim,
        noise_shapes=generator.noise_shapes,
        style_widths=[layer.channels for layer in generator.style_layers],
        network=network.source,
        name=name,
    )
