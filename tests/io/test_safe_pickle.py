import argparse
import collections
import pickle
import struct
import tempfile
import types
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganedit.errors import GaneditError
from ganedit.io.safe_pickle import MAX_DEPTH, Global, Record
from ganedit.io.stored import StoredTensor, Window
from ganedit.io.torch_files import open_pickled


def read(content):
    # Protocols 0 and 1 have no header, and a mere number or text is not taken for a pickle.
    content = content if content.startswith(b"\x80") else b"\x80\x02" + content
    # What is read lazily still finds the file, which is open, after its name is gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "a.pkl"
        path.write_bytes(content)
        return open_pickled(path)


def value_of(content):
    unpickled = read(content)
    assert unpickled.refused == ()
    return unpickled.value


def same(got, wanted):
    """Equal, and of equal types, through and through."""
    assert type(got) is type(wanted)
    if isinstance(wanted, dict):
        assert list(got) == list(wanted)
        got, wanted = list(got.values()), list(wanted.values())
    if isinstance(wanted, (list, tuple)):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            same(one, other)
    elif wanted == wanted:
        assert got == wanted


class Anything:
    """Of no table."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Words(dict):
    pass


PLAIN = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        255,
        256,
        -129,
        65536,
        2**31,
        -(2**31),
        2**63,
        -(2**200),
        2**2000,
    ),
    *(0.0, -1.5, 1e300, float("inf"), float("-inf"), float("nan"), 1 + 2j),
    *("", "abc", "é\n\t\\'\"", "\U0001f600", "x" * 300, "long " * 20_000),
    *(b"", b"abc", bytes(range(256)), b"x" * 300),
    *(
        [],
        [1],
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        {},
        {"a": 1, 2: "b", None: 0.5, (1, "a"): 1},
    ),
    *(set(), {1, "a"}, frozenset(), frozenset({b"a"})),
    [[[{"a": ([],)}]]],
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_pickle_writes_them(protocol):
    same(value_of(pickle.dumps(PLAIN, protocol)), PLAIN)
    for value in PLAIN:
        same(value_of(pickle.dumps(value, protocol)), value)


atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**300), 2**300)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
keys = st.integers(-(2**59), 2**59) | st.text(st.characters(exclude_categories=["Cs"])) | st.none()
values = st.recursive(
    atoms | st.sets(keys),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(value=values, protocol=st.integers(0, 5))
def test_any_plain_value_is_read_as_it_was_written(value, protocol):
    same(value_of(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", range(6))
def test_containers_become_plain_ones(protocol):
    default = collections.defaultdict(list, a=[1])
    pairs = {
        "ordered": (collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
        "default": (default, {"a": [1]}),
        "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
        "deque": (collections.deque([1, 2], maxlen=3), [1, 2]),
        "namespace": (argparse.Namespace(a=1, b=argparse.Namespace(c=2)), {"a": 1, "b": {"c": 2}}),
        "simple": (types.SimpleNamespace(a=1), {"a": 1}),
        "path": (PosixPath("/a/b/c.pt"), "/a/b/c.pt"),
        "relative": (PosixPath("a/b"), "a/b"),
        "array": (bytearray(b"abc"), b"abc"),
        "size": (torch.Size([1, 2]), (1, 2)),
        "dtype": (torch.float16, "torch.float16"),
        "device": (torch.device("cuda:1"), "cuda:1"),
        "numpy type": (np.dtype("float32"), "f4"),
        "type": (float, Global("builtins" if protocol > 2 else "__builtin__", "float")),
    }
    written = {name: pair[0] for name, pair in pairs.items()}
    same(value_of(pickle.dumps(written, protocol)), {name: pair[1] for name, pair in pairs.items()})


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("code", [*"?bBhHiIqQefdFD", ">f", ">i", ">d"])
def test_numpy_numbers_and_arrays(protocol, code):
    array = np.asarray([[0, 1, 2], [3, 4, 100]]).astype(code)
    written = {
        "number": array[1, 2],
        "point": array[0, 1].reshape(()),
        "rows": array,
        "columns": np.asfortranarray(array),
        "part": array[:, 1:],
        "empty": array[:0],
        "long": np.tile(array, (1000, 3)),
    }
    got = value_of(pickle.dumps(written, protocol))
    assert type(got["number"]) is type(array[1, 2].item())
    assert (got["number"], got["point"]) == (array[1, 2].item(), array[0, 1].item())
    for name in ("rows", "columns", "part", "empty", "long"):
        native = written[name].astype(array.dtype.newbyteorder("="))
        loaded = got[name].load()
        assert loaded.is_contiguous()
        assert (got[name].shape, got[name].dtype) == (loaded.shape, loaded.dtype)
        np.testing.assert_array_equal(loaded.numpy(), native, strict=True)


def test_numpy_text_is_text():
    got = value_of(pickle.dumps([np.str_("wörd"), np.bytes_(b"raw")]))
    assert got == ["wörd", b"raw"]


def test_what_python_2_wrote():
    content = (
        b"(dp0\nS'it\\'s \\xe9\\n'\np1\nI5\nsS\"two\"\nL12345678901234567890L\ns"
        b"V\\u20ac\nI01\ns(lp2\nF1.5\naI00\na."
    )
    assert value_of(content[: content.index(b"(lp2")] + b".") == {
        "it's \xe9\n": 5,
        "two": 12345678901234567890,
        "€": True,
    }
    array = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02"
        b"\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        b"tb\x89U\x08" + struct.pack("<2f", 1.5, -2) + b"tb."
    )
    assert value_of(array).load().tolist() == [1.5, -2]


def test_a_value_referred_to_twice_is_one_value():
    shared = [1]
    got = value_of(pickle.dumps({"a": shared, "b": (shared,)}))
    assert got["a"] is got["b"][0]


def test_long_bytes_stay_in_the_file():
    raw = bytes(range(256)) * 100
    for blob in value_of(pickle.dumps([raw, bytearray(raw)], 5)):
        assert isinstance(blob, Window)
        assert blob.read(0, blob.length) == raw
        assert blob.window(256, 10).read(1, 3) == bytes([1, 2, 3])
        with pytest.raises(GaneditError, match="ends too early"):
            blob.read(blob.length, 1)


def test_what_follows_the_pickle_is_left_alone():
    assert value_of(pickle.dumps(1) + b"\xff\xff") == 1


@pytest.mark.parametrize("protocol", range(6))
def test_other_instances_become_records_and_are_named(protocol):
    content = pickle.dumps([1, Anything(a=[Anything()]), Words(a=1), Anything], protocol)
    unpickled = read(content)
    assert unpickled.refused == (f"{__name__}.Anything", f"{__name__}.Words")
    one, record, words, kind = unpickled.value
    assert one == 1
    assert isinstance(record, Record)
    assert record.kind == kind == Global(__name__, "Anything")
    assert isinstance(record.state["a"][0], Record)
    assert isinstance(words, Record)


def test_a_slice_is_a_record_but_not_refused():
    slice_ = value_of(pickle.dumps(slice(1, 2)))
    assert (str(slice_.kind), slice_.args) == ("builtins.slice", (1, 2, None))


def test_a_network_that_was_pickled_as_an_object_is_named():
    module = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False))
    module.register_module("odd", torch.nn.Bilinear(1, 1, 1, bias=False))
    del module[0]._parameters["weight"], module.odd._parameters["weight"]  # no torch streams here
    unpickled = read(pickle.dumps({"g": [module]}))
    assert unpickled.whole_network == "torch.nn.modules.container.Sequential"


def test_persistent_objects_are_records_without_their_source():
    meta = {
        "type": "class",
        "version": 6,
        "module_src": "import os; os.abort()" * 10_000,
        "class_name": "Generator",
        "state": {"_init_kwargs": {"z_dim": 512}},
    }
    function = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    body = pickle.dumps((meta,), 3)[2:-1]
    record = value_of(b"\x80\x03" + function + body + b"R.")
    assert record.kind == Global("torch_utils.persistence", "Generator")
    assert record.state == {"_init_kwargs": {"z_dim": 512}}
    assert record.args == ()


@pytest.mark.parametrize("module", ["dnnlib", "dnnlib.util"])
def test_easy_dicts_are_dicts(module):
    made = f"c{module}\nEasyDict\n".encode() + b")\x81"
    items = b"(X\1\0\0\0aK\1X\1\0\0\0b" + made + b"u"
    assert value_of(b"\x80\x03" + made + items + b"}X\1\0\0\0cK\2sb.") == {"a": 1, "b": {}, "c": 2}


def test_records_of_known_classes_hold_their_state():
    for kind in (
        "dnnlib.tflib.network.Network",
        "training.triplane.OSGDecoder",
        "training.volumetric_rendering.renderer.ImportanceRenderer",
        "torch.nn.modules.activation.Softplus",
    ):
        module, _, name = kind.rpartition(".")
        record = value_of(f"\x80\x03c{module}\n{name}\n)\x81}}X\1\0\0\0aK\1sb.".encode("latin-1"))
        assert (str(record.kind), record.state) == (kind, {"a": 1})


def test_the_attributes_of_a_state_dict_are_dropped():
    state = collections.OrderedDict(a=1)
    state._metadata = collections.OrderedDict(version=1)
    same(value_of(pickle.dumps(state)), {"a": 1})


def test_depth_has_a_limit():
    def nested(depth):
        return b"]" * depth + b"a" * (depth - 1) + b"."

    assert value_of(nested(MAX_DEPTH + 1))
    with pytest.raises(GaneditError, match=r"^[^ ]*a.pkl: refused \(containers nested more than"):
        read(nested(MAX_DEPTH + 2))


def test_a_pickle_cut_anywhere_is_incomplete():
    content = pickle.dumps([*PLAIN[:20], np.arange(5), argparse.Namespace(a=1)], 4)
    for length in range(2, len(content)):
        with pytest.raises(GaneditError, match=r"^[^ ]*a.pkl: broken or incomplete \(.*\)$"):
            read(content[:length])


def test_a_bare_pickle_has_no_persistent_ids():
    with pytest.raises(GaneditError, match="outside of the file"):
        read(b"\x80\x03(K\x01K\x02tQ.")


def test_arrays_are_lazy(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.arange(10_000, dtype=np.float32), 4))
    tensor = open_pickled(path).value
    assert isinstance(tensor, StoredTensor)
    assert (tensor.numel, tensor.nbytes) == (10_000, 40_000)
    assert tensor.meta().shape == (10_000,)
    assert tensor.meta().device.type == "meta"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20_000])
    with pytest.raises(GaneditError, match=r"a.pkl: became shorter while it was read"):
        tensor.load()


def test_numpy_text_is_counted_like_other_text():
    scalar = pickle.dumps(np.str_("x" * 900), 4)
    start = scalar.index(b"\x8c")  # after protocol and frame
    many = b"\x80\x04(" + scalar[start:-1] * 40_000 + b"l."
    with pytest.raises(GaneditError, match="64 MB of text"):
        read(many)
