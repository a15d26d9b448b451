import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ganedit.assets import asset_path, embedded
from ganedit.checkpoints import fingerprint, load_discriminator, load_network, save_network
from ganedit.checkpoints.native import read_native
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator
from ganedit.io import stored


@pytest.fixture
def snapshot(generator, tmp_path):
    path = tmp_path / "snapshot.safetensors"
    critic = StyleGAN2Discriminator(c_dim=0, img_resolution=16, channel_base=128, channel_max=8)
    save_network(path, generator, discriminator=critic, provenance={"images": 7})
    return path, critic


def test_a_network_survives_its_file_to_the_bit(generator, snapshot):
    network = load_network(snapshot[0], device="cpu")
    ws = generator.map(torch.randn(3, 16))
    assert torch.equal(network.generator.synthesize(ws), generator.synthesize(ws))
    assert network.fingerprint == fingerprint(generator)
    assert network.metadata["provenance"] == {"images": 7}
    assert network.metadata["config"] == generator.config
    assert network.source == str(snapshot[0])


def test_loaded_networks_are_frozen_and_leave_the_random_stream_alone(network_path):
    before = torch.get_rng_state()
    generator = load_network(network_path, device="cpu").generator
    assert torch.equal(before, torch.get_rng_state())
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


def test_the_discriminator_comes_back_trainable(snapshot):
    path, critic = snapshot
    loaded = load_discriminator(path)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(loaded(images), critic(images))
    assert all(p.requires_grad for p in loaded.parameters())


def test_half_precision_weights_load_as_float32(generator, network_path, tmp_path):
    path = tmp_path / "half.safetensors"
    tensors = {key: value.half() for key, value in load_file(network_path).items()}
    save_file(tensors, path, metadata=_metadata(network_path))
    for value in load_network(path, device="cpu").generator.state_dict().values():
        assert value.dtype == torch.float32


def test_fingerprint_depends_on_every_value_but_the_average(generator):
    mark = fingerprint(generator)
    assert mark.startswith("sha256:")
    assert len(mark) == 71
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    for key in ("mapping.fc0.bias", "synthesis.b16.conv1.noise_const", "mapping.w_avg"):
        value = generator.state_dict()[key]
        value.view(-1)[0] += 1e-3
        # Files without an average latent get an estimate, which must not make another network.
        assert (fingerprint(generator) == mark) == (key == "mapping.w_avg")
        value.copy_(state[key])
    assert fingerprint(generator) == mark


def test_embedded_names_win_over_files_and_unknown_names_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [a.kind for a in embedded().values()] == [
        "generator",
        "generator",
        "generator",
        "encoder",
        "features",
        "features",
        "clip",
        "relevance",
        "directions",
    ]
    with pytest.raises(GaneditError, match="no embedded model 'x'; there are: clay"):
        asset_path("x")
    with pytest.raises(GaneditError, match=r"'clay-features': no such file.*embedded: clay"):
        load_network("clay-features", device="cpu")
    with pytest.raises(GaneditError, match="is a folder"):
        load_network(tmp_path, device="cpu")


def _metadata(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def _forge(network_path, path, *, header=None, config=None, tensors=None):
    """Write the tiny network with some things changed."""
    raw = json.loads(_metadata(network_path)["ganedit"])
    raw |= header or {}
    raw["config"] = raw["config"] | (config or {}) if isinstance(raw["config"], dict) else None
    state = load_file(network_path) | (tensors or {})
    state = {key: value for key, value in state.items() if value is not None}
    save_file(state, path, metadata={"ganedit": json.dumps(raw)})


FIRST = "generator.mapping.fc0.weight"


@pytest.mark.parametrize(
    ("forgery", "message"),
    [
        ({"header": {"architecture": "stylegan9"}}, "unknown architecture 'stylegan9'"),
        ({"header": {"architecture": ["stylegan2"]}}, "unknown architecture"),
        ({"header": {"version": 2}}, "format version 2"),
        ({"header": {"format": "other"}}, "does not describe a network"),
        ({"header": {"config": None}}, "lacks the configuration"),
        ({"header": {"discriminator": 3}}, "discriminator configuration"),
        ({"config": {"w_dim": 10**9}}, "w_dim = 1000000000 is out of range"),
        ({"config": {"w_dim": 500_000}}, "more weights than the file holds"),
        ({"config": {"mapping_layers": 10**6}}, "mapping_layers = 1000000 is out of range"),
        ({"config": {"img_resolution": 17}}, "configuration does not build"),
        ({"config": {"exec": "rm"}}, "configuration does not build"),
        ({"config": {"z_dim": "16"}}, "configuration does not build"),
        ({"config": {"w_avg_beta": float("nan")}}, "w_avg_beta = .?nan.? is out of range"),
        ({"config": {"w_dim": 8}}, "expected shape"),
        ({"tensors": {FIRST: None}}, f"missing tensor {FIRST}"),
        ({"tensors": {"generator.extra": torch.ones(1)}}, "unexpected tensor generator.extra"),
        ({"tensors": {FIRST: torch.ones(2, 2)}}, r"expected shape \[16, 16\], got \[2, 2\]"),
        ({"tensors": {FIRST: torch.full((16, 16), torch.nan)}}, "not finite"),
    ],
)
def test_forged_networks_are_one_line_errors(network_path, tmp_path, forgery, message):
    path = tmp_path / "forged.safetensors"
    _forge(network_path, path, **forgery)
    with pytest.raises(GaneditError, match=message) as caught:
        load_network(path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_file_without_discriminator_says_so(network_path):
    with pytest.raises(GaneditError, match="holds no discriminator"):
        load_discriminator(network_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(40), "network.safetensors: "),
        (b"\x80\x04\x95" + bytes(40), "network.safetensors: "),
        (b"<html>quota exceeded</html>", "an HTML page"),
        (struct.pack("<Q", 2**32) + b'{"a": 1}', "a header of 4294967296 bytes"),
        (struct.pack("<Q", 8) + b'{"a": 1', "not a readable safetensors file"),
        (struct.pack("<Q", 10) + b'{"a":"b"} ', "not a readable safetensors file"),
    ],
)
def test_foreign_bytes_are_one_line_errors(tmp_path, content, message):
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    with pytest.raises(GaneditError, match=message) as caught:
        load_network(path, device="cpu")
    assert "\n" not in str(caught.value)


def test_truncated_at_any_place(network_path, tmp_path):
    content = network_path.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (1, 8, 9, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(GaneditError):
            load_network(path, device="cpu")


def test_other_safetensors_and_damaged_metadata(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(GaneditError, match="not a network written by ganedit"):
        load_network(path, device="cpu")
    for text in ("{", "[" * 100_000, "3"):
        save_file({"a": torch.ones(1)}, path, metadata={"ganedit": text})
        with pytest.raises(GaneditError, match="metadata"):
            load_network(path, device="cpu")


def test_saving_into_an_impossible_place_is_a_one_line_error(generator, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GaneditError, match=r"is a file|not a folder"):
        save_network(tmp_path / "file" / "x.safetensors", generator, provenance={})


def _container(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def _entry(start, stop, *, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_container(b"{" + b" " * 2**22 + b"}"), "a header of 4194306 bytes"),
        (_container(b'{"a": 1'), "not valid JSON"),
        (_container(b"{" + b'"a":{' * 100_000), "not valid JSON"),
        (_container(b'{"\xff": 1}'), "not valid JSON"),
        (_container(b'{"a": {}, "a": {}}'), "not valid JSON"),
        (_container(b'{"a": {"shape": [' + b"9" * 5000 + b"]}}"), "not valid JSON"),
        (_container({"__metadata__": {"ganedit": 3}}), "no table of texts"),
        (_container({"a": 3}), "a does not say where it is"),
        (_container({"a": _entry(0, 4.0)}, bytes(4)), "a does not say where it is"),
        (_container({"a": _entry(4, 0)}, bytes(4)), "a ends before it begins"),
        (_container({"a": _entry(-4, 0)}, bytes(4)), "a ends before it begins"),
        (_container({"a": _entry(0, 4), "b": _entry(0, 4)}, bytes(4)), "overlap"),
        (_container({"a": _entry(4, 8)}, bytes(8)), "leave bytes out"),
        (_container({"a": _entry(0, 4)}, bytes(8)), "take 4 bytes, it has 8"),
        (_container({"a": _entry(0, 2**62)}, bytes(8)), "it has 8"),
        (_container({"a": _entry(0, 4, dtype="I32")}, bytes(4)), "a holds I32, not weights"),
        (_container({"a": _entry(0, 4, dtype=["\x1b" * 90])}, bytes(4)), "not weights"),
        (_container({"a": _entry(0, 4, shape=[1] * 17)}, bytes(4)), "no proper shape"),
        (_container({"a": _entry(0, 4, shape=[-1])}, bytes(4)), "no proper shape"),
        (_container({"a": _entry(0, 4, shape=[True])}, bytes(4)), "no proper shape"),
        (_container({"a": _entry(0, 4, shape=[2])}, bytes(4)), "another size"),
        (_container({"a": _entry(0, 0, shape=[0, 2**63])}), "improper sizes"),
        (_container({"\n": _entry(0, 4, shape=[2])}, bytes(4)), "another size"),
    ],
)
def test_damaged_containers_are_one_line_errors(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(GaneditError, match=message) as caught:
        load_network(path, device="cpu")
    assert str(caught.value).startswith(f"{path}: not a readable safetensors file (")
    assert str(caught.value).isprintable()


def test_every_tensor_is_the_one_that_the_library_reads(generator, tmp_path):
    path = tmp_path / "a.safetensors"
    save_network(path, generator, provenance={})
    contents = read_native(path)
    wanted = load_file(path)
    got = contents.generator.stored
    assert {f"generator.{key}" for key in got} == wanted.keys()
    for key, tensor in got.items():
        torch.testing.assert_close(tensor.load(), wanted[f"generator.{key}"], rtol=0, atol=0)


def test_a_file_is_opened_once_and_not_for_longer_than_its_tensors_live(network_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        stored, "open_file", lambda path: opened.append(path.open("rb")) or opened[-1]
    )
    contents = read_native(network_path)
    contents.generator.load()
    assert len(opened) == 1
    del contents
    assert opened[0].closed
