"""Devices, number formats and seeds."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ganedit.errors import GaneditError


def resolve_device(device: str = "auto") -> torch.device:
    """Return the device that ``device`` names; ``auto`` prefers CUDA, then MPS, then the CPU.

    Where that is CUDA, float32 becomes float32 there for the whole process, not TF32.

    Raises:
        GaneditError: The name is unknown to torch, or the device is not available here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            _refuse_tf32()
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        if resolved.type not in ("cpu", "cuda", "mps"):
            raise ValueError(f"{device}: nothing can be computed there")
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise GaneditError(
            f"device {device!r} is not available here; use auto, cpu, cuda, cuda:0 or mps"
        ) from error
    if resolved.type == "cuda":
        _refuse_tf32()
    return resolved


def _refuse_tf32() -> None:
    """Compute float32 convolutions and products on CUDA in float32.

    cuDNN's convolutions use TF32 by default, with the 10 bits of half precision: pictures are then
    1e-3 off the CPU's and the references'. Who wants speed has autocast.
    """
    with warnings.catch_warnings():
        # torch 2.9 recommends its newer settings; after those, reading these flags is an error.
        warnings.simplefilter("ignore", UserWarning)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def seeded_normal(
    seeds: Sequence[int], shape: Sequence[int], *, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal numbers, one independent CPU stream a seed.

    A seed gives the same numbers at any batch size and on any device.

    Args:
        seeds: One non-negative integer a sample.
        shape: Shape of one sample, without the batch axis.
        device: Where the result lives.

    Returns:
        float32 [len(seeds), *shape].
    """
    rows = [
        torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds
    ]
    return torch.stack(rows).to(device) if rows else torch.empty(0, *shape, device=device)
