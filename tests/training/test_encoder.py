import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganedit.checkpoints import Network, load_encoder
from ganedit.checkpoints.building import ENCODERS
from ganedit.errors import GaneditError
from ganedit.features import ir_se
from ganedit.io import write_image
from ganedit.training.encoder import (
    LatentDiscriminator,
    LatentPool,
    latent_statistics,
    train_encoder,
)
from ganedit.training.encoder_config import EncoderTrainingConfig
from tests.arcface import SHORT, write_arcface


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Path:
    """Sixteen pictures that the tiny network can make."""
    folder = tmp_path_factory.mktemp("samples")
    generator = network.generator
    z = torch.randn(16, 16, generator=torch.Generator().manual_seed(5))
    for index, image in enumerate(generator.synthesize(generator.map(z)).clamp(-1, 1)):
        write_image(folder / f"{index:02}.png", image[None])
    return folder


@pytest.fixture
def config(pictures: Path, network_path: Path, tmp_path: Path) -> EncoderTrainingConfig:
    return EncoderTrainingConfig(
        data=pictures,
        out=tmp_path / "e.safetensors",
        network=str(network_path),
        kimg=0.024,
        batch=4,
        perceptual="pixel",
        dtype="float32",
        device="cpu",
    )


def trained(config: EncoderTrainingConfig, **settings: Any) -> dict[str, Tensor]:
    assert train_encoder(config, **settings).reason == "done"
    return load_encoder(config.out, device="cpu").encoder.state_dict()


def test_the_latents_of_samples_are_learned(config: EncoderTrainingConfig) -> None:
    alone = {"perceptual_weight": 0.0, "pixel_weight": 0.0, "latent_weight": 1.0}
    config = dataclasses.replace(config, kimg=0.8, batch=16, learning_rate=0.02, **alone)
    errors: list[float] = []
    result = train_encoder(config, on_step=lambda _step, _total, v: errors.append(v["latent"]))
    assert len(errors) == result.step == config.steps
    assert sum(errors[-10:]) / 10 < 0.8  # always finding the average scores 1
    assert result.figures.keys() == {"distance"}


def test_the_result_says_how_it_came_to_be(config: EncoderTrainingConfig, network: Network) -> None:
    def evaluate(found: Tensor, wanted: Tensor) -> dict[str, float]:
        assert found.shape == wanted.shape == (2, 3, 16, 16)  # an eighth is held out
        return {"psnr": 12.5}

    result = train_encoder(config, evaluate=evaluate)
    assert result.figures["psnr"] == 12.5
    encoder = load_encoder(config.out, device="cpu")
    assert encoder.fingerprint == network.fingerprint
    statistics = latent_statistics(network.generator)
    torch.testing.assert_close(encoder.average, statistics.mean[None])
    torch.testing.assert_close(encoder.encoder.get_buffer("w_std"), statistics.std)
    assert not config.state_path.exists()


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    config: EncoderTrainingConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, discriminator_weight=0.1, state_kimg=0.008)
    whole = trained(config)

    def kill(step: int, _total: int, _values: Any) -> None:
        if step == 5:
            raise KeyboardInterrupt

    again = dataclasses.replace(config, out=tmp_path / "again.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train_encoder(again, on_step=kill)
    assert again.state_path.exists()
    assert not again.out.exists()
    steps: list[int] = []
    resumed = trained(again, on_step=lambda step, _total, _values: steps.append(step))
    assert steps == [5, 6]  # the state is that of step 4
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


def test_a_state_of_other_options_is_refused(config: EncoderTrainingConfig) -> None:
    def kill(_step: int, _total: int, _values: Any) -> None:
        raise KeyboardInterrupt

    config = dataclasses.replace(config, state_kimg=0.004)
    with pytest.raises(KeyboardInterrupt):
        train_encoder(config, on_step=lambda step, *_: kill(step, *_) if step == 2 else None)
    with pytest.raises(GaneditError, match=r"--lr 0.001 is now 0.002"):
        train_encoder(dataclasses.replace(config, learning_rate=0.002))
    config.state_path.write_bytes(b"mine")
    with pytest.raises(GaneditError, match=r"e\.state\.pt"):
        train_encoder(config)


def test_stages_come_one_by_one(config: EncoderTrainingConfig) -> None:
    assert config.stages(0, num_ws=6) is None
    config = dataclasses.replace(config, stages_start_kimg=0.008, stage_kimg=0.004)
    assert [config.stages(step, num_ws=4) for step in range(6)] == [0, 0, 1, 2, 3, 3]
    offsets: list[float] = []
    train_encoder(config, on_step=lambda _step, _total, v: offsets.append(v["delta"]))
    assert offsets[:2] == [0, 0]
    assert offsets[-1] > 0


def test_the_latent_discriminator_learns_too(config: EncoderTrainingConfig) -> None:
    values: list[dict[str, float]] = []
    config = dataclasses.replace(
        config, discriminator_weight=1.0, discriminator_learning_rate=0.01, kimg=0.08
    )
    train_encoder(config, on_step=lambda _step, _total, v: values.append(dict(v)))
    assert {"discriminator", "discriminator_own"} <= values[0].keys()
    assert values[-1]["discriminator_own"] < values[0]["discriminator_own"]
    assert LatentDiscriminator(16)(torch.zeros(5, 16)).shape == (5, 1)


def test_the_pool_gives_earlier_latents() -> None:
    pool = LatentPool(2, 3)
    stream = torch.Generator().manual_seed(0)

    def number(values: range) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[:, None, None].expand(-1, 2, 3)

    # Until it is full, everything is handed through.
    for start in (0, 30):
        given = pool.exchange(number(range(start, start + 30)), stream)[:20]
        assert torch.equal(given, number(range(start, start + 20)))
    seen: list[float] = []
    for start in range(60, 4060, 20):
        given = pool.exchange(number(range(start, start + 20)), stream)
        assert torch.equal(given, given[:, :1, :1].expand(-1, 2, 3))
        seen += given[:, 0, 0].tolist()
    held = pool.latents[:, 0, 0].tolist()
    # Nothing is lost and nothing comes twice, and every second one is of an earlier step.
    assert len(set(seen) | set(held)) == len(seen) + len(held)
    older = sum(value < 60 + index // 20 * 20 for index, value in enumerate(seen))
    assert 0.45 < older / len(seen) < 0.55
    again = LatentPool(2, 3)
    again.load_state_dict(pool.state_dict())
    late = number(range(5000, 5020))
    streams = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert torch.equal(pool.exchange(late, streams[0]), again.exchange(late, streams[1]))


def test_identity_is_a_term_of_the_loss(
    config: EncoderTrainingConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ir_se, "_STAGES", SHORT)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    config = dataclasses.replace(config, identity_weight=2.0, kimg=0.004)
    with pytest.raises(GaneditError, match=r"model_ir_se50.pth.* --identity-weights FILE"):
        train_encoder(config)
    write_arcface(tmp_path / "a.pth")
    config = dataclasses.replace(config, identity_weights=tmp_path / "a.pth")
    values: list[dict[str, float]] = []
    train_encoder(config, on_step=lambda _step, _total, v: values.append(dict(v)))
    (terms,) = values
    assert 0 < terms["identity"] < 2
    summed = sum(
        getattr(config, f"{name}_weight") * v for name, v in terms.items() if name != "loss"
    )
    assert terms["loss"] == pytest.approx(summed, rel=1e-5)


def test_what_does_not_fit_is_one_line(
    config: EncoderTrainingConfig, class_network_path: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    write_image(tmp_path / "large" / "a.png", torch.zeros(1, 3, 32, 32))
    write_image(tmp_path / "few" / "a.png", torch.zeros(1, 3, 16, 16))
    (tmp_path / "other.safetensors").write_text("mine")
    for change, message in [
        ({"network": str(class_network_path)}, "is conditional"),
        ({"kind": "e4e"}, "latents have 16 numbers, e4e finds 512; choose --kind compact"),
        ({"data": tmp_path / "large"}, "pictures are 32x32, the generator's 16x16"),
        ({"data": tmp_path / "few"}, "holds 1 pictures; at least 8"),
        ({"data": empty}, "holds no pictures"),
        ({"out": tmp_path / "other.safetensors"}, "--overwrite"),
        ({"out": tmp_path / "e.pt"}, "must end in .safetensors"),
        ({"batch": 3}, "--batch must be even, got 3"),
        ({"learning_rate": float("nan")}, "--lr must be 1e-09 to 1, got nan"),
        ({"identity_weights": tmp_path / "a.pth"}, "is for --identity-weight; add it"),
        ({"kind": "psp", "stages_start_kimg": 1.0}, "for encoders with offsets"),
    ]:
        with pytest.raises(GaneditError, match=message):
            train_encoder(dataclasses.replace(config, **change))


def test_a_diverged_training_stops(
    config: EncoderTrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ganedit.training.encoder.offset_penalty", lambda codes: codes.sum() * float("nan")
    )
    with pytest.raises(GaneditError, match=r"diverged at step 1; .* --lr 0.0005"):
        train_encoder(config)


class TinyPyramid(nn.Module):
    """Stands in for e4e's encoder, whose backbone alone has 24 M parameters."""

    def __init__(self, *, num_ws: int) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.config = {"num_ws": num_ws}
        self.layer = nn.Linear(3, 16)

    def forward(self, images: Tensor, *, stages: int | None = None) -> Tensor:
        assert images.shape[2:] == (256, 256)
        return self.layer(images.mean(dim=(2, 3)))[:, None].expand(-1, self.num_ws, -1)


def test_large_encoders_read_256_pixels(
    config: EncoderTrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganedit.training.encoder.PYRAMID_WIDTH", 16)
    monkeypatch.setattr("ganedit.training.encoder.Encoder4Editing", TinyPyramid)
    monkeypatch.setitem(ENCODERS, "Encoder4Editing", TinyPyramid)
    config = dataclasses.replace(config, kind="e4e", stages_start_kimg=0.0)
    assert train_encoder(config).reason == "done"
