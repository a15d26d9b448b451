import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.checkpoints import LoadedEncoder, Network, load_encoder, load_network, save_network
from ganedit.data.clayheads import FACTOR_INDEX
from ganedit.editing import sample, synthesize
from ganedit.errors import GaneditError
from ganedit.features import load_clip
from ganedit.features.clay import load_clay_features
from ganedit.features.clip import Clip, Scaling
from ganedit.generators import Generator
from ganedit.generators.base import StyleLayer
from ganedit.inversion import check_encoder
from ganedit.io import write_image
from ganedit.losses import load_perceptual
from ganedit.training import adaptation
from ganedit.training.adaptation import Goal, adapt_generator, choose_layers, layer_weights
from ganedit.training.adaptation_config import AdaptationConfig

HEADS = range(2**30, 2**30 + 64)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip()


@pytest.fixture
def config(network_path: Path, tmp_path: Path) -> AdaptationConfig:
    return AdaptationConfig(
        out=tmp_path / "adapted.safetensors",
        network=str(network_path),
        source="a bald man",
        target="a woman with long hair",
        steps=6,
        batch=2,
        device="cpu",
    )


@pytest.fixture
def adapt(network: Network, clip: Clip) -> Callable[..., dict[str, Tensor]]:
    """Adapt the tiny network and return the weights of the result."""

    def run(config: AdaptationConfig, **settings: Any) -> dict[str, Tensor]:
        assert adapt_generator(config, network, [clip], **settings).reason == "done"
        return weights(load_network(config.out, device="cpu"))

    return run


def weights(network: Network) -> dict[str, Tensor]:
    return cast(nn.Module, network.generator).state_dict()


def stop_after(last: int) -> Callable[..., None]:
    def on_step(step: int, _total: int, _values: Any) -> None:
        if step == last:
            raise KeyboardInterrupt

    return on_step


# What is learned


def test_pictures_go_where_the_words_say(
    config: AdaptationConfig, network: Network, clip: Clip
) -> None:
    config = dataclasses.replace(config, steps=40, batch=4, learning_rate=0.01, adaptive=False)
    losses: list[float] = []
    result = adapt_generator(
        config,
        network,
        [clip],
        distance=load_perceptual("pixel"),
        on_step=lambda _step, _total, values: losses.append(values["loss"]),
    )
    assert len(losses) == result.step == 40
    assert losses[0] == 1  # nothing has moved yet
    assert result.figures["direction"] > 0.25
    assert result.figures["target_after"] > result.figures["target_before"] + 0.05
    assert result.figures["diversity_before"] > 0
    adapted = load_network(config.out, device="cpu")
    assert adapted.metadata["provenance"]["figures"] == result.figures
    latent = sample(network, HEADS[:16], truncation_psi=0.7)
    before, after = (
        clip.encode_images(torch.cat(list(synthesize(one, latent)))) for one in (network, adapted)
    )
    texts = clip.encode_texts([config.source or "", config.target or ""])
    moved = F.cosine_similarity(after - before, (texts[1] - texts[0])[None])
    assert moved.mean() > 0.25


def test_only_convolutions_are_trained(
    config: AdaptationConfig, network: Network, adapt: Callable[..., dict[str, Tensor]]
) -> None:
    found = adapt(dataclasses.replace(config, adaptive=False))
    changed = {key for key, value in weights(network).items() if not torch.equal(found[key], value)}
    assert {f"synthesis.b{side}.conv1.weight" for side in (4, 8, 16)} <= changed
    assert not [key for key in changed if "conv" not in key or "affine" in key]
    assert not any(x.requires_grad for x in cast(nn.Module, network.generator).parameters())


def test_adaptive_training_leaves_the_other_layers_alone(
    config: AdaptationConfig, network: Network, adapt: Callable[..., dict[str, Tensor]]
) -> None:
    found = adapt(dataclasses.replace(config, adaptive_layers=2))
    before = weights(network)
    layers = [told for told in network.generator.style_layers if told.kind == "conv"]
    keys = [f"synthesis.{told.name}.weight" for told in layers]
    assert sum(not torch.equal(found[key], before[key]) for key in keys) == 2


class Layered(nn.Module):
    """A generator of flat colours whose layers count as much as is planted."""

    def __init__(self, gains: list[float]) -> None:
        super().__init__()
        self.gains = gains
        self.synthesis = nn.ModuleDict({f"c{i}": nn.Conv2d(1, 1, 1) for i in range(len(gains))})
        self.requires_grad_(False)

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        convs = [StyleLayer(f"c{i}", 1, 4, i, "conv") for i in range(len(self.gains))]
        return (*convs, StyleLayer("rgb", 1, 4, len(convs), "rgb"))

    def synthesize(self, ws: Tensor) -> Tensor:
        colour = (ws * torch.tensor([*self.gains, 9.0])[:, None]).sum(dim=1)  # the last: to RGB
        return colour[..., None, None].expand(-1, -1, 4, 4)


class Colour:
    """A CLIP whose directions are colours."""

    name, preprocess = "colour", "model"
    scaling = Scaling(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def encode_images(self, images: Tensor) -> Tensor:
        return F.normalize(images.mean(dim=(2, 3)), dim=1)


def test_the_layers_that_matter_are_chosen() -> None:
    generator = cast(Generator, Layered([0.1, 2.0, 0.3, 1.0, 0.2]))
    place = torch.tensor([1.0, 0.0, 0.0])
    goals = [Goal(cast(Clip, Colour()), place, place)]
    ws = torch.randn(8, 6, 3, generator=torch.Generator().manual_seed(0))
    assert list(layer_weights(generator)) == [0, 1, 2, 3, 4]
    assert choose_layers(generator, goals, ws, count=2) == (1, 3)
    assert choose_layers(generator, goals, ws, count=3) == (1, 2, 3)
    assert ws.grad is None


def test_pictures_can_take_the_place_of_words(
    config: AdaptationConfig,
    network: Network,
    tmp_path: Path,
    adapt: Callable[..., dict[str, Tensor]],
) -> None:
    red = torch.tensor([0.9, -0.7, -0.7]).reshape(1, 3, 1, 1)
    for index in range(3):
        side = 12 + 8 * index  # of any size
        write_image(tmp_path / "red" / f"{index}.png", red.expand(-1, -1, side, side + 4))
    without = dataclasses.replace(config, source=None, target=None)
    config = dataclasses.replace(without, target_images=tmp_path / "red", steps=30, batch=4)
    config = dataclasses.replace(config, learning_rate=0.01)
    adapt_generator(config, network, [cast(Clip, Colour())])
    latent = sample(network, range(8), truncation_psi=0.7)
    adapted = load_network(config.out, device="cpu")
    after, before = (torch.cat(list(synthesize(one, latent))) for one in (adapted, network))
    redness = (after - before).mean(dim=(2, 3)) @ red.flatten()
    assert (redness > 0).all()
    inside = dataclasses.replace(config, out=tmp_path / "red" / "new" / "a.safetensors")
    with pytest.raises(GaneditError, match="whose pictures are the target"):
        adapt(inside)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GaneditError, match="empty: holds no pictures"):
        adapt(dataclasses.replace(config, target_images=tmp_path / "empty"))


# Going on


def test_a_killed_adaptation_goes_on_as_if_it_had_not_been(
    config: AdaptationConfig,
    tmp_path: Path,
    adapt: Callable[..., dict[str, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adaptation, "_CHOICE_INTERVAL", 3)
    config = dataclasses.replace(config, state_steps=4, adaptive_layers=2)
    whole = adapt(config)
    again = dataclasses.replace(config, out=tmp_path / "again.safetensors")
    with pytest.raises(KeyboardInterrupt):
        adapt(again, on_step=stop_after(5))
    assert again.state_path.exists()
    assert not again.out.exists()
    steps: list[int] = []
    resumed = adapt(again, on_step=lambda step, _total, _values: steps.append(step))
    assert steps == [5, 6]
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
    assert not again.state_path.exists()


def test_a_state_of_something_else_is_refused(
    config: AdaptationConfig,
    adapt: Callable[..., dict[str, Tensor]],
    clip: Clip,
    other_network_path: Path,
) -> None:
    config = dataclasses.replace(config, state_steps=1)
    with pytest.raises(KeyboardInterrupt):
        adapt(config, on_step=stop_after(2))
    with pytest.raises(GaneditError, match=r"--lr 0\.0016 is now 0\.1"):
        adapt(dataclasses.replace(config, learning_rate=0.1))
    with pytest.raises(GaneditError, match="--network is another one"):
        adapt_generator(config, load_network(other_network_path, device="cpu"), [clip])
    content = config.state_path.read_bytes()
    config.state_path.write_bytes(content[: len(content) // 2])
    with pytest.raises(GaneditError, match=r"adapted\.state\.pt"):
        adapt(config)
    torch.save({"format": "mine"}, config.state_path)
    with pytest.raises(GaneditError, match="not the state of an adaptation"):
        adapt(config)


# The result belongs to the old network's latents


def test_the_old_networks_latents_are_drawn(
    config: AdaptationConfig,
    network: Network,
    clip: Clip,
    other_network_path: Path,
    encoder_path: Path,
    tmp_path: Path,
) -> None:
    adapt_generator(config, network, [clip])
    child = load_network(config.out, device="cpu")
    second = dataclasses.replace(
        config, out=tmp_path / "second.safetensors", network=str(config.out)
    )
    adapt_generator(second, child, [clip])
    grandchild = load_network(second.out, device="cpu")
    assert grandchild.ancestors == (child.fingerprint, network.fingerprint)
    old = sample(network, [5])
    for one in (child, grandchild):
        assert one.accepts(network.fingerprint)
        assert torch.equal(sample(one, [5]).ws, old.ws)  # the same words for a head
        assert not torch.equal(next(synthesize(one, old)), next(synthesize(network, old)))
    with pytest.raises(GaneditError, match="another generator"):
        next(synthesize(network, sample(child, [5])))
    with pytest.raises(GaneditError, match="another generator"):
        next(synthesize(child, sample(load_network(other_network_path, device="cpu"), [5])))
    encoder: LoadedEncoder = load_encoder(encoder_path, device="cpu")
    check_encoder(child, encoder)


@pytest.mark.parametrize("told", [7, "sha256:0", None, {"a": 1}, [[], 7]])
def test_a_forged_origin_accepts_nothing(network: Network, tmp_path: Path, told: object) -> None:
    path = tmp_path / "forged.safetensors"
    save_network(path, network.generator, provenance={"adapted_from": told})
    forged = load_network(path, device="cpu")
    assert forged.accepts(network.fingerprint)  # the same weights
    assert not forged.accepts("sha256:0")


# Bad input


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"target": None}, "--target is missing"),
        ({"source": " "}, "--source is missing"),
        ({"target": " a  bald man"}, "which is no direction"),
        ({"target_images": Path("a")}, "--target-images takes the place"),
        ({"learning_rate": math.nan}, "--lr must be"),
        ({"truncation_psi": 3.0}, "--trunc must be 0 to 2"),
        ({"steps": 0}, "--steps"),
        ({"adaptive": False, "adaptive_layers": 3}, "--adaptive-layers is for --adaptive"),
    ],
)
def test_options_are_checked(config: AdaptationConfig, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(GaneditError, match=line):
        dataclasses.replace(config, **changes).validate()


def test_words_without_a_direction_are_refused(
    config: AdaptationConfig, adapt: Callable[..., dict[str, Tensor]]
) -> None:
    with pytest.raises(GaneditError, match="say the same"):
        adapt(dataclasses.replace(config, target="A bald man"))
    with pytest.raises(GaneditError, match="knows none of these words"):
        adapt(dataclasses.replace(config, target="zeppelin"))


def test_generators_that_need_labels_are_refused(
    config: AdaptationConfig, class_network_path: Path, clip: Clip
) -> None:
    with pytest.raises(GaneditError, match="is conditional"):
        adapt_generator(config, load_network(class_network_path, device="cpu"), [clip])


def test_nothing_of_others_is_replaced(
    config: AdaptationConfig, network: Network, clip: Clip, adapt: Callable[..., dict[str, Tensor]]
) -> None:
    adapt(config)
    adapt(config)  # its own results
    itself = dataclasses.replace(config, network=str(config.out))
    with pytest.raises(GaneditError, match="is an input"):
        adapt_generator(itself, load_network(config.out, device="cpu"), [clip])
    config.preview_path.write_bytes(b"mine")
    with pytest.raises(GaneditError, match=r"adapted\.png: holds something else"):
        adapt(config)
    save_network(config.out, network.generator, provenance={})
    with pytest.raises(GaneditError, match=r"adapted\.safetensors: holds something else"):
        adapt(config)
    adapt(config, overwrite=True)
    assert config.preview_path.read_bytes() != b"mine"


def test_a_divergence_is_told(
    config: AdaptationConfig,
    adapt: Callable[..., dict[str, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(adaptation, "_step", lambda _world, _state: {"loss": math.nan})
        with pytest.raises(GaneditError, match=r"diverged at step 1; .* --lr 0\.0008"):
            adapt(config)
    monkeypatch.setattr(adaptation, "measure", lambda *_, **__: {"direction": math.nan})
    with pytest.raises(GaneditError, match="diverged at step 6"):
        adapt(config)
    assert not config.out.exists()


# The claim


@pytest.mark.slow
def test_unseen_clay_heads_become_what_was_asked(tmp_path: Path, clip: Clip) -> None:
    config = AdaptationConfig(
        out=tmp_path / "s.safetensors", source="a face", target="a smiling face", steps=150
    )
    network = load_network("clay", device="cpu")
    result = adapt_generator(config, network, [clip], distance=load_perceptual("clay"))
    assert result.figures["diversity_after"] > 0.8 * result.figures["diversity_before"]
    latent = sample(network, HEADS, truncation_psi=0.7)
    features = load_clay_features()
    before, after = (
        features.predict(torch.cat(list(synthesize(one, latent))).clamp(-1, 1)).factors
        for one in (network, load_network(config.out, device="cpu"))
    )
    smile = FACTOR_INDEX["smile"]
    assert (before[:, smile] > 1 / 3).float().mean() < 0.6
    assert (after[:, smile] > 1 / 3).float().mean() >= 0.9
    for name in ("yaw", "light", "skin_tone", "hair_style", "beard", "glasses", "clothing"):
        pair = torch.stack([x[:, FACTOR_INDEX[name]] for x in (before, after)])
        assert torch.corrcoef(pair)[0, 1] > 0.85, name
