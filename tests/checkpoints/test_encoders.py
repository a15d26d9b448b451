import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganedit.assets import embedded
from ganedit.checkpoints import (
    Network,
    bundles,
    describe,
    find_encoder,
    load_encoder,
    load_network,
    open_checkpoint,
    save_encoder,
)
from ganedit.checkpoints.contents import StoredEncoder
from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.encoders import BackboneEncoder, CompactEncoder
from ganedit.errors import GaneditError
from ganedit.io.torch_files import open_pickled
from tests.conftest import make_generator

SMALL = {"num_ws": 6, "w_dim": 16, "resolution": 16, "widths": [8, 16, 16]}


def rewritten(source: Path, target: Path, *, drop: str = "", **changes: Any) -> Path:
    """A copy of one of our files with other metadata, or without a tensor."""
    content = open_checkpoint(source).contents
    (encoder,) = content.encoders
    header = {
        "format": "ganedit-network",
        "version": 1,
        "role": "encoder",
        "architecture": encoder.part.architecture,
        "config": encoder.part.config,
        "fingerprint": encoder.fingerprint,
        **changes,
    }
    tensors = {key: value for key, value in load_file(source).items() if key != drop}
    save_file(tensors, target, metadata={"ganedit": json.dumps(header)})
    return target


def test_an_encoder_file_is_read_back(encoder_path: Path, network: Network) -> None:
    loaded = load_encoder(encoder_path, device="cpu")
    assert loaded.fingerprint == network.fingerprint
    assert (loaded.architecture, loaded.space, loaded.resolution) == ("CompactEncoder", "w+", 16)
    assert loaded.average.shape == (1, 16)
    assert not loaded.encoder.training
    assert not any(p.requires_grad for p in loaded.encoder.parameters())
    stored = load_file(encoder_path)
    assert stored["encoder.embed.weight"].dtype == torch.float16
    assert stored["encoder.norm.running_var"].dtype == torch.float32
    facts = describe(open_checkpoint(encoder_path))
    assert facts["usable"]
    assert [(n["role"], n["architecture"]) for n in facts["networks"]] == [
        ("encoder", "CompactEncoder")
    ]


def test_half_precision_changes_latents_little(encoder: CompactEncoder, encoder_path: Path) -> None:
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    before, after = encoder(images), load_encoder(encoder_path, device="cpu").encoder(images)
    torch.testing.assert_close(after, before, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": "average"}, "missing tensor average"),
        ({"drop": "encoder.first.bias"}, "missing tensor encoder.first.bias"),
        ({"role": "critic"}, "unknown role 'critic'; known: generator, encoder"),
        ({"role": ["encoder"]}, "unknown role"),
        ({"architecture": "stylegan2"}, "unknown architecture 'stylegan2'; known: CompactEncoder"),
        ({"fingerprint": 3}, "does not say which generator"),
        ({"fingerprint": ""}, "does not say which generator"),
        ({"config": {"num_ws": 6, "w_dim": 1 << 30}}, "w_dim = 1073741824 is out of range"),
        ({"config": {"num_ws": 6}}, "configuration does not build"),
        ({"config": {**SMALL, "hidden": 20}}, r"expected shape \[20, 256\], got \[24, 256\]"),
    ],
)
def test_a_damaged_encoder_file_is_one_line(
    changes: dict[str, Any], message: str, encoder_path: Path, tmp_path: Path
) -> None:
    path = rewritten(encoder_path, tmp_path / "bad.safetensors", **changes)
    with pytest.raises(GaneditError, match=message) as error:
        load_encoder(path, device="cpu")
    assert "\n" not in str(error.value)


def test_an_average_of_another_size_is_refused(
    encoder: CompactEncoder, network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "e.safetensors"
    average = torch.zeros(3, 16)
    save_encoder(path, encoder, average=average, fingerprint=network.fingerprint, provenance={})
    with pytest.raises(GaneditError, match=r"should be \[6, 16\] or \[16\], got \[3, 16\]"):
        load_encoder(path, device="cpu")


def test_generators_and_encoders_are_not_mistaken(network_path: Path, encoder_path: Path) -> None:
    with pytest.raises(GaneditError, match="an encoder, not a generator; name it as --encoder"):
        load_network(encoder_path, device="cpu")
    with pytest.raises(GaneditError, match="a ganedit file without an encoder"):
        load_encoder(network_path, device="cpu")


def test_only_clay_has_an_embedded_encoder(network: Network) -> None:
    assert find_encoder(load_network("clay", device="cpu")) == "clay-encoder"
    assert find_encoder(network) is None
    loaded = load_encoder("clay-encoder", device="cpu")
    assert loaded.source == "clay-encoder"
    assert embedded()["clay-encoder"].weights.stat().st_size < 6_000_000


# Bundles


def recognised(content: Any, folder: Path) -> tuple[StoredEncoder, ...]:
    path = folder / "bundle.pt"
    torch.save(content, path)
    contents = bundles.recognise(open_pickled(path).trusted())
    assert contents is not None
    return contents.encoders


def names(
    prefix: str, *, channels: int = 3, heads: int = 0, w_plus: bool = False
) -> dict[str, Tensor]:
    """Those tensors by which an encoder is told."""
    state = {f"{prefix}.input_layer.0.weight": torch.zeros(64, channels, 3, 3)}
    for index in range(heads):
        state[f"{prefix}.styles.{index}.linear.weight"] = torch.zeros(1)
    if not heads:
        state[f"{prefix}.linear.weight"] = torch.zeros(1)
    if w_plus:
        state[f"{prefix}.output_layer_2.0.weight"] = torch.zeros(1)
    return state


@pytest.mark.parametrize(
    ("state", "opts", "architecture", "config"),
    [
        (
            {"heads": 18},
            {"encoder_type": "GradualStyleEncoder", "output_size": 1024},
            "GradualStyleEncoder",
            {"num_ws": 18, "in_channels": 3},
        ),
        (
            {"heads": 14},
            {"encoder_type": "Encoder4Editing", "stylegan_size": 256},
            "Encoder4Editing",
            {"num_ws": 14, "in_channels": 3},
        ),
        ({"heads": 16}, {"stylegan_size": 512}, "Encoder4Editing", {"num_ws": 16}),
        (
            {"heads": 18, "channels": 19},
            {"input_nc": 19},
            "GradualStyleEncoder",
            {"num_ws": 18, "in_channels": 19},
        ),
        (
            {},
            {"encoder_type": "BackboneEncoderUsingLastLayerIntoW", "learn_in_w": True},
            "BackboneEncoder",
            {"num_ws": 18, "space": "w"},
        ),
        (
            {},
            {"encoder_type": "SingleStyleCodeEncoder", "stylegan_size": 256},
            "BackboneEncoder",
            {"num_ws": 14, "space": "w"},
        ),
        (
            {"w_plus": True},
            {"encoder_type": "BackboneEncoderUsingLastLayerIntoWPlus", "output_size": 512},
            "BackboneEncoder",
            {"num_ws": 16, "space": "w+"},
        ),
    ],
)
def test_the_encoder_of_a_bundle_is_told(
    state: dict[str, Any],
    opts: dict[str, Any],
    architecture: str,
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    (encoder,) = recognised({"state_dict": names("encoder", **state), "opts": opts}, tmp_path)
    assert encoder.part.architecture == architecture
    assert config.items() <= encoder.part.config.items()
    assert (encoder.part.role, encoder.resolution, encoder.relative) == ("encoder", 256, True)


@pytest.mark.parametrize(
    ("opts", "pretrained", "relative"),
    [
        ({"start_from_encoded_w_plus": True, "start_from_latent_avg": False}, True, True),
        ({"start_from_encoded_w_plus": True}, True, True),
        ({}, True, True),
        ({"start_from_encoded_w_plus": True, "start_from_latent_avg": True}, False, True),
        ({"start_from_encoded_w_plus": False, "start_from_latent_avg": False}, False, False),
    ],
)
def test_sams_two_encoders_are_one(
    opts: dict[str, Any], pretrained: bool, relative: bool, tmp_path: Path
) -> None:
    state = names("encoder", channels=4, heads=18) | names("pretrained_encoder", heads=18)
    content = {"state_dict": state, "opts": opts, "latent_avg": torch.zeros(18, 512)}
    torch.save(content, tmp_path / "bundle.pt")
    contents = bundles.recognise(open_pickled(tmp_path / "bundle.pt").trusted())
    assert contents is not None
    assert contents.family == "SAM"
    (encoder,) = contents.encoders
    assert encoder.part.architecture == "AgeEncoder"
    assert encoder.part.config == {"num_ws": 18, "pretrained": pretrained}
    assert encoder.relative == relative
    assert encoder.average is not None
    assert encoder.average.shape == (18, 512)
    found = {key.partition(".")[0] for key in encoder.part.stored}
    assert found == ({"encoder", "pretrained_encoder"} if pretrained else {"encoder"})
    left = any(text.startswith("pretrained_encoder") for text in contents.others)
    assert left == (not pretrained)


def test_sam_alone_starts_from_the_average(tmp_path: Path) -> None:
    state = names("encoder", channels=4, heads=18)
    content = {"state_dict": state, "opts": {"start_from_encoded_w_plus": False}}
    (encoder,) = recognised(content, tmp_path)
    assert encoder.part.config == {"num_ws": 18, "pretrained": False}
    assert encoder.relative


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "relative"), [(True, True), (False, True), (True, False)])
def test_what_is_added_follows_the_options(stored: bool, relative: bool, tmp_path: Path) -> None:
    generator = make_generator(w_dim=512)
    state = {f"decoder.{key}": value for key, value in to_rosinality(generator)[0].items()}
    torch.manual_seed(0)
    backbone = BackboneEncoder(num_ws=6)
    state |= {f"encoder.{key}": value for key, value in backbone.state_dict().items()}
    content: dict[str, Any] = {"state_dict": state, "opts": {"start_from_latent_avg": relative}}
    if stored:
        content["latent_avg"] = torch.full((1, 512), 0.5)
    path = tmp_path / "bundle.pt"
    torch.save(content, path)
    loaded = load_encoder(path, device="cpu")
    network = load_network(path, device="cpu")
    assert (loaded.architecture, loaded.space) == ("BackboneEncoder", "w")
    assert loaded.fingerprint == network.fingerprint
    assert find_encoder(network) == str(path)
    wanted = torch.full((1, 512), 0.5) if stored else network.generator.w_avg[None]
    assert torch.equal(loaded.average, wanted if relative else torch.zeros(1, 512))
