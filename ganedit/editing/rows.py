"""Latents side by side: whether they belong together, and one latent of them all."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.errors import GaneditError
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.io.latents import Latent


def key_latents(latents: Sequence[Latent]) -> list[Latent]:
    """Return every row of every latent, after checking that they belong together.

    Raises:
        GaneditError: Fewer than two rows, other shapes (of noise maps and offsets too), or another
            generator, or one that was tuned otherwise.
    """
    rows = [latent.row(index) for latent in latents for index in range(len(latent))]
    if len(rows) < 2:
        raise GaneditError(f"two or more latents are needed, got {len(rows)}")
    first = rows[0]
    first_noisy = next((row for row in rows if row.noise is not None), first)
    first_moved = next((row for row in rows if row.offsets is not None), first)
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
        if row.offsets is not None and _widths(row) != _widths(first_moved):
            raise GaneditError(
                f"style offsets of different shapes: those of {row_name(row)} do not fit those of"
                f" {row_name(first_moved)}"
            )
    return rows


def fill_missing(latents: Sequence[Latent], network: Network | None) -> list[Latent]:
    """Return the latents, all with noise maps, offsets and cameras when one of them has such.

    The generator's own maps, zeros, and the front stand in: every latent still gives the same
    picture to the bit.

    Args:
        latents: Of one generator.
        network: That generator; needed only when some latents have maps or cameras and others do
            not.

    Raises:
        GaneditError: It is needed and None.
    """
    filled = list(latents)
    carrying = [latent.noise is not None for latent in filled]
    if any(carrying) and not all(carrying):
        if network is None:
            raise GaneditError(
                "some of the latents carry noise maps and others do not; give network=..., whose"
                " own maps stand in"
            )
        own = tuple(m.detach().float().cpu() for m in network.generator.noise_maps())
        filled = [x if x.noise is not None else replace(x, noise=own) for x in filled]
    given = next((latent.offsets for latent in filled if latent.offsets is not None), None)
    if given is not None:
        zeros = tuple(torch.zeros_like(offset[:1]) for offset in given)
        filled = [x if x.offsets is not None else replace(x, offsets=zeros) for x in filled]
    return _all_seen(filled, network)


def _all_seen(latents: Sequence[Latent], network: Network | None) -> list[Latent]:
    """Return the latents, those without cameras seen from the front if others have some.

    Raises:
        GaneditError: The generator, which knows where that is, is needed and None.
    """
    blind = [latent for latent in latents if latent.cameras is None]
    if len(blind) in (0, len(latents)):
        return list(latents)
    if network is None or not isinstance(network.generator, TriPlaneGenerator):
        raise GaneditError(
            "some of the latents remember cameras and others do not; give network=..., a tri-plane"
            " one, whose front stands in"
        )
    front = network.generator.default_camera.cpu()
    return [
        x if x.cameras is not None else replace(x, cameras=front.repeat(len(x), 1)) for x in latents
    ]


def stack(latents: Sequence[Latent], *, network: Network | None = None) -> Latent:
    """Return one latent in w+ with the rows of all, in order.

    Args:
        latents: Of one generator.
        network: That generator; see `fill_missing`.

    Raises:
        GaneditError: They do not belong together.
    """
    if len(latents) == 1:
        return latents[0]
    key_latents(latents)  # checks that they belong together
    filled = fill_missing(latents, network)
    return Latent(
        ws=torch.cat([latent.ws for latent in filled]),
        space="w+",
        fingerprint=filled[0].fingerprint,
        network=filled[0].network,
        noise=_stacked([latent.noise for latent in filled], filled),
        offsets=_stacked([latent.offsets for latent in filled], filled),
        names=tuple(name for latent in filled for name in latent.names)
        if all(latent.names for latent in filled)
        else (),
        tuning=filled[0].tuning,
        alignment=tuple(one for latent in filled for one in latent.alignment)
        if all(latent.alignment for latent in filled)
        else (),
        cameras=stacked_cameras(filled),
    )


def stacked_cameras(latents: Sequence[Latent]) -> Tensor | None:
    """Return the cameras of the rows of all latents; None when they have none."""
    cameras = [latent.cameras for latent in latents if latent.cameras is not None]
    return torch.cat(cameras) if cameras else None


def _stacked(
    tensors: Sequence[tuple[Tensor, ...] | None], latents: Sequence[Latent]
) -> tuple[Tensor, ...] | None:
    """Return noise maps, or offsets, of the rows of all latents; None when they have none."""
    layers = zip(*(each for each in tensors if each is not None), strict=True)
    rows = [len(latent) for latent in latents]
    whole = tuple(
        torch.cat([x.expand(n, *x.shape[1:]) for n, x in zip(rows, layer, strict=True)])
        for layer in layers
    )
    return whole or None


def row_name(latent: Latent) -> str:
    """Return what errors and names call a latent of one row."""
    return latent.names[0] if latent.names else "a latent"


def _shape(latent: Latent) -> str:
    return f"{latent.ws.shape[1]}x{latent.ws.shape[2]}"


def _widths(latent: Latent) -> list[int]:
    return [offset.shape[1] for offset in latent.offsets or ()]


def _noise_shapes(latent: Latent) -> list[tuple[int, ...]]:
    return [tuple(m.shape[2:]) for m in latent.noise or ()]
