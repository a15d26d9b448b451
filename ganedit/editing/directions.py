"""Edits along known directions, in standard deviations of the generator's own latents."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganedit.assets import embedded
from ganedit.checkpoints import Network, class_label
from ganedit.editing.changes import Change
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.statistics import SAMPLES, map_samples, principal_axes
from ganedit.io.directions import Directions, load_directions

_BLOCK = 256  # directions measured at a time


def find_directions(network: Network) -> Directions | None:
    """Return the embedded directions of a network, ready to use; None where there are none."""
    for asset in embedded().values():
        if asset.kind != "directions" or not asset.weights.is_file():
            continue
        found = load_directions(asset.weights)
        if network.accepts(found.fingerprint):
            return bind_directions(found, network, name=asset.name)
    return None


def bind_directions(
    directions: Directions,
    network: Network,
    *,
    name: str = "the directions",
    axes: Tensor | None = None,
) -> Directions:
    """Return directions as those of a network, with scales.

    What they were seen to do is kept only of the network that it was seen on. Of a file that does
    not tell its generator, one direction with a vector for each of more or fewer layers than the
    generator has is taken for a table: a direction in each row.

    Args:
        directions: Of any file.
        network: The generator to move latents of.
        name: Of the directions, for errors.
        axes: The network's `latent_axes`, which are found where scales are unknown.

    Raises:
        GaneditError: They are of another generator, or have another shape.
    """
    generator = network.generator
    if directions.fingerprint is not None and not network.accepts(directions.fingerprint):
        made, here = directions.fingerprint[:15], network.fingerprint[:15]
        raise GaneditError(
            f"{name}: directions of {directions.network or 'a generator'} ({made}...), but"
            f" {network.source} is {here}...; name theirs by"
            " --network, or find this one's with 'ganedit factorize'"
        )
    if directions.fingerprint is None:
        directions = _untabled(directions, generator.num_ws, name)
    _, rows, width = directions.vectors.shape
    if width != generator.w_dim or rows not in (1, generator.num_ws):
        raise GaneditError(
            f"{name}: moves {rows} vector{'s' if rows > 1 else ''} of {width}, but"
            f" {network.source} takes {generator.num_ws} of {generator.w_dim}; name another"
            " --network"
        )
    highest = max((max(chosen) for chosen in directions.layers if chosen), default=0)
    if highest >= generator.num_ws:
        raise GaneditError(
            f"{name}: moves layer {highest}, but {network.source} has 0 to {generator.num_ws - 1}"
        )
    scales = directions.scales
    if scales is None:
        if axes is None:
            axes = latent_axes(generator, sample_labels(network))
        scales = scales_of(directions.vectors, directions.layers, axes)
        if not bool((scales > 0).all()):
            index = int((scales > 0).int().argmin())
            raise GaneditError(
                f"{name}: the latents of {network.source} do not vary along direction {index}, so"
                " that degrees in standard deviations mean nothing"
            )
    effects = directions.effects if directions.fingerprint == network.fingerprint else ()
    own = {"fingerprint": network.fingerprint, "network": network.home}
    return _replaced(directions, name, scales=scales, effects=effects, **own)


def _untabled(directions: Directions, num_ws: int, name: str) -> Directions:
    count, rows, _ = directions.vectors.shape
    if count > 1 or rows in (1, num_ws):
        return directions
    vectors, names = directions.vectors.transpose(0, 1), tuple(map(str, range(rows)))
    return _replaced(directions, name, vectors=vectors, layers=((),) * rows, names=names)


def _replaced(directions: Directions, name: str, **fields: Any) -> Directions:
    try:
        return replace(directions, **fields)
    except ValueError as error:  # a row of zeros, or numbers so small that nothing reaches far
        raise GaneditError(f"{name}: {error}") from error


def sample_labels(network: Network) -> Tensor | None:
    """Return labels for `map_samples`: every class as often; None for unconditional generators.

    Raises:
        GaneditError: The generator takes cameras, not classes.
    """
    generator = network.generator
    if generator.c_dim == 0:
        return None
    class_label(network, 0)  # refuses cameras
    device = generator.w_avg.device
    return torch.eye(generator.c_dim, device=device)[torch.arange(SAMPLES) % generator.c_dim]


def latent_axes(generator: Generator, labels: Tensor | None = None) -> Tensor:
    """Return `principal_axes` of the `map_samples` of a generator, float64 [w_dim, w_dim].

    Args:
        generator: Whose latents.
        labels: For `map_samples`, of a conditional generator; see `sample_labels`.
    """
    return principal_axes(map_samples(generator, labels).cpu().double())


def scales_of(vectors: Tensor, layers: Sequence[Sequence[int]], axes: Tensor) -> Tensor:
    """Return one standard deviation of latents along directions, in lengths of them, [K].

    Layers are looked at one by one: in layer l, w has the deviation s_l along the vector v_l;
    returned is the a for which a |v_l| is nearest to s_l in all of the direction's layers (least
    squares), sum_l s_l |v_l| / sum_l |v_l|². For one vector, or the same for all layers, that is
    the deviation of w along it. 0 where latents do not vary.

    Args:
        vectors: [K, 1 or num_ws, w_dim].
        layers: For each, those that it is added to; an empty one means all.
        axes: Of the latents, as `latent_axes` or `principal_axes` returns them, [w_dim, w_dim].
    """
    rows = vectors.shape[1]
    found = []
    for start in range(0, len(vectors), _BLOCK):
        used = vectors[start : start + _BLOCK].detach().cpu().double()  # [B, rows, w_dim]
        if rows > 1:
            used = _used(used, layers[start : start + _BLOCK], rows)
        deviations = (used @ axes.mT).norm(dim=2)  # [B, rows]: each is s_l |v_l|
        found.append(deviations.sum(dim=1) / used.square().sum(dim=(1, 2)))
    return torch.cat(found).float()


def direction_change(
    directions: Directions,
    index: int,
    degree: float,
    *,
    num_ws: int,
    layers: Sequence[int] | None = None,
) -> Change:
    """Return the edit along a direction.

    Args:
        directions: With scales, as `bind_directions` returns them.
        index: Which.
        degree: How far, in standard deviations.
        num_ws: Latents of the generator.
        layers: To move instead of the direction's own.

    Raises:
        GaneditError: There is no such direction or layer.
    """
    _check_degree(degree)
    if directions.scales is None:
        raise ValueError("directions: their scales are unknown; bind_directions finds them")
    if not 0 <= index < len(directions):
        raise GaneditError(f"there is no direction {index}; there are {len(directions)}, from 0")
    chosen = directions.layers[index] if layers is None else tuple(layers)
    if layers is not None and not chosen:
        raise GaneditError("no layer is left to move")
    wrong = [layer for layer in chosen if not 0 <= layer < num_ws]
    if wrong:
        raise GaneditError(f"there is no layer {wrong[0]}; this generator has 0 to {num_ws - 1}")
    used = _used(directions.vectors[index : index + 1].double(), [chosen], num_ws)
    return Change(ws=(degree * float(directions.scales[index]) * used).float())


def channel_change(
    generator: Generator,
    layer_name: str,
    channel: int,
    degree: float,
    *,
    axes: Tensor | None = None,
) -> Change:
    """Return the edit that moves one channel of StyleSpace (Wu et al. 2021).

    Args:
        generator: Whose styles.
        layer_name: Of a layer with styles, such as ``b32.conv1``.
        channel: Which of its channels.
        degree: How far, in standard deviations of the channel over `map_samples`.
        axes: The generator's `latent_axes`; None finds them, of an unconditional one.

    Raises:
        GaneditError: There is no such layer or channel.
    """
    _check_degree(degree)
    told = generator.style_layers
    names = [layer.name for layer in told]
    if layer_name not in names:
        raise GaneditError(
            f"there is no style layer {layer_name:.60}; there are {', '.join(names)}"
        )
    index = names.index(layer_name)
    if not 0 <= channel < told[index].channels:
        raise GaneditError(
            f"{layer_name} has no channel {channel}, but 0 to {told[index].channels - 1}"
        )
    weight = generator.style_weights()[index][channel].detach().cpu().double()  # [w_dim]
    axes = latent_axes(generator) if axes is None else axes
    deviation = float((axes @ weight).norm())
    offsets = [torch.zeros(1, layer.channels) for layer in told]
    offsets[index][0, channel] = degree * deviation
    return Change(offsets=tuple(offsets))


def sum_changes(changes: Sequence[Change]) -> Change:
    """Return one edit that does what all of them do, each of N rows or of one."""
    ws = [change.ws for change in changes if change.ws is not None]
    offsets = [change.offsets for change in changes if change.offsets is not None]
    return Change(
        ws=_total(ws) if ws else None,
        offsets=tuple(map(_total, zip(*offsets, strict=True))) if offsets else None,
    )


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part.to(total)
    return total


def _used(vectors: Tensor, layers: Sequence[Sequence[int]], num_ws: int) -> Tensor:
    """Return what directions add to each layer, [K, num_ws, w_dim]."""
    full = vectors.expand(-1, num_ws, -1)
    mask = torch.zeros(len(vectors), num_ws, 1, dtype=torch.bool)
    for row, chosen in zip(mask, layers, strict=True):
        row[list(chosen) or slice(None)] = True
    return torch.where(mask, full, 0.0)


def _check_degree(degree: float) -> None:
    if not math.isfinite(degree):
        raise ValueError(f"degree: expected a finite number, got {degree}")
