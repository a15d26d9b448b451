"""rosinality's StyleGAN2 in both directions; reads and writes no file.

Both code bases store unit-variance weights and scale them at run time, so conversion only renames
and reshapes. Sizes, channel counts and the mapping depth follow from the shapes. The resampling
filters of rosinality sum to 4 in the generator (the gain of upsampling) and to 1 in the
discriminator; ours always sum to 1.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganedit.checkpoints.contents import (
    Contents,
    Part,
    Stored,
    leftover,
    plain,
    text,
    without_parallel,
)
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator
from ganedit.generators.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    channel_counts,
)
from ganedit.io.stored import StoredTensor
from ganedit.ops import setup_filter

# The rates of the reference's training script, with its lazy regularisation every 4 and 16 steps.
_LEARNING_RATE = 0.002
_GENERATOR_RATIO = 4 / 5
_DISCRIMINATOR_RATIO = 16 / 17

_MAPPING_RATE = 0.01
_USUAL_TAPS = [1, 3, 3, 1]
_LARGEST_FILTER = 64
_LARGEST_SIZE = 1 << 13
_LARGEST_NOISE = 1 << 11  # drawn, not stored: a file of few bytes must not ask for gigabytes
_NOISE_SEED = 0
_KNOWN_KEYS = ("g_ema", "g", "d", "latent_avg", "args", "ada_aug_p")


def recognise(value: Any) -> Contents | None:
    """Return what a file of rosinality's code, or of one of its many forks, holds.

    Args:
        value: Plain data of the file: a dict with ``g_ema``, ``g``, ``d``, ``latent_avg`` and
            ``args``, of which most may be missing, or one bare state dict.

    Returns:
        None if it is no such file.

    Raises:
        GaneditError: It is one, but damaged or of a size that no network has.
    """
    if not isinstance(value, dict):
        return None
    if holds_generator(value):
        value = {"g_ema": value}
    elif holds_discriminator(value):
        value = {"d": value}
    average = value.get("latent_avg")
    average = average if isinstance(average, StoredTensor) else None
    names = [name for name in ("g_ema", "g") if holds_generator(value.get(name))]
    generators = [generator_part(name, value[name], average) for name in names]
    critic = discriminator_part("d", value["d"]) if holds_discriminator(value.get("d")) else None
    if not generators and critic is None:
        return None
    others = [leftover(key, item) for key, item in value.items() if key not in _KNOWN_KEYS]
    if generators and not any(key.startswith("noises.") for key in generators[0].stored):
        others.append(f"no noise maps: drawn with seed {_NOISE_SEED}")
    training = value.get("args")
    training = plain(training) if isinstance(training, dict) else {}
    if "ada_aug_p" in value:
        training["ada_aug_p"] = plain(value["ada_aug_p"], depth=0)
    # Cartoon-StyleGAN trains with rosinality's networks and a few options more.
    cartoon = "structure_loss" in training and "freezeStyle" in training
    return Contents(
        family="Cartoon-StyleGAN (rosinality)" if cartoon else "rosinality",
        generator=generators[0] if generators else None,
        raw_generator=generators[1] if len(generators) > 1 else None,
        discriminator=critic,
        training=training,
        others=tuple(others),
    )


def holds_generator(value: Any) -> bool:
    """Return whether a value is a state dict with the names of rosinality's generator."""
    return _has_tensors(value, "style.1.weight", "input.input", "conv1.conv.weight")


def holds_discriminator(value: Any) -> bool:
    """Return whether a value is a state dict with the names of rosinality's discriminator."""
    return _has_tensors(value, "convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight")


def _has_tensors(value: Any, *names: str) -> bool:
    if not isinstance(value, dict):
        return False
    state = without_parallel(value)
    return all(isinstance(state.get(name), StoredTensor) for name in names)


def generator_part(name: str, state: Mapping[Any, Any], average: Stored | None) -> Part:
    """Return the generator of a state dict.

    Args:
        name: What the file calls it.
        state: Its tensors as they are in the file.
        average: The average latent, [w_dim], [1, w_dim] or [any number, w_dim]; None if the file
            has none.

    Raises:
        GaneditError: A tensor is missing or of a wrong shape.
    """
    stored = _tensors(name, state)
    known = {"latent_avg": average} if average is not None else {}

    def convert(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        weights = {key: tensor for key, tensor in tensors.items() if key not in known}
        return from_rosinality(weights, latent_avg=tensors.get("latent_avg") if known else None)

    return _part(name, "generator", {**stored, **known}, convert, has_average=bool(known))


def discriminator_part(name: str, state: Mapping[Any, Any]) -> Part:
    """Return the discriminator of a state dict.

    Raises:
        GaneditError: A tensor is missing or of a wrong shape.
    """
    return _part(name, "discriminator", _tensors(name, state), discriminator_from_rosinality)


def _part(
    name: str,
    role: Any,
    stored: Mapping[str, Stored],
    convert: Callable[[Mapping[str, Tensor]], tuple[dict[str, Any], dict[str, Tensor]]],
    *,
    has_average: bool = True,
) -> Part:
    """Find the configuration from the shapes, and from the few numbers of the filters."""
    shapes = {
        key: tensor.load() if key.endswith(".kernel") else tensor.meta()
        for key, tensor in stored.items()
    }
    try:
        config, _ = convert(shapes)
    except (RuntimeError, IndexError, ValueError, ArithmeticError) as error:
        raise GaneditError(f"{name}: a tensor has a shape that no such network has") from error
    return Part(
        name=name,
        role=role,
        architecture="stylegan2",
        config=config,
        stored=stored,
        convert=lambda tensors: convert(tensors)[1],
        has_average=has_average,
    )


def _tensors(name: str, state: Mapping[Any, Any]) -> dict[str, Stored]:
    """Return the tensors of a state dict.

    Raises:
        GaneditError: Something else is among them.
    """
    stored: dict[str, Stored] = {}
    for key, tensor in without_parallel(state).items():
        if not isinstance(key, str) or not isinstance(tensor, StoredTensor):
            raise GaneditError(f"{name}: {text(key)} is {text(tensor, length=60)}, no tensor")
        if key.endswith(".kernel") and tensor.numel > _LARGEST_FILTER**2:
            raise GaneditError(f"{name}: {text(key)} of shape {list(tensor.shape)} is no filter")
        stored[key] = tensor
    return stored


def from_rosinality(
    g_ema: Mapping[str, Tensor], *, latent_avg: Tensor | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return arguments of `StyleGAN2Generator` and a state dict for it.

    Args:
        g_ema: The generator's state dict, as the checkpoint holds it under ``g_ema`` or ``g``. Some
            exports lack the noise maps; they are then drawn with a fixed seed.
        latent_avg: Average latent, [w_dim] or [any number, w_dim], stored beside it; None leaves it
            at zero.

    Raises:
        GaneditError: A tensor is missing or superfluous.
    """
    source = _Source(g_ema, "rosinality generator")
    w_dim = source["style.1.weight"].shape[0]
    mapping_layers = source.count(r"style\.(\d+)\.weight")
    num_blocks = 1 + source.count(r"to_rgbs\.(\d+)\.bias")
    if 4 << (num_blocks - 1) > _LARGEST_SIZE:
        raise GaneditError(f"{source.kind}: {num_blocks} resolutions; at most 12 can be read")
    filters = _Filters(source.filters(), gain=4)
    noise = _NoiseMaps(source)
    state: dict[str, Tensor] = {}
    for index in range(mapping_layers):
        for name in ("weight", "bias"):
            state[f"mapping.fc{index}.{name}"] = source[f"style.{index + 1}.{name}"]
    state["mapping.w_avg"] = torch.zeros(w_dim) if latent_avg is None else _average(latent_avg)

    def layer(ours: str, theirs: str, index: int, resolution: int) -> None:
        _modulated(state, ours, source, theirs)
        state[f"{ours}.bias"] = source[f"{theirs}.activate.bias"]
        state[f"{ours}.noise_strength"] = source[f"{theirs}.noise.weight"].reshape([])
        state[f"{ours}.noise_const"] = noise(index, resolution)
        state[f"{ours}.resample_filter"] = filters.usual

    def to_rgb(ours: str, theirs: str) -> None:
        _modulated(state, ours, source, theirs)
        state[f"{ours}.bias"] = source[f"{theirs}.bias"].reshape(-1)

    state["synthesis.b4.const"] = source["input.input"][0]
    state["synthesis.b4.resample_filter"] = filters.own(None)
    layer("synthesis.b4.conv1", "conv1", 0, 4)
    to_rgb("synthesis.b4.torgb", "to_rgb1")
    for k in range(num_blocks - 1):
        resolution = 8 << k
        block = f"synthesis.b{resolution}"
        layer(f"{block}.conv0", f"convs.{2 * k}", 2 * k + 1, resolution)
        kernel = source.get(f"convs.{2 * k}.conv.blur.kernel")
        state[f"{block}.conv0.resample_filter"] = filters.own(kernel)
        layer(f"{block}.conv1", f"convs.{2 * k + 1}", 2 * k + 2, resolution)
        to_rgb(f"{block}.torgb", f"to_rgbs.{k}")
        kernel = source.get(f"to_rgbs.{k}.upsample.kernel")
        state[f"{block}.resample_filter"] = filters.own(kernel)
    source.check_all_used()

    resolutions = [4 << k for k in range(num_blocks)]
    channels = {r: state[f"synthesis.b{r}.conv1.weight"].shape[0] for r in resolutions}
    config = {
        "z_dim": source["style.1.weight"].shape[1],
        "w_dim": w_dim,
        "img_resolution": resolutions[-1],
        "img_channels": state["synthesis.b4.torgb.bias"].shape[0],
        "mapping_layers": mapping_layers,
        "architecture": "skip",
        "resample_filter": filters.taps,
        **channel_options(channels),
    }
    return config, state


def discriminator_from_rosinality(
    d: Mapping[str, Tensor],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return arguments of `StyleGAN2Discriminator` and a state dict for it.

    Args:
        d: The discriminator's state dict, as the checkpoint holds it under ``d``.

    Raises:
        GaneditError: A tensor is missing or superfluous.
    """
    source = _Source(d, "rosinality discriminator")
    num_blocks = source.count(r"convs\.(\d+)\.skip\.1\.weight")
    size = 4 << num_blocks
    if size > _LARGEST_SIZE:
        raise GaneditError(f"{source.kind}: {num_blocks + 1} resolutions; at most 12 can be read")
    filters = _Filters(source.filters(), gain=1)
    state: dict[str, Tensor] = {}
    channels = {size: source["convs.0.0.weight"].shape[0]}

    def layer(ours: str, weight: str, bias: str | None) -> None:
        state[f"{ours}.weight"] = source[weight]
        if bias is not None:
            state[f"{ours}.bias"] = source[bias]
        state[f"{ours}.resample_filter"] = filters.usual

    layer(f"b{size}.fromrgb", "convs.0.0.weight", "convs.0.1.bias")
    for j in range(1, num_blocks + 1):
        block, convs = f"b{size >> (j - 1)}", f"convs.{j}"
        state[f"{block}.resample_filter"] = filters.own(None)
        layer(f"{block}.conv0", f"{convs}.conv1.0.weight", f"{convs}.conv1.1.bias")
        layer(f"{block}.conv1", f"{convs}.conv2.1.weight", f"{convs}.conv2.2.bias")
        layer(f"{block}.skip", f"{convs}.skip.1.weight", None)
        for ours, theirs in (("conv1", "conv2"), ("skip", "skip")):
            kernel = source.get(f"{convs}.{theirs}.0.kernel")
            state[f"{block}.{ours}.resample_filter"] = filters.own(kernel)
        channels[size >> j] = state[f"{block}.conv1.weight"].shape[0]
    layer("b4.conv", "final_conv.0.weight", "final_conv.1.bias")
    for ours, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        for name in ("weight", "bias"):
            state[f"b4.{ours}.{name}"] = source[f"{theirs}.{name}"]
    source.check_all_used()
    config = {
        "img_resolution": size,
        "img_channels": source["convs.0.0.weight"].shape[1],
        "architecture": "resnet",
        "resample_filter": filters.taps,
        "mbstd_group_size": 4,
        "mbstd_num_channels": 1,
        **channel_options(channels),
    }
    return config, state


class _Source:
    """A state dict whose missing and superfluous keys become one readable error."""

    def __init__(self, tensors: Mapping[str, Tensor], kind: str) -> None:
        self.tensors = tensors
        self.kind = kind
        self._used: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.tensors:
            raise GaneditError(f"not a {self.kind}: it has no tensor {key!r}")
        self._used.add(key)
        return self.tensors[key]

    def get(self, key: str) -> Tensor | None:
        return self[key] if key in self.tensors else None

    def count(self, pattern: str) -> int:
        found = {match[1] for key in self.tensors if (match := re.fullmatch(pattern, key))}
        if not found:
            raise GaneditError(f"not a {self.kind}: it has no tensor like {pattern!r}")
        return len(found)

    def filters(self) -> list[Tensor]:
        return [tensor for key, tensor in self.tensors.items() if key.endswith(".kernel")]

    def check_all_used(self) -> None:
        for key in self.tensors:
            if key not in self._used:
                raise GaneditError(f"not a {self.kind}: it has an unknown tensor {text(key)}")


class _NoiseMaps:
    """The noise maps of a generator, or maps drawn once and for all where the file has none."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._stored = any(key.startswith("noises.") for key in source.tensors)
        self._stream = torch.Generator().manual_seed(_NOISE_SEED)

    def __call__(self, index: int, resolution: int) -> Tensor:
        if self._stored:
            return self._source[f"noises.noise_{index}"][0, 0]
        if resolution > _LARGEST_NOISE:
            raise GaneditError(
                f"not a {self._source.kind}: it has no tensor 'noises.noise_{index}'"
            )
        if any(tensor.is_meta for tensor in self._source.tensors.values()):
            return torch.empty(resolution, resolution, device="meta")
        return torch.randn(resolution, resolution, generator=self._stream)


class _Filters:
    """The resampling filters of a network, all brought to one size and to a sum of one.

    Attributes:
        taps: The filter of the network, for its configuration.
        usual: The filter of layers that do not resample.
    """

    def __init__(self, kernels: Iterable[Tensor], *, gain: int) -> None:
        self._gain = gain
        kernels = list(kernels)
        for kernel in kernels:
            size = kernel.shape[0] if kernel.ndim == 2 else 0
            if not 0 < size <= _LARGEST_FILTER or kernel.shape != (size, size):
                raise GaneditError(f"blur kernel: expected a square, got {list(kernel.shape)}")
        largest = max(kernels, key=len, default=None)
        self.taps = _USUAL_TAPS if largest is None else _taps(largest)
        self.usual = setup_filter(_USUAL_TAPS)

    def own(self, kernel: Tensor | None) -> Tensor:
        """Return the filter of a resampling layer; without one of its own, the network's."""
        if kernel is None:
            return setup_filter(torch.as_tensor(self.taps, dtype=torch.float32))
        missing = len(self.taps) - len(kernel)
        before = len(self.taps) // 2 - len(kernel) // 2  # keeps the centre where it was
        sides = (before, missing - before, before, missing - before)
        return nn.functional.pad(kernel.float() / self._gain, sides)


def _taps(kernel: Tensor) -> list[Any]:
    """Return the taps of which a kernel is made: 1-D and whole where possible."""
    if kernel.is_meta:
        return [1] * len(kernel)
    kernel = kernel.double() / kernel.double().sum()
    row, column = kernel.sum(dim=0), kernel.sum(dim=1)
    if not torch.allclose(row, column, atol=1e-5) or not torch.allclose(
        torch.outer(column, row), kernel, atol=1e-5
    ):
        return kernel.tolist()
    whole = row / row[row.abs() > 1e-4].abs().min()
    if torch.allclose(whole, whole.round(), atol=1e-3):
        return [int(tap) for tap in whole.round()]
    return row.tolist()


def _average(latent_avg: Tensor) -> Tensor:
    """Return the average latent, [w_dim], where bundles repeat it for every layer."""
    rows = latent_avg.reshape(-1, latent_avg.shape[-1])
    if rows.is_meta or bool((rows == rows[0]).all()):
        return rows[0]
    return rows.float().mean(dim=0)


def _modulated(state: dict[str, Tensor], ours: str, source: _Source, theirs: str) -> None:
    state[f"{ours}.weight"] = source[f"{theirs}.conv.weight"][0]
    state[f"{ours}.affine.weight"] = source[f"{theirs}.conv.modulation.weight"]
    state[f"{ours}.affine.bias"] = source[f"{theirs}.conv.modulation.bias"]


def channel_options(channels: dict[int, int]) -> dict[str, Any]:
    """Return arguments of our networks that give these channels at each resolution.

    They are channel_base and channel_max where those can: rosinality's channel multipliers other
    than 1 and 2 leave 512 channels up to 32 pixels, whatever comes after them.
    """
    channel_max = max(channels.values())
    channel_base = max(resolution * count for resolution, count in channels.items())
    if any(count != min(channel_base // r, channel_max) for r, count in channels.items()):
        return {"channels": {str(r): channels[r] for r in sorted(channels)}}
    return {"channel_base": channel_base, "channel_max": channel_max}


def to_rosinality(generator: Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Return ``g_ema`` and ``latent_avg``, in the reference's own order of keys.

    The values are float32 copies on the CPU. What the layout holds but the reference cannot build
    is told by `rosinality_limits`.

    Raises:
        GaneditError: The layout cannot hold this network.
    """
    if not isinstance(generator, StyleGAN2Generator):
        raise GaneditError(f"{_NO_PLACE} {type(generator).__name__}; it holds StyleGAN2 only")
    config = generator.config
    wanted = {"architecture": "skip", "activation": "lrelu", "use_noise": True, "c_dim": 0}
    _check_settings(config, {**wanted, "mapping_activation": "lrelu"})
    if config["mapping_layers"] < 1:
        raise GaneditError(f"{_NO_PLACE} network without mapping layers")
    layout = _Layout(_copied(generator))
    # Weights are scaled by the learning-rate multiplier when used; rosinality fixes it to 0.01.
    layout.mapping(config["mapping_layers"], config["mapping_lr_multiplier"] / _MAPPING_RATE)
    layout.synthesis([f"synthesis.b{r}" for r in generator.synthesis.block_resolutions[1:]])
    return layout.state, layout.ours["mapping.w_avg"]


class _Layout:
    """A generator's state dict in the making, in the reference's order of keys."""

    def __init__(self, ours: Mapping[str, Tensor]) -> None:
        self.ours = ours
        self.state: dict[str, Tensor] = {}

    def mapping(self, layers: int, rescale: float) -> None:
        for index in range(layers):
            for name in ("weight", "bias"):
                value = self.ours[f"mapping.fc{index}.{name}"]
                self.state[f"style.{index + 1}.{name}"] = value * rescale

    def synthesis(self, blocks: list[str]) -> None:
        self.state["input.input"] = self.ours["synthesis.b4.const"][None]
        self._layer("synthesis.b4.conv1", "conv1")
        self._to_rgb("synthesis.b4", "to_rgb1")
        for k, block in enumerate(blocks):
            self._layer(f"{block}.conv0", f"convs.{2 * k}", upsampling=True)
            self._layer(f"{block}.conv1", f"convs.{2 * k + 1}")
        for k, block in enumerate(blocks):
            self._to_rgb(block, f"to_rgbs.{k}", upsampling=True)
        noisy = ["synthesis.b4.conv1", *(f"{block}.conv{i}" for block in blocks for i in (0, 1))]
        for index, name in enumerate(noisy):
            self.state[f"noises.noise_{index}"] = self.ours[f"{name}.noise_const"][None, None]

    def _layer(self, name: str, theirs: str, *, upsampling: bool = False) -> None:
        self._modulated(name, theirs, upsampling=upsampling)
        self.state[f"{theirs}.noise.weight"] = self.ours[f"{name}.noise_strength"].reshape(1)
        self.state[f"{theirs}.activate.bias"] = self.ours[f"{name}.bias"]

    def _to_rgb(self, block: str, theirs: str, *, upsampling: bool = False) -> None:
        self.state[f"{theirs}.bias"] = self.ours[f"{block}.torgb.bias"].reshape(1, -1, 1, 1)
        if upsampling:
            self.state[f"{theirs}.upsample.kernel"] = self.ours[f"{block}.resample_filter"] * 4
        self._modulated(f"{block}.torgb", theirs)

    def _modulated(self, name: str, theirs: str, *, upsampling: bool = False) -> None:
        self.state[f"{theirs}.conv.weight"] = self.ours[f"{name}.weight"][None]
        if upsampling:
            self.state[f"{theirs}.conv.blur.kernel"] = self.ours[f"{name}.resample_filter"] * 4
        for kind in ("weight", "bias"):
            self.state[f"{theirs}.conv.modulation.{kind}"] = self.ours[f"{name}.affine.{kind}"]


def discriminator_to_rosinality(discriminator: nn.Module) -> dict[str, Tensor]:
    """Return ``d``, in the reference's own order of keys: float32 copies on the CPU.

    Raises:
        GaneditError: The layout cannot hold this network.
    """
    if not isinstance(discriminator, StyleGAN2Discriminator):
        raise GaneditError(f"{_NO_PLACE} {type(discriminator).__name__}; it holds StyleGAN2 only")
    wanted = {
        "architecture": "resnet",
        "activation": "lrelu",
        "epilogue_activation": "lrelu",
        "c_dim": 0,
        "mbstd_group_size": 4,
        "mbstd_num_channels": 1,
    }
    _check_settings(discriminator.config, wanted)
    ours = _copied(discriminator)
    size = discriminator.img_resolution
    state = {"convs.0.0.weight": ours[f"b{size}.fromrgb.weight"]}
    state["convs.0.1.bias"] = ours[f"b{size}.fromrgb.bias"]
    for j, resolution in enumerate(discriminator.block_resolutions, start=1):
        block, convs = f"b{resolution}", f"convs.{j}"
        state[f"{convs}.conv1.0.weight"] = ours[f"{block}.conv0.weight"]
        state[f"{convs}.conv1.1.bias"] = ours[f"{block}.conv0.bias"]
        state[f"{convs}.conv2.0.kernel"] = ours[f"{block}.conv1.resample_filter"]
        state[f"{convs}.conv2.1.weight"] = ours[f"{block}.conv1.weight"]
        state[f"{convs}.conv2.2.bias"] = ours[f"{block}.conv1.bias"]
        state[f"{convs}.skip.0.kernel"] = ours[f"{block}.skip.resample_filter"]
        state[f"{convs}.skip.1.weight"] = ours[f"{block}.skip.weight"]
    state["final_conv.0.weight"] = ours["b4.conv.weight"]
    state["final_conv.1.bias"] = ours["b4.conv.bias"]
    for theirs, name in (("final_linear.0", "b4.fc"), ("final_linear.1", "b4.out")):
        state[f"{theirs}.weight"] = ours[f"{name}.weight"]
        state[f"{theirs}.bias"] = ours[f"{name}.bias"]
    return state


_NO_PLACE = "rosinality's layout has no place for a"


def _check_settings(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if config[name] != value:
            raise GaneditError(f"{_NO_PLACE} network with {name} {config[name]!r}, only {value!r}")


def _copied(network: nn.Module) -> dict[str, Tensor]:
    """Return the state: contiguous float32 copies on the CPU."""
    return {
        key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for key, value in network.state_dict().items()
    }


def rosinality_limits(generator: Generator) -> list[str]:
    """Return what the reference's own code would do differently with an exported generator.

    Each is a phrase; without any, it builds the network and gives the same numbers.
    """
    config = generator.config
    found = []
    if config["conv_clamp"] is not None:
        found.append(f"its layers have no limit on magnitudes (conv_clamp {config['conv_clamp']})")
    if config["z_dim"] != config["w_dim"] or config["mapping_features"] is not None:
        found.append("its mapping layers are all as wide as z")
    if config["img_channels"] != 3:
        found.append(f"its pictures have 3 channels, not {config['img_channels']}")
    if len(config["resample_filter"]) != len(_USUAL_TAPS):
        found.append(f"its filters have 4 taps, not {len(config['resample_filter'])}")
    if config["img_resolution"] > 1024:
        found.append(f"its pictures have at most 1024 pixels, not {config['img_resolution']}")
    channels = channel_counts(config)
    multiplier = max(1, channels.get(64, 256) // 256)
    rule = {r: 512 if r <= 32 else 16384 * multiplier // r for r in channels}
    if channels != rule:
        odd = next(r for r in channels if channels[r] != rule[r])
        found.append(f"it has {rule[odd]} channels at {odd} pixels, not {channels[odd]}")
    return found


def training_file(
    generator: Generator,
    discriminator: nn.Module,
    *,
    raw_generator: Generator | None = None,
) -> dict[str, Any]:
    """Return all that the reference's training script resumes from, for ``torch.save``.

    The optimizers start afresh, with that script's default rates.

    Args:
        generator: The moving average, for ``g_ema``.
        discriminator: The one that it was trained with.
        raw_generator: The generator under training; None lets it start from the average.

    Raises:
        GaneditError: The layout cannot hold one of the networks.
    """
    g_ema, latent_avg = to_rosinality(generator)
    g = g_ema if raw_generator is None else to_rosinality(raw_generator)[0]
    d = discriminator_to_rosinality(discriminator)
    return {
        "g": g,
        "d": d,
        "g_ema": g_ema,
        "latent_avg": latent_avg,
        "g_optim": _fresh_adam(g, _GENERATOR_RATIO),
        "d_optim": _fresh_adam(d, _DISCRIMINATOR_RATIO),
        "ada_aug_p": 0.0,
    }


def _fresh_adam(state: Mapping[str, Tensor], ratio: float) -> dict[str, Any]:
    """Return the state of an Adam that has not stepped yet, for the parameters of a state dict."""
    count = sum(not key.endswith(".kernel") and not key.startswith("noises.") for key in state)
    parameters = [nn.Parameter(torch.empty(0)) for _ in range(count)]
    betas = (0.0**ratio, 0.99**ratio)
    return torch.optim.Adam(parameters, lr=_LEARNING_RATE * ratio, betas=betas).state_dict()
