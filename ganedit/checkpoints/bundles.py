"""Files of encoders and mappers that carry the generator which they were trained for.

pSp, e4e, SAM and StyleCLIP's mappers store one state dict of all their networks, told apart by the
first part of the key. The ``decoder`` is rosinality's generator.
"""

from collections.abc import Mapping
from typing import Any

from ganedit.checkpoints.contents import (
    Contents,
    count_parameters,
    leftover,
    plain,
    text,
    without_parallel,
)
from ganedit.checkpoints.rosinality import generator_part, holds_generator
from ganedit.io.stored import StoredTensor

_DECODER = "decoder"
_ENCODERS = ("encoder", "pretrained_encoder", "mapper")
_READ = ("state_dict", "latent_avg", "opts")


def recognise(value: Any) -> Contents | None:
    """Return what a file of pSp, e4e, SAM or StyleCLIP holds; None if it is none.

    Args:
        value: Plain data of the file: ``state_dict``, ``opts`` and often ``latent_avg``.

    Raises:
        GaneditError: It is one, but its generator is damaged.
    """
    if not isinstance(value, dict) or not isinstance(value.get("state_dict"), dict):
        return None
    networks = _by_network(value["state_dict"])
    decoder = networks.pop(_DECODER, None)
    if not holds_generator(decoder):
        decoder = None
    opts = value.get("opts")
    known = any(name in networks for name in _ENCODERS) and isinstance(opts, dict)
    if decoder is None and not known:
        return None
    opts = opts if isinstance(opts, dict) else {}
    average = value.get("latent_avg")
    average = average if isinstance(average, StoredTensor) else None
    family = _family(networks, opts)
    training = plain(opts)
    others = [_described(name, tensors, opts) for name, tensors in networks.items()]
    for key, item in value.items():
        if key in _READ:
            continue
        if isinstance(item, (int, float)):
            training[text(key)] = plain(item)
        else:
            others.append(leftover(key, item))
    generator = None if decoder is None else generator_part(_DECODER, decoder, average)
    return Contents(family=family, generator=generator, training=training, others=tuple(others))


def _by_network(state: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Split a state dict by the first part of its keys."""
    networks: dict[str, dict[str, Any]] = {}
    for key, tensor in without_parallel(state).items():
        if isinstance(key, str):
            name, _, rest = key.partition(".")
            networks.setdefault(name, {})[rest] = tensor
    return networks


def _family(networks: Mapping[str, Any], opts: Mapping[Any, Any]) -> str:
    if "mapper" in networks:
        return "StyleCLIP mapper"
    if "pretrained_encoder" in networks or "start_from_encoded_w_plus" in opts:
        return "SAM"
    if "encoder" not in networks:
        return "rosinality (as a decoder)"
    # pSp calls the size of its generator output_size.
    if opts.get("encoder_type") == "Encoder4Editing" or "stylegan_size" in opts:
        return "e4e"
    return "pSp"


def _described(name: str, tensors: Mapping[str, Any], opts: Mapping[Any, Any]) -> str:
    kind = opts.get("encoder_type" if name == "encoder" else f"{name}_type")
    label = f"{text(name)} {text(kind)}" if isinstance(kind, str) else text(name)
    held = [tensor for tensor in tensors.values() if isinstance(tensor, StoredTensor)]
    return f"{label} ({count_parameters(held)})"
