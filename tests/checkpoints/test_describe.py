import json
import subprocess
import sys
from pathlib import Path

import nvlabs_pickle
import pytest
import torch
from conformance_cases import Case

from ganedit.checkpoints import describe, open_checkpoint, save_network
from ganedit.checkpoints.rosinality import discriminator_to_rosinality
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator, StyleGAN3Generator
from tests.checkpoints.foreign import arrays, nvidia_arguments, write_stylegan3
from tests.conftest import make_generator


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.safetensors"
    critic = StyleGAN2Discriminator(c_dim=0, img_resolution=16, channel_base=128, channel_max=8)
    save_network(path, make_generator(), discriminator=critic, provenance={"images": 7})
    return path


def test_a_file_of_ours_is_described_in_full(snapshot):
    facts = describe(open_checkpoint(snapshot))
    assert facts["family"] == "ganedit"
    assert facts["container"] == "safetensors"
    assert facts["bytes"] == snapshot.stat().st_size
    wanted = {"img_resolution": 16, "z_dim": 16, "w_dim": 16, "c_dim": 0, "num_ws": 6}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["channels"] == {"4": 8, "8": 8, "16": 8}
    assert facts["provenance"] == {"images": 7}
    assert facts["usable"]
    generator, critic = facts["networks"]
    assert generator["parameters"] == sum(p.numel() for p in make_generator().parameters())
    assert (critic["role"], critic["dtype"]) == ("discriminator", "float32")
    json.dumps(facts)


def test_describing_reads_no_weights(snapshot, monkeypatch):
    def refuse(*_args):
        raise AssertionError("a weight was read")

    monkeypatch.setattr("ganedit.io.stored.StoredTensor.load", refuse)
    assert describe(open_checkpoint(snapshot))["usable"]


def test_a_generator_that_does_not_fit_its_weights_is_described_as_unusable(snapshot):
    checkpoint = open_checkpoint(snapshot)
    checkpoint.generator.config["w_dim"] = 8
    facts = describe(checkpoint)
    assert not facts["usable"]
    assert facts["why"].startswith("generator.")


def test_layers_of_stylegan3_are_told_one_by_one(tmp_path):
    generator = StyleGAN3Generator(
        z_dim=16, w_dim=16, img_resolution=16, channel_base=256, channel_max=16, num_layers=4
    )
    facts = describe(open_checkpoint(write_stylegan3(tmp_path / "t.pkl", generator)))
    names = generator.synthesis.layer_names
    assert facts["channels"] == {
        name.rpartition("_")[0]: int(name.rpartition("_")[2]) for name in names
    }
    assert facts["usable"]


def test_a_discriminator_alone_is_no_generator(tmp_path):
    critic = StyleGAN2Discriminator(img_resolution=16, channel_base=128, channel_max=8)
    path = tmp_path / "d.pt"
    torch.save({"d": discriminator_to_rosinality(critic)}, path)
    facts = describe(open_checkpoint(path))
    assert [network["role"] for network in facts["networks"]] == ["discriminator"]
    assert (facts["usable"], facts["why"]) == (False, "it holds no generator")


def test_a_file_that_asks_for_code_is_described_and_not_used(tmp_path):
    path = tmp_path / "evil.pkl"
    generator = make_generator()
    net = nvlabs_pickle.Net(arrays(generator), nvidia_arguments(generator))
    writer = nvlabs_pickle.Maker("1.7", "numpy.core.multiarray", "cpu", False)
    content = {
        "G_ema": nvlabs_pickle.network(writer, "stylegan2-ada", net),
        "extra": nvlabs_pickle.Call(nvlabs_pickle.Global("posix", "system"), ("touch canary",)),
    }
    path.write_bytes(nvlabs_pickle.dumps(content, 4))
    with pytest.raises(GaneditError, match=r"refused, it asks for posix.system"):
        open_checkpoint(path)
    facts = describe(open_checkpoint(path, describe_refused=True))
    assert facts["refused"] == ["posix.system"]
    assert (facts["img_resolution"], facts["num_ws"], facts["usable"]) == (16, 6, False)
    assert "posix.system" in facts["why"]


def test_files_of_no_known_family_are_told_by_what_they_hold(tmp_path):
    path = tmp_path / "numbers.pt"
    torch.save({"alpha": torch.ones(2), "beta": 3}, path)
    with pytest.raises(GaneditError, match=r"numbers.pt: no network .*alpha, beta"):
        open_checkpoint(path)
    torch.save(torch.ones(2), path)
    with pytest.raises(GaneditError, match=r"it holds a"):
        open_checkpoint(path)


_MEASURE = """
import sys, time
from ganedit.checkpoints import describe, open_checkpoint
from tests.memory import peak_kilobytes

before = peak_kilobytes()
start = time.monotonic()
assert describe(open_checkpoint(sys.argv[1]))["usable"]
seconds = time.monotonic() - start
print(peak_kilobytes() - before, seconds)
"""


@pytest.mark.slow
def test_describing_a_large_file_takes_less_memory_than_the_file(tmp_path):
    case = Case("nv_sg2_ffhq1024")
    state = {key: value.numpy() for key, value in case.state_dict("G_ema").items()}
    net = nvlabs_pickle.Net(state, case.settings["G"])
    path = tmp_path / "network.pkl"
    nvlabs_pickle.write(path, "stylegan2-ada", {"G": net, "D": None, "G_ema": net})
    command = [sys.executable, "-c", _MEASURE, str(path)]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    kilobytes, seconds = (float(word) for word in run.stdout.split())
    size = path.stat().st_size
    assert 1024 * kilobytes < size / 2, f"{kilobytes:.0f} kB for {size} bytes, {seconds:.2f} s"
