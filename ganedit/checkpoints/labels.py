"""Labels of conditional networks: classes and cameras."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ganedit.checkpoints.networks import Network
from ganedit.errors import GaneditError


def class_label(network: Network, index: int) -> list[float]:
    """Return the one-hot label of a class.

    Raises:
        GaneditError: The generator has no such class, or takes cameras.
    """
    generator = network.generator
    _refuse_cameras(network)
    if generator.c_dim == 0:
        raise GaneditError("this generator has no classes; leave --class out")
    if not 0 <= index < generator.c_dim:
        raise GaneditError(
            f"class {index} does not exist; this generator's classes: 0 to {generator.c_dim - 1}"
        )
    return [float(index == other) for other in range(generator.c_dim)]


def label_batch(network: Network, label: Sequence[float] | None, count: int) -> Tensor | None:
    """Return a label for each of ``count`` latents, [count, c_dim] on the generator's device.

    Args:
        network: The network.
        label: The condition, c_dim numbers; None for an unconditional generator.
        count: Number of latents.

    Returns:
        None for an unconditional generator.

    Raises:
        GaneditError: The generator needs a label and has none, or the other way round.
    """
    generator = network.generator
    if generator.c_dim == 0:
        if label is not None:
            raise GaneditError("this generator has no classes; leave --class out")
        return None
    if label is None:
        _refuse_cameras(network)
        raise GaneditError(
            f"this generator needs a class, 0 to {generator.c_dim - 1}; choose one with --class"
        )
    if len(label) != generator.c_dim:
        raise ValueError(f"label: expected {generator.c_dim} numbers, got {len(label)}")
    device = generator.w_avg.device
    return torch.tensor(label, dtype=torch.float32, device=device).expand(count, -1)


def _refuse_cameras(network: Network) -> None:
    """Refuse a generator that was trained with cameras, as its provenance says."""
    if network.metadata.get("provenance", {}).get("labels") == "cameras":
        raise GaneditError(
            f"this generator takes cameras of {network.generator.c_dim} numbers, which only Python"
            " can give: sample(..., label=...); --class is for class-conditional networks"
        )
