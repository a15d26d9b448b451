import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganedit.checkpoints import Network, load_mapper, load_network
from ganedit.encoders import SingleMapper
from ganedit.errors import GaneditError
from ganedit.features import ir_se, load_clip
from ganedit.features.clip import Clip
from ganedit.generators.statistics import map_samples
from ganedit.training import mapper as training
from ganedit.training.mapper import train_mapper
from ganedit.training.mapper_config import MapperTrainingConfig
from tests.arcface import SHORT, write_arcface


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip()


@pytest.fixture
def config(network_path: Path, tmp_path: Path) -> MapperTrainingConfig:
    return MapperTrainingConfig(
        prompts=("dark skin",),
        out=tmp_path / "m.safetensors",
        network=str(network_path),
        samples=24,
        kimg=0.012,
        batch=2,
        dtype="float32",
        device="cpu",
    )


def test_the_prompt_is_learned(config: MapperTrainingConfig, network: Network, clip: Clip) -> None:
    terms: list[dict[str, float]] = []
    config = dataclasses.replace(config, kimg=0.24, batch=8, learning_rate=3.0, identity="none")
    result = train_mapper(
        config, network=network, clip=clip, on_step=lambda _s, _t, v: terms.append(dict(v))
    )
    assert (result.reason, result.step, len(terms)) == ("done", 30, 30)
    assert terms[0]["latent"] == 0  # it starts from no change
    first, last = terms[0]["clip"], sum(one["clip"] for one in terms[-5:]) / 5
    assert last < first - 0.5  # in standard deviations over the samples
    assert result.figures["after"] > result.figures["before"]
    assert terms[-1]["identity"] == 0


def test_the_result_says_how_it_came_to_be(
    config: MapperTrainingConfig, network: Network, clip: Clip
) -> None:
    config = dataclasses.replace(config, prompts=("dark skin", "smile:-0.5"), medium=False)
    train_mapper(config, network=network, clip=clip)
    loaded = load_mapper(config.out, device="cpu")
    assert loaded.prompt == "dark skin + smile:-0.5"
    assert loaded.fingerprint == network.fingerprint
    change = loaded.mapper(network.generator.map(torch.randn(3, 16)))
    assert bool((change[:, 4:] == 0).all())
    assert not config.state_path.exists()
    basis = loaded.mapper.get_buffer("basis")
    covariance = torch.cov(map_samples(network.generator).mT)
    torch.testing.assert_close(basis.mT @ basis, covariance, rtol=0.01, atol=0.01)


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    config: MapperTrainingConfig, network: Network, clip: Clip, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, state_kimg=0.004)
    train_mapper(config, network=network, clip=clip)
    again = dataclasses.replace(config, out=tmp_path / "again.safetensors")

    def kill(step: int, _total: int, _values: Any) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_mapper(again, network=network, clip=clip, on_step=kill)
    assert again.state_path.exists()
    assert not again.out.exists()
    steps: list[int] = []
    train_mapper(again, network=network, clip=clip, on_step=lambda step, _t, _v: steps.append(step))
    assert steps == [5, 6]  # the state is that of step 4
    whole, resumed = (load_mapper(c.out, device="cpu").mapper for c in (config, again))
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_a_state_of_another_training_is_refused(
    config: MapperTrainingConfig, network: Network, clip: Clip
) -> None:
    def kill(step: int, _total: int, _values: Any) -> None:
        if step == 2:
            raise KeyboardInterrupt

    config = dataclasses.replace(config, state_kimg=0.002)
    with pytest.raises(KeyboardInterrupt):
        train_mapper(config, network=network, clip=clip, on_step=kill)
    changed = dataclasses.replace(config, learning_rate=0.25)
    with pytest.raises(GaneditError, match=r"--lr .* is now 0.25"):
        train_mapper(changed, network=network, clip=clip)
    changed = dataclasses.replace(config, prompts=("smile",))
    with pytest.raises(GaneditError, match=r"--prompt \['dark skin'\] is now \['smile'\]"):
        train_mapper(changed, network=network, clip=clip)
    with pytest.raises(GaneditError, match="other latents, or another generator"):
        train_mapper(config, network=network, clip=clip, latents=torch.randn(9, 6, 16))
    config.state_path.write_bytes(b"mine")
    with pytest.raises(GaneditError, match=r"m\.state\.pt"):
        train_mapper(config, network=network, clip=clip)


def test_latents_can_be_given(
    config: MapperTrainingConfig, network: Network, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = torch.randn(3, 6, 16)
    seen: list[Tensor] = []
    forward = SingleMapper.forward

    def noted(self: SingleMapper, given: Tensor) -> Tensor:
        seen.append(given)
        return forward(self, given)

    monkeypatch.setattr(SingleMapper, "forward", noted)
    config = dataclasses.replace(config, kind="single")
    train_mapper(config, network=network, clip=clip, latents=ws)
    assert type(load_mapper(config.out, device="cpu").mapper) is SingleMapper
    for row in torch.cat(seen):
        assert any(torch.equal(row, one) for one in ws)


def test_a_neutral_prompt_gives_the_way(
    config: MapperTrainingConfig, network: Network, clip: Clip
) -> None:
    config = dataclasses.replace(config, neutral="light skin")
    assert train_mapper(config, network=network, clip=clip).figures["after"] < 0.7
    with pytest.raises(GaneditError, match="say the same to this CLIP"):
        train_mapper(dataclasses.replace(config, neutral="dark skin"), network=network, clip=clip)


def test_samples_reach_as_far_as_projected_photos(
    config: MapperTrainingConfig, network: Network
) -> None:
    near, far = (
        training._samples(dataclasses.replace(config, spread=spread), network.generator)
        for spread in (0.0, 2.0)
    )
    same = (near == near[:, :1]).all(dim=2).all(dim=1)
    assert 0 < int(same.sum()) < len(near)  # half are mixed
    assert near.shape == far.shape == (24, 6, 16)
    assert float((far - near).std()) > 0.5 * float(near.std())


def test_arcface_keeps_people(
    config: MapperTrainingConfig,
    network: Network,
    clip: Clip,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(ir_se, "_STAGES", SHORT)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    config = dataclasses.replace(config, identity="arcface")
    with pytest.raises(GaneditError, match=r"model_ir_se50.pth.* --identity none"):
        train_mapper(config, network=network, clip=clip)
    write_arcface(tmp_path / "a.pth")
    config = dataclasses.replace(config, identity_weights=tmp_path / "a.pth")
    terms: list[dict[str, float]] = []
    train_mapper(
        config, network=network, clip=clip, on_step=lambda _s, _t, v: terms.append(dict(v))
    )
    assert terms[0]["identity"] == pytest.approx(0, abs=1e-5)
    assert 0 < terms[-1]["identity"] < 2


def test_what_does_not_fit_is_one_line(
    config: MapperTrainingConfig,
    network: Network,
    clip: Clip,
    class_network_path: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "other.safetensors").write_text("mine")
    for change, message in [
        ({"prompts": ()}, "at least one --prompt"),
        ({"prompts": ("",)}, "the prompt is empty"),
        ({"prompts": ("smile:nan",)}, "weight behind its last colon"),
        ({"coarse": False, "medium": False, "fine": False}, "no layers are left to change"),
        ({"coarse": False, "medium": False}, "has 6 latents, none of them in the levels"),
        ({"kind": "single", "fine": False}, "--kind single has no levels"),
        ({"out": tmp_path / "other.safetensors"}, "--overwrite"),
        ({"out": tmp_path / "m.pt"}, "must end in .safetensors"),
        ({"learning_rate": float("nan")}, "--lr must be 1e-09 to 1000, got nan"),
        ({"identity_weights": tmp_path / "a"}, "is for --identity arcface; add it"),
    ]:
        with pytest.raises(GaneditError, match=message) as error:
            train_mapper(dataclasses.replace(config, **change), network=network, clip=clip)
        assert "\n" not in str(error.value)
    classes = load_network(class_network_path, device="cpu")
    with pytest.raises(GaneditError, match="is conditional"):
        train_mapper(config, network=classes, clip=clip)


def test_a_diverged_training_stops(
    config: MapperTrainingConfig,
    network: Network,
    clip: Clip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "MAPPER_STRENGTH", float("nan"))
    with pytest.raises(GaneditError, match=r"diverged at step 1; .* --lr "):
        train_mapper(config, network=network, clip=clip)
