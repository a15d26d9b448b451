"""Networks that NVlabs' PyTorch code bases pickle: which a file holds, and how to build them.

Such a network is a tree of records, one a module, each with the module's attributes. What decides
the numbers is read from the attributes, because the defaults of constructor arguments differ
between the code bases and tools change attributes later; only what no attribute tells is taken
from the arguments. An argument of unknown meaning is an error, never ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganedit.checkpoints.contents import (
    MOST_TENSORS,
    Contents,
    Part,
    Stored,
    count_parameters,
    leftover,
    plain,
    text,
)
from ganedit.errors import GaneditError
from ganedit.generators.options import LONGEST_FILTER
from ganedit.io.safe_pickle import Record
from ganedit.io.stored import StoredTensor
from ganedit.three_d.cameras import FFHQ_FOCAL

_PERSISTENT = "torch_utils.persistence"
_NETWORKS = ("G_ema", "G", "D")
_LARGEST_NUMBER = 1 << 53
_MOST_MODULES = 10_000
_DEEPEST = 32

# Arguments that change speed or memory, or how training goes on, but no number of the network.
_NEUTRAL = ("num_fp16_res", "fused_modconv_default", "fp16_channels_last", "use_fp16")
_SIZES = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
_MAPPING = (
    "num_layers",
    "embed_features",
    "layer_features",
    "activation",
    "lr_multiplier",
    "w_avg_beta",
)
_SYNTHESIS = (
    "channel_base",
    "channel_max",
    "architecture",
    "resample_filter",
    "conv_clamp",
    "kernel_size",
    "use_noise",
    "activation",
    *_NEUTRAL,
)
_ALIAS_FREE = {
    "channel_base": 32768,
    "channel_max": 512,
    "num_layers": 14,
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "conv_kernel": 3,
    "filter_size": 6,
    "lrelu_upsampling": 2,
    "use_radial_filters": False,
    "conv_clamp": 256,
    "magnitude_ema_beta": 0.999,
}
_DISCRIMINATOR = (
    "c_dim",
    "img_resolution",
    "img_channels",
    "architecture",
    "channel_base",
    "channel_max",
    "num_fp16_res",
    "conv_clamp",
    "cmap_dim",
    "block_kwargs",
    "mapping_kwargs",
    "epilogue_kwargs",
)

_CRITICS = ("Discriminator", "DualDiscriminator")

# EG3D: options of the rendering that change numbers, and those of the training.
_RENDERING = (
    "depth_resolution",
    "depth_resolution_importance",
    "ray_start",
    "ray_end",
    "box_warp",
    "disparity_space_sampling",
    "clamp_mode",
    "density_noise",
    "white_back",
    "avg_camera_radius",
    "avg_camera_pivot",
    "c_scale",
    "c_gen_conditioning_zero",
    "superresolution_module",
    "superresolution_noise_mode",
    "sr_antialias",
    "decoder_lr_mul",
)
_RENDERING_TRAINING = (
    "image_resolution",
    "gpc_reg_prob",
    "density_reg",
    "density_reg_p_dist",
    "reg_type",
)
# What a network of planes has in our class, where StyleGAN2 at large has a choice.
_BACKBONE = {
    "c_dim": 25,
    "mapping_lr_multiplier": 0.01,
    "mapping_activation": "lrelu",
    "mapping_features": None,
    "embed_features": None,
    "architecture": "skip",
    "resample_filter": [1, 3, 3, 1],
    "use_noise": True,
    "activation": "lrelu",
}
_FIRST_PLANES = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]]
_THIRD_PLANE = {
    "shipped": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
    "fixed": [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
}
# The modules that enlarge: the side of what they take, and whether more rays are shrunk to it.
_SUPERRESOLUTIONS = {
    "SuperresolutionHybrid8XDC": (128, True),
    "SuperresolutionHybrid8X": (128, True),
    "SuperresolutionHybrid4X": (128, False),
    "SuperresolutionHybrid2X": (64, True),
}
_SUPERRESOLUTION = (
    "channels",
    "img_resolution",
    "sr_num_fp16_res",
    "sr_antialias",
    "conv_clamp",
    "channel_base",
    "channel_max",
    *_NEUTRAL,
)
_SHAPENET_RADIUS, _SHAPENET_FOCAL = 1.7, 1.7074


def recognise(value: Any) -> Contents | None:
    """Return what a file of NVlabs' PyTorch projects holds; None if it is none.

    Args:
        value: Plain data of the file: a dict with ``G``, ``D`` and ``G_ema``, of which any may be
            missing or None, or one network that a tool has pickled on its own.

    Raises:
        GaneditError: It is one, but a network has options that ganedit does not know.
    """
    if _is_network(value):
        name = "D" if "b4" in _Module(value, "").children else "G"
        value = {name: value}
    if not isinstance(value, dict):
        return None
    networks = {name: value[name] for name in _NETWORKS if _is_network(value.get(name))}
    if not networks:
        return None
    modules = {name: _Module(record, name) for name, record in networks.items()}
    generators = [_generator(name, modules[name]) for name in ("G_ema", "G") if name in modules]
    training = {}
    if isinstance(value.get("training_set_kwargs"), dict):
        training["training_set_kwargs"] = plain(value["training_set_kwargs"])
    training |= {f"{name} arguments": plain(m.arguments()) for name, m in modules.items()}
    critic, others = _critic(modules.get("D"), needed=not generators)
    return Contents(
        family=_family(modules),
        generator=generators[0] if generators else None,
        raw_generator=generators[1] if len(generators) > 1 else None,
        discriminator=critic,
        training=training,
        others=(*others, *_others(value)),
    )


def _is_network(value: Any) -> bool:
    return isinstance(value, Record) and value.kind.module == _PERSISTENT


class _Module:
    """One pickled module: its attributes, its tensors and its submodules."""

    def __init__(self, record: Record, path: str) -> None:
        self.kind = text(record.kind.name, length=60)
        self.path = path
        self.state = _dict(record.state)
        self._record = record
        self.children: dict[str, Record] = {
            text(name): child
            for name, child in _dict(self.state.get("_modules")).items()
            if isinstance(child, Record)
        }

    def child(self, name: str) -> "_Module":
        """Return a submodule.

        Raises:
            GaneditError: There is none of this name.
        """
        if name not in self.children:
            raise GaneditError(
                f"{self.path}: a {self.kind} without {name}; its kind of network is not known"
            )
        return _Module(self.children[name], f"{self.path}.{name}")

    def named(self, start: str) -> list["_Module"]:
        """Return the submodules whose name is ``start`` and a number, in their order."""
        found = [n for n in self.children if n.startswith(start) and n[len(start) :].isdecimal()]
        return [self.child(name) for name in found]

    def own_tensors(self) -> dict[str, StoredTensor]:
        """Return the parameters and persistent buffers of this module alone."""
        held = {**_dict(self.state.get("_parameters")), **_dict(self.state.get("_buffers"))}
        left_out = self.state.get("_non_persistent_buffers_set")
        left_out = left_out if isinstance(left_out, (set, frozenset, list)) else ()
        return {
            text(name): tensor
            for name, tensor in held.items()
            if isinstance(tensor, StoredTensor) and name not in left_out
        }

    def tensors(self) -> dict[str, Stored]:
        """Return all tensors under their state-dict keys.

        Raises:
            GaneditError: The tree is deeper or larger than any network.
        """
        found: dict[str, Stored] = {}
        pending = [("", self, 0)]
        for _ in range(_MOST_MODULES):
            if not pending:
                return found
            prefix, module, depth = pending.pop()
            if depth > _DEEPEST or len(found) > MOST_TENSORS:
                break
            found |= {prefix + name: tensor for name, tensor in module.own_tensors().items()}
            pending += [
                (f"{prefix}{name}.", _Module(child, f"{self.path}.{name}"), depth + 1)
                for name, child in reversed(module.children.items())
            ]
        raise GaneditError(f"{self.path}: its modules are too many, too deep, or without end")

    def arguments(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Return the constructor arguments; ``names`` are those of the positional ones.

        Raises:
            GaneditError: They are no arguments.
        """
        args, kwargs = self.state.get("_init_args", ()), self.state.get("_init_kwargs", {})
        if not isinstance(args, tuple) or not isinstance(kwargs, dict):
            raise GaneditError(f"{self.path}: its constructor arguments are damaged")
        if names and len(args) > len(names):
            raise GaneditError(
                f"{self.path}: expected at most {len(names)} positional arguments, got {len(args)}"
            )
        return {**dict(zip(names, args, strict=False)), **{text(k): v for k, v in kwargs.items()}}


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class _Layer:
    """What the convolutions of a network have in common."""

    activation: Any
    conv_clamp: Any
    use_noise: Any = True


def _generator(name: str, module: _Module) -> Part:
    """Return a generator of any family, as a part named ``name``."""
    if "backbone" in module.children:
        return _triplane(name, module)
    synthesis = module.child("synthesis")
    build = _alias_free_config if "input" in synthesis.children else _generator_config
    config = build(module)
    tensors = module.tensors()
    has_average = "mapping.w_avg" in tensors
    return Part(
        name=name,
        role="generator",
        architecture="stylegan3" if "input" in synthesis.children else "stylegan2",
        config=config,
        stored=tensors,
        convert=partial(_converted, w_dim=None if has_average else config["w_dim"]),
        has_average=has_average,
    )


def _converted(
    tensors: Mapping[str, Tensor], *, w_dim: int | None, prefix: str = ""
) -> dict[str, Tensor]:
    """Return our state dict; ``w_dim`` is that of a generator whose file has no average.

    ``prefix`` is that of its mapping network.
    """
    state = dict(tensors)
    for key, value in tensors.items():
        if key.endswith("resample_filter") and value.ndim == 1:
            if value.numel() > LONGEST_FILTER:
                raise GaneditError(f"{key:.80}: a filter of {value.numel()} taps")
            state[key] = torch.outer(value, value)  # the original keeps long filters separated
    if w_dim is not None:
        state[f"{prefix}mapping.w_avg"] = torch.zeros(w_dim)
    return state


def _generator_config(module: _Module) -> dict[str, Any]:
    """Return the arguments of our StyleGAN2 generator."""
    arguments = module.arguments([*_SIZES, "mapping_kwargs", "synthesis_kwargs"])
    mapping_arguments = _options(arguments, "mapping_kwargs", module)
    # stylegan2-ada-pytorch nests the options of the synthesis, stylegan3 has them flat.
    options = {**_options(arguments, "synthesis_kwargs", module), **arguments}
    _refuse_unknown(options, (*_SIZES, *_SYNTHESIS), module)
    if options.get("kernel_size", 3) != 3:
        raise GaneditError(f"{module.path}: kernel_size {_short(options['kernel_size'])}, not 3")
    synthesis = module.child("synthesis")
    blocks = synthesis.named("b")
    layer = _common_layer(blocks, ("conv0", "conv1"), ("torgb",))
    sizes = _sizes(module, arguments)
    return {
        **sizes,
        **_mapping_config(module, mapping_arguments, sizes["w_dim"]),
        **_channels(options, module),
        "architecture": _common(blocks, "architecture", options.get("architecture", "skip")),
        "resample_filter": _taps(options.get("resample_filter", [1, 3, 3, 1]), module),
        "use_noise": layer.use_noise,
        "activation": layer.activation,
        "conv_clamp": layer.conv_clamp,
    }


def _sizes(module: _Module, arguments: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: _whole(module, name, module.state.get(name, arguments.get(name))) for name in _SIZES
    }


def _channels(options: Mapping[str, Any], module: _Module) -> dict[str, int]:
    return {
        "channel_base": _whole(module, "channel_base", options.get("channel_base", 32768)),
        "channel_max": _whole(module, "channel_max", options.get("channel_max", 512)),
    }


def _mapping_config(module: _Module, arguments: Mapping[str, Any], w_dim: int) -> dict[str, Any]:
    """Return the arguments of our networks that concern the mapping."""
    _refuse_unknown(arguments, _MAPPING, module)
    mapping = module.child("mapping")
    layers = mapping.named("fc")
    config: dict[str, Any] = {"mapping_layers": len(layers)}
    if layers:
        first = layers[0]
        rate = first.state.get("bias_gain", arguments.get("lr_multiplier", 0.01))
        config["mapping_lr_multiplier"] = _number(mapping, "lr_multiplier", rate)
        config["mapping_activation"] = _common(layers, "activation", "lrelu")
        width = _rows(first)
        config["mapping_features"] = None if len(layers) == 1 or width == w_dim else width
    if "embed" in mapping.children:
        width = _rows(mapping.child("embed"))
        config["embed_features"] = None if width == w_dim else width
    beta = mapping.state.get("w_avg_beta")
    if beta is not None:
        config["w_avg_beta"] = _number(mapping, "w_avg_beta", beta)
    return config


def _rows(layer: _Module) -> int:
    weight = layer.own_tensors().get("weight")
    if weight is None or len(weight.shape) != 2:
        raise GaneditError(f"{layer.path}: a linear layer without a weight")
    return weight.shape[0]


def _common_layer(
    blocks: Sequence[_Module], activated: Sequence[str], others: Sequence[str] = ()
) -> _Layer:
    """Return what the convolutions of the blocks share; ``others`` have no activation."""
    layers = [b.child(name) for b in blocks for name in activated if name in b.children]
    clamped = layers + [b.child(name) for b in blocks for name in others if name in b.children]
    clamp = _common(clamped, "conv_clamp", None)
    return _Layer(
        activation=_common(layers, "activation", "lrelu"),
        conv_clamp=None if clamp is None else _number(clamped[0], "conv_clamp", clamp),
        use_noise=_common(layers, "use_noise", True),
    )


def _common(modules: Iterable[_Module], name: str, default: Any) -> Any:
    """Return an attribute that must be the same in all modules.

    Raises:
        GaneditError: It is not, or it is neither a number nor a text.
    """
    found = default
    for index, module in enumerate(modules):
        value = module.state.get(name, default)
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise GaneditError(f"{module.path}: {name} is {_short(value)}, not an option")
        if index and value != found:
            raise GaneditError(
                f"{module.path}: {name} is {_short(value)}, in other layers {_short(found)};"
                " expected one value in all"
            )
        found = value
    return found


def _alias_free_config(module: _Module) -> dict[str, Any]:
    """Return the arguments of our StyleGAN3 generator."""
    arguments = module.arguments([*_SIZES, "mapping_kwargs"])
    mapping_arguments = _options(arguments, "mapping_kwargs", module)
    _refuse_unknown(arguments, (*_SIZES, *_ALIAS_FREE, *_NEUTRAL), module)
    synthesis = module.child("synthesis")
    layers = [synthesis.child(n) for n in synthesis.children if n.startswith("L")]
    options: dict[str, Any] = {}
    for name, default in _ALIAS_FREE.items():
        given = synthesis.state.get(name, arguments.get(name, default))
        if name in ("conv_clamp", "magnitude_ema_beta"):
            given = _common(layers, name, given)
        options[name] = _option_like(module, name, given, default)
    sizes = _sizes(module, arguments)
    mapping = _mapping_config(module, mapping_arguments, sizes["w_dim"])
    if mapping.get("mapping_features") or mapping.get("embed_features"):
        raise GaneditError(f"{module.path}: mapping layers of another width than w_dim")
    if mapping.get("mapping_activation", "lrelu") != "lrelu":
        raise GaneditError(f"{module.path}: mapping layers with {mapping['mapping_activation']}")
    kept = ("mapping_layers", "mapping_lr_multiplier", "w_avg_beta")
    return {**sizes, **{key: mapping[key] for key in kept if key in mapping}, **options}


def _option_like(module: _Module, name: str, value: Any, default: Any) -> Any:
    """Return an option with the type of its default."""
    if value is None and name == "conv_clamp":
        return None
    if isinstance(default, bool):
        return _truth(module, name, value)
    if isinstance(default, int) and name not in ("conv_clamp", "first_cutoff"):
        return _whole(module, name, value)
    return _number(module, name, value)


def _critic(module: _Module | None, *, needed: bool) -> tuple[Part | None, list[str]]:
    """Return the discriminator, or what to say of one that cannot be used."""
    if module is None:
        return None, []
    if module.kind not in _CRITICS:  # others read features
        return None, [_described("discriminator", module)]
    try:
        return _discriminator(module), []
    except GaneditError as error:
        if needed:
            raise
        return None, [f"a discriminator that cannot be used ({error})"]


def _discriminator(module: _Module) -> Part:
    """Return a StyleGAN2 discriminator, which StyleGAN3 is trained with, too.

    EG3D's reads two pictures, one over the other, and has a filter that prepares the second.
    """
    arguments = module.arguments(_DISCRIMINATOR)
    arguments.pop("disc_c_noise", None)  # blurs what it is told in trainings
    _refuse_unknown(arguments, _DISCRIMINATOR, module)
    block = _options(arguments, "block_kwargs", module)
    epilogue = _options(arguments, "epilogue_kwargs", module)
    mapping_arguments = _options(arguments, "mapping_kwargs", module)
    freezing = ("activation", "resample_filter", "freeze_layers", *_NEUTRAL)
    _refuse_unknown(block, freezing, module)
    _refuse_unknown(epilogue, ("mbstd_group_size", "mbstd_num_channels", "activation"), module)
    blocks = [b for b in module.named("b") if not b.path.endswith(".b4")]
    last = module.child("b4")
    layer = _common_layer(blocks, ("fromrgb", "conv0", "conv1"))
    final = [last.child(name) for name in ("fromrgb", "conv", "fc") if name in last.children]
    clamp = last.child("conv").state.get("conv_clamp", layer.conv_clamp)
    if blocks and clamp != layer.conv_clamp:
        raise GaneditError(f"{last.path}: conv_clamp {_short(clamp)} differs from the other blocks")
    config: dict[str, Any] = {
        **{
            name: _whole(module, name, module.state.get(name, arguments.get(name)))
            for name in ("c_dim", "img_resolution", "img_channels")
        },
        **_channels(arguments, module),
        "architecture": _common(blocks, "architecture", arguments.get("architecture", "resnet")),
        "resample_filter": _taps(block.get("resample_filter", [1, 3, 3, 1]), module),
        "activation": layer.activation,
        "epilogue_activation": _common(final, "activation", "lrelu"),
        "conv_clamp": layer.conv_clamp,
        **_statistics(last),
    }
    frozen = _whole(module, "freeze_layers", block.get("freeze_layers", 0))
    config["freeze_layers"] = max(0, min(frozen, sum(len(b.children) for b in blocks)))
    if "mapping" in module.children:
        width = _rows(last.child("out"))
        config["cmap_dim"] = width
        mapping = _mapping_config(module, mapping_arguments, width)
        config |= {key: entry for key, entry in mapping.items() if key != "w_avg_beta"}
    tensors = module.tensors()
    tensors.pop("resample_filter", None)
    return Part("D", "discriminator", "stylegan2", config, tensors, _without_average)


def _without_average(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return _converted(tensors, w_dim=None)


def _statistics(epilogue: _Module) -> dict[str, Any]:
    """Return the options of the minibatch statistics."""
    if "mbstd" not in epilogue.children:
        return {"mbstd_num_channels": 0}
    layer = epilogue.child("mbstd")
    group = layer.state.get("group_size")
    return {
        "mbstd_group_size": None if group is None else _whole(layer, "group_size", group),
        "mbstd_num_channels": _whole(layer, "num_channels", layer.state.get("num_channels", 1)),
    }


def _triplane(name: str, module: _Module) -> Part:
    """Return an EG3D generator, as a part named ``name``."""
    order = [*_SIZES, "sr_num_fp16_res", "mapping_kwargs", "rendering_kwargs", "sr_kwargs"]
    arguments = module.arguments(order)
    # Tools change both after the network is made; the constructor starts at 64 rays.
    options = {**arguments, **module.state}
    rays = options.get("neural_rendering_resolution", 64)
    rendering = _options(options, "rendering_kwargs", module)
    _refuse_unknown(rendering, (*_RENDERING, *_RENDERING_TRAINING), module)
    tensors = module.tensors()
    tensors.pop("superresolution.resample_filter", None)  # the original keeps it and never uses it
    has_average = "backbone.mapping.w_avg" in tensors
    config = {
        **_backbone_config(module),
        "img_resolution": _whole(module, "img_resolution", options.get("img_resolution")),
        "neural_resolution": _whole(module, "neural_rendering_resolution", rays),
        "plane_axes": _plane_axes(module.child("renderer")),
        **_decoder_config(module.child("decoder").child("net")),
        **_ray_config(module, rendering),
        **_camera_config(module, rendering),
    }
    config |= _superresolution_config(
        module.child("superresolution"), rendering, config["img_resolution"]
    )
    return Part(
        name=name,
        role="generator",
        architecture="triplane",
        config=config,
        stored=tensors,
        convert=partial(
            _converted, w_dim=None if has_average else config["w_dim"], prefix="backbone."
        ),
        has_average=has_average,
    )


def _backbone_config(module: _Module) -> dict[str, Any]:
    """Return the arguments of our tri-plane generator that concern the network of the planes."""
    backbone = module.child("backbone")
    config = _generator_config(backbone)
    for option, value in _BACKBONE.items():
        if config.get(option, value) != value:
            raise GaneditError(
                f"{backbone.path}: {option} is {_short(config[option])}; expected {_short(value)}"
                " of a tri-plane generator"
            )
    planes = config["img_channels"]
    if planes % 3:
        raise GaneditError(f"{backbone.path}: {planes} channels are no three planes")
    kept = ("z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "conv_clamp")
    return {
        **{option: config[option] for option in (*kept, "w_avg_beta") if option in config},
        "plane_resolution": config["img_resolution"],
        "plane_channels": planes // 3,
    }


def _plane_axes(renderer: _Module) -> str:
    """Return how the planes lie: as in the published networks, or with the third one corrected."""
    axes = renderer.state.get("plane_axes")
    found = None
    if isinstance(axes, StoredTensor) and axes.shape == (3, 3, 3):
        found = axes.load().tolist()
    for name, third in _THIRD_PLANE.items():
        if found == [*_FIRST_PLANES, third]:
            return name
    told = "no tensor of them" if found is None else _short(found[2])
    raise GaneditError(
        f"{renderer.path}: its planes lie neither as published nor corrected (the third: {told})"
    )


def _decoder_config(net: _Module) -> dict[str, Any]:
    first, last = net.child("0"), net.child("2")
    if [layer.state.get("activation", "linear") for layer in (first, last)] != ["linear"] * 2:
        raise GaneditError(f"{net.path}: its layers are not linear")
    rate = _common((first, last), "bias_gain", 1)
    return {
        "decoder_features": _rows(first),
        "decoder_lr_multiplier": _number(net, "decoder_lr_mul", rate),
    }


def _ray_config(module: _Module, rendering: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that concern the rays."""
    if rendering.get("clamp_mode", "softplus") != "softplus":
        told = _short(rendering["clamp_mode"])
        raise GaneditError(f"{module.path}: clamp_mode: expected softplus, got {told}")
    if _number(module, "density_noise", rendering.get("density_noise", 0)) != 0:
        raise GaneditError(f"{module.path}: density_noise: its pictures are never the same twice")
    limits = {ours: rendering.get(ours) for ours in ("ray_start", "ray_end")}
    if any(value != "auto" for value in limits.values()):
        limits = {ours: _number(module, ours, value) for ours, value in limits.items()}
    samples = {"coarse_samples": "depth_resolution", "fine_samples": "depth_resolution_importance"}
    flags = {"disparity": "disparity_space_sampling", "white_back": "white_back"}
    return {
        **limits,
        **{ours: _whole(module, its, rendering.get(its)) for ours, its in samples.items()},
        **{ours: _truth(module, its, rendering.get(its, False)) for ours, its in flags.items()},
        "box_size": _number(module, "box_warp", rendering.get("box_warp")),
    }


def _camera_config(module: _Module, rendering: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that concern cameras."""
    zero = "c_gen_conditioning_zero"
    scale = _number(module, "c_scale", rendering.get("c_scale", 0))
    radius = _number(module, "avg_camera_radius", rendering.get("avg_camera_radius", 2.7))
    pivot = rendering.get("avg_camera_pivot", [0, 0, 0])
    if not isinstance(pivot, (list, tuple)) or len(pivot) != 3:
        raise GaneditError(f"{module.path}: avg_camera_pivot: {_short(pivot)} is no point")
    return {
        "camera_scale": 0 if _truth(module, zero, rendering.get(zero, False)) else scale,
        "camera_radius": radius,
        "camera_pivot": [_number(module, "avg_camera_pivot", x) for x in pivot],
        # The file does not tell it: these are the data sets' own.
        "camera_focal": _SHAPENET_FOCAL if radius == _SHAPENET_RADIUS else FFHQ_FOCAL,
    }


def _superresolution_config(
    module: _Module, rendering: Mapping[str, Any], img_resolution: int
) -> dict[str, Any]:
    """Return the arguments that concern the blocks that enlarge."""
    if module.kind not in _SUPERRESOLUTIONS:
        known = ", ".join(_SUPERRESOLUTIONS)
        raise GaneditError(f"{module.path}: {module.kind} is unknown here; known: {known}")
    _refuse_unknown(module.arguments(_SUPERRESOLUTION), _SUPERRESOLUTION, module)
    blocks = [module.child(name) for name in ("block0", "block1")]
    layer = _common_layer(blocks, ("conv0", "conv1"), ("torgb",))
    if (layer.activation, layer.use_noise) != ("lrelu", True):
        raise GaneditError(f"{module.path}: its layers are not those of a {module.kind}")
    size, shrinks = _SUPERRESOLUTIONS[module.kind]
    size = _whole(module, "input_resolution", module.state.get("input_resolution", size))
    for block, side, before in zip(
        blocks, (img_resolution // 2, img_resolution), (size, img_resolution // 2), strict=True
    ):
        up = _whole(block, "up", block.child("conv0").state.get("up", 1))
        if block.state.get("resolution", side) != side or before * up != side:
            raise GaneditError(f"{block.path}: does not make {side} pixels of {before}")
    antialias = module.state.get("sr_antialias", rendering.get("sr_antialias", False))
    noise = rendering.get("superresolution_noise_mode", "none")
    if not isinstance(noise, str):
        raise GaneditError(f"{module.path}: superresolution_noise_mode is {_short(noise)}, no name")
    return {
        "sr_channels": [_channels_of(block) for block in blocks],
        "sr_resolution": size,
        "sr_shrinks": shrinks,
        "sr_antialias": _truth(module, "sr_antialias", antialias),
        "sr_noise": noise,
        "sr_conv_clamp": layer.conv_clamp,
    }


def _channels_of(block: _Module) -> int:
    weight = block.child("conv1").own_tensors().get("weight")
    if weight is None or len(weight.shape) != 4:
        raise GaneditError(f"{block.path}: a convolution without a kernel")
    return weight.shape[0]


def _family(modules: Mapping[str, _Module]) -> str:
    """Return the code base that the networks come from."""
    generator = modules.get("G_ema") or modules.get("G")
    if generator is not None and "backbone" in generator.children:
        return "eg3d"
    if generator is not None and "input" in generator.child("synthesis").children:
        return "stylegan3"
    if generator is None:
        layer = modules["D"].child("b4").child("conv") if "b4" in modules["D"].children else None
    else:
        layer = generator.child("synthesis").child("b4").child("conv1")
    # Only the later code base keeps the channel counts as attributes.
    later = layer is None or "in_channels" in layer.state
    return "stylegan2 (stylegan3 repository)" if later else "stylegan2-ada-pytorch"


def _others(value: Mapping[Any, Any]) -> list[str]:
    """Return what else is in the file."""
    found = []
    for key, item in value.items():
        if key in (*_NETWORKS, "training_set_kwargs") or item is None:
            continue
        if key == "augment_pipe" and isinstance(item, Record):
            p = _Module(item, "augment_pipe").own_tensors().get("p")
            strength = f" (p = {p.load().item():.3g})" if p is not None and p.shape == () else ""
            found.append(f"augmentation pipe{strength}")
        elif _is_network(item):
            found.append(_described(text(key), _Module(item, text(key))))
        else:
            found.append(leftover(key, item))
    return found


def _described(name: str, module: _Module) -> str:
    return f"{name} {module.kind} ({count_parameters(module.tensors().values())})"


def _options(arguments: dict[str, Any], name: str, module: _Module) -> dict[str, Any]:
    """Take an option dict out of the arguments."""
    options = arguments.pop(name, None)
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise GaneditError(f"{module.path}: {name} is {_short(options)}, not a set of options")
    return {text(key): value for key, value in options.items()}


def _refuse_unknown(options: Mapping[str, Any], known: Iterable[str], module: _Module) -> None:
    for name, value in options.items():
        if name not in known:
            raise GaneditError(
                f"{module.path}: option {name:.60} = {_short(value)} of its {module.kind} is"
                " unknown here; the network would not give its own numbers"
            )


def _number(module: _Module, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GaneditError(f"{module.path}: {name}: expected a number, got {_short(value)}")
    if not abs(value) <= _LARGEST_NUMBER:
        raise GaneditError(f"{module.path}: {name}: {_short(value)} is no number of a network")
    return value


def _truth(module: _Module, name: str, value: Any) -> bool:
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise GaneditError(f"{module.path}: {name}: expected a truth value, got {_short(value)}")
    return bool(value)


def _whole(module: _Module, name: str, value: Any) -> int:
    number = _number(module, name, value)
    if number != int(number):
        raise GaneditError(f"{module.path}: {name}: expected a whole number, got {_short(value)}")
    return int(number)


def _taps(value: Any, module: _Module) -> list[Any]:
    """Return the taps of a resampling filter as a list, or a list of lists."""
    if value is None:
        return [1]
    if isinstance(value, StoredTensor) and 1 <= len(value.shape) <= 2 and value.numel <= 4096:
        value = value.load().tolist()
    rows = value if isinstance(value, (list, tuple)) else [value]
    flat = [tap for row in rows for tap in (row if isinstance(row, (list, tuple)) else [row])]
    if not 0 < len(flat) <= 4096:
        raise GaneditError(f"{module.path}: resample_filter {_short(value)} is no filter")
    for tap in flat:
        _number(module, "resample_filter", tap)
    return [list(row) if isinstance(row, (list, tuple)) else row for row in rows]


def _short(value: Any) -> str:
    return f"{plain(value, depth=2)!r:.60}"
