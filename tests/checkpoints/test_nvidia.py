import dataclasses
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganedit.checkpoints import nvidia
from ganedit.checkpoints.building import build_discriminator, build_generator, skeleton
from ganedit.checkpoints.contents import Contents, Part
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, StyleGAN2Generator
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.stored import Storage, StoredTensor
from ganedit.io.torch_files import open_pickled
from tests.conformance import nvlabs_pickle

SIZES: dict[str, Any] = {"z_dim": 16, "c_dim": 0, "w_dim": 16, "img_resolution": 16}
CHANNELS: dict[str, Any] = {"channel_base": 128, "channel_max": 8}


def make_generator(**settings: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(**{**SIZES, **CHANNELS, "mapping_layers": 2, **settings})
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.data.fill_(0.3)
    generator.mapping.w_avg.copy_(0.3 * torch.randn(16))
    return generator.requires_grad_(False)


def make_discriminator(**settings: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    sizes = {"c_dim": 0, "img_resolution": 16}
    return StyleGAN2Discriminator(**{**sizes, **CHANNELS, **settings}).requires_grad_(False)


def arrays(network: torch.nn.Module) -> dict[str, Any]:
    return {key: value.numpy() for key, value in network.state_dict().items()}


def generator_arguments(**arguments: Any) -> dict[str, Any]:
    return {
        **SIZES,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": dict(CHANNELS),
        **arguments,
    }


def discriminator_arguments(**arguments: Any) -> dict[str, Any]:
    return {"c_dim": 0, "img_resolution": 16, "img_channels": 3, **CHANNELS, **arguments}


def read(folder: Path, networks: dict[str, Any], **options: Any) -> Any:
    """Write networks to a file and return its plain data."""
    path = folder / "network.pkl"
    layout = options.pop("layout", "stylegan2-ada")
    nvlabs_pickle.write(path, layout, networks, **options)
    return open_pickled(path).trusted()


def read_generator(folder: Path, **arguments: Any) -> Any:
    net = nvlabs_pickle.Net(arrays(make_generator()), generator_arguments(**arguments))
    return read(folder, {"G_ema": net})


def recognised(value: Any) -> Contents:
    contents = nvidia.recognise(value)
    assert contents is not None
    return contents


def generator_of(value: Any) -> Part:
    part = recognised(value).generator
    assert part is not None
    return part


def child(record: Record, *names: str) -> Record:
    for name in names:
        record = record.state["_modules"][name]
    return record


def test_every_option_of_the_generator_is_read(tmp_path: Path) -> None:
    ours = make_generator(
        c_dim=3,
        mapping_layers=3,
        mapping_lr_multiplier=0.1,
        mapping_activation="relu",
        mapping_features=12,
        embed_features=5,
        architecture="resnet",
        resample_filter=[1, 2, 1],
        use_noise=False,
        activation="swish",
        conv_clamp=0.7,
        w_avg_beta=0.9,
    )
    arguments = generator_arguments(
        c_dim=3,
        mapping_kwargs={
            "num_layers": 3,
            "lr_multiplier": 0.1,
            "activation": "relu",
            "layer_features": 12,
            "embed_features": 5,
            "w_avg_beta": 0.9,
        },
        synthesis_kwargs={
            **CHANNELS,
            "architecture": "resnet",
            "resample_filter": [1, 2, 1],
            "use_noise": False,
            "activation": "swish",
            "conv_clamp": 0.7,
            "num_fp16_res": 4,
        },
    )
    net = nvlabs_pickle.Net(arrays(ours), arguments)
    contents = recognised(read(tmp_path, {"G": net, "G_ema": net}))
    assert contents.generator is not None
    assert contents.generator.config | {"channels": None} == ours.config
    assert contents.training["G_ema arguments"]["synthesis_kwargs"]["num_fp16_res"] == 4
    theirs = build_generator(contents.generator, tmp_path / "network.pkl")
    z, c = torch.randn(2, 16), torch.eye(3)[:2]
    assert torch.equal(theirs.synthesize(theirs.map(z, c)), ours.synthesize(ours.map(z, c)))


def test_every_option_of_the_discriminator_is_read(tmp_path: Path) -> None:
    ours = make_discriminator(
        c_dim=3,
        architecture="skip",
        resample_filter=[1, 4, 6, 4, 1],
        activation="relu",
        epilogue_activation="tanh",
        conv_clamp=0.9,
        cmap_dim=6,
        mapping_layers=2,
        mapping_lr_multiplier=0.2,
        mapping_activation="elu",
        mapping_features=7,
        mbstd_group_size=None,
        mbstd_num_channels=2,
        freeze_layers=2,
    )
    arguments = discriminator_arguments(
        c_dim=3,
        architecture="skip",
        conv_clamp=0.9,
        cmap_dim=6,
        block_kwargs={
            "activation": "relu",
            "resample_filter": [1, 4, 6, 4, 1],
            "freeze_layers": 2,
        },
        mapping_kwargs={
            "num_layers": 2,
            "lr_multiplier": 0.2,
            "activation": "elu",
            "layer_features": 7,
        },
        epilogue_kwargs={
            "mbstd_group_size": None,
            "mbstd_num_channels": 2,
            "activation": "tanh",
        },
    )
    part = recognised(
        read(tmp_path, {"D": nvlabs_pickle.Net(arrays(ours), arguments, "Discriminator")})
    ).discriminator
    assert part is not None
    assert part.config | {"channels": None} == ours.config
    theirs = build_discriminator(part, tmp_path / "network.pkl")
    images, c = torch.randn(3, 3, 16, 16), torch.eye(3)
    assert torch.equal(theirs(images, c), ours(images, c))


def test_more_frozen_layers_than_there_are_freeze_all(tmp_path: Path) -> None:
    ours = make_discriminator()
    arguments = discriminator_arguments(block_kwargs={"freeze_layers": 99})
    net = nvlabs_pickle.Net(arrays(ours), arguments, "Discriminator")
    part = recognised(read(tmp_path, {"D": net})).discriminator
    assert part is not None
    assert part.config["freeze_layers"] == len(ours.freezable_layers())
    assert part.load().keys() == ours.state_dict().keys()


def test_long_filters_are_stored_separated(tmp_path: Path) -> None:
    taps = [1, 7, 21, 35, 35, 21, 7, 1]
    ours = make_generator(resample_filter=taps)
    held = arrays(ours)
    for key, value in held.items():
        if key.endswith("resample_filter") and value.shape == (8, 8):
            held[key] = np.array(taps, np.float32) / sum(taps)
    arguments = generator_arguments(synthesis_kwargs={**CHANNELS, "resample_filter": taps})
    part = generator_of(read(tmp_path, {"G_ema": nvlabs_pickle.Net(held, arguments)}))
    theirs = build_generator(part, tmp_path / "network.pkl")
    ws = ours.map(torch.randn(1, 16))
    torch.testing.assert_close(theirs.synthesize(ws), ours.synthesize(ws))


@pytest.mark.parametrize("layout", ["stylegan2-ada", "stylegan3"])
def test_defaults_are_those_of_the_code_base(layout: str, tmp_path: Path) -> None:
    later = layout == "stylegan3"
    arguments = generator_arguments()
    if later:
        arguments |= arguments.pop("synthesis_kwargs")
    generator = nvlabs_pickle.Net(arrays(make_generator()), arguments)
    critic = nvlabs_pickle.Net(
        arrays(make_discriminator()), discriminator_arguments(), "Discriminator"
    )
    contents = recognised(read(tmp_path, {"G_ema": generator, "D": critic}, layout=layout))
    assert contents.generator is not None
    assert contents.discriminator is not None
    assert contents.generator.config["conv_clamp"] == (256 if later else None)
    assert contents.generator.config["w_avg_beta"] == (0.998 if later else 0.995)
    assert contents.discriminator.config["conv_clamp"] == (256 if later else None)
    family = "stylegan2 (stylegan3 repository)" if later else "stylegan2-ada-pytorch"
    assert contents.family == family


def test_attributes_that_a_tool_has_changed_count(tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    for block in child(value["G_ema"], "synthesis").state["_modules"].values():
        for layer in block.state["_modules"].values():
            layer.state["conv_clamp"] = 3
    child(value["G_ema"], "mapping").state["w_avg_beta"] = 0.5
    config = generator_of(value).config
    assert (config["conv_clamp"], config["w_avg_beta"]) == (3, 0.5)


def test_layers_that_differ_are_refused(tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    child(value["G_ema"], "synthesis", "b8", "conv1").state["conv_clamp"] = 3
    with pytest.raises(GaneditError, match=r"b8.conv1: conv_clamp is 3, in other layers None"):
        nvidia.recognise(value)


def test_a_network_without_an_average_estimates_one(tmp_path: Path) -> None:
    held = arrays(make_generator())
    del held["mapping.w_avg"]
    arguments = generator_arguments(mapping_kwargs={"num_layers": 2, "w_avg_beta": None})
    part = generator_of(read(tmp_path, {"G_ema": nvlabs_pickle.Net(held, arguments)}))
    assert not part.has_average
    assert build_generator(part, tmp_path / "network.pkl").w_avg.abs().max() > 0


def test_positional_arguments_are_read(tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    record = value["G_ema"]
    kwargs = record.state["_init_kwargs"]
    record.state["_init_args"] = tuple(kwargs.pop(name) for name in ("z_dim", "c_dim", "w_dim"))
    for name in ("z_dim", "c_dim", "w_dim"):
        del record.state[name]
    assert generator_of(value).config["z_dim"] == 16


def test_one_pickled_network_is_enough(tmp_path: Path) -> None:
    contents = recognised(read_generator(tmp_path)["G_ema"])
    assert contents.generator is not None
    critic = nvlabs_pickle.Net(
        arrays(make_discriminator()), discriminator_arguments(), "Discriminator"
    )
    alone = recognised(read(tmp_path, {"D": critic})["D"])
    assert alone.generator is None
    assert alone.discriminator is not None


class Persistent:
    """An object that pickles as NVlabs' own do."""

    def __init__(self, record: Record) -> None:
        state = {key: revived(value) for key, value in record.state.items()}
        self.meta = {"type": "class", "module_src": "raise SystemExit", "state": state}
        self.meta["class_name"] = record.kind.name

    def __reduce__(self) -> Any:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def revived(value: Any) -> Any:
    if isinstance(value, Record):
        return Persistent(value)
    if isinstance(value, dict):
        return {key: revived(item) for key, item in value.items()}
    return value.load() if isinstance(value, StoredTensor) else value


@pytest.mark.parametrize("zipped", [True, False])
def test_a_network_that_a_tool_saved_with_torch_is_read(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pivotal tuning does; the storages then lie outside the pickle."""

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("called")

    module = types.ModuleType("torch_utils.persistence")
    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    monkeypatch.setattr(module, "_reconstruct_persistent_obj", _reconstruct_persistent_obj, False)
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    record = read_generator(tmp_path)["G_ema"]
    path = tmp_path / "tuned.pt"
    torch.save(Persistent(record), path, _use_new_zipfile_serialization=zipped)
    opened = open_pickled(path)
    assert opened.container == ("torch-zip" if zipped else "torch-legacy")
    part = generator_of(opened.trusted())
    assert part.name == "G"
    ours = make_generator()
    ws = ours.map(torch.randn(1, 16))
    assert torch.equal(build_generator(part, path).synthesize(ws), ours.synthesize(ws))


def test_the_average_is_preferred_and_the_rest_is_told(tmp_path: Path) -> None:
    net = nvlabs_pickle.Net(arrays(make_generator()), generator_arguments())
    pipe = ({"p": np.float32(0.25)}, {"xflip": 1}, {})
    value = read(
        tmp_path,
        {"G": net, "D": None, "G_ema": net},
        training_set_kwargs={"path": "faces.zip", "max_size": 70000},
        augment_pipe=pipe,
    )
    contents = recognised({**value, "progress": Record(Global("a", "B"), (), None)})
    assert contents.generator is not None
    assert contents.raw_generator is not None
    assert (contents.generator.name, contents.raw_generator.name) == ("G_ema", "G")
    assert contents.training["training_set_kwargs"] == {"path": "faces.zip", "max_size": 70000}
    assert contents.others == ("augmentation pipe (p = 0.25)", "progress: <a.B>")


def test_a_discriminator_of_another_kind_does_not_hide_the_generator(tmp_path: Path) -> None:
    net = nvlabs_pickle.Net(arrays(make_generator()), generator_arguments())
    critic = nvlabs_pickle.Net(
        arrays(make_discriminator()), discriminator_arguments(gizmo=1), "Discriminator"
    )
    contents = recognised(read(tmp_path, {"G_ema": net, "D": critic}))
    assert contents.discriminator is None
    assert "gizmo = 1" in contents.others[0]
    with pytest.raises(GaneditError, match="option gizmo = 1 of its Discriminator is unknown"):
        nvidia.recognise(read(tmp_path, {"D": critic}))


def test_discriminators_of_other_projects_are_described(tmp_path: Path) -> None:
    critic = nvlabs_pickle.Net(
        arrays(make_discriminator()), discriminator_arguments(), "Discriminator"
    )
    record = read(tmp_path, {"D": critic})["D"]
    other = Record(Global(record.kind.module, "ProjectedDiscriminator"), (), record.state)
    contents = recognised({"D": other})
    assert contents.discriminator is None
    assert contents.others == ("discriminator ProjectedDiscriminator (0.0 M parameters)",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gizmo": [1, 2]}, r"option gizmo = \[1, 2\] of its Generator is unknown"),
        ({"synthesis_kwargs": {**CHANNELS, "kernel_size": 5}}, "kernel_size 5, not 3"),
        ({"mapping_kwargs": {"depth": 3}}, "option depth = 3"),
        ({"mapping_kwargs": 7}, "mapping_kwargs is 7, not a set of options"),
        ({"synthesis_kwargs": {"channel_base": "x"}}, "channel_base: expected a number, got 'x'"),
        ({"synthesis_kwargs": {"channel_max": 8.5}}, "channel_max: expected a whole number"),
        ({"synthesis_kwargs": {"resample_filter": []}}, "is no filter"),
        ({"synthesis_kwargs": {"resample_filter": ["x"]}}, "resample_filter: expected a number"),
    ],
)
def test_options_of_unknown_meaning_are_errors(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    value = read_generator(tmp_path)
    value["G_ema"].state["_init_kwargs"].update(arguments)
    with pytest.raises(GaneditError, match=message) as error:
        nvidia.recognise(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("taps", [[1j, 3, 3, 1], [math.nan, 1], [True, True], [1e300, 1]])
def test_filters_that_are_no_numbers_are_one_line(taps: list[Any], tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    torch.save(torch.tensor(taps, dtype=torch.float64 if 1e300 in taps else None), tmp_path / "f")
    stored = open_pickled(tmp_path / "f").trusted()
    value["G_ema"].state["_init_kwargs"]["synthesis_kwargs"] = {"resample_filter": stored}
    with pytest.raises(GaneditError, match="resample_filter") as error:
        nvidia.recognise(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("use_noise", ["no", 2, None])
def test_whether_layers_have_noise_is_a_truth_value(use_noise: Any, tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    for block in child(value["G_ema"], "synthesis").state["_modules"].values():
        for layer in block.state["_modules"].values():
            layer.state["use_noise"] = use_noise
    with pytest.raises(GaneditError, match="use_noise: expected True or False"):
        skeleton(generator_of(value), tmp_path / "network.pkl")


def test_whole_numbers_may_be_stored_as_floats(tmp_path: Path) -> None:
    value = read_generator(tmp_path, synthesis_kwargs={"channel_base": 128.0, "channel_max": 8.0})
    value["G_ema"].state["img_resolution"] = 16.0
    config = generator_of(value).config
    assert all(type(config[name]) is int for name in ("img_resolution", "channel_base"))


@pytest.mark.parametrize("size", [10**9, 1 << 20, -16, 0, "16", None, [16], 1e300, float("nan")])
def test_hostile_sizes_are_one_line_and_no_work(size: Any, tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    value["G_ema"].state["img_resolution"] = size
    with pytest.raises(GaneditError) as error:
        skeleton(generator_of(value), tmp_path / "network.pkl")
    assert "\n" not in str(error.value)


def test_hostile_trees_are_one_line(tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    mapping = child(value["G_ema"], "mapping")
    mapping.state["_modules"]["again"] = mapping
    with pytest.raises(GaneditError, match="too many, too deep, or without end"):
        nvidia.recognise(value)
    for state in (None, {}, {"_modules": 3}, {"_modules": {"synthesis": None}}, []):
        with pytest.raises(GaneditError, match="is not known"):
            nvidia.recognise({"G_ema": Record(Global("torch_utils.persistence", "G"), (), state)})


@pytest.mark.parametrize("value", [None, 3, {}, {"G": 3, "D": None}, {"G_ema": {"a": 1}}, ()])
def test_other_data_is_not_of_this_family(value: Any) -> None:
    assert nvidia.recognise(value) is None


def test_pickles_of_protocol_2_keep_large_weights_as_text(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = StyleGAN2Generator(**{**SIZES, "w_dim": 384, "mapping_layers": 2, **CHANNELS})
    arguments = generator_arguments(w_dim=384)
    net = nvlabs_pickle.Net(arrays(ours.requires_grad_(False)), arguments)
    state = generator_of(read(tmp_path, {"G_ema": net}, protocol=2)).load()
    assert all(torch.equal(state[key], value) for key, value in ours.state_dict().items())


def test_a_filter_too_long_to_square_is_one_line(tmp_path: Path) -> None:
    state = arrays(make_generator())
    state["synthesis.b8.resample_filter"] = np.ones(10_000, np.float32)
    path = tmp_path / "network.pkl"
    net = nvlabs_pickle.Net(state, generator_arguments())
    nvlabs_pickle.write(path, "stylegan2-ada", {"G_ema": net})
    with pytest.raises(GaneditError, match=r"network.pkl: .* a filter of 10000 taps"):
        skeleton(generator_of(open_pickled(path).value), path)


def test_one_module_met_a_thousand_times_is_one_line(tmp_path: Path) -> None:
    value = read_generator(tmp_path)
    block = child(value["G_ema"], "synthesis", "b8")
    modules = child(value["G_ema"], "synthesis").state["_modules"]
    modules |= {f"x{index}": block for index in range(1000)}
    with pytest.raises(GaneditError, match="too many"):
        recognised(value)


@pytest.mark.parametrize("dtype", [np.complex64, np.int64, np.bool_])
def test_weights_that_are_not_real_are_one_line(tmp_path: Path, dtype: Any) -> None:
    part = generator_of(read_generator(tmp_path))
    storage = Storage(torch.from_numpy(np.zeros(1, dtype)).dtype, 1)
    weight = StoredTensor(storage.dtype, (1,), (1,), 0, storage)
    with pytest.raises(GaneditError, match="where weights are real"):
        dataclasses.replace(part, stored={**part.stored, "mapping.fc0.bias": weight})
