"""Latents as commands take them: files, or seeds that are sampled on the spot."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganedit.cli.options import parse_seeds
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network
    from ganedit.io import Latent


def open_latents(
    sources: Sequence[str], *, network: str | None, device: str, truncation_psi: float
) -> "tuple[Network, list[Latent]]":
    """Return the generator and one latent a source.

    Args:
        sources: Latent files, and seeds such as ``7`` or ``0-3``; a file goes first where both
            readings are possible.
        network: Overrides the generator that the files name; ``clay`` when neither is given.
        device: Where the generator lives.
        truncation_psi: For the seeds.

    Raises:
        GaneditError: A file is no latent, its generator is gone, or they do not belong together.
    """
    from ganedit.editing import sample
    from ganedit.io import check_latent, load_latent

    files = {source: load_latent(source) for source in sources if not _is_seeds(source)}
    loaded = _open_network(files, network, device)
    for source, latent in files.items():
        check_latent(
            latent,
            fingerprint=loaded.fingerprint,
            num_ws=loaded.generator.num_ws,
            w_dim=loaded.generator.w_dim,
            network=loaded.source,
            name=source,
        )
    latents = [
        _named(files[source], source)
        if source in files
        else sample(loaded, parse_seeds(source), truncation_psi=truncation_psi)
        for source in sources
    ]
    return loaded, latents


def _is_seeds(source: str) -> bool:
    return bool(re.fullmatch(r"\d+(-\d+)?", source, re.ASCII)) and not Path(source).is_file()


def _open_network(files: "dict[str, Latent]", network: str | None, device: str) -> "Network":
    from ganedit.checkpoints import load_network

    if network is not None or not files:
        return load_network(network or "clay", device=device)
    source, latent = next(iter(files.items()))
    try:
        return load_network(latent.network, device=device)
    except GaneditError as error:
        raise GaneditError(
            f"{source}: its generator cannot be opened ({error}); name it with --network"
        ) from error


def _named(latent: "Latent", source: str) -> "Latent":
    """Return the latent with a name for each row, made from the file's where it has none."""
    from dataclasses import replace

    if latent.names:
        return latent
    stem = Path(source).stem
    if len(latent) == 1:
        return replace(latent, names=(stem,))
    return replace(latent, names=tuple(f"{stem}[{index}]" for index in range(len(latent))))
