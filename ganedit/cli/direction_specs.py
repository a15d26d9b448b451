"""``--direction``: a direction by name, one of a file, or a style channel; and how far."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.cli.sources import is_file
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.editing.changes import Change
    from ganedit.generators.base import StyleLayer
    from ganedit.io.directions import Directions

_FARTHEST = 100.0  # standard deviations
_SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".pkl")
_SHOWN = 5  # names in an error


@dataclass(frozen=True)
class Spec:
    """What was typed.

    Attributes:
        name: Of a direction, or a layer and channel, or an index; empty for the file's only one.
        file: Where the direction is; None for the directions at hand.
        degree: How far to move along it, in standard deviations.
    """

    name: str
    file: str | None
    degree: float

    @property
    def label(self) -> str:
        """What the user will recognise."""
        return ":".join(part for part in (self.file, self.name) if part)


@dataclass(frozen=True, eq=False)
class Move:
    """An edit along one direction.

    Attributes:
        name: Of the direction.
        change: Of strength 1.
        told: Facts for the record.
    """

    name: str
    change: "Change"
    told: Mapping[str, Any]


def parse_direction(text: str) -> Spec:
    """Return ``NAME``, ``FILE``, ``FILE:NAME`` or ``LAYER.CHANNEL``, with ``=DEGREE`` or without.

    Raises:
        typer.BadParameter: The degree is no number, or too large (exit code 2).
    """
    target, sign, number = (text, "", "1") if is_file(text) else text.rpartition("=")
    if not sign:
        target, number = text, "1"
    try:
        degree = float(number) + 0.0  # no negative zero
    except ValueError as error:
        raise typer.BadParameter(
            f"direction: {number[:60]!r} in {text[:60]!r} is no number; write NAME=1.5"
        ) from error
    if not abs(degree) <= _FARTHEST:  # NaN is not, either
        raise typer.BadParameter(
            f"direction: the degree of {text[:60]!r} is not between {-_FARTHEST:g} and"
            f" {_FARTHEST:g} standard deviations"
        )
    if not target.strip():
        raise typer.BadParameter(f"direction: {text[:60]!r} has no name; write NAME=1.5")
    if Path(target).suffix.lower() in _SUFFIXES or ("." in target and is_file(target)):
        return Spec("", target, degree)
    file, _, name = target.rpartition(":")  # no name of a direction has a colon
    if file and not name:
        raise typer.BadParameter(f"direction: {text[:60]!r} names none; write FILE:0 or FILE:NAME")
    return Spec(name or target, file or None, degree)


def read_files(specs: Sequence[Spec], directions: str | None) -> "dict[str, Directions]":
    """Return what is in each file that was named.

    Raises:
        GaneditError: One is missing, or holds no directions.
    """
    named = [directions, *(spec.file for spec in specs)]
    return {file: open_directions(file) for file in dict.fromkeys(named) if file is not None}


def open_directions(source: str) -> "Directions":
    """Return the directions in a file, or embedded ones by name.

    Raises:
        GaneditError: There are none.
    """
    from ganedit.assets import asset_path, embedded
    from ganedit.io.directions import load_directions

    asset = embedded().get(source)
    inside = asset is not None and asset.kind == "directions" and not is_file(source)
    return load_directions(asset_path(source) if inside else Path(source))


def home_of(files: "Mapping[str, Directions]") -> str | None:
    """Return the generator that directions were found in; None where no file tells.

    Raises:
        GaneditError: It is not on this machine.
    """
    from ganedit.checkpoints.sources import is_here

    for file, directions in files.items():
        if directions.network is not None:
            # Files come from anywhere: what they name is opened, but never fetched.
            if not is_here(directions.network) or _is_lost(directions.network):
                raise GaneditError(
                    f"{file}: its generator, {directions.network:.200}, is not on this machine;"
                    " name it with --network"
                )
            return directions.network
    return None


def find_moves(
    specs: Sequence[Spec],
    model: "Network",
    files: "Mapping[str, Directions]",
    *,
    directions: str | None,
    layers: Sequence[int] | None,
) -> list[Move]:
    """Return the edit of each direction.

    Args:
        specs: What was asked for.
        model: The generator.
        files: Of `read_files`.
        directions: The file in which names are looked up; None for the embedded one.
        layers: For all directions of w to move instead of their own.

    Raises:
        GaneditError: There is no such direction, layer or channel, or it is of another generator.
    """
    from ganedit.editing import directions as library

    last = model.generator.num_ws - 1
    if layers is not None and max(layers) > last:
        raise GaneditError(f"--layers: there is no layer {max(layers)}; the last one is {last}")
    styles = {layer.name: layer for layer in model.generator.style_layers}
    channels = [_channel(spec, styles) for spec in specs]
    axes = None
    if any(layer for layer, _ in channels) or any(one.scales is None for one in files.values()):
        axes = library.latent_axes(model.generator, library.sample_labels(model))
    bound = {
        file: library.bind_directions(found, model, name=file, axes=axes)
        for file, found in files.items()
    }
    at_hand = None if directions is None else bound[directions]
    moves = []
    for spec, (layer, channel) in zip(specs, channels, strict=True):
        if layer is not None:
            moves.append(_channel_move(spec, model, layer, channel, axes))
            continue
        if spec.file is None and at_hand is None:
            at_hand = library.find_directions(model)
        found = at_hand if spec.file is None else bound[spec.file]
        if found is None:
            raise GaneditError(
                f"{spec.name:.80}: no directions of {model.source} are at hand; name a file by"
                " --directions FILE, which 'ganedit factorize' or 'ganedit directions fit' writes"
            )
        moves.append(_direction_move(spec, model, found, layers))
    named = [move for move, spec in zip(moves, specs, strict=True) if spec.file is None]
    if directions is not None and all(move.change.ws is None for move in named):
        raise typer.BadParameter("--directions is for directions by name, and none is named")
    if layers is not None and all(move.change.ws is None for move in moves):
        raise typer.BadParameter("--layers is for directions of w; a channel has its own layer")
    return moves


def _channel(spec: Spec, styles: "Mapping[str, StyleLayer]") -> "tuple[StyleLayer | None, int]":
    """Return the layer and the channel that are meant; None where it is no channel.

    Raises:
        GaneditError: It nearly is one.
    """
    match = re.fullmatch(r"(.+)\.(\d{1,9})", spec.name, re.ASCII)
    if match is None or spec.file is not None:
        return None, 0
    if match[1] in styles:
        return styles[match[1]], int(match[2])
    near = difflib.get_close_matches(match[1], styles, n=_SHOWN, cutoff=0.7)
    if near:
        raise GaneditError(f"there is no style layer {match[1]:.60}; near are {', '.join(near)}")
    return None, 0


def _channel_move(
    spec: Spec, model: "Network", layer: "StyleLayer", channel: int, axes: "Tensor | None"
) -> Move:
    from ganedit.editing.directions import channel_change

    change = channel_change(model.generator, layer.name, channel, spec.degree, axes=axes)
    told = {"layer": layer.name, "channel": channel, "degree": spec.degree}
    return Move(spec.name, change, told)


def _direction_move(
    spec: Spec, model: "Network", directions: "Directions", layers: Sequence[int] | None
) -> Move:
    from ganedit.editing.directions import direction_change

    where = f"{spec.file}: " if spec.file else ""
    if not spec.name and len(directions) > 1:
        names = [*directions.names[:_SHOWN], *["..."] * (len(directions) > _SHOWN)]
        raise GaneditError(
            f"{where}holds {len(directions)} directions ({', '.join(names)}); say which, as"
            f" {spec.file}:0"
        )
    num_ws = model.generator.num_ws
    try:
        index = directions.find(spec.name) if spec.name else 0
        change = direction_change(directions, index, spec.degree, num_ws=num_ws, layers=layers)
    except GaneditError as error:
        raise GaneditError(f"{where}{error}") from error
    name = directions.names[index]
    assert directions.scales is not None  # bound directions have them
    told = {
        "name": name,
        "degree": spec.degree,
        "scale": float(directions.scales[index]),
        "file": spec.file,
        "layers": list(directions.layers[index] if layers is None else layers) or "all",
        "method": directions.method,
    }
    return Move(name if name != str(index) else spec.label, change, told)


def _is_lost(source: str) -> bool:
    """Return whether a source that is not fetched is no file here, either."""
    from ganedit.assets import embedded

    return source not in embedded() and "://" not in source and not is_file(source)
