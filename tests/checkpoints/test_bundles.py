from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganedit.checkpoints import bundles
from ganedit.checkpoints.building import build_generator
from ganedit.checkpoints.contents import Contents
from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.errors import GaneditError
from ganedit.io.torch_files import open_pickled
from tests.conftest import make_generator

PSP = {"encoder_type": "GradualStyleEncoder", "output_size": 16, "learn_in_w": False}
E4E = {"encoder_type": "Encoder4Editing", "stylegan_size": 16}
SAM = {"output_size": 16, "start_from_encoded_w_plus": True}
MAPPER = {"mapper_type": "LevelsMapper", "stylegan_size": 16}


def decoder() -> dict[str, Tensor]:
    return {f"decoder.{key}": value for key, value in to_rosinality(make_generator())[0].items()}


def networks(*names: str) -> dict[str, Tensor]:
    return {f"{name}.layer.weight": torch.ones(400, 500) for name in names}


def written(content: Any, folder: Path) -> Contents | None:
    path = folder / "bundle.pt"
    torch.save(content, path)
    return bundles.recognise(open_pickled(path).trusted())


@pytest.mark.parametrize(
    ("family", "names", "opts", "described"),
    [
        ("pSp", ["encoder"], PSP, "encoder GradualStyleEncoder (0.2 M parameters)"),
        ("e4e", ["encoder"], E4E, "encoder Encoder4Editing (0.2 M parameters)"),
        ("SAM", ["encoder", "pretrained_encoder"], SAM, "pretrained_encoder (0.2 M parameters)"),
        ("StyleCLIP mapper", ["mapper"], MAPPER, "mapper LevelsMapper (0.2 M parameters)"),
    ],
)
def test_the_generator_inside_is_found(
    family: str, names: list[str], opts: dict[str, Any], described: str, tmp_path: Path
) -> None:
    generator = make_generator()
    average = generator.w_avg.expand(6, -1).clone()
    state = {**networks(*names), **decoder()}
    content = {"state_dict": state, "opts": opts, "latent_avg": average, "global_step": 7}
    contents = written({**content, "optimizer": {}}, tmp_path)
    assert contents is not None
    assert contents.family == family
    assert contents.generator is not None
    assert contents.generator.name == "decoder"
    assert contents.training == {**opts, "global_step": 7}
    assert described in contents.others
    assert "optimizer: <dict>" in contents.others
    again = build_generator(contents.generator, tmp_path / "bundle.pt")
    ws = generator.map(torch.randn(1, 16))
    assert torch.equal(again.synthesize(ws), generator.synthesize(ws))
    assert torch.equal(again.w_avg, generator.w_avg)


def test_bundles_without_a_generator_are_recognised(tmp_path: Path) -> None:
    contents = written({"state_dict": networks("mapper"), "opts": MAPPER}, tmp_path)
    assert contents is not None
    assert contents.generator is None
    contents = written({"state_dict": networks("encoder"), "opts": PSP}, tmp_path)
    assert contents is not None
    assert (contents.family, contents.generator) == ("pSp", None)


def test_options_may_be_missing(tmp_path: Path) -> None:
    contents = written({"state_dict": {**networks("encoder"), **decoder()}}, tmp_path)
    assert contents is not None
    assert contents.generator is not None
    assert not contents.generator.has_average


@pytest.mark.parametrize("prefix", ["module.", "module.module."])
def test_the_prefix_of_parallel_training_is_removed_once(prefix: str, tmp_path: Path) -> None:
    state = {f"{prefix}{key}": v for key, v in {**networks("encoder"), **decoder()}.items()}
    contents = written({"state_dict": state, "opts": PSP}, tmp_path)
    assert (contents is not None) == (prefix == "module.")
    if contents is not None:
        assert contents.generator is not None


def test_decoders_of_other_projects_are_found(tmp_path: Path) -> None:
    contents = written({"state_dict": {**networks("hypernet"), **decoder()}}, tmp_path)
    assert contents is not None
    assert contents.generator is not None
    assert contents.family == "rosinality (as a decoder)"
    assert contents.others == ("hypernet (0.2 M parameters)",)


def test_a_damaged_generator_is_one_line(tmp_path: Path) -> None:
    state = {**networks("encoder"), **decoder()}
    del state["decoder.convs.0.conv.weight"]
    with pytest.raises(GaneditError, match=r"it has no tensor 'convs.0.conv.weight'"):
        written({"state_dict": state, "opts": PSP}, tmp_path)


@pytest.mark.parametrize(
    "value", [None, {}, {"state_dict": 3}, {"state_dict": {"encoder.weight": 1}}, {"opts": {}}]
)
def test_other_data_is_not_of_these_families(value: Any) -> None:
    assert bundles.recognise(value) is None
