"""StyleGAN2 networks that NVlabs' TensorFlow code pickles, as the tuple (G, D, Gs).

Their variables have other names and orders of axes than the later PyTorch code, whose own
converter defines what can be read; see the tables below. What that converter does not know is
refused here, too, instead of giving pictures that are nearly right.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganedit.checkpoints.contents import Contents, Part, Stored, plain, text
from ganedit.errors import GaneditError
from ganedit.io.safe_pickle import Record
from ganedit.io.stored import StoredTensor
from ganedit.ops import setup_filter

FAMILY = "stylegan2 (TensorFlow)"

_NETWORK = "dnnlib.tflib.network.Network"
_OLDEST_VERSION = 4
_MOST_NETWORKS = 100

# Our argument: the TensorFlow keyword and its default.
_GENERATOR_OPTIONS: dict[str, tuple[str, Any]] = {
    "z_dim": ("latent_size", 512),
    "c_dim": ("label_size", 0),
    "w_dim": ("dlatent_size", 512),
    "img_resolution": ("resolution", 1024),
    "img_channels": ("num_channels", 3),
    "mapping_layers": ("mapping_layers", 8),
    "embed_features": ("label_fmaps", None),
    "mapping_features": ("mapping_fmaps", None),
    "mapping_activation": ("mapping_nonlinearity", "lrelu"),
    "mapping_lr_multiplier": ("mapping_lrmul", 0.01),
    "w_avg_beta": ("w_avg_beta", 0.995),
    "channel_base": ("fmap_base", 16384),
    "channel_max": ("fmap_max", 512),
    "conv_clamp": ("conv_clamp", None),
    "architecture": ("architecture", "skip"),
    "resample_filter": ("resample_kernel", [1, 3, 3, 1]),
    "use_noise": ("use_noise", True),
    "activation": ("nonlinearity", "lrelu"),
}
_DISCRIMINATOR_OPTIONS: dict[str, tuple[str, Any]] = {
    "c_dim": ("label_size", 0),
    "img_resolution": ("resolution", 1024),
    "img_channels": ("num_channels", 3),
    "architecture": ("architecture", "resnet"),
    "channel_base": ("fmap_base", 16384),
    "channel_max": ("fmap_max", 512),
    "conv_clamp": ("conv_clamp", None),
    "cmap_dim": ("mapping_fmaps", None),
    "embed_features": ("mapping_fmaps", None),
    "mapping_features": ("mapping_fmaps", None),
    "mapping_layers": ("mapping_layers", 0),
    "mapping_lr_multiplier": ("mapping_lrmul", 0.1),
    "mapping_activation": ("nonlinearity", "lrelu"),
    "activation": ("nonlinearity", "lrelu"),
    "epilogue_activation": ("nonlinearity", "lrelu"),
    "resample_filter": ("resample_kernel", [1, 3, 3, 1]),
    "freeze_layers": ("freeze_layers", 0),
    "mbstd_group_size": ("mbstd_group_size", None),
    "mbstd_num_channels": ("mbstd_num_features", 1),
}
# These decide nothing here: how training went, or what callers may ask for.
_NEUTRAL = {
    "num_fp16_res",
    "truncation_psi",
    "truncation_cutoff",
    "style_mixing_prob",
    "structure",
    "conditioning",
    "fused_modconv",
}
_WHOLE = {
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "img_channels",
    "mapping_layers",
    "channel_base",
    "channel_max",
    "freeze_layers",
    "mbstd_num_channels",
}
_WHOLE_OR_NONE = {
    "cmap_dim",
    "embed_features",
    "mapping_features",
    "mbstd_group_size",
}


def recognise(value: Any) -> Contents | None:
    """Return what a file of TensorFlow's StyleGAN2 holds; None if it is none.

    Args:
        value: Plain data of the file: the tuple (G, D, Gs); Gs is G's moving average.

    Raises:
        GaneditError: It is one, but of a version or with options that cannot be read.
    """
    if not isinstance(value, (tuple, list)) or not value or not all(map(_is_network, value)):
        return None
    if len(value) != 3:
        raise GaneditError(f"a TensorFlow file of {len(value)} networks; expected G, D and Gs")
    raw, critic, average = value
    neutral = {
        name: options
        for name, network in (("Gs", average), ("D", critic))
        if (options := _neutral(network))
    }
    return Contents(
        family=FAMILY,
        generator=_generator("Gs", average),
        raw_generator=_generator("G", raw),
        discriminator=_discriminator("D", critic),
        training=neutral,
    )


def _is_network(value: Any) -> bool:
    return isinstance(value, Record) and str(value.kind) == _NETWORK


@dataclass(frozen=True)
class _Number:
    """A variable of one number, which pickles hold as such."""

    value: float
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32

    def load(self) -> Tensor:
        return torch.tensor(self.value, dtype=self.dtype)

    def meta(self) -> Tensor:
        return torch.empty((), dtype=self.dtype, device="meta")


def _state(name: str, network: Record) -> dict[str, Any]:
    state = network.state
    if not isinstance(state, dict):
        raise GaneditError(f"{name}: a damaged TensorFlow network")
    version = state.get("version")
    if not isinstance(version, int) or version < _OLDEST_VERSION:
        raise GaneditError(
            f"{name}: a TensorFlow network of version {text(version, length=20)}, older than"
            f" StyleGAN2 ({_OLDEST_VERSION}); StyleGAN and ProGAN networks cannot be read"
        )
    return state


def _variables(name: str, network: Record) -> dict[str, Stored]:
    """Return the variables of a network and its components, under their full names.

    Raises:
        GaneditError: They are damaged.
    """
    found: dict[str, Stored] = {}
    pending = [("", network)]
    for _ in range(_MOST_NETWORKS):
        if not pending:
            return found
        prefix, part = pending.pop()
        state = part.state if isinstance(part.state, dict) else {}
        variables = state.get("variables", [])
        for entry in variables if isinstance(variables, (list, tuple)) else ():
            if not isinstance(entry, (tuple, list)) or len(entry) != 2:
                raise GaneditError(f"{name}: a damaged list of variables")
            key, stored = prefix + text(entry[0]), entry[1]
            if text(entry[0]) == "lod":
                continue  # how far progressive growing has come, which StyleGAN2 no longer does
            if isinstance(stored, (int, float)) and abs(stored) < 1e30:
                stored = _Number(float(stored))
            if not isinstance(stored, (StoredTensor, _Number)):
                raise GaneditError(f"{name}: variable {key:.80} is no array")
            found[key] = stored
        components = state.get("components")
        for key, component in components.items() if isinstance(components, dict) else ():
            if _is_network(component):
                pending.append((f"{prefix}{text(key)}/", component))
    raise GaneditError(f"{name}: components without end")


def _neutral(network: Record) -> dict[str, Any]:
    static = network.state.get("static_kwargs") if isinstance(network.state, dict) else None
    static = static if isinstance(static, dict) else {}
    return {key: plain(value) for key, value in static.items() if key in _NEUTRAL}


def _config(
    name: str, static: Any, options: Mapping[str, tuple[str, Any]], *, cut: str
) -> dict[str, Any]:
    """Translate the static keywords into our arguments.

    Raises:
        GaneditError: One is unknown or of the wrong kind.
    """
    if not isinstance(static, dict):
        raise GaneditError(f"{name}: its static keywords are damaged")
    known = {keyword for keyword, _ in options.values()} | _NEUTRAL
    for keyword, value in static.items():
        if keyword not in known:
            raise GaneditError(
                f"{name}: keyword {text(keyword)} = {plain(value, depth=2)!r:.60} is unknown"
                f" here; the {cut} would not give its own numbers"
            )
    config = {ours: static.get(keyword, default) for ours, (keyword, default) in options.items()}
    for ours, value in config.items():
        config[ours] = _checked(name, options[ours][0], ours, value)
    config["channel_base"] *= 2
    return config


def _checked(name: str, keyword: str, ours: str, value: Any) -> Any:
    """Return an option as the type that our argument has."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if ours in _WHOLE or (ours in _WHOLE_OR_NONE and value is not None):
        fits = fits and abs(value) < 1 << 53 and value == int(value)
        value = int(value) if fits else value
    elif ours == "resample_filter":
        if isinstance(value, StoredTensor) and len(value.shape) == 1 and value.numel <= 64:
            value = value.load().tolist()
        value = [1] if value is None else value
        fits = isinstance(value, (list, tuple)) and all(isinstance(t, (int, float)) for t in value)
    elif ours == "w_avg_beta" and value is None:
        return 1.0  # the average never moves
    elif ours.endswith("activation") or ours == "architecture":
        fits = isinstance(value, str)
    elif ours == "use_noise":
        fits = isinstance(value, (bool, int))
        value = bool(value) if fits else value
    else:
        fits = fits or value is None
    if not fits:
        shown = f"{plain(value, depth=2)!r:.60}"
        raise GaneditError(f"{name}: keyword {keyword} has a value that makes no sense, {shown}")
    return list(value) if ours == "resample_filter" else value


def _generator(name: str, network: Record) -> Part:
    state = _state(name, network)
    config = _config(name, state.get("static_kwargs"), _GENERATOR_OPTIONS, cut="generator")
    stored = _variables(name, network)
    lod = next((key for key in stored if re.search(r"ToRGB_lod\d", key)), None)
    if lod is not None:
        raise GaneditError(
            f"{name}: has output layers of progressive growing ({lod:.60}), which cannot be read"
        )
    filters = _generator_filters(config["img_resolution"], config["architecture"])
    convert = _conversion(name, stored, _GENERATOR_RULES, filters, config["resample_filter"])
    return Part(name, "generator", "stylegan2", config, stored, convert)


def _discriminator(name: str, network: Record) -> Part:
    state = _state(name, network)
    config = _config(name, state.get("static_kwargs"), _DISCRIMINATOR_OPTIONS, cut="discriminator")
    stored = _variables(name, network)
    for key in list(stored):
        if (match := re.fullmatch(r"FromRGB_lod(\d{1,2})/(\w+)", key)) is not None:
            resolution = config["img_resolution"] >> int(match[1])
            stored[f"{resolution}x{resolution}/FromRGB/{match[2]}"] = stored.pop(key)
            config["architecture"] = "orig"
    filters = _discriminator_filters(config["img_resolution"], config["architecture"])
    convert = _conversion(name, stored, _DISCRIMINATOR_RULES, filters, config["resample_filter"])
    return Part(name, "discriminator", "stylegan2", config, stored, convert)


def _same(x: Tensor) -> Tensor:
    return x


def _matrix(x: Tensor) -> Tensor:
    return x.t()


def _kernel(x: Tensor) -> Tensor:
    return x.permute(3, 2, 0, 1)  # [kh, kw, I, O] to [O, I, kh, kw]


def _flipped_kernel(x: Tensor) -> Tensor:
    return x.flip(0, 1).permute(3, 2, 0, 1)


def _plus_one(x: Tensor) -> Tensor:
    return x + 1


def _first(x: Tensor) -> Tensor:
    return x[0]


def _first_map(x: Tensor) -> Tensor:
    return x[0, 0]


_Rule = tuple[str, str, Callable[[Tensor], Tensor]]

# Variable, our key, what happens to the numbers. {n} is the number of a noise map's layer.
_S = r"synthesis/(\d+)x\1"
_GENERATOR_RULES: tuple[_Rule, ...] = (
    (r"dlatent_avg", r"mapping.w_avg", _same),
    (r"mapping/LabelEmbed/weight", r"mapping.embed.weight", _matrix),
    (r"mapping/LabelEmbed/bias", r"mapping.embed.bias", _same),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", _matrix),
    (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", _same),
    (r"synthesis/4x4/Const/const", r"synthesis.b4.const", _first),
    (r"synthesis/4x4/Conv/weight", r"synthesis.b4.conv1.weight", _kernel),
    (r"synthesis/4x4/Conv/mod_weight", r"synthesis.b4.conv1.affine.weight", _matrix),
    (r"synthesis/4x4/Conv/mod_bias", r"synthesis.b4.conv1.affine.bias", _plus_one),
    (r"synthesis/4x4/Conv/(bias|noise_strength)", r"synthesis.b4.conv1.\1", _same),
    (rf"{_S}/Conv0_up/weight", r"synthesis.b\1.conv0.weight", _flipped_kernel),
    (rf"{_S}/Conv0_up/mod_weight", r"synthesis.b\1.conv0.affine.weight", _matrix),
    (rf"{_S}/Conv0_up/mod_bias", r"synthesis.b\1.conv0.affine.bias", _plus_one),
    (rf"{_S}/Conv0_up/(bias|noise_strength)", r"synthesis.b\1.conv0.\2", _same),
    (rf"{_S}/Conv1/weight", r"synthesis.b\1.conv1.weight", _kernel),
    (rf"{_S}/Conv1/mod_weight", r"synthesis.b\1.conv1.affine.weight", _matrix),
    (rf"{_S}/Conv1/mod_bias", r"synthesis.b\1.conv1.affine.bias", _plus_one),
    (rf"{_S}/Conv1/(bias|noise_strength)", r"synthesis.b\1.conv1.\2", _same),
    (rf"{_S}/ToRGB/weight", r"synthesis.b\1.torgb.weight", _kernel),
    (rf"{_S}/ToRGB/mod_weight", r"synthesis.b\1.torgb.affine.weight", _matrix),
    (rf"{_S}/ToRGB/mod_bias", r"synthesis.b\1.torgb.affine.bias", _plus_one),
    (rf"{_S}/ToRGB/bias", r"synthesis.b\1.torgb.bias", _same),
    (rf"{_S}/Skip/weight", r"synthesis.b\1.skip.weight", _flipped_kernel),
    (r"synthesis/noise(\d{1,2})", r"noise\1", _first_map),
)
_DISCRIMINATOR_RULES: tuple[_Rule, ...] = (
    (r"LabelEmbed/weight", r"mapping.embed.weight", _matrix),
    (r"LabelEmbed/bias", r"mapping.embed.bias", _same),
    (r"Mapping(\d+)/weight", r"mapping.fc\1.weight", _matrix),
    (r"Mapping(\d+)/bias", r"mapping.fc\1.bias", _same),
    (r"(\d+)x\1/FromRGB/weight", r"b\1.fromrgb.weight", _kernel),
    (r"(\d+)x\1/FromRGB/bias", r"b\1.fromrgb.bias", _same),
    (r"(\d+)x\1/Conv0/weight", r"b\1.conv0.weight", _kernel),
    (r"(\d+)x\1/Conv0/bias", r"b\1.conv0.bias", _same),
    (r"(\d+)x\1/Conv1_down/weight", r"b\1.conv1.weight", _kernel),
    (r"(\d+)x\1/Conv1_down/bias", r"b\1.conv1.bias", _same),
    (r"(\d+)x\1/Skip/weight", r"b\1.skip.weight", _kernel),
    (r"4x4/Conv/weight", r"b4.conv.weight", _kernel),
    (r"4x4/Conv/bias", r"b4.conv.bias", _same),
    (r"4x4/Dense0/weight", r"b4.fc.weight", _matrix),
    (r"4x4/Dense0/bias", r"b4.fc.bias", _same),
    (r"Output/weight", r"b4.out.weight", _matrix),
    (r"Output/bias", r"b4.out.bias", _same),
)
_RANKS: dict[Callable[[Tensor], Tensor], int] = {
    _matrix: 2,
    _kernel: 4,
    _flipped_kernel: 4,
    _first: 4,
    _first_map: 4,
}


def _conversion(
    name: str,
    stored: Mapping[str, Stored],
    rules: tuple[_Rule, ...],
    filters: Mapping[str, bool],
    taps: list[float],
) -> "partial[dict[str, Tensor]]":
    """Find the place of every variable; ``filters`` and ``taps`` are those of `_converted`.

    Raises:
        GaneditError: A variable has none, or has another number of axes.
    """
    places: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {}
    for key, tensor in stored.items():
        for pattern, ours, change in rules:
            match = re.fullmatch(pattern, key)
            if match is not None:
                places[key] = (_noise_key(match.expand(ours)), change)
                break
        else:
            raise GaneditError(f"{name}: variable {key:.80} has no place in StyleGAN2")
        rank = _RANKS.get(change, len(tensor.shape))
        if len(tensor.shape) != rank or 0 in tensor.shape:
            raise GaneditError(
                f"{name}: variable {key:.80}: expected {rank} axes, got {list(tensor.shape)}"
            )
    return partial(_converted, places=places, filters=filters, taps=taps)


def _noise_key(ours: str) -> str:
    """Return the key of a noise map from its number; other keys stay."""
    if not ours.startswith("noise"):
        return ours
    number = int(ours.removeprefix("noise"))
    if number == 0:
        return "synthesis.b4.conv1.noise_const"
    return f"synthesis.b{8 << ((number - 1) // 2)}.conv{(number - 1) % 2}.noise_const"


def _converted(
    variables: Mapping[str, Tensor],
    *,
    places: Mapping[str, tuple[str, Callable[[Tensor], Tensor]]],
    filters: Mapping[str, bool],
    taps: list[float],
) -> dict[str, Tensor]:
    """Return our state dict; ``filters`` tells which filters are those of the configuration."""
    state = {ours: change(variables[key]) for key, (ours, change) in places.items()}
    own, usual = setup_filter(taps), setup_filter([1, 3, 3, 1])
    return state | {key: own if configured else usual for key, configured in filters.items()}


def _resolutions(img_resolution: int) -> list[int]:
    return [2**i for i in range(2, max(img_resolution, 0).bit_length())]


def _generator_filters(img_resolution: int, architecture: str) -> dict[str, bool]:
    filters: dict[str, bool] = {}
    for resolution in _resolutions(img_resolution):
        block = f"synthesis.b{resolution}"
        filters |= {f"{block}.resample_filter": True, f"{block}.conv1.resample_filter": False}
        if resolution > 4:
            filters[f"{block}.conv0.resample_filter"] = True
            if architecture == "resnet":
                filters[f"{block}.skip.resample_filter"] = True
    return filters


def _discriminator_filters(img_resolution: int, architecture: str) -> dict[str, bool]:
    filters = {"b4.conv.resample_filter": False}
    if architecture == "skip":
        filters["b4.fromrgb.resample_filter"] = False
    for resolution in _resolutions(img_resolution)[1:]:
        block = f"b{resolution}"
        filters |= {f"{block}.resample_filter": True, f"{block}.conv0.resample_filter": False}
        filters[f"{block}.conv1.resample_filter"] = True
        if architecture == "skip" or resolution == img_resolution:
            filters[f"{block}.fromrgb.resample_filter"] = False
        if architecture == "resnet":
            filters[f"{block}.skip.resample_filter"] = True
    return filters
