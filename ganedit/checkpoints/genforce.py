"""genforce's StyleGAN2 generators, which keep the orientation and offsets of TensorFlow's."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganedit.checkpoints.contents import Contents, Part, Stored, leftover, text
from ganedit.checkpoints.rosinality import channel_options
from ganedit.errors import GaneditError
from ganedit.io.stored import StoredTensor
from ganedit.ops import setup_filter

_NAMES = ("generator_smooth", "generator")
_MOST_RESOLUTIONS = 12


def recognise(value: Any) -> Contents | None:
    """Return what a file of genforce's code holds; None if it is none.

    Args:
        value: Plain data of the file: a dict with ``generator_smooth`` or ``generator``.

    Raises:
        GaneditError: It is one, but with options that cannot be read.
    """
    if not isinstance(value, dict):
        return None
    names = [name for name in _NAMES if _holds_generator(value.get(name))]
    if not names:
        return None
    parts = [_part(name, value[name]) for name in names]
    others = [leftover(key, item) for key, item in value.items() if key not in names]
    return Contents(
        family="genforce",
        generator=parts[0],
        raw_generator=parts[1] if len(parts) > 1 else None,
        others=tuple(others),
    )


def _holds_generator(value: Any) -> bool:
    wanted = ("mapping.dense0.weight", "synthesis.early_layer.const", "synthesis.output0.weight")
    return isinstance(value, dict) and all(isinstance(value.get(n), StoredTensor) for n in wanted)


def _part(name: str, tensors: Mapping[Any, Any]) -> Part:
    stored: dict[str, Stored] = {}
    for key, tensor in tensors.items():
        if not isinstance(key, str) or not isinstance(tensor, StoredTensor):
            raise GaneditError(f"{name}: {text(key)} is {text(tensor, length=60)}, no tensor")
        if not key.endswith(".kernel"):  # always the filter [1, 3, 3, 1] in this code
            stored[key] = tensor
    try:
        state = _converted({key: tensor.meta() for key, tensor in stored.items()})
        config = _config(name, state)
    except (RuntimeError, IndexError, KeyError) as error:
        raise GaneditError(f"{name}: a tensor is missing or of a wrong shape") from error
    return Part(name, "generator", "stylegan2", config, stored, _converted)


def _config(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    blocks = sum(key.endswith(".torgb.bias") for key in state)
    if blocks > _MOST_RESOLUTIONS:
        raise GaneditError(f"{name}: {blocks} resolutions; at most {_MOST_RESOLUTIONS} can be read")
    sizes = [4 << k for k in range(blocks)]
    channels = {size: state[f"synthesis.b{size}.conv1.bias"].shape[0] for size in sizes}
    w_dim = state["mapping.w_avg"].shape[0]
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.bias", key)) for key in state)
    width = state["mapping.fc0.bias"].shape[0]
    return {
        "z_dim": state["mapping.fc0.weight"].shape[1],
        "w_dim": w_dim,
        "img_resolution": sizes[-1],
        "img_channels": state["synthesis.b4.torgb.bias"].shape[0],
        "mapping_layers": layers,
        "mapping_features": None if width == w_dim or layers == 1 else width,
        **channel_options(channels),
    }


def _converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our state dict."""
    state: dict[str, Tensor] = {}
    for key, value in tensors.items():
        state |= _renamed(key, value)
    for key in list(state):
        if key.endswith((".conv0.bias", ".conv1.bias")):
            state[key.removesuffix("bias") + "resample_filter"] = setup_filter([1, 3, 3, 1])
        if key.endswith(".torgb.bias"):
            block = key.removesuffix("torgb.bias")
            state[f"{block}resample_filter"] = setup_filter([1, 3, 3, 1])
    return state


def _renamed(key: str, value: Tensor) -> dict[str, Tensor]:
    """Return one tensor under our key.

    Raises:
        GaneditError: It has no counterpart.
    """
    if key == "truncation.w_avg":
        return {"mapping.w_avg": value}
    if key == "synthesis.early_layer.const":
        return {"synthesis.b4.const": value[0]}
    if (dense := re.fullmatch(r"mapping\.dense(\d{1,3})\.(weight|bias)", key)) is not None:
        return {f"mapping.fc{dense[1]}.{dense[2]}": value}
    found = re.fullmatch(r"synthesis\.(layer|output)(\d{1,2})\.([a-z_.]+)", key)
    names = {
        "weight": "weight",
        "bias": "bias",
        "style.weight": "affine.weight",
        "style.bias": "affine.bias",
        "noise": "noise_const",
        "noise_strength": "noise_strength",
    }
    if found is None or found[3] not in names:
        raise GaneditError(f"tensor {text(key)} of the generator has no place in StyleGAN2")
    number = int(found[2])
    if found[1] == "output":
        ours = f"synthesis.b{4 << number}.torgb"
    else:
        ours = f"synthesis.b{4 << ((number + 1) // 2)}.conv{(number + 1) % 2}"
    return {f"{ours}.{names[found[3]]}": _adapted(value, found[3], found[1] == "layer", number)}


def _adapted(value: Tensor, kind: str, convolution: bool, number: int) -> Tensor:
    """Return what a tensor of a layer is in our orientation."""
    if kind == "style.bias":
        return value + 1
    if kind == "noise":
        return value[0, 0]
    if kind == "weight" and convolution and number % 2 == 1:
        return torch.flip(value, (2, 3))  # an upsampling layer
    return value
