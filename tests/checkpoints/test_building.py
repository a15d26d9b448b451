"""Any option of a configuration may be any value: one line says so, or the network works."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganedit.checkpoints import nvidia, open_checkpoint
from ganedit.checkpoints.building import (
    build_discriminator,
    build_generator,
    check_config,
    skeleton,
)
from ganedit.checkpoints.contents import Contents, Part
from ganedit.checkpoints.native import save_network
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, StyleGAN3Generator
from ganedit.io.safe_pickle import Record
from ganedit.io.torch_files import open_pickled
from tests.checkpoints.foreign import write_stylegan3
from tests.checkpoints.test_damaged_values import nvidia_value
from tests.conftest import make_generator

ODD: tuple[Any, ...] = (
    *(10**400, -1, 0, 0.5, 1e308, math.nan, "1", True, None, {}),
    *([10**400], [math.nan], {"4": 10**400}),
)


def make_stylegan3() -> StyleGAN3Generator:
    torch.manual_seed(0)
    return StyleGAN3Generator(
        z_dim=16, w_dim=16, img_resolution=16, channel_base=128, channel_max=8, num_layers=4
    )


def make_discriminator() -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    return StyleGAN2Discriminator(img_resolution=16, channel_base=128, channel_max=8)


def check(make: Callable[[], Contents], path: Path, *, critic_only: bool = False) -> str:
    """Do all that can be done with a file; return its one line, or nothing if it works."""
    said = ""
    try:
        contents = make()
        if contents.generator is not None and not critic_only:
            generator = build_generator(contents.generator, path)
            c = torch.eye(generator.c_dim)[:1] if generator.c_dim else None
            image = generator.synthesize(generator.map(torch.randn(1, generator.z_dim), c))
            assert image.isfinite().all()
        if contents.discriminator is not None:
            critic = build_discriminator(contents.discriminator, path)
            assert critic(torch.randn(1, 3, 16, 16)).isfinite().all()
    except GaneditError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000
    return said


def rewrite(path: Path, sound: bytes, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the ganedit entry of a safetensors file."""
    length = struct.unpack("<Q", sound[:8])[0]
    header = json.loads(sound[8 : 8 + length])
    entry = json.loads(header["__metadata__"]["ganedit"])
    change(entry)
    header["__metadata__"]["ganedit"] = json.dumps(entry)
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + sound[8 + length :])


@pytest.mark.parametrize(
    ("generator", "place"),
    [(make_generator, "config"), (make_generator, "discriminator"), (make_stylegan3, "config")],
)
def test_safetensors_with_odd_options(
    generator: Callable[[], Any], place: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    save_network(path, generator(), discriminator=make_discriminator(), provenance={})
    sound = path.read_bytes()
    assert check(lambda: open_checkpoint(path).contents, path) == ""
    options = generator().config if place == "config" else make_discriminator().config
    critic_only = place == "discriminator"
    refused = 0
    for name in options:
        for odd in ODD:
            rewrite(path, sound, lambda entry, name=name, odd=odd: entry[place].update({name: odd}))
            said = check(lambda: open_checkpoint(path).contents, path, critic_only=critic_only)
            refused += said != ""
    assert refused > len(options) * len(ODD) / 2


# What the reader looks at, in the attributes and in the constructor arguments.
OPTIONS = {
    *("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_layers", "bias_gain"),
    *("lr_multiplier", "w_avg_beta", "channel_base", "channel_max", "architecture", "activation"),
    *("resample_filter", "use_noise", "conv_clamp", "group_size", "num_channels", "num_fp16_res"),
    *("num_critical", "first_cutoff", "first_stopband", "last_stopband_rel", "margin_size"),
    *("output_scale", "conv_kernel", "filter_size", "lrelu_upsampling", "use_radial_filters"),
    *("magnitude_ema_beta", "mapping_kwargs", "synthesis_kwargs"),
}


def holders(value: Any) -> Iterator[dict[Any, Any]]:
    """Yield the attributes of every module, and its constructor arguments."""
    if isinstance(value, Record):
        yield from holders(value.state)
    elif isinstance(value, dict):
        yield value
        for item in value.values():
            yield from holders(item)


@pytest.mark.parametrize("family", ["stylegan2", "stylegan3"])
def test_pickles_with_odd_options(family: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if family == "stylegan2":
        value = nvidia_value(tmp_path)
    else:
        value = open_pickled(write_stylegan3(path, make_stylegan3())).trusted()
    places: dict[str, list[dict[Any, Any]]] = {}
    for holder in holders(value):
        for name in OPTIONS & holder.keys():
            given = holder[name]
            if given is None or isinstance(given, (bool, int, float, str)):
                places.setdefault(name, []).append(holder)
    for name in ("conv_clamp", "channel_base", "activation", "use_noise", "w_avg_beta"):
        assert name in places or family == "stylegan3"
    for name, found in places.items():
        before = [holder[name] for holder in found]
        for odd in ODD:
            for holder in found:
                holder[name] = odd
            check(lambda: recognised(value), path)
        for holder, given in zip(found, before, strict=True):
            holder[name] = given
    assert check(lambda: recognised(value), path) == ""


def recognised(value: Any) -> Contents:
    contents = nvidia.recognise(value)
    assert contents is not None
    return contents


def test_options_that_json_cannot_hold_are_one_line(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (deep, cycle, [b"bytes"], {(1, 2): 3}, [object()], 1j, 10**5000):
        with pytest.raises(
            GaneditError, match=r"configuration z_dim = .* is out of range"
        ) as error:
            check_config(tmp_path, {"z_dim": odd})
        assert "\n" not in str(error.value)


def test_the_average_of_a_conditional_generator_is_over_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make_generator(c_dim=3)
    path = tmp_path / "network.safetensors"
    save_network(path, ours, provenance={})
    part = open_checkpoint(path).generator
    parts = (
        Part(part.name, part.role, part.architecture, part.config, part.stored, has_average=False),
    ) * 2
    first = build_generator(parts[0], path).w_avg.clone()
    monkeypatch.setattr("ganedit.checkpoints.building._LABEL_ENTRIES", 700)
    again = build_generator(parts[1], path).w_avg
    torch.testing.assert_close(first, again)
    per_class = [
        ours.map(torch.randn(5000, 16), torch.eye(3)[[index] * 5000])[:, 0].mean(dim=0)
        for index in range(3)
    ]
    torch.testing.assert_close(first, torch.stack(per_class).mean(dim=0), atol=0.04, rtol=0)


FORGED: dict[str, Any] = {
    **{"num_layers": 32, "num_critical": 0, "mapping_layers": 64},
    **{"channel_max": 1, "conv_kernel": 1, "z_dim": 16, "w_dim": 16},
}


@pytest.mark.parametrize(
    "options",
    [
        {"filter_size": 12, "lrelu_upsampling": 4, "use_radial_filters": True},
        {"filter_size": 24, "lrelu_upsampling": 4, "use_radial_filters": True},
        {"filter_size": 64, "lrelu_upsampling": 16},
        {"filter_size": 16, "first_stopband": 1000.0},
        {"num_layers": 33},
    ],
)
def test_forged_configurations_cost_little(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 29)
    config = {"img_resolution": 1024, **FORGED, **options}
    part = Part("G", "generator", "stylegan3", config, {})
    with pytest.raises(GaneditError) as error:
        skeleton(part, path)
    assert "\n" not in str(error.value)


def test_a_network_with_a_table_of_channels_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    ours = make_generator()
    table = {"4": 8, "8": 8, "16": 8}
    ours.config["channels"] = table  # the same network, said otherwise
    save_network(path, ours, provenance={})
    part = open_checkpoint(path).generator
    assert part.config["channels"] == table
    again: Any = build_generator(part, path)
    assert isinstance(again, nn.Module)
    assert again.config["channels"] == table
