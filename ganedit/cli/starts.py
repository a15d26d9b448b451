"""Where a projection starts, as ``--init`` says it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.cli.options import parse_seeds
from ganedit.cli.sources import fit_latent, open_encoder
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.io import Latent

Find = Callable[["Tensor", Sequence[str]], "Tensor | Latent | None"]


@dataclass(frozen=True)
class Start:
    """A way to start.

    Attributes:
        source: What the record calls it.
        find: Returns the start for photos [N, 3, R, R] of these names; None where project searches.
        settings: Of project, when the user says nothing else.
    """

    source: str
    find: Find
    settings: Mapping[str, Any] = field(default_factory=dict)


def open_start(
    text: str, network: "Network", *, label: Sequence[float] | None, device: str
) -> Start:
    """Return what ``--init`` means for a network.

    Args:
        text: ``auto``, ``encoder``, ``search``, ``mean``, ``seed:N``, or a latent file, ours or of
            another project.
        network: To project into.
        label: Of a conditional generator, for a seed.
        device: Where an encoder is to live.

    Raises:
        GaneditError: There is no such encoder or file, or it belongs to another generator.
        typer.BadParameter: The text is none of these (exit code 2).
    """
    from ganedit.inversion import SEARCH_STEPS

    def search(targets: "Tensor", names: Sequence[str]) -> None:
        return None

    if text in ("auto", "encoder"):
        found = _encoder_start(network, device=device)
        if found is None and text == "encoder":
            raise GaneditError(
                f"{network.source}: no encoder for this generator is at hand; train one with"
                " 'ganedit train-encoder', or choose another --init"
            )
        return found or Start("search", search)
    if text == "search":
        return Start("search", search)
    if text == "mean":
        return Start("mean", search, {"candidates": 1})
    if text.startswith("seed:"):
        find = _seed_start(text.removeprefix("seed:"), network, label)
        return Start(text, find, {"steps": SEARCH_STEPS})
    if not Path(text).suffix and not Path(text).exists():
        raise typer.BadParameter(
            f"--init: {text!r} is none of auto, encoder, search, mean, seed:N and no file"
        )
    return _latent_start(Path(text), network)


def _encoder_start(network: "Network", *, device: str) -> Start | None:
    from ganedit.checkpoints import find_encoder
    from ganedit.inversion import check_encoder, encode

    source = find_encoder(network)
    if source is None:
        return None
    encoder = open_encoder(source, device=device)
    check_encoder(network, encoder)
    return Start(
        f"encoder {encoder.source}", lambda targets, names: encode(network, encoder, targets)
    )


def _seed_start(seed: str, network: "Network", label: Sequence[float] | None) -> Find:
    from ganedit.editing import sample

    seeds = parse_seeds(seed)
    if len(seeds) > 1:
        raise typer.BadParameter(f"--init: one seed is one start, got {len(seeds)}")
    ws = sample(network, seeds, label=label).ws
    return lambda targets, names: ws


def _latent_start(path: Path, network: "Network") -> Start:
    from ganedit.editing import stack
    from ganedit.io import file_digest, read_latent

    latent = fit_latent(read_latent(path), network, str(path))
    if latent.tuning is not None:
        raise GaneditError(
            f"{path}: was made by a tuned generator, and this one is not; project from another"
            " --init"
        )

    def find(targets: "Tensor", names: Sequence[str]) -> "Tensor | Latent":
        if len(latent) == 1:
            return latent
        missing = [name for name in names if name not in latent.names]
        if missing:
            raise GaneditError(
                f"{path}: has {len(latent)} rows and none of the name {missing[0]}; give a latent"
                " of one row, or with a row for each photo, named like it"
            )
        return stack([latent.row(latent.names.index(name)) for name in names])

    return Start(f"latent {path} sha256:{file_digest(path)}", find)
