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
    sources: Sequence[str],
    *,
    network: str | None,
    device: str,
    truncation_psi: float,
    class_index: int | None = None,
) -> "tuple[Network, list[Latent]]":
    """Return the generator and one latent a source, all with noise maps when a file brings some.

    Args:
        sources: Latent files, and seeds such as ``7`` or ``0-3``; a file goes first where both
            readings are possible.
        network: Overrides the generator that the files name; ``clay`` when neither is given.
        device: Where the generator lives.
        truncation_psi: For the seeds.
        class_index: For the seeds; None for an unconditional generator.

    Raises:
        GaneditError: A file is no latent, its generator is gone, they do not belong together, or
            the class does not exist.
    """
    from ganedit.editing import check_fits, class_label, fill_noise, sample
    from ganedit.io import load_latent

    files = {source: load_latent(source) for source in sources if not _is_seeds(source)}
    if class_index is not None and len(files) == len(set(sources)):
        raise GaneditError("--class is for seeds, and all latents here are files; leave it out")
    loaded = _open_network(files, network, device)
    for source, latent in files.items():
        check_fits(loaded, latent, name=source)
    label = None if class_index is None else class_label(loaded, class_index)
    latents = [
        _named(files[source], source)
        if source in files
        else sample(loaded, parse_seeds(source), truncation_psi=truncation_psi, label=label)
        for source in sources
    ]
    return loaded, fill_noise(latents, loaded)


def _is_seeds(source: str) -> bool:
    return bool(re.fullmatch(r"\d+(-\d+)?", source, re.ASCII)) and not Path(source).is_file()


def _open_network(files: "dict[str, Latent]", network: str | None, device: str) -> "Network":
    from ganedit.checkpoints import load_network

    if network is not None or not files:
        return load_network(network or "clay", device=device)
    source, latent = next(iter(files.items()))
    try:
        return load_network(latent.network, device=device)
    except (GaneditError, OSError) as error:  # OSError: a name that no system takes
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
