"""Fine-tuning: what trains, what is kept, and what the result says of where it came from."""

import dataclasses
import json

import pytest
import torch

from ganedit.checkpoints import load_discriminator, load_network, save_network
from ganedit.data.clayheads import render, sample_factors
from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS
from ganedit.editing import sample
from ganedit.errors import GaneditError
from ganedit.features import ClayFeatures, load_clay_features
from ganedit.io import save_latent
from ganedit.losses.identity import read_factors
from ganedit.training import plan, train, transfer
from ganedit.training.features import FeatureScores, save_clay_features
from ganedit.training.loop import _draw, _latents, _mapped
from ganedit.training.state import STATE_FILE, initial_state, read_state
from ganedit.training.transfer import attribute_loss, kept_factors, structure_loss
from tests.conformance import nvlabs_pickle
from tests.conftest import make_generator

OF_FILES = ("keep_latents", "keep_reader")
SCORES = FeatureScores({"smile": 0.5}, 0.75, 2.5, 64)


@pytest.fixture(scope="session")
def start(whole_run):
    """A snapshot to start from."""
    return whole_run.snapshot


@pytest.fixture
def bare(start, tmp_path):
    """The same generator in a file without a discriminator."""
    network = load_network(start, device="cpu")
    path = tmp_path / "bare.safetensors"
    save_network(path, network.generator, provenance={"adapted_from": ["sha256:old"]})
    return path


def moved(before, after):
    """Return the names of the tensors that differ."""
    a, b = before.state_dict(), after.state_dict()
    return {name for name in a if not torch.equal(a[name], b[name])}


def discriminators(start, config):
    return moved(load_discriminator(start), load_discriminator(train(config).snapshot))


def test_frozen_layers_are_counted_from_the_picture(tiny, start):
    trained = discriminators(start, tiny(init=start, freeze_d=4, kimg=0.008))
    assert {name.split(".")[0] for name in trained} == {"b8", "b4"}
    assert {"b8.conv0.weight", "b4.out.weight"} <= trained


def test_trained_blocks_are_counted_from_the_logits(tiny, start):
    trained = discriminators(start, tiny(init=start, train_d_blocks=1, kimg=0.008))
    assert {name.split(".")[0] for name in trained} == {"b8", "b4"}
    everything = discriminators(start, tiny("all", init=start, train_d_blocks=2, kimg=0.008))
    assert "b16.fromrgb.weight" in everything


def test_only_the_highest_resolutions_of_a_frozen_generator_train(tiny, start):
    config = tiny(init=start, freeze_g=2, kimg=0.008)
    snapshot = train(config).snapshot
    generators = [load_network(path, device="cpu").generator for path in (start, snapshot)]
    trained = moved(*generators)
    assert {name.split(".")[1] for name in trained} == {"b8", "b16"}
    assert "synthesis.b8.conv0.affine.weight" in trained
    stats = json.loads((config.out / "stats.jsonl").read_text().splitlines()[0])
    assert "path_length" not in stats


@pytest.mark.parametrize(
    ("option", "largest"),
    [
        ("freeze_d", "7, the layers of this discriminator"),
        ("train_d_blocks", "2, the blocks of this discriminator"),
        ("freeze_g", "3, the resolutions of this generator"),
        ("freeze_style", "6, the latents of this generator"),
        ("structure_loss", "2, the resolutions from 8 pixels on"),
    ],
)
def test_counts_out_of_range_say_how_many_there_are(tiny, start, option, largest):
    flag = "--" + option.replace("_", "-")
    with pytest.raises(GaneditError, match=f"{flag} must be 0 to {largest}.*; got 9"):
        plan(tiny(init=start, **{option: 9}))
    with pytest.raises(GaneditError, match=f"{flag}: nothing to keep"):
        plan(tiny(**{option: 1}))


def test_the_structure_of_a_network_is_its_own_until_coarse_weights_move(tiny, start):
    config = tiny(init=start, structure_loss=1).resolved(16)
    state = initial_state(config, resolution=16, labels=None, device=torch.device("cpu"))
    ws = torch.randn(2, 6, 8)

    def loss(blocks):
        return structure_loss(state.generator, state.source, ws, ws, blocks=blocks)

    assert loss(2) == 0
    with torch.no_grad():
        state.generator.synthesis.b16.conv1.bias += 0.5
        assert loss(1) == 0
        assert loss(2) > 0
        state.generator.synthesis.b4.conv1.weight *= -1
    loss(1).backward()
    assert state.generator.synthesis.b4.conv1.weight.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in state.source.parameters())


def test_the_structure_loss_is_the_mean_squared_difference_of_features(tiny, start):
    config = tiny(init=start, structure_loss=2).resolved(16)
    state = initial_state(config, resolution=16, labels=None, device=torch.device("cpu"))
    with torch.no_grad():
        for weight in state.generator.parameters():
            weight += 0.1 * torch.randn_like(weight)
        for network in (state.generator, state.source):
            for layer in network.synthesis.noisy_layers():
                layer.noise_strength.zero_()
    ws, source_ws = torch.randn(2, 3, 6, 8)
    seen = []
    for network, latents in ((state.generator, ws), (state.source, source_ws)):
        for side in (8, 16):
            layer = getattr(network.synthesis, f"b{side}").conv1
            layer.register_forward_hook(lambda _, __, x: seen.append(x))
        network.synthesis(latents)
    expected = (seen[0] - seen[2]).square().mean() + (seen[1] - seen[3]).square().mean()
    got = structure_loss(state.generator, state.source, ws, source_ws, blocks=2)
    torch.testing.assert_close(got, expected)


def test_the_first_latents_come_from_the_mapping_of_the_start(tiny, start):
    config = tiny(init=start, freeze_style=2).resolved(16)
    state = initial_state(config, resolution=16, labels=None, device=torch.device("cpu"))
    with torch.no_grad():
        state.generator.mapping.fc0.weight *= -1
    drawn = _draw(config, state.generator, 3, torch.device("cpu"))
    ws = _latents(config, state, drawn, None)
    assert torch.equal(ws[:, :2], _mapped(state.source, drawn, None)[:, :2])
    assert torch.equal(ws[:, 2:], _mapped(state.generator, drawn, None)[:, 2:])
    assert not torch.equal(ws[:, :2], _mapped(state.generator, drawn, None)[:, :2])


KEPT = [
    {"freeze_style": 6, "structure_loss": 2, "train_d_blocks": 1},
    {"freeze_g": 1, "structure_loss": 1, "freeze_d": 2, "dtype": "bfloat16"},
]


@pytest.mark.parametrize("options", KEPT)
def test_a_stopped_fine_tuning_goes_on_bit_for_bit(tiny, start, options):
    whole, parts = (tiny(name, init=start, **options) for name in ("whole", "parts"))
    train(whole)
    train(dataclasses.replace(parts, kimg=0.008))
    # The start is remembered: --resume FOLDER names no network.
    elsewhere = dataclasses.replace(parts, out=parts.out.parent / "elsewhere", init=None)
    result = train(elsewhere, resume=parts.out)
    a, b = (read_state(config.out / STATE_FILE) for config in (whole, elsewhere))
    for part in ("generator", "discriminator", "averaged"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    assert a["adapted_from"] == b["adapted_from"]
    assert load_network(result.snapshot, device="cpu").accepts(
        load_network(start, device="cpu").fingerprint
    )
    assert "loss_structure" in (elsewhere.out / "stats.jsonl").read_text()


def test_a_network_without_discriminator_gets_a_new_one(tiny, bare):
    network = load_network(bare, device="cpu")
    config = tiny(init=bare, kimg=0.004)
    heir = load_network(train(config).snapshot, device="cpu")
    assert heir.ancestors == (network.fingerprint, "sha256:old")
    for option in ("freeze_d", "train_d_blocks"):
        with pytest.raises(GaneditError, match="has no discriminator, so a new one is trained"):
            plan(tiny("other", init=bare, **{option: 1}))


def test_an_nvlabs_pickle_starts_a_training_with_both_its_networks(tiny, start, tmp_path):
    network, critic = load_network(start, device="cpu"), load_discriminator(start)
    nets = {}
    for name, net in {"G_ema": network.generator, "D": critic}.items():
        weights = {key: value.numpy() for key, value in net.state_dict().items()}
        sizes = {key: net.config[key] for key in ("c_dim", "img_resolution", "img_channels")}
        channels = {key: net.config[key] for key in ("channel_base", "channel_max")}
        if name == "G_ema":
            sizes |= {"z_dim": 8, "w_dim": 8, "mapping_kwargs": {"num_layers": 2}}
            sizes["synthesis_kwargs"] = channels
        else:
            sizes |= channels
        nets[name] = nvlabs_pickle.Net(
            weights, sizes, "Generator" if name == "G_ema" else "Discriminator"
        )
    nvlabs_pickle.write(tmp_path / "network.pkl", "stylegan2-ada", nets)
    snapshot = train(tiny(init=str(tmp_path / "network.pkl"), freeze_d=4, kimg=0.0)).snapshot
    assert load_network(snapshot, device="cpu").fingerprint == network.fingerprint
    assert not moved(critic, load_discriminator(snapshot))


def test_a_run_goes_on_from_its_own_start_only(tiny, start, bare):
    config = tiny(init=start, kimg=0.004)
    train(config)
    longer = dataclasses.replace(config, kimg=0.008)
    with torch.random.fork_rng():
        network = load_network(start, device="cpu")
        network.generator.mapping.fc0.weight += 1
        save_network(bare, network.generator, provenance={})
    with pytest.raises(GaneditError, match="started from another network"):
        train(dataclasses.replace(longer, init=bare))
    fresh = tiny("fresh", kimg=0.004, ada_kimg=100.0)
    train(fresh)
    with pytest.raises(GaneditError, match="it started from no network"):
        train(dataclasses.replace(fresh, init=start))


def test_a_state_of_an_older_version_goes_on(tiny, start):
    config = tiny(init=start, kimg=0.004)
    train(config)
    state = config.out / STATE_FILE
    content = read_state(state)
    del content["adapted_from"]
    for name in ("train_d_blocks", "freeze_g", "freeze_style", "structure_loss"):
        del content["options"][name]
    torch.save(content, state)
    assert train(dataclasses.replace(config, kimg=0.008)).images == 8


def test_the_attribute_loss_counts_the_named_factors_alone():
    heads = sample_factors([2**30, 2**30 + 1])
    heads[:, FACTOR_INDEX["smile"]] = -1
    beaming = heads.clone()
    beaming[:, FACTOR_INDEX["smile"]] = 1
    before, after = (render(rows, resolution=64).image for rows in (heads, beaming))
    source, reader = load_network("clay", device="cpu").generator, load_clay_features()
    loss = {}
    for names in (("smile",), ("glasses",), ("smile", "glasses")):
        kept = kept_factors(source, names, reader=reader)
        loss[names] = float(attribute_loss(kept, after, before))
    assert loss["smile",] > 4
    assert loss["glasses",] < 0.1
    assert 2 * loss["smile", "glasses"] == pytest.approx(loss["smile",] + loss["glasses",])


def test_kept_factors_reach_the_generator_and_the_statistics(tiny, start):
    config = tiny(init=start, keep_factors="smile,yaw", keep_weight=50.0, kimg=0.008)
    kept = load_network(train(config).snapshot, device="cpu").generator
    stats = json.loads((config.out / "stats.jsonl").read_text().splitlines()[0])
    assert stats["loss_factors"] > 0
    free = train(tiny("free", init=start, kimg=0.008)).snapshot
    assert moved(kept, load_network(free, device="cpu").generator)


@pytest.fixture
def keep(start, tmp_path):
    """Options that keep factors by a reader of their own, and on latents of the start."""
    network = load_network(start, device="cpu")
    save_latent(tmp_path / "heads.pt", sample(network, range(3)))
    save_clay_features(tmp_path / "reader.safetensors", ClayFeatures(), [SCORES])
    files = {"keep_latents": tmp_path / "heads.pt", "keep_reader": tmp_path / "reader.safetensors"}
    return {"init": start, "keep_factors": "smile", **files}


def test_what_keeps_factors_is_known_by_what_it_holds(tiny, keep, tmp_path):
    whole, parts = tiny("whole", **keep), tiny("parts", **keep)
    train(whole)
    train(dataclasses.replace(parts, kimg=0.008))
    # Elsewhere, and by another name, the same files go on.
    moved = {name: keep[name].rename(tmp_path / f"{name}.moved") for name in OF_FILES}
    train(dataclasses.replace(parts, **moved))
    a, b = (read_state(config.out / STATE_FILE) for config in (whole, parts))
    for part in ("generator", "discriminator", "averaged"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    # Others do not, whatever they are called.
    longer = dataclasses.replace(parts, kimg=0.02, **moved)
    for name in OF_FILES:
        with pytest.raises(GaneditError, match="another reader or other latents"):
            train(dataclasses.replace(longer, **{name: None}))
    # A state of an older version does not say, and goes on.
    del b["kept"]
    b["options"] |= dict.fromkeys(OF_FILES, "gone")
    torch.save(b, parts.out / STATE_FILE)
    assert train(longer).images == 20


def test_readings_are_compared_in_float32(tiny, keep, monkeypatch):
    seen = []

    def read(reader, images):
        found = read_factors(reader, images)
        seen.append((images.dtype, found[0].dtype))
        return found

    monkeypatch.setattr(transfer, "read_factors", read)
    train(tiny(dtype="bfloat16", kimg=0.004, **keep))
    assert set(seen) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep_reader": "r"}, "--keep-reader is for --keep-factors"),
        ({"keep_latents": "l"}, "--keep-latents is for --keep-factors"),
        ({"keep_weight": 2.0}, "--keep-weight is for --keep-factors"),
        ({"structure_weight": 2.0}, "--structure-weight is for --structure-loss"),
    ],
)
def test_options_of_what_is_not_kept_are_refused(tiny, start, options, told):
    with pytest.raises(GaneditError, match=told):
        tiny(init=start, **options).validate()


def test_factors_of_a_conditional_start_are_refused(tiny, tmp_path):
    path = tmp_path / "classes.safetensors"
    save_network(path, make_generator(c_dim=3), provenance={})
    config = tiny(init=path, keep_factors="smile").resolved(16)
    with pytest.raises(GaneditError, match=r"--keep-factors: .* takes labels"):
        initial_state(config, resolution=16, labels=torch.eye(3), device=torch.device("cpu"))


def test_unknown_factors_are_refused_with_those_that_exist(tiny, start):
    with pytest.raises(GaneditError, match=f"no factor 'smlie'.*{FACTORS[0].name}"):
        plan(tiny(init=start, keep_factors="yaw,smlie"))
    with pytest.raises(GaneditError, match="--keep-factors: nothing to keep"):
        plan(tiny(keep_factors="yaw"))
