"""The heads that edits start from: latent files, seeds, or the mean one."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.cli.pasting import check_places
from ganedit.cli.sources import is_file, open_label, open_latents, open_network
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network
    from ganedit.io import Alignment, Latent


@dataclass(frozen=True, eq=False)
class Heads:
    """What is edited.

    Attributes:
        model: The generator.
        latent: N latents of it.
        names: Of their results.
        places: Where in photos their pictures belong; None for those that were not aligned.
        paste: Whether results go back there.
    """

    model: "Network"
    latent: "Latent"
    names: Sequence[str]
    places: "Sequence[Alignment | None]"
    paste: bool

    def pasted(self) -> list[str]:
        """Return the names of those that go back into a photo."""
        pairs = zip(self.names, self.places, strict=True)
        return [name for name, place in pairs if self.paste and place is not None]


def open_heads(arguments: Mapping[str, Any], *, class_is_for_all: bool = False) -> Heads:
    """Return what is edited: latents, or the head of a seed, or the mean one.

    Args:
        arguments: Of the command: ``latents``, ``network``, ``device``, ``seed``, ``trunc``,
            ``class_index``, ``paste_back`` and ``out``.
        class_is_for_all: Whether the class means something for latent files, too; otherwise it is
            refused when there is nothing else.

    Raises:
        GaneditError: A source cannot be used, two would share their results, or nothing can be put
            back.
    """
    from ganedit.editing import sample, stack

    sources, network, device = (arguments[key] for key in ("latents", "network", "device"))
    seed, psi, paste = (arguments[key] for key in ("seed", "trunc", "paste_back"))
    if sources:
        if seed is not None:
            raise typer.BadParameter(f"--seed is for no LATENT; edit both by naming {seed}, too")
        for source in sources:
            _refuse_photo(source)
        files = class_is_for_all and all(map(is_file, sources))
        index = None if files else arguments["class_index"]
        given = {"network": network, "device": device, "class_index": index}
        model, opened = open_latents(sources, truncation_psi=psi, **given)
        owners = [
            source for source, one in zip(sources, opened, strict=True) for _ in range(len(one))
        ]
        names = [name for pair in zip(sources, opened, strict=True) for name in _names(*pair)]
        _refuse_twins(owners, names, Path(arguments["out"]))
    else:
        model = open_network(network or "clay", device=device)
        label = open_label(model, arguments["class_index"])
        psi = 0.0 if seed is None else psi
        opened = [sample(model, [seed or 0], truncation_psi=psi, label=label)]
        names = ["mean" if seed is None else opened[0].names[0]]
    if paste:
        check_places(opened)
    places = [place for one in opened for place in one.alignment or [None] * len(one)]
    return Heads(model, stack(opened, network=model), names, places, paste)


def _refuse_photo(source: str) -> None:
    """Refuse a picture, saying how it becomes a latent."""
    from ganedit.io import looks_like_picture

    if is_file(source) and looks_like_picture(Path(source)):
        raise GaneditError(
            f"{source}: is a picture, not a latent; project it first: ganedit project"
            f" {shlex.quote(source)}"
        )


def _names(source: str, latent: "Latent") -> list[str]:
    """Return what the results of a source are called: by its file, or by its seeds."""
    if not is_file(source):
        return list(latent.names)
    stem = Path(source).stem
    return [stem] if len(latent) == 1 else [f"{stem}-{row}" for row in range(len(latent))]


def _refuse_twins(owners: Sequence[str], names: Sequence[str], out: Path) -> None:
    """Refuse two latents whose results would have one name."""
    first: dict[str, str] = {}
    for owner, name in zip(owners, names, strict=True):
        if name.casefold() in first:
            raise GaneditError(
                f"{first[name.casefold()]} and {owner}: both would be written to"
                f" {out / name}-edited.pt; leave one out, or give them two --out folders"
            )
        first[name.casefold()] = owner
