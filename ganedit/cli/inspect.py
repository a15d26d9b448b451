"""``ganedit inspect``: what a network file holds."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ganedit.cli import console
from ganedit.errors import GaneditError


def inspect(
    source: Annotated[
        str, typer.Argument(metavar="NAME|FILE|URL", help="A network file of any family.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Tell what a network file holds, without reading its weights or running anything in it.

    Family, sizes, channels, parameters, the training options that it tells, its SHA-256, what else
    is in it, whether commands can use it, and what it wanted to be run. The exit code is 1 if it
    wanted something run.

    Example: ganedit inspect clay
    """
    from ganedit.checkpoints import describe, open_checkpoint
    from ganedit.cli.sources import locate_network

    checkpoint = open_checkpoint(locate_network(source), describe_refused=True)
    facts = describe(checkpoint)
    if as_json:
        console.emit_json(facts)
    else:
        for name, value in _lines(facts):
            typer.echo(f"{console.one_line(name):<16}{console.one_line(value)}")
    if checkpoint.refused:
        raise GaneditError(f"{checkpoint.path}: refused, {facts['why']}")


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and texts, in the order in which a reader asks."""
    yield "file", facts["file"]
    yield "size", f"{facts['bytes']:,} bytes ({facts['container']})"
    yield "SHA-256", facts["sha256"]
    yield "family", facts["family"]
    if "architecture" in facts:
        yield from _generator_lines(facts)
    for network in facts["networks"]:
        role = network["role"]
        if role in ("encoder", "mapper"):
            role = f"{role} ({network['architecture']})"
        label = f"{role}, {network['parameters']:,} parameters, {network['dtype']}"
        yield network["name"], label
    if "mapper" in facts:
        told = facts["mapper"]
        yield "prompt", told["prompt"] or "not told"
        yield "mapped latents", f"w {told['num_ws'] or '?'} x {told['w_dim'] or '?'}"
    for title in ("training", "provenance"):
        for name, value in facts[title].items():
            yield title, f"{name} = {_short(value)}"
    for other in facts["others"]:
        yield "also in it", other
    for name in facts["refused"]:
        yield "refused", name
    yield "usable", "yes" if facts["usable"] else f"no: {facts['why']}"


def _generator_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from ganedit.checkpoints.describe import SIZES

    yield "architecture", facts["architecture"]
    side, colours = facts["img_resolution"], facts["img_channels"]
    yield "pictures", f"{side} x {side}, {colours} channels"
    yield "latents", f"z {facts['z_dim']}, w {facts['num_ws'] or '?'} x {facts['w_dim']}"
    yield "labels", f"{facts['c_dim']} numbers" if facts["c_dim"] else "none"
    yield "average latent", facts["average"]
    channels = ", ".join(f"{size}: {count}" for size, count in facts["channels"].items())
    yield "channels", channels or "unknown"
    if "camera_dim" in facts:
        yield from _volume_lines(facts["config"])
    for name, value in facts["config"].items():
        if name not in SIZES:
            yield "option", f"{name} = {_short(value)}"


def _volume_lines(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how a tri-plane generator is seen."""
    channels, side, axes = (config[f"plane_{name}"] for name in ("channels", "resolution", "axes"))
    yield "planes", f"3 x {channels} channels, {side} x {side}, axes {axes}"
    rays, start, end = config["neural_resolution"], config["ray_start"], config["ray_end"]
    depths = "through the box" if start == "auto" else f"depth {start} to {end}"
    yield "rays", f"{rays} x {rays}, {depths}, box of side {config['box_size']}"
    yield "samples", f"{config['coarse_samples']} + {config['fine_samples']} a ray"
    pivot = ", ".join(f"{x:g}" for x in config["camera_pivot"])
    radius, focal = config["camera_radius"], config["camera_focal"]
    yield "camera", f"at {radius} from the origin, looks at ({pivot}), focal length {focal}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
