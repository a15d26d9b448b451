"""Latents side by side: whether they belong together, and one latent of them all."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ganedit.checkpoints import Network
from ganedit.errors import GaneditError
from ganedit.io.latents import Latent


def key_latents(latents: Sequence[Latent]) -> list[Latent]:
    """Return every row of every latent, after checking that they belong together.

    Raises:
        GaneditError: Fewer than two rows, other shapes (of noise maps too), or another generator,
            or one that was tuned otherwise.
    """
    rows = [latent.row(index) for latent in latents for index in range(len(latent))]
    if len(rows) < 2:
        raise GaneditError(f"two or more latents are needed, got {len(rows)}")
    first = rows[0]
    first_noisy = next((row for row in rows if row.noise is not None), first)
    for row in rows[1:]:
        if row.ws.shape != first.ws.shape:
            raise GaneditError(
                f"latents of different shapes: {row_name(first)} is {_shape(first)}, "
                f"{row_name(row)} is {_shape(row)}"
            )
        if row.fingerprint != first.fingerprint:
            raise GaneditError(
                f"latents of different generators: {row_name(first)} is of {first.network}, "
                f"{row_name(row)} of {row.network} (fingerprints differ)"
            )
        if row.tuning != first.tuning:
            raise GaneditError(
                f"latents of a generator tuned differently: {row_name(first)} goes with "
                f"{first.tuning or 'no tuning'}, {row_name(row)} with {row.tuning or 'no tuning'}"
            )
        if row.noise is not None and _noise_shapes(row) != _noise_shapes(first_noisy):
            raise GaneditError(
                f"noise maps of different shapes: those of {row_name(row)} do not fit those of "
                f"{row_name(first_noisy)}"
            )
    return rows


def fill_noise(latents: Sequence[Latent], network: Network | None) -> list[Latent]:
    """Return the latents, all with noise maps when one has them.

    The generator's own maps stand in, so every latent still gives the same picture to the bit.

    Args:
        latents: Of one generator.
        network: That generator; needed only when some latents have maps and others do not.

    Raises:
        GaneditError: It is needed and None.
    """
    carrying = [latent.noise is not None for latent in latents]
    if all(carrying) or not any(carrying):
        return list(latents)
    if network is None:
        raise GaneditError(
            "some of the latents carry noise maps and others do not; give network=..., whose own "
            "maps stand in"
        )
    own = tuple(m.detach().float().cpu() for m in network.generator.noise_maps())
    return [
        latent if latent.noise is not None else replace(latent, noise=own) for latent in latents
    ]


def stack(latents: Sequence[Latent], *, network: Network | None = None) -> Latent:
    """Return one latent in w+ with the rows of all, in order.

    Args:
        latents: Of one generator.
        network: That generator; see `fill_noise`.

    Raises:
        GaneditError: They do not belong together.
    """
    if len(latents) == 1:
        return latents[0]
    key_latents(latents)  # checks that they belong together
    filled = fill_noise(latents, network)
    layers = zip(*(latent.noise for latent in filled if latent.noise is not None), strict=True)
    noise = tuple(
        torch.cat(
            [m.expand(len(latent), -1, -1, -1) for latent, m in zip(filled, maps, strict=True)]
        )
        for maps in layers
    )
    return Latent(
        ws=torch.cat([latent.ws for latent in filled]),
        space="w+",
        fingerprint=filled[0].fingerprint,
        network=filled[0].network,
        noise=None if filled[0].noise is None else noise,
        names=tuple(name for latent in filled for name in latent.names)
        if all(latent.names for latent in filled)
        else (),
        tuning=filled[0].tuning,
        alignment=tuple(one for latent in filled for one in latent.alignment)
        if all(latent.alignment for latent in filled)
        else (),
    )


def row_name(latent: Latent) -> str:
    """Return what errors and names call a latent of one row."""
    return latent.names[0] if latent.names else "a latent"


def _shape(latent: Latent) -> str:
    return f"{latent.ws.shape[1]}x{latent.ws.shape[2]}"


def _noise_shapes(latent: Latent) -> list[tuple[int, ...]]:
    return [tuple(m.shape[2:]) for m in latent.noise or ()]
