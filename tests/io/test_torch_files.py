import argparse
import collections
import io
import pickle
import zipfile

import numpy as np
import nvlabs_pickle
import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import load_tensors, open_pickled, pickled_container, save_tensors
from tests.io.hostile import stored_tensors


def tensors():
    base = torch.arange(24.0)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "kept by torch"
    values = {
        "plain": base.reshape(2, 3, 4),
        "rows": base.reshape(4, 6)[1:3],
        "columns": base.reshape(4, 6)[:, 1::2],
        "transposed": base.reshape(4, 6).t(),
        "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "expanded": torch.arange(3.0).expand(4, 3),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "noted": parameter,
        "frozen": torch.nn.Parameter(torch.randn(3), requires_grad=False),
        "bool": torch.tensor([True, False, True]),
    }
    for name in (
        *("float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "int64"),
        *("uint16", "uint32", "uint64"),
    ):
        values[name] = torch.tensor([[0, 1], [2, 100]]).to(getattr(torch, name)).t()
    for name in ("complex64", "complex128"):
        values[name] = torch.tensor([1 + 2j, 3]).to(getattr(torch, name))
    values["float8"] = torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn)
    return values


def equal(got, wanted):
    wanted = wanted.detach()
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype == torch.float8_e4m3fn:
        got, wanted = got.view(torch.uint8), wanted.view(torch.uint8)
    assert torch.equal(got, wanted)


def write(path, value, how):
    if how == "pickle":
        path.write_bytes(pickle.dumps(value, 4))
    else:
        torch.save(value, path, **HOW[how])
    return path


HOW = {
    "zip": {},
    "zip, protocol 4": {"pickle_protocol": 4},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
    "pickle": {},
}


@pytest.mark.parametrize("how", HOW)
def test_tensors_are_read_as_torch_wrote_them(tmp_path, how):
    wanted = tensors()
    path = write(tmp_path / "a.bin", wanted, how)
    pickled = open_pickled(path)
    container = {"zip": "torch-zip", "leg": "torch-legacy", "pic": "pickle"}[how[:3]]
    assert (pickled.path, pickled.container, pickled.refused) == (path, container, ())
    assert pickled_container(path.read_bytes()[:64]) == container
    got = pickled.trusted()
    assert list(got) == list(wanted)
    for name, tensor in wanted.items():
        assert isinstance(got[name], StoredTensor), name
        assert got[name].meta().shape == tensor.shape
        loaded = got[name].load()
        assert loaded.is_contiguous(), name
        assert not loaded.requires_grad
        equal(loaded, tensor)
        equal(got[name].load_strided(), tensor)
    assert load_tensors(got)["channels last"].stride() == wanted["channels last"].stride()


def test_loaded_tensors_have_memory_of_their_own(tmp_path):
    path = write(tmp_path / "a.pt", {"a": torch.zeros(3)}, "zip")
    stored = open_pickled(path).trusted()["a"]
    stored.load().fill_(1)
    assert stored.load().tolist() == [0, 0, 0]


@pytest.mark.parametrize("how", HOW)
def test_training_files(tmp_path, how):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    content = {
        "g_ema": network.state_dict(),
        "g_optim": optimizer.state_dict(),
        "args": argparse.Namespace(size=256, mixing=0.9, path=None),
        "ada_aug_p": 0.25,
        "opts": {"device": torch.device("cuda:0"), "dtype": torch.float16},
        "version": torch.torch_version.TorchVersion("2.4.0"),
    }
    got = open_pickled(write(tmp_path / "a.pt", content, how)).trusted()
    assert got["args"] == {"size": 256, "mixing": 0.9, "path": None}
    assert got["opts"] == {"device": "cuda:0", "dtype": "torch.float16"}
    assert (got["ada_aug_p"], got["version"]) == (0.25, "2.4.0")
    assert type(got["g_ema"]) is dict
    network.load_state_dict(load_tensors(got["g_ema"]))
    optimizer.load_state_dict(load_tensors(got["g_optim"]))


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_shared_storages_and_storages_themselves(tmp_path, how):
    base = torch.arange(10.0)
    value = [base[:4], base[4:], base, base.clone().untyped_storage(), base.short().storage()]
    got = load_tensors(open_pickled(write(tmp_path / "a.pt", value, how)).trusted())
    for one, other in zip(got[:3], value[:3], strict=True):
        equal(one, other)
    equal(got[3].view(torch.float32), base)
    equal(got[4], base.short())


@pytest.mark.skipif(
    not hasattr(torch.serialization, "set_crc32_options"), reason="this torch always computes them"
)
def test_a_file_without_checksums(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5.0)}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_pickled(tmp_path / "a.pt").trusted()["a"].load().tolist() == [0, 1, 2, 3, 4]


def rezipped(path, **changed):
    """The archive once more, compressed, some members replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(
                name, changed.get(name.rpartition("/")[2], lambda content: content)(content)
            )
    path.write_bytes(buffer.getvalue())
    return path


def test_a_compressed_archive(tmp_path):
    wanted = torch.arange(10_000.0)
    path = rezipped(write(tmp_path / "a.pt", {"a": wanted, "b": wanted[5:9]}, "zip"))
    assert path.stat().st_size < 40_000
    got = open_pickled(path).trusted()
    equal(got["b"].load(), wanted[5:9])
    equal(got["a"].load(), wanted)


def test_a_file_of_a_machine_of_the_other_byte_order(tmp_path):
    wanted = torch.arange(5, dtype=torch.int32)
    turned = {
        "byteorder": lambda _: b"big",
        "0": lambda content: np.frombuffer(content, "<i4").astype(">i4").tobytes(),
    }
    path = rezipped(write(tmp_path / "a.pt", wanted, "zip"), **turned)
    equal(open_pickled(path).trusted().load(), wanted)


def test_a_flipped_bit_is_found_when_the_tensor_is_read(tmp_path):
    path = write(tmp_path / "a.pt", {"a": torch.ones(1000), "b": torch.ones(3)}, "zip")
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(1000).numpy().tobytes()) + 500] ^= 1
    path.write_bytes(content)
    got = open_pickled(path).trusted()
    assert got["b"].load().sum() == 3
    with pytest.raises(GaneditError, match=r"a.pt: broken, a/data/0 fails its checksum"):
        got["a"].load()


@pytest.mark.parametrize("how", HOW)
def test_a_file_cut_anywhere_is_one_line(tmp_path, how):
    whole = write(tmp_path / "whole", {"a": torch.ones(40), "b": [1, "x"]}, how).read_bytes()
    path = tmp_path / "cut.pt"
    for length in range(64, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(GaneditError) as caught:
            open_pickled(path)
        assert str(caught.value).startswith(f"{path}: broken or incomplete (")


# NVlabs


def network(maker, weight):
    layer = {
        "weight": maker.parameter(weight),
        "bias": None,
    }
    state = maker.module_dict(layer, {"w_avg": maker.tensor(np.float32([1, 2]))}, {}, {})
    state |= {"gain": maker.scalar(0.5), "fp16": maker.scalar(True), "size": maker.ndarray([4, 8])}
    state |= {"_init_args": (), "_init_kwargs": maker.easydict({"z_dim": 4, "mapping": {"n": 2}})}
    return maker.persistent("Generator", state)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("style", ["1.7", "1.9", "2"])
@pytest.mark.parametrize("numpy_module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize("layout", [("cpu", False), ("cuda:0", True)])
def test_nvlabs_networks(tmp_path, protocol, style, numpy_module, layout):
    weight = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    maker = nvlabs_pickle.Maker(style, numpy_module, *layout, "raise SystemExit\n" * 5000)
    g_ema = network(maker, weight)
    path = tmp_path / "net.pkl"
    content = {"G": g_ema, "D": None, "G_ema": g_ema, "augment_pipe": None}
    path.write_bytes(nvlabs_pickle.dumps(content, protocol))
    got = open_pickled(path).trusted()
    assert list(got) == ["G", "D", "G_ema", "augment_pipe"]
    record = got["G_ema"]
    assert record is got["G"]
    assert isinstance(record, Record)
    assert record.kind == Global("torch_utils.persistence", "Generator")
    state = record.state
    assert (state["gain"], state["fp16"]) == (0.5, True)
    assert state["size"].load().tolist() == [4, 8]
    assert state["_init_kwargs"] == {"z_dim": 4, "mapping": {"n": 2}}
    assert state["_parameters"]["bias"] is None
    np.testing.assert_array_equal(state["_parameters"]["weight"].load().numpy(), weight)
    assert state["_buffers"]["w_avg"].load().tolist() == [1, 2]


def test_a_network_cut_anywhere_is_one_line(tmp_path):
    maker = nvlabs_pickle.Maker("2", "numpy._core.multiarray", "cpu", False)
    whole = nvlabs_pickle.dumps({"G": network(maker, np.zeros((8, 8, 4, 5), np.float32))}, 4)
    path = tmp_path / "net.pkl"
    for length in [*range(2, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(GaneditError) as caught:
            open_pickled(path)
        assert str(caught.value).startswith(f"{path}: broken or incomplete (")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_tensorflow_networks(tmp_path, protocol):
    """Arrays in protocol 2 are text, which long ones are read from only when loaded."""
    small, large = np.arange(3, dtype=np.float32), np.random.default_rng(0).random((99, 999))
    path = tmp_path / "net.pkl"
    variables = [("lod", np.float32(0)), ("a/bias", small), ("a/weight", large)]
    net = nvlabs_pickle.New(
        nvlabs_pickle.Global("dnnlib.tflib.network", "Network"),
        state={"version": 4, "variables": variables, "components": collections.OrderedDict()},
    )
    path.write_bytes(nvlabs_pickle.dumps((net, None), protocol))
    record, none = open_pickled(path).trusted()
    assert none is None
    assert str(record.kind) == "dnnlib.tflib.network.Network"
    got = dict(record.state["variables"])
    assert got["lod"] == 0
    np.testing.assert_array_equal(got["a/bias"].load().numpy(), small)
    np.testing.assert_array_equal(got["a/weight"].load().numpy(), large)


def test_opening_reads_no_weights(tmp_path, monkeypatch):
    path = tmp_path / "net.pkl"
    maker = nvlabs_pickle.Maker("2", "numpy._core.multiarray", "cpu", False)
    path.write_bytes(nvlabs_pickle.dumps({"G": network(maker, np.zeros((64, 64, 16, 16)))}, 4))
    read = []
    module = open_pickled.__globals__["open_window"].__globals__["_File"]
    original = module.read_into
    monkeypatch.setattr(
        module,
        "read_into",
        lambda self, at, buffer: read.append(len(buffer)) or original(self, at, buffer),
    )
    got = open_pickled(path).trusted()
    assert sum(read) < 2**15 < path.stat().st_size
    for tensor in stored_tensors(got):
        tensor.load()
    assert sum(read) > 64 * 64 * 16 * 16 * 8


# What is refused


class Custom(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)


@pytest.mark.parametrize("how", HOW)
def test_a_whole_network_is_told_apart(tmp_path, how):
    path = write(tmp_path / "a.pt", {"g_ema": Custom(), "step": 3}, how)
    pickled = open_pickled(path)
    assert pickled.refused == (f"{__name__}.Custom",)
    assert pickled.value["step"] == 3
    with pytest.raises(GaneditError) as caught:
        pickled.trusted()
    assert str(caught.value) == (
        f"{path}: refused, it pickles a whole network object ({__name__}.Custom); "
        "re-save it in its own project with torch.save(network.state_dict(), FILE)"
    )


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\x80\x04N", "pickle"),
        (b"\x80\x06N", None),
        (b"PK\x03\x04", "torch-zip"),
        (b"(dp0\nS'a'\np1\n", "pickle"),
        (b"(lp0\n.", "pickle"),
        (b"cos\nsystem\n", "pickle"),
        (b"}q\x00.", "pickle"),
        (b"call me\nback", None),
        (b"(see below)", None),
        (b"[1, 2]", None),
        (b"", None),
    ],
)
def test_containers_are_told_by_their_first_bytes(content, wanted):
    assert pickled_container(content) == wanted


@pytest.mark.parametrize("kind", ["missing", "folder", "empty"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "a.pt"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(
        GaneditError, match=f"^{path}: (no such file|is a folder|the file is empty)"
    ):
        open_pickled(path)


def test_a_path_that_cannot_be():
    with pytest.raises(GaneditError, match=r"cannot be the name of a file"):
        open_pickled("a\0b")
    with pytest.raises(GaneditError, match="is no regular file"):
        open_pickled("/dev/zero")


def test_a_disk_that_fills_while_tensors_are_written_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    path.write_bytes(b"before")

    def full(*_):
        raise RuntimeError("[enforce fail at inline_container.cc] unexpected pos 64 vs 0")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(GaneditError, match="is the disk full"):
        save_tensors(path, {"x": torch.zeros(1)})
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"before"]
