"""From the part of a file to a network: checked first, built afterwards.

A configuration is believed only after the network that it asks for, made without its weights, has
exactly the tensors that the file holds.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ganedit.checkpoints.contents import Part, plain, text
from ganedit.encoders import (
    AgeEncoder,
    BackboneEncoder,
    CompactEncoder,
    Encoder4Editing,
    GradualStyleEncoder,
    LevelsMapper,
    SingleMapper,
)
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganedit.generators.stylegan3 import StyleGAN3Generator
from ganedit.generators.triplane import TriPlaneGenerator

GENERATORS: dict[str, type[nn.Module]] = {
    "stylegan2": StyleGAN2Generator,
    "stylegan3": StyleGAN3Generator,
    "triplane": TriPlaneGenerator,
}
# NVlabs trains StyleGAN3 with the discriminator of StyleGAN2, and EG3D with one of six channels.
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "stylegan2": StyleGAN2Discriminator,
    "stylegan3": StyleGAN2Discriminator,
    "triplane": StyleGAN2Discriminator,
}
ENCODERS: dict[str, type[nn.Module]] = {
    "CompactEncoder": CompactEncoder,
    "GradualStyleEncoder": GradualStyleEncoder,
    "Encoder4Editing": Encoder4Editing,
    "BackboneEncoder": BackboneEncoder,
    "AgeEncoder": AgeEncoder,
}
MAPPERS: dict[str, type[nn.Module]] = {
    "LevelsMapper": LevelsMapper,
    "SingleMapper": SingleMapper,
}
_REGISTRIES = {
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "encoder": ENCODERS,
    "mapper": MAPPERS,
}

# A forged configuration must not make a constructor loop for minutes; real ones stay below.
_LARGEST_NUMBER = 1 << 20
_LONGEST_OPTION = 4096  # characters
_LIMITS = {
    "mapping_layers": 64,
    "num_layers": 32,
    "img_resolution": 1 << 13,
    "num_ws": 64,
    "resolution": 1 << 11,
    "margin_size": 1 << 10,
    "filter_size": 64,
    "lrelu_upsampling": 16,
    "conv_kernel": 15,
    "plane_resolution": 1 << 12,
    "neural_resolution": 1 << 12,
    "sr_resolution": 1 << 12,
    "coarse_samples": 1 << 10,
    "fine_samples": 1 << 10,
}

_CREATORS = (torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros)

_AVERAGE_SAMPLES = 10_000
_AVERAGE_SEED = 123
_LABEL_ENTRIES = 1 << 24  # of the labels in memory at a time


def build_generator(part: Part, path: Path) -> Generator:
    """Build the generator of a file, in eval mode, frozen, float32 on the CPU.

    Raises:
        GaneditError: It is of a family that cannot be built, the configuration does not fit the
            weights, or they are damaged.
    """
    network = _build(part, path).eval().requires_grad_(False)
    generator: Generator = network  # type: ignore[assignment]  # the registry holds Generators
    if not part.has_average:
        _estimate_average(generator)
    return generator


def build_discriminator(part: Part, path: Path) -> nn.Module:
    """Build the discriminator of a file, trainable, float32 on the CPU.

    Raises:
        GaneditError: As `build_generator`.
    """
    return _build(part, path)


def build_encoder(part: Part, path: Path) -> nn.Module:
    """Build an encoder of a file, in eval mode, frozen, float32 on the CPU.

    Raises:
        GaneditError: As `build_generator`.
    """
    return _build(part, path).eval().requires_grad_(False)


def build_mapper(part: Part, path: Path) -> nn.Module:
    """Build a mapper of a file, in eval mode, frozen, float32 on the CPU.

    Raises:
        GaneditError: As `build_generator`.
    """
    return _build(part, path).eval().requires_grad_(False)


def skeleton(part: Part, path: Path) -> nn.Module:
    """Return the network of a part without its weights, after comparing it with the file.

    Raises:
        GaneditError: It cannot be built, or has other tensors than the file.
    """
    registry = _REGISTRIES[part.role]
    kind = registry.get(part.architecture)
    if kind is None:
        raise GaneditError(
            f"{path}: holds a {part.architecture} {part.role}, which this ganedit can describe"
            f" but not run; it runs {', '.join(registry)}"
        )
    check_config(path, part.config)
    try:
        # At least one byte an element; what a converter adds (noise maps) is in the rest.
        with torch.random.fork_rng(devices=[]), _Unfilled(2 * path.stat().st_size + (1 << 20)):
            network = kind(**part.config)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise GaneditError(f"{path}: configuration does not build ({_line(error)})") from error
    _compare(path, part, {key: value.shape for key, value in network.state_dict().items()})
    return network


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Check that no value of a configuration is absurd.

    Raises:
        GaneditError: One is.
    """
    for name, value in config.items():
        if isinstance(value, (list, tuple, dict)):
            fits = _is_short(value)
        elif isinstance(value, (int, float)):
            fits = abs(value) <= _LIMITS.get(name, _LARGEST_NUMBER)  # never true of nan
        else:
            fits = value is None or (isinstance(value, str) and len(value) <= 256)
        if not fits:
            shown = f"{plain(value, depth=2)!r:.40}"  # Python shows no number of 5000 digits
            raise GaneditError(f"{path}: configuration {text(name)} = {shown} is out of range")


def _is_short(value: Any) -> bool:
    """Return whether an option can be written as JSON, in a few lines."""
    try:
        return len(json.dumps(value)) <= _LONGEST_OPTION
    except (TypeError, ValueError, RecursionError):
        return False


def _compare(path: Path, part: Part, wanted: Mapping[str, torch.Size]) -> None:
    """Compare the tensors that a network has with those of the file."""
    try:
        got = part.shapes
    except GaneditError as error:
        raise GaneditError(f"{path}: {part.name}: {error}") from error
    if got.keys() != wanted.keys():
        odd = min(got.keys() ^ wanted.keys())
        fault = "missing" if odd in wanted else "unexpected"
        raise GaneditError(f"{path}: {fault} tensor {part.name}.{text(odd)}")
    for key, shape in wanted.items():
        if got[key] != shape:
            raise GaneditError(
                f"{path}: {part.name}.{key}: expected shape {list(shape)}, got {list(got[key])}"
            )


class _Unfilled(TorchFunctionMode):
    """While active, tensors that random numbers would fill are allocated and left alone.

    The system gives no memory to what is never written, so that a network without its weights costs
    next to nothing; a state dict fills it later. What is asked for in sum is limited all the same.
    """

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._left = elements

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in _CREATORS:
            sizes = args[0] if args and isinstance(args[0], (list, tuple)) else args
            self._left -= math.prod(size for size in sizes if isinstance(size, int))
            if self._left < 0:
                raise ValueError("it asks for more weights than the file holds")
            func = torch.empty if func is torch.randn else func
        if func is torch.Tensor.contiguous:
            return torch.empty_like(*args, **kwargs)
        return func(*args, **kwargs)


def _build(part: Part, path: Path) -> nn.Module:
    network = skeleton(part, path)
    state = part.load()
    for key, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise GaneditError(f"{path}: {part.name}.{key} holds values that are not finite")
    network.load_state_dict(state)
    return network


@torch.no_grad()
def _estimate_average(generator: Generator) -> None:
    """Fill in the average latent, as the tools of files without one do, but with a fixed seed.

    Of a conditional generator it is the average over classes, each as likely as any other.
    """
    stream = torch.Generator().manual_seed(_AVERAGE_SEED)
    z = torch.randn(_AVERAGE_SAMPLES, generator.z_dim, generator=stream)
    if generator.c_dim == 0:
        generator.w_avg.copy_(generator.map(z)[:, 0].mean(dim=0))
        return
    classes = torch.randint(generator.c_dim, [_AVERAGE_SAMPLES], generator=stream)
    rows = max(1, _LABEL_ENTRIES // generator.c_dim)
    total = torch.zeros_like(generator.w_avg)
    for some, chosen in zip(z.split(rows), classes.split(rows), strict=True):
        c = nn.functional.one_hot(chosen, generator.c_dim).float()
        total += generator.map(some, c)[:, 0].sum(dim=0)
    generator.w_avg.copy_(total / _AVERAGE_SAMPLES)


def _line(error: BaseException) -> str:
    """The first line of an error's text, short enough for one line of a terminal."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
