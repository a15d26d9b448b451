from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganedit.checkpoints import genforce
from ganedit.checkpoints.building import build_generator
from ganedit.checkpoints.contents import Contents
from ganedit.errors import GaneditError
from ganedit.io.torch_files import open_pickled
from tests.conftest import make_generator


def layout() -> dict[str, Tensor]:
    """The 16-pixel generator under genforce's names, by hand."""
    ours = make_generator().state_dict()
    state = {"truncation.w_avg": ours["mapping.w_avg"]}
    for index in range(2):
        for kind in ("weight", "bias"):
            state[f"mapping.dense{index}.{kind}"] = ours[f"mapping.fc{index}.{kind}"]
    state["synthesis.early_layer.const"] = ours["synthesis.b4.const"][None]
    state["synthesis.upsample.kernel"] = torch.ones(1, 1, 4, 4)
    layers = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    names = {f"layer{i}": f"synthesis.{layer}" for i, layer in enumerate(layers)}
    names |= {f"output{i}": f"synthesis.b{4 << i}.torgb" for i in range(3)}
    for theirs, name in names.items():
        weight = ours[f"{name}.weight"]
        state[f"synthesis.{theirs}.weight"] = (
            weight.flip(2, 3) if name.endswith("conv0") else weight
        )
        state[f"synthesis.{theirs}.bias"] = ours[f"{name}.bias"]
        state[f"synthesis.{theirs}.style.weight"] = ours[f"{name}.affine.weight"]
        state[f"synthesis.{theirs}.style.bias"] = ours[f"{name}.affine.bias"] - 1
        if theirs.startswith("layer"):
            state[f"synthesis.{theirs}.noise"] = ours[f"{name}.noise_const"][None, None]
            state[f"synthesis.{theirs}.noise_strength"] = ours[f"{name}.noise_strength"]
    return state


def written(content: Any, path: Path) -> Contents | None:
    torch.save(content, path)
    return genforce.recognise(open_pickled(path).trusted())


def test_the_smooth_generator_is_preferred_and_draws_the_same(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    raw = {key: value + 1 for key, value in layout().items()}
    content = {"generator": raw, "generator_smooth": layout(), "running_metadata": {"a": 1}}
    contents = written(content, path)
    assert contents is not None
    assert contents.generator is not None
    assert contents.generator.name == "generator_smooth"
    assert contents.raw_generator is not None
    assert contents.raw_generator.name == "generator"
    assert contents.others == ("running_metadata: <dict>",)
    ours = make_generator()
    again = build_generator(contents.generator, path)
    z = torch.randn(2, 16)
    image = ours.synthesize(ours.map(z, truncation_psi=0.5))
    got = again.synthesize(again.map(z, truncation_psi=0.5))
    torch.testing.assert_close(got, image)


def test_channels_may_follow_no_rule(tmp_path: Path) -> None:
    state = layout()
    state["synthesis.layer4.bias"] = torch.ones(9)
    contents = written({"generator": state}, tmp_path / "network.pth")
    assert contents is not None
    assert contents.generator is not None
    assert contents.generator.config["channels"] == {"4": 8, "8": 8, "16": 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping.label_weight": torch.ones(3, 16)}, "label_weight of the generator has no place"),
        ({"mapping.dense0.bias": None}, "missing or of a wrong shape"),
        ({"truncation.w_avg": None}, "missing or of a wrong shape"),
        ({"synthesis.layer1.noise": torch.ones([])}, "missing or of a wrong shape"),
        ({"synthesis.layer0.bias": 3}, "is 3, no tensor"),
        ({f"synthesis.output{i}.bias": torch.ones(3) for i in range(3, 60)}, "at most 12"),
    ],
)
def test_damaged_files_are_one_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    state = {key: value for key, value in {**layout(), **change}.items() if value is not None}
    with pytest.raises(GaneditError, match=message) as error:
        written({"generator": state}, tmp_path / "network.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, {}, {"generator": 3}, {"generator": {"a": 1}}])
def test_other_data_is_not_of_this_family(value: Any) -> None:
    assert genforce.recognise(value) is None
