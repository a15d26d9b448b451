import dataclasses
import json
import os
import signal

import pytest
import torch

from ganedit.checkpoints import load_discriminator, load_network
from ganedit.data.archive import clay_factor_names, clay_pictures, write_archive
from ganedit.errors import GaneditError
from ganedit.inversion import default_perceptual
from ganedit.training import plan, train
from ganedit.training.loop import _adapt_augmentation, _EndlessOrder
from ganedit.training.state import STATE_FILE, initial_state, read_state


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(state_file):
    content = read_state(state_file)
    return {
        f"{part}.{name}": value
        for part in ("generator", "discriminator", "averaged")
        for name, value in content[part].items()
    }


def same_trajectory(path, other):
    a, b = read_state(path), read_state(other)
    for part in ("generator", "discriminator", "averaged"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    for part in ("generator_optimizer", "discriminator_optimizer"):
        for number, values in a[part]["state"].items():
            for name, value in values.items():
                assert torch.equal(value, b[part]["state"][number][name])
    assert torch.equal(a["pl_mean"], b["pl_mean"])
    for name in ("step", "images", "augment_p", "sign_sum", "sign_count"):
        assert a[name] == b[name]
    return True


def test_a_training_leaves_everything_in_its_folder(tiny):
    config = tiny(mirror=True)
    steps, ticks = [], []
    result = train(
        config,
        on_step=lambda *call: steps.append(call[:2]),
        on_tick=ticks.append,
        evaluate=lambda generator: {"resolution": float(generator.img_resolution)},
    )
    assert (result.reason, result.images) == ("done", 16)
    assert steps == [(4 * i, 16) for i in range(1, 5)]
    assert {path.name for path in config.out.iterdir()} == {
        "fakes000000.png",
        "log.txt",
        "metrics.jsonl",
        "network-snapshot-000000.safetensors",
        "reals.png",
        "stats.jsonl",
        "training-state.pt",
        "training_options.json",
    }
    stats = lines(config.out / "stats.jsonl")
    assert stats == ticks
    assert [line["images"] for line in stats] == [8, 16]
    wanted = {"kimg", "images_per_second", "seconds", "memory_gib", "augment_p"}
    wanted |= {"loss_generator", "loss_discriminator", "sign_real", "sign_fake"}
    assert wanted | {"r1_penalty", "path_length", "path_penalty"} <= set(stats[0])
    assert lines(config.out / "metrics.jsonl")[-1] == {"images": 16, "resolution": 16.0}
    assert result.figures == {"resolution": 16.0}
    options = json.loads((config.out / "training_options.json").read_text())
    assert options["r1_gamma"] == pytest.approx(0.0002 * 16**2 / 4)


def test_the_snapshot_holds_the_averaged_generator_and_the_discriminator(whole_run):
    result = whole_run
    network = load_network(result.snapshot, device="cpu")
    provenance = network.metadata["provenance"]
    assert provenance["images"] == 16
    assert provenance["data"] == "pictures0"
    assert "perceptual" not in provenance
    assert str(result.snapshot.parents[2]) not in json.dumps(provenance)
    content = read_state(result.snapshot.with_name(STATE_FILE))
    for name, value in network.generator.state_dict().items():
        assert torch.equal(value, content["averaged"][name])
    for name, value in load_discriminator(result.snapshot).state_dict().items():
        assert torch.equal(value, content["discriminator"][name])
    assert not torch.equal(
        content["averaged"]["synthesis.b16.conv1.weight"],
        content["generator"]["synthesis.b16.conv1.weight"],
    )


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tiny, whole_run):
    config = tiny()
    train(dataclasses.replace(config, kimg=0.008))
    train(config)
    assert same_trajectory(whole_run.snapshot.with_name(STATE_FILE), config.out / STATE_FILE)
    whole, resumed = (
        lines(folder / "stats.jsonl") for folder in (whole_run.snapshot.parent, config.out)
    )
    assert [line["images"] for line in resumed] == [8, 16]
    assert whole[-1]["loss_generator"] == resumed[-1]["loss_generator"]


def test_a_run_with_augmentation_resumes_in_the_middle_of_an_adjustment(tiny):
    settings = {"augment": "ada", "augment_p": 0.5, "ada_interval": 3, "ada_kimg": 0.1}
    whole, parts = tiny("whole", **settings), tiny("parts", **settings)
    train(whole)
    train(dataclasses.replace(parts, kimg=0.008))
    train(parts)
    assert read_state(whole.out / STATE_FILE)["augment_p"] != 0.5
    assert same_trajectory(whole.out / STATE_FILE, parts.out / STATE_FILE)


def test_a_signal_finishes_the_step_and_saves_and_resume_continues_elsewhere(tiny, whole_run):
    config = tiny()
    before = signal.getsignal(signal.SIGTERM)

    def on_step(images, _total, _figures):
        if images == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    result = train(config, on_step=on_step)
    assert (result.reason, result.images) == ("interrupted", 8)
    assert signal.getsignal(signal.SIGTERM) == before
    saved = (config.out / STATE_FILE).read_bytes()
    elsewhere = tiny("elsewhere")
    train(elsewhere, resume=config.out)
    assert (config.out / STATE_FILE).read_bytes() == saved
    assert same_trajectory(whole_run.snapshot.with_name(STATE_FILE), elsewhere.out / STATE_FILE)


def test_resume_yields_to_a_state_that_the_output_folder_holds_already(tiny, whole_run):
    first, later = tiny("first"), tiny("later")
    train(dataclasses.replace(first, kimg=0.004))
    train(dataclasses.replace(later, kimg=0.012), resume=first.out)
    images = []
    train(later, resume=first.out, on_step=lambda done, *_: images.append(done))
    assert images == [16]
    assert same_trajectory(whole_run.snapshot.with_name(STATE_FILE), later.out / STATE_FILE)


def test_networks_of_the_clay_world_and_their_heirs_say_so(tiny, tmp_path):
    clay = tmp_path / "clay.zip"
    write_archive(clay, clay_pictures(count=4, resolution=16), factor_names=clay_factor_names())
    first = train(dataclasses.replace(tiny(kimg=0.004), data=clay)).snapshot
    heir = train(tiny("heir", kimg=0.004, init=first)).snapshot
    for path, data in ((first, "clay.zip"), (heir, "pictures0")):
        network = load_network(path, device="cpu")
        assert network.metadata["provenance"]["data"] == data
        assert default_perceptual(network) == "clay"


def test_a_diverged_training_says_how_to_start_anew(tiny, monkeypatch):
    config = tiny(kimg=0.016, learning_rate=0.002)

    def diverge(images, _total, _figures):
        if images == 12:
            name = "ganedit.training.loop._Averages.means"
            broken = {"loss_generator": float("nan"), "loss_discriminator": 0.0}
            monkeypatch.setattr(name, lambda _: broken)

    with pytest.raises(GaneditError, match=r"diverged at 0\.016 kimg") as caught:
        train(config, on_step=diverge)
    advice = f"--init {config.out / 'network-snapshot-000000.safetensors'} --lr 0.001 --out NEW"
    assert advice in str(caught.value)


def test_the_time_limit_stops_and_saves(tiny):
    config = tiny(max_minutes=0.0, kimg=0.1)
    assert train(config).reason == "time"
    assert (config.out / STATE_FILE).is_file()


def test_a_finished_training_is_not_trained_further(tiny):
    config = tiny(kimg=0.004)
    train(config)
    before = weights(config.out / STATE_FILE)
    assert train(config).images == 4
    after = weights(config.out / STATE_FILE)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_options_do_not_continue_a_run(tiny):
    train(tiny(kimg=0.004))
    with pytest.raises(GaneditError, match=r"--batch 4 is now 8"):
        train(tiny(batch=8))


def test_a_folder_of_something_else_is_refused(tiny):
    config = tiny()
    config.out.mkdir()
    (config.out / "holiday.jpg").write_bytes(b"")
    with pytest.raises(GaneditError, match="something else"):
        train(config)


def test_a_damaged_state_is_a_one_line_error(tiny):
    config = tiny(kimg=0.004)
    train(config)
    state = config.out / STATE_FILE
    whole = state.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        state.write_bytes(content)
        with pytest.raises(GaneditError, match="training state"):
            train(config)


def test_the_callers_random_numbers_and_threads_stay(tiny):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(tiny(kimg=0.004))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_training_with_labels_shows_them_to_both_networks(tiny, pictures, tmp_path):
    folder = tmp_path / "labelled"
    folder.mkdir()
    for picture in pictures.iterdir():
        (folder / picture.name).write_bytes(picture.read_bytes())
    labels = [[f"{i}.png", i % 3] for i in range(10)]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    result = train(dataclasses.replace(tiny(kimg=0.004), data=folder, conditional=True))
    network = load_network(result.snapshot, device="cpu")
    assert network.generator.c_dim == 3
    assert network.metadata["provenance"]["labels"] == "classes"
    with pytest.raises(GaneditError, match="no labels"):
        train(tiny("unlabelled", conditional=True))


def test_bfloat16_trains_to_finite_losses(tiny):
    config = tiny(dtype="bfloat16", kimg=0.008, augment="fixed", augment_p=0.5)
    train(config)
    assert all(abs(line["loss_generator"]) < 100 for line in lines(config.out / "stats.jsonl"))


def test_plan_counts_without_training(tiny, whole_run):
    config = tiny(init=whole_run.snapshot, freeze_d=4, freeze_g=1)
    sizes = plan(config)
    assert sizes["pictures"] == 10
    assert sizes["steps"] == 4
    for network in ("generator", "discriminator"):
        assert 0 < sizes[f"{network}_trainable"] < sizes[f"{network}_parameters"]
    assert not config.out.exists()


@pytest.mark.parametrize(("sign", "direction"), [(1.0, 1), (0.2, -1), (0.6, 0)])
def test_augmentation_rises_while_the_discriminator_is_too_sure(tiny, sign, direction):
    config = tiny(augment="ada", augment_p=0.5, ada_interval=2).resolved(16)
    state = initial_state(config, resolution=16, labels=None, device=torch.device("cpu"))
    for _ in range(2):
        _adapt_augmentation(config, state, torch.tensor(sign, dtype=torch.float64))
    # Two steps of four images, of the 500,000 that p takes from 0 to 1.
    assert state.augment_p == pytest.approx(0.5 + direction * 8 / 500_000, abs=1e-12)


def test_every_picture_comes_once_an_epoch_in_a_new_order():
    order = _EndlessOrder(10, seed=1)
    epochs = [order.take(10 * epoch, 10) for epoch in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    again = _EndlessOrder(10, seed=1).take(7, 16)
    assert torch.equal(again, torch.cat(epochs)[7:23])
