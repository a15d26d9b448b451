import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganedit.checkpoints import (
    Network,
    describe,
    load_encoder,
    load_mapper,
    load_network,
    open_checkpoint,
    save_mapper,
)
from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.encoders import LevelsMapper, SingleMapper
from ganedit.errors import GaneditError
from tests.conftest import make_generator

SIZES = {"num_ws": 6, "w_dim": 16}


def made(**options: Any) -> LevelsMapper:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LevelsMapper(**(SIZES | options)).eval()


@pytest.fixture
def path(tmp_path: Path, network: Network) -> Path:
    path = tmp_path / "smile.safetensors"
    mark = network.fingerprint
    save_mapper(path, made(), prompt="smile", fingerprint=mark, provenance={"steps": 3})
    return path


def rewritten(
    source: Path, target: Path, *, drop: str = "", spoil: str = "", **changes: Any
) -> Path:
    """A copy of one of our files with other metadata, without a tensor, or with NaN in one."""
    stored = open_checkpoint(source).mapper
    header = {
        "format": "ganedit-network",
        "version": 1,
        "role": "mapper",
        "architecture": stored.part.architecture,
        "config": stored.part.config,
        "fingerprint": stored.fingerprint,
        "prompt": stored.prompt,
        **changes,
    }
    tensors = {key: value for key, value in load_file(source).items() if key != drop}
    if spoil:
        tensors[spoil] = torch.full_like(tensors[spoil], float("nan"))
    save_file(tensors, target, metadata={"ganedit": json.dumps(header)})
    return target


def test_a_mapper_file_is_read_back(path: Path, network: Network) -> None:
    loaded = load_mapper(path, device="cpu")
    assert (loaded.num_ws, loaded.w_dim, loaded.prompt) == (6, 16, "smile")
    assert (loaded.fingerprint, loaded.family) == (network.fingerprint, "ganedit")
    assert not any(p.requires_grad for p in loaded.mapper.parameters())
    ws = torch.randn(4, 6, 16)
    torch.testing.assert_close(loaded.mapper(ws), made()(ws), rtol=0, atol=0.01)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}


def test_a_mapper_file_is_described(path: Path) -> None:
    facts = describe(open_checkpoint(path))
    assert facts["usable"]
    assert facts["provenance"] == {"steps": 3}
    ((role, name),) = [(n["role"], n["architecture"]) for n in facts["networks"]]
    assert (role, name) == ("mapper", "LevelsMapper")
    assert facts["mapper"] == {"prompt": "smile", "num_ws": 6, "w_dim": 16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": "mapper.course_mapping.mapping.2.bias"}, r"missing tensor mapper\.course_"),
        ({"config": SIZES | {"levels": ["coarse"]}}, r"unexpected tensor mapper\.fine_mapping"),
        ({"config": SIZES | {"levels": 5}}, "configuration does not build"),
        ({"config": SIZES | {"levels": ["low"]}}, "configuration does not build"),
        ({"config": SIZES | {"num_ws": "six"}}, "num_ws: expected a whole number from 1"),
        ({"config": SIZES | {"num_ws": 1000}}, "num_ws = 1000 is out of range"),
        ({"config": SIZES | {"w_dim": 1 << 30}}, "w_dim = 1073741824 is out of range"),
        ({"config": SIZES | {"w_dim": 1 << 18}}, "asks for more weights than the file holds"),
        ({"config": SIZES | {"w_dim": 8}}, r"expected shape \[8, 8\], got \[16, 16\]"),
        ({"architecture": "CompactEncoder"}, "unknown architecture"),
        ({"fingerprint": ""}, "does not say which generator"),
        ({"prompt": 7}, "does not say for which prompt"),
        ({"spoil": "mapper.fine_mapping.mapping.1.bias"}, "holds values that are not finite"),
    ],
)
def test_a_damaged_file_is_one_line(
    changes: dict[str, Any], message: str, path: Path, tmp_path: Path
) -> None:
    bad = rewritten(path, tmp_path / "bad.safetensors", **changes)
    with pytest.raises(GaneditError, match=message) as error:
        load_mapper(bad, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [0, 7, 40, 2000, -1])
def test_a_file_cut_short_is_one_line(path: Path, length: int, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:length])
    with pytest.raises(GaneditError) as error:
        load_mapper(cut, device="cpu")
    assert "\n" not in str(error.value)


def test_mappers_and_other_networks_are_not_mistaken(
    path: Path, network_path: Path, encoder_path: Path
) -> None:
    with pytest.raises(GaneditError, match="a mapper without a generator; 'ganedit clip-edit"):
        load_network(path, device="cpu")
    with pytest.raises(GaneditError, match="without an encoder"):
        load_encoder(path, device="cpu")
    for other in (network_path, encoder_path):
        with pytest.raises(GaneditError, match="a ganedit file without a mapper; train one"):
            load_mapper(other, device="cpu")


def test_long_prompts_are_cut(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    mark = network.fingerprint
    save_mapper(path, made(), prompt="a\n\U0001f600" * 999, fingerprint=mark, provenance={})
    prompt = load_mapper(path, device="cpu").prompt
    assert prompt is not None
    assert len(prompt) == 200
    assert "\n" not in prompt


# StyleCLIP's own files


def bundle(
    path: Path, mapper: LevelsMapper | SingleMapper, *, decoder: bool = True, **opts: Any
) -> Path:
    state: dict[str, Tensor] = {f"mapper.{k}": v for k, v in mapper.state_dict().items()}
    if decoder:
        state |= {f"decoder.{k}": v for k, v in to_rosinality(make_generator())[0].items()}
    options = {"mapper_type": type(mapper).__name__, "description": "a smile", **opts}
    torch.save({"state_dict": state, "opts": options}, path)
    return path


@pytest.mark.parametrize(
    ("levels", "kept"),
    [
        (["coarse", "medium", "fine"], True),
        (["medium", "fine"], True),
        (["coarse"], True),
        (["fine"], False),
    ],
)
def test_levels_of_an_official_file(levels: list[str], kept: bool, tmp_path: Path) -> None:
    mapper = made(levels=levels)
    path = bundle(tmp_path / "mapper.pt", mapper, no_coarse_mapper="coarse" not in levels)
    loaded = load_mapper(path, device="cpu")
    assert (loaded.num_ws, loaded.w_dim, loaded.prompt) == (6, 16, "a smile")
    assert loaded.family == "StyleCLIP mapper"
    assert loaded.fingerprint == load_network(path, device="cpu").fingerprint
    ws = torch.randn(2, 6, 16)
    assert torch.equal(loaded.mapper(ws), mapper(ws))
    assert bool((loaded.mapper(ws) != 0).any()) == kept  # six latents have no fine ones
    facts = describe(open_checkpoint(path))
    assert [n["role"] for n in facts["networks"]] == ["generator", "mapper"]
    assert facts["mapper"] == {"prompt": "a smile", "num_ws": 6, "w_dim": 16}
    assert facts["others"] == []


def test_a_single_mapper_without_its_generator(tmp_path: Path) -> None:
    mapper = SingleMapper(num_ws=10, w_dim=16)
    path = bundle(tmp_path / "mapper.pt", mapper, decoder=False, stylegan_size=64)
    loaded = load_mapper(path, device="cpu")
    assert (loaded.num_ws, loaded.fingerprint) == (10, None)
    torch.save(
        {"state_dict": {"mapper.mapping.mapping.1.weight": torch.zeros(3)}, "opts": {}}, path
    )
    with pytest.raises(GaneditError, match=r"w_dim: expected a whole number from 1"):
        load_mapper(path, device="cpu")


def test_mappers_of_styles_are_told_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "styles.pt"
    state = {f"mapper.mapper_{i}.mapping.1.weight": torch.zeros(8, 8) for i in range(3)}
    torch.save({"state_dict": state, "opts": {"work_in_stylespace": True}}, path)
    with pytest.raises(GaneditError, match="StyleSpaceMapper mapper, which this ganedit can desc"):
        load_mapper(path, device="cpu")
    facts = describe(open_checkpoint(path))
    assert not facts["usable"]
    assert facts["networks"][0]["architecture"] == "StyleSpaceMapper"


def test_prompts_of_strangers_stay_on_one_line(tmp_path: Path) -> None:
    path = bundle(tmp_path / "m.pt", made(), description="smile\n\x1b[31m" + "x" * 9999)
    prompt = load_mapper(path, device="cpu").prompt
    assert prompt is not None
    assert prompt.isprintable()
    assert len(prompt) == 200
