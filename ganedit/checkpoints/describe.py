"""What can be said of a network file without reading its weights."""

import re
from typing import Any

import torch
from torch import nn

from ganedit.checkpoints.building import skeleton
from ganedit.checkpoints.checkpoint import Checkpoint
from ganedit.checkpoints.contents import Part, plain
from ganedit.errors import GaneditError
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.io.files import file_digest
from ganedit.io.safe_pickle import asked_for

SIZES = ("img_resolution", "img_channels", "z_dim", "w_dim", "c_dim", "num_ws")
"""The facts that are sizes of the generator."""

_LAYER = re.compile(r"(?:backbone\.)?synthesis\.(?:b(\d+)\.conv1|(L\d+_\d+)_\d+)\.weight")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the facts of a file, JSON-able.

    Args:
        checkpoint: From `open_checkpoint`; its weights stay unread, but every byte is hashed.

    Returns:
        ``file``, ``bytes``, ``sha256``, ``container``, ``family``; of the generator
        ``architecture``, ``img_resolution``, ``img_channels``, ``z_dim``, ``w_dim``, ``c_dim``,
        ``num_ws``, ``channels`` (resolution, or StyleGAN3's layer and its size, to channels),
        ``config`` and ``average`` (``stored`` or ``estimated``), and of a tri-plane generator
        ``camera_dim``, the length of the label that says from where it is seen; ``networks`` (name,
        role, architecture, parameters and dtype of each); ``mapper`` (``prompt``, ``num_ws`` and
        ``w_dim``) where there is one; ``training``, ``provenance``, ``others``, ``refused``;
        ``usable`` and, when it is false, ``why`` not.
    """
    contents = checkpoint.contents
    facts: dict[str, Any] = {
        "file": str(checkpoint.path),
        "bytes": checkpoint.path.stat().st_size,
        "sha256": file_digest(checkpoint.path),
        "container": checkpoint.container,
        "family": contents.family,
    }
    problems: list[str] = []
    if checkpoint.refused:
        problems.append(asked_for(checkpoint.refused))
    networks = []
    parts = [contents.generator, contents.raw_generator, contents.discriminator]
    parts += [encoder.part for encoder in contents.encoders]
    parts += [] if contents.mapper is None else [contents.mapper.part]
    # A lone encoder or mapper is what options take; beside a generator it may fail.
    main = contents.generator or next((part for part in parts[3:]), None)
    for part in parts:
        if part is None:
            continue
        built, problem = _built(checkpoint, part)
        if part is main:
            problems += problem
        if part is contents.generator:
            facts |= _generator(part, built)
        networks.append(_network(part, built))
    if main is None:
        problems.append("it holds no generator")
    facts["networks"] = networks
    if contents.mapper is not None:
        sizes = {name: plain(contents.mapper.part.config.get(name)) for name in ("num_ws", "w_dim")}
        facts["mapper"] = {"prompt": contents.mapper.prompt, **sizes}
    facts["training"] = plain(contents.training)
    facts["provenance"] = plain(contents.provenance)
    facts["others"] = list(contents.others)
    facts["refused"] = list(checkpoint.refused)
    facts["usable"] = not problems
    if problems:
        facts["why"] = problems[0]
    return facts


def _built(checkpoint: Checkpoint, part: Part) -> tuple[nn.Module | None, list[str]]:
    """Return a network without its weights, or why there is none."""
    try:
        return skeleton(part, checkpoint.path), []
    except GaneditError as error:
        return None, [str(error).removeprefix(f"{checkpoint.path}: ")]


def _shapes(part: Part) -> dict[str, torch.Size]:
    """Return the shapes of the weights; none where the file's own cannot be converted."""
    try:
        return part.shapes
    except GaneditError:
        return {}


def _generator(part: Part, built: nn.Module | None) -> dict[str, Any]:
    """Return the sizes of a generator: of the network itself, or as the file tells them."""
    sizes = {
        name: plain(part.config.get(name)) if built is None else getattr(built, name)
        for name in SIZES
    }
    channels = {}
    for key, shape in _shapes(part).items():
        match = _LAYER.fullmatch(key)
        if match:
            channels[match[1] or match[2]] = int(shape[0])
    config = part.config
    if isinstance(built, TriPlaneGenerator):
        sizes["camera_dim"], config = built.camera_dim, built.config
    return {
        "architecture": part.architecture,
        **sizes,
        "channels": channels,
        "config": plain(config),
        "average": "stored" if part.has_average else "estimated",
    }


def _network(part: Part, built: nn.Module | None) -> dict[str, Any]:
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for t in part.stored.values()})
    if built is None:  # buffers included, since nothing tells them apart
        parameters = sum(shape.numel() for shape in _shapes(part).values())
    else:
        parameters = sum(parameter.numel() for parameter in built.parameters())
    return {
        "name": part.name,
        "role": part.role,
        "architecture": part.architecture,
        "parameters": parameters,
        "dtype": ", ".join(dtypes),
    }
