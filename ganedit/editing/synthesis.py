"""Seeds to latents, and latents to pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator, Noise, seeded_noise
from ganedit.io.latents import Latent, check_latent
from ganedit.runtime import seeded_normal

NoiseMode = Literal["const", "random", "none"]
OnStep = Callable[[int, int, Mapping[str, Any]], None]

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
        noise: ``random`` draws noise maps for each seed and stores them in the latent; ``const``
            and ``none`` store none, and are chosen again in `synthesize`.
        label: The condition, c_dim numbers, for a conditional generator.

    Returns:
        N latents named ``seed0000`` and so on.

    Raises:
        GaneditError: The generator needs a label and has none, or the other way round.
    """
    generator = network.generator
    device = generator.w_avg.device
    c = _condition(generator, label, len(seeds), device)
    z = seeded_normal(seeds, (generator.z_dim,), device=device)
    with torch.no_grad():
        ws = generator.map(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
    return Latent(
        ws=ws.float().cpu(),
        space="w" if truncation_cutoff is None else "w+",
        fingerprint=network.fingerprint,
        network=network.home,
        noise=_own_noise(generator, seeds) if noise == "random" else None,
        names=tuple(f"seed{seed:04d}" for seed in seeds),
    )


def _condition(
    generator: Generator, label: Sequence[float] | None, count: int, device: torch.device
) -> Tensor | None:
    if generator.c_dim == 0:
        if label is not None:
            raise GaneditError("this generator has no classes; leave --class out")
        return None
    if label is None:
        raise GaneditError(
            f"this generator needs a class, 0 to {generator.c_dim - 1}; choose one with --class"
        )
    if len(label) != generator.c_dim:
        raise ValueError(f"label: expected {generator.c_dim} numbers, got {len(label)}")
    return torch.tensor(label, dtype=torch.float32, device=device).expand(count, -1)


def class_label(generator: Generator, index: int) -> list[float]:
    """Return the one-hot label of a class.

    Raises:
        GaneditError: The generator has no such class.
    """
    if not 0 <= index < generator.c_dim:
        known = f"0 to {generator.c_dim - 1}" if generator.c_dim else "none"
        raise GaneditError(f"class {index} does not exist; this generator's classes: {known}")
    return [float(index == other) for other in range(generator.c_dim)]


def _own_noise(generator: Generator, seeds: Sequence[int]) -> tuple[Tensor, ...]:
    return seeded_noise(generator.noise_shapes, [seed ^ _NOISE_SALT for seed in seeds])


def synthesize(
    network: Network,
    latent: Latent,
    *,
    noise: NoiseMode = "const",
    batch_size: int | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """Yield the pictures of a latent, one by one.

    Noise maps that the latent carries are used; ``noise`` is for latents without.

    Args:
        network: The generator that the latent belongs to.
        latent: N rows.
        noise: ``const`` is the generator's own maps, ``none`` leaves noise out, ``random`` draws
            new maps from torch's global generator (use `sample` for repeatable ones).
        batch_size: Pictures computed at a time; never changes them beyond rounding. By default
            what fits in about half a million pixels.
        on_step: Progress, called after each batch.

    Yields:
        float32 [1, 3, R, R] on the CPU, in [-1, 1] but for a generator's overshoot.

    Raises:
        GaneditError: The latent belongs to another generator, or its noise maps do not fit.
    """
    generator = network.generator
    check_latent(
        latent,
        fingerprint=network.fingerprint,
        num_ws=generator.num_ws,
        w_dim=generator.w_dim,
        network=network.source,
    )
    _check_noise(latent, generator)
    device = generator.w_avg.device
    step = batch_size or max(1, min(_MAX_BATCH, _BATCH_PIXELS // generator.img_resolution**2))
    for start in range(0, len(latent), step):
        end = min(start + step, len(latent))
        maps: Noise = noise
        if latent.noise is not None:
            maps = [(m if len(m) == 1 else m[start:end]).to(device) for m in latent.noise]
        with torch.no_grad():
            images = generator.synthesize(latent.ws[start:end].to(device), noise=maps)
        yield from images.float().cpu().split(1)
        if on_step:
            on_step(end, len(latent), {})


def _check_noise(latent: Latent, generator: Generator) -> None:
    if latent.noise is None:
        return
    got = [tuple(m.shape[2:]) for m in latent.noise]
    if got != [tuple(shape) for shape in generator.noise_shapes]:
        raise GaneditError("the latent's noise maps do not fit its generator")
