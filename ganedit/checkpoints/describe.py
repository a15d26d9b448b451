"""What can be said of a network file without reading its weights."""

import re
from pathlib import Path
from typing import Any

from ganedit.checkpoints.building import GENERATORS, skeleton
from ganedit.checkpoints.checkpoint import Checkpoint
from ganedit.checkpoints.contents import Part
from ganedit.errors import GaneditError
from ganedit.io.files import file_digest

_SIZES = ("img_resolution", "img_channels", "z_dim", "w_dim", "c_dim", "num_ws")
_LAYER = re.compile(r"synthesis\.(?:b(\d+)\.conv1|L\d+_(\d+)_\d+)\.weight")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the facts of a file, JSON-able.

    Args:
        checkpoint: From `open_checkpoint`; its weights stay unread, but every byte is hashed.

    Returns:
        ``file``, ``bytes``, ``sha256``, ``container``, ``family``; of the generator
        ``architecture``, ``img_resolution``, ``img_channels``, ``z_dim``, ``w_dim``, ``c_dim``,
        ``num_ws``, ``channels`` (picture or feature size to channels), ``config`` and ``average``
        (``stored`` or ``estimated``); ``networks`` (name, role, parameters and dtype of each);
        ``training``, ``provenance``, ``others``, ``refused``; ``usable`` and, when it is false,
        ``why`` not.
    """
    contents = checkpoint.contents
    facts: dict[str, Any] = {
        "file": str(checkpoint.path),
        "bytes": checkpoint.path.stat().st_size,
        "sha256": file_digest(checkpoint.path),
        "container": checkpoint.container,
        "family": contents.family,
    }
    parts = [contents.generator, contents.raw_generator, contents.discriminator]
    problem = _problem(checkpoint)
    if contents.generator is not None:
        facts |= _generator(contents.generator, checkpoint.path, built=problem is None)
    facts["networks"] = [
        _network(part, checkpoint.path, built=problem is None) for part in parts if part is not None
    ]
    facts["training"] = contents.training
    facts["provenance"] = contents.provenance
    facts["others"] = list(contents.others)
    facts["refused"] = list(checkpoint.refused)
    facts["usable"] = problem is None
    if problem is not None:
        facts["why"] = problem
    return facts


def _problem(checkpoint: Checkpoint) -> str | None:
    """Return why the file cannot be used as a generator, or None."""
    if checkpoint.refused:
        return f"it asks for {', '.join(checkpoint.refused[:6])}, which is never run"
    try:
        skeleton(checkpoint.generator, checkpoint.path)
    except GaneditError as error:
        return str(error).removeprefix(f"{checkpoint.path}: ")
    return None


def _generator(part: Part, path: Path, *, built: bool) -> dict[str, Any]:
    """Return the sizes of a generator: of the network itself, or as the file tells them."""
    network = skeleton(part, path) if built else None
    sizes = {
        name: getattr(network, name) if network is not None else part.config.get(name)
        for name in _SIZES
    }
    channels = {}
    for key, shape in part.shapes().items():
        match = _LAYER.fullmatch(key)
        if match:
            channels[match[1] or match[2]] = int(shape[0])
    return {
        "architecture": part.architecture,
        **sizes,
        "channels": channels,
        "config": part.config,
        "average": "stored" if part.has_average else "estimated",
    }


def _network(part: Part, path: Path, *, built: bool) -> dict[str, Any]:
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for t in part.stored.values()})
    if built and part.architecture in GENERATORS:
        parameters = sum(p.numel() for p in skeleton(part, path).parameters())
    else:  # buffers included, since nothing tells them apart
        parameters = sum(shape.numel() for shape in part.shapes().values())
    return {
        "name": part.name,
        "role": part.role,
        "parameters": parameters,
        "dtype": ", ".join(dtypes),
    }
