"""Files of encoders and mappers that carry the generator which they were trained for.

pSp, e4e, SAM and StyleCLIP's mappers store one state dict of all their networks, told apart by the
first part of the key. The ``decoder`` is rosinality's generator; the encoders are ours under the
same names.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from ganedit.checkpoints.contents import (
    LONGEST_PROMPT,
    Contents,
    Part,
    StoredEncoder,
    StoredMapper,
    count_parameters,
    leftover,
    plain,
    text,
    without_parallel,
)
from ganedit.checkpoints.rosinality import generator_part, holds_generator
from ganedit.encoders import LEVELS, PYRAMID_RESOLUTION
from ganedit.io.stored import StoredTensor

_DECODER = "decoder"
_ENCODERS = ("encoder", "pretrained_encoder")
_COMPANIONS = (*_ENCODERS, "mapper")
_READ = ("state_dict", "latent_avg", "opts")
_HEAD = re.compile(r"styles\.\d+\.linear\.weight")
_LARGEST_SIZE = 1 << 13
_MAPPING = re.compile(r"(course_|medium_|fine_)?mapping\.mapping\.1\.weight")
_STYLE_MAPPING = re.compile(r"mapper_\d+\.mapping\.1\.weight")


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
    known = any(name in networks for name in _COMPANIONS) and isinstance(opts, dict)
    if decoder is None and not known:
        return None
    opts = opts if isinstance(opts, dict) else {}
    average = value.get("latent_avg")
    average = average if isinstance(average, StoredTensor) else None
    family = _family(networks, opts)
    training = plain(opts)
    generator = None if decoder is None else generator_part(_DECODER, decoder, average)
    num_ws = _num_ws(generator, opts)
    encoders = _encoders(networks, opts, num_ws=num_ws, average=average)
    if family == "SAM":
        encoders = _with_age(encoders, opts)
    mapper = None
    if "mapper" in networks:
        mapper = _mapper(networks["mapper"], opts, num_ws=num_ws)
    read = {name for names in encoders for name in names}
    read |= set() if mapper is None else {"mapper"}
    others = [
        _described(name, tensors, opts) for name, tensors in networks.items() if name not in read
    ]
    for key, item in value.items():
        if key in _READ:
            continue
        if isinstance(item, (int, float)):
            training[text(key)] = plain(item)
        else:
            others.append(leftover(key, item))
    return Contents(
        family=family,
        generator=generator,
        encoders=tuple(encoders.values()),
        mapper=mapper,
        training=training,
        others=tuple(others),
    )


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


def _num_ws(generator: Part | None, opts: Mapping[Any, Any]) -> int:
    """Return the latents of the generator: of the one in the file, or as the options tell."""
    size = opts.get("output_size", opts.get("stylegan_size", 1024))
    if generator is not None:
        size = generator.config["img_resolution"]
    if not isinstance(size, int) or not 4 <= size <= _LARGEST_SIZE:
        size = 1024
    return 2 * int(math.log2(size)) - 2


def _encoders(
    networks: Mapping[str, Mapping[str, Any]],
    opts: Mapping[Any, Any],
    *,
    num_ws: int,
    average: StoredTensor | None,
) -> dict[tuple[str, ...], StoredEncoder]:
    """Return the encoders of a bundle by the names of the networks that each is made of."""
    found: dict[tuple[str, ...], StoredEncoder] = {}
    for name in _ENCODERS:
        if name in networks:
            encoder = _encoder(name, networks[name], opts, num_ws=num_ws, average=average)
            if encoder is not None:
                found[name,] = encoder
    return found


def _with_age(
    encoders: dict[tuple[str, ...], StoredEncoder], opts: Mapping[Any, Any]
) -> dict[tuple[str, ...], StoredEncoder]:
    """Return SAM's two encoders as the one that they are together.

    Its own starts from the average latent, or else from what the pretrained one finds.
    """
    own, other = (encoders.get((name,)) for name in _ENCODERS)
    if own is None or own.part.config["in_channels"] != 4 or "space" in own.part.config:
        return encoders
    from_average = bool(opts.get("start_from_latent_avg", other is None))
    pretrained = not from_average and bool(opts.get("start_from_encoded_w_plus", other is not None))
    names = _ENCODERS if pretrained and other is not None else _ENCODERS[:1]
    stored = {
        f"{name}.{key}": tensor
        for name in names
        for key, tensor in encoders[name,].part.stored.items()
    }
    config = {"num_ws": own.part.config["num_ws"], "pretrained": pretrained}
    part = Part("encoder", "encoder", "AgeEncoder", config, stored)
    relative = from_average or pretrained
    together = StoredEncoder(part, own.resolution, relative=relative, average=own.average)
    return {names: together}


def _encoder(
    name: str,
    state: Mapping[str, Any],
    opts: Mapping[Any, Any],
    *,
    num_ws: int,
    average: StoredTensor | None,
) -> StoredEncoder | None:
    """Return an encoder with its options; None where the tensors are not of a known one.

    The tensors say which it is; the options, which old files lack, only tell e4e's from pSp's.
    """
    stored = {key: tensor for key, tensor in state.items() if isinstance(tensor, StoredTensor)}
    first = stored.get("input_layer.0.weight")
    if first is None or len(first.shape) != 4:
        return None
    config: dict[str, Any] = {"num_ws": num_ws, "in_channels": first.shape[1]}
    heads = sum(_HEAD.fullmatch(key) is not None for key in stored)
    if heads:
        config["num_ws"] = heads
        own_kind = opts.get("encoder_type") if name == "encoder" else None
        of_e4e = own_kind == "Encoder4Editing" or (own_kind is None and "stylegan_size" in opts)
        architecture = "Encoder4Editing" if of_e4e else "GradualStyleEncoder"
    elif "linear.weight" in stored:
        architecture = "BackboneEncoder"
        config["space"] = "w+" if "output_layer_2.0.weight" in stored else "w"
    else:
        return None
    return StoredEncoder(
        Part(name, "encoder", architecture, config, stored),
        resolution=PYRAMID_RESOLUTION,
        relative=name != "encoder" or bool(opts.get("start_from_latent_avg", True)),
        average=average,
    )


def _mapper(
    state: Mapping[str, Any], opts: Mapping[Any, Any], *, num_ws: int
) -> StoredMapper | None:
    """Return a mapper with its options; None where the tensors are not of a known one.

    The tensors say which levels it has: those that the options turn off are not in the file.
    """
    stored = {key: tensor for key, tensor in state.items() if isinstance(tensor, StoredTensor)}
    found = [match for match in map(_MAPPING.fullmatch, stored) if match]
    prompt = opts.get("description")
    prompt = text(prompt, length=LONGEST_PROMPT) if isinstance(prompt, str) else None
    if not found:
        if not any(map(_STYLE_MAPPING.fullmatch, stored)):
            return None
        # They change the styles, not the latents: described, and refused when built.
        return StoredMapper(Part("mapper", "mapper", "StyleSpaceMapper", {}, stored), prompt)
    shape = stored[found[0][0]].shape
    config: dict[str, Any] = {"num_ws": num_ws, "w_dim": shape[1] if len(shape) == 2 else 0}
    architecture = "SingleMapper"
    if found[0][1]:
        architecture = "LevelsMapper"
        initials = {match[1][0] for match in found if match[1]}
        config["levels"] = [level for level in LEVELS if level[0] in initials]
    return StoredMapper(Part("mapper", "mapper", architecture, config, stored), prompt)


def _described(name: str, tensors: Mapping[str, Any], opts: Mapping[Any, Any]) -> str:
    kind = opts.get("encoder_type" if name == "encoder" else f"{name}_type")
    label = f"{text(name)} {text(kind)}" if isinstance(kind, str) else text(name)
    held = [tensor for tensor in tensors.values() if isinstance(tensor, StoredTensor)]
    return f"{label} ({count_parameters(held)})"
