"""Files that try to harm whoever opens them, and a watched reader for them.

``python -m tests.io.hostile FOLDER`` opens every file there with an audit hook set, loads every
tensor that it is given, and prints one JSON line a file.
"""

import io
import json
import os
import pickle
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganedit.errors import GaneditError
from ganedit.io.safe_pickle import Record
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import open_pickled
from tests.memory import peak_kilobytes

MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Hostile:
    """A file, and words that the line about it must hold; None: it opens, and does no harm."""

    name: str
    content: bytes
    says: str | None
    live: bool = False  # plain pickle.loads would run its payload


# Pieces of pickles


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def blob(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def row(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + row(*arguments) + b"R"


def bare(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def storage_id(key: str, count: int, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return row(text("storage"), kind, text(key), text("cpu"), number(count)) + b"Q"


def legacy_storage_id(key: str, count: int, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    view = b"N"
    return row(text("storage"), kind, text(key), text("cpu"), number(count), view) + b"Q"


def tensor(
    storage: bytes, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0
) -> bytes:
    sizes = [row(*map(number, values)) for values in (shape, stride)]
    hooks = call(name("collections", "OrderedDict"))
    return call(
        name("torch._utils", "_rebuild_tensor_v2"), storage, number(offset), *sizes, b"\x89", hooks
    )


def stream(
    main: bytes,
    *,
    keys: tuple[str, ...] = ("0",),
    tail: bytes = struct.pack("<q4f", 4, 1, 2, 3, 4),
    magic: int = MAGIC,
    version: int = 1001,
) -> bytes:
    """A torch file of before zip; ``main`` is the operations of its main pickle."""
    head = [pickle.dumps(value, 2) for value in (magic, version, {"little_endian": True})]
    return b"".join(head) + b"\x80\x02" + main + b"." + pickle.dumps(list(keys), 2) + tail


def nested(content: bytes) -> bytes:
    return call(name("torch.storage", "_load_from_bytes"), blob(content))


def archive(
    main: bytes, *, method: int = zipfile.ZIP_STORED, data: bytes = bytes(16), **more: bytes
) -> bytes:
    """A torch file as of today; ``main`` is the operations of its pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + main + b".")
        file.writestr("archive/data/0", data)
        for member, content in more.items():
            file.writestr(f"archive/{member}", content)
    return buffer.getvalue()


def array(dtype: bytes, shape: bytes, raw: bytes) -> bytes:
    made = call(
        name("numpy.core.multiarray", "_reconstruct"),
        name("numpy", "ndarray"),
        row(number(0)),
        blob(b"b"),
    )
    return made + row(number(1), shape, dtype, b"\x89", raw) + b"b"


def dtype(code: str, state: bytes = b"NNN") -> bytes:
    made = call(name("numpy", "dtype"), text(code), b"\x89", b"\x88")
    return made + row(number(3), text("<"), state, number(-1), number(-1), number(0)) + b"b"


# The files


def hostile_files(canary: Path) -> Iterator[Hostile]:
    """Every kind; a payload that runs makes the file ``canary``."""
    yield from calling_files(canary)
    yield from _odd_names(text(f"touch {canary}"))
    yield from _in_torch_files(text(f"touch {canary}"))
    yield from _bombs()
    yield from _lying_tensors()
    yield from _lying_archives()
    yield from _lying_arrays()
    yield from _broken_pickles()
    yield from _something_else()


def calling_files(canary: Path) -> Iterator[Hostile]:
    """Those that call something by a name; among them all whose payload is live."""
    yield from _calls(f"touch {canary}", f"open({str(canary)!r}, 'w')")
    yield from _disguised(text(f"touch {canary}"))
    yield from _wrapped(text(f"touch {canary}"))


def _calls(shell: str, python: str) -> Iterator[Hostile]:
    """Functions that harm, called in the plain way."""
    for module, attribute, argument, live in (
        ("os", "system", shell, True),
        ("posix", "system", shell, True),
        ("builtins", "eval", python, True),
        ("builtins", "exec", python, True),
        ("__builtin__", "eval", python, False),
        ("os", "popen", shell, True),
        ("subprocess", "Popen", shell, False),
        ("subprocess", "getoutput", shell, True),
        ("builtins", "__import__", "this", False),
        ("importlib", "import_module", "this", False),
        ("builtins", "open", "/etc/passwd", False),
        ("runpy", "run_path", "/tmp/a.py", False),
        ("pty", "spawn", shell, False),
        ("shutil", "rmtree", "/nowhere", False),
        ("webbrowser", "open", "http://127.0.0.1:9", False),
        ("urllib.request", "urlopen", "http://127.0.0.1:9", False),
        ("ctypes", "CDLL", "libc.so.6", False),
        ("marshal", "loads", "abc", False),
        ("pickle", "loads", "abc", False),
        ("torch", "load", "/tmp/a.pt", False),
        ("torch.hub", "load", "a/b", False),
        ("torch.jit", "load", "/tmp/a.pt", False),
        ("numpy.testing._private.utils", "runstring", python, False),
        ("timeit", "timeit", python, False),
        ("operator", "attrgetter", "system", False),
        ("dnnlib.util", "call_func_by_name", "os.system", False),
        ("torch_utils.persistence", "persistent_class", "a", False),
    ):
        content = bare(call(name(module, attribute), text(argument)))
        yield Hostile(f"call of {module}.{attribute}", content, f"{module}.{attribute}", live)


def _disguised(shell: bytes) -> Iterator[Hostile]:
    """The same by every other operation, and through names that are put together."""
    system = name("posix", "system")
    inst = b"(" + shell + b"iposix\nsystem\n"
    yield Hostile("INST", bare(inst), "posix.system", live=True)
    yield Hostile("protocol 0", inst.replace(shell, b"Vtouch /nowhere\n") + b".", "posix.system")
    yield Hostile("OBJ", bare(b"(" + system + shell + b"o"), "posix.system", live=True)
    popen = name("subprocess", "Popen")
    yield Hostile("NEWOBJ", bare(popen + row(shell) + b"\x81"), "subprocess.Popen")
    keywords = b"}" + text("shell") + b"\x88s"
    yield Hostile("NEWOBJ_EX", bare(popen + row(shell) + keywords + b"\x92"), "subprocess.Popen")
    known = name("collections", "OrderedDict") + b")" + keywords + b"\x92"
    yield Hostile("NEWOBJ_EX of a known class", bare(known), "OrderedDict with keywords")
    dotted = text("torch") + text("serialization.os.system") + b"\x93"
    yield Hostile("dotted STACK_GLOBAL", bare(call(dotted, shell)), "torch.serialization.os.system")
    memo = text("system") + b"q\x01" + text("posix") + b"q\x02" + b"h\x02h\x01\x93"
    yield Hostile("names by memo", bare(b"(" + call(memo, shell) + b"l"), "posix.system", live=True)
    chain = call(name("builtins", "getattr"), name("os", "path"), text("os"))
    chain = call(name("builtins", "getattr"), chain, text("system"))
    yield Hostile("getattr chain", bare(call(chain, shell)), "builtins.getattr", live=True)
    chain = call(name("builtins", "__import__"), text("os"))
    chain = call(name("builtins", "getattr"), chain, text("system"))
    yield Hostile("import chain", bare(call(chain, shell)), "builtins.__import__", live=True)


def _wrapped(shell: bytes) -> Iterator[Hostile]:
    """The same, handed to something that calls or keeps it, or as attributes."""
    system, popen = name("posix", "system"), name("subprocess", "Popen")
    mapped = call(name("builtins", "map"), system, b"(" + shell + b"l")
    mapped = call(name("builtins", "list"), mapped)
    yield Hostile("list of map", bare(mapped), "posix.system", live=True)
    partial = call(name("functools", "partial"), system, shell)
    yield Hostile("functools.partial", bare(partial + b")R"), "functools.partial")
    factory = call(name("collections", "defaultdict"), system)
    yield Hostile("defaultdict factory", bare(factory), "posix.system")
    for module, attribute in (("argparse", "Namespace"), ("dnnlib.util", "EasyDict")):
        state = b"}" + text("__class__") + system + text("__setstate__") + system + b"u"
        made = name(module, attribute) + b")\x81"
        yield Hostile(f"BUILD of {attribute}", bare(b"(" + made + state + b"bl"), "posix.system")
    slots = b"N}" + text("__class__") + popen + b"s\x86b"
    yield Hostile("BUILD of slots", bare(name("foo", "Bar") + b")\x81" + slots), "foo.Bar")
    made = name("torch", "Tensor") + b")\x81" + row(shell) + b"b"
    setstate = call(name("builtins", "setattr"), made, text("__setstate__"), system)
    yield Hostile("BUILD of a tensor", bare(setstate), "builtins.setattr")
    made = call(name("copyreg", "_reconstructor"), popen, name("builtins", "object"), b"N")
    yield Hostile("copyreg", bare(made), "subprocess.Popen")
    made = call(name("copyreg", "__newobj__"), popen, shell)
    yield Hostile("copyreg.__newobj__", bare(made), "subprocess.Popen")
    yield Hostile("a function", bare(system), "posix.system")
    yield Hostile("a class as key", bare(b"}" + popen + b"Ns"), "subprocess.Popen")


def _odd_names(shell: bytes) -> Iterator[Hostile]:
    """Names that are codes, too long, too many, or hide in what NVlabs' files hold."""
    system = name("posix", "system")
    for code, form in ((b"\x82", "<B"), (b"\x83", "<H"), (b"\x84", "<i")):
        extension = code + struct.pack(form, 7) + row(shell) + b"R"
        yield Hostile(f"extension code {code!r}", bare(extension), "extension code")
    yield Hostile("two pickles", bare(b"N") + bare(call(system, shell)), None)
    yield Hostile("FRAME that lies", bare(b"\x95" + bytes(8) + call(system, shell)), "posix.system")
    long = bare(call(name("m" * 500, "x"), shell))
    yield Hostile("long name", long, "name of more than")
    yield Hostile(
        "name with a line feed", bare(text("a\nb") + text("c\x1b[31m") + b"\x93"), "a?b.c?"
    )
    many = b"".join(name("m", f"n{i}") for i in range(5000))
    yield Hostile("many names", bare(b"(" + many + b"l"), "m.n0, m.n1, m.n2 and")
    source = "import os; os.system('touch /nowhere')"
    state = (
        b"}"
        + b"("
        + text("type")
        + text("class")
        + text("module_src")
        + text(source)
        + text("class_name")
        + text("Generator")
        + text("state")
        + b"}u"
    )
    persistent = call(name("torch_utils.persistence", "_reconstruct_persistent_obj"), state)
    yield Hostile("source in a persistent object", bare(persistent), None)
    broken = call(name("torch_utils.persistence", "_reconstruct_persistent_obj"), shell)
    yield Hostile("persistent object of text", bare(broken), "class name")
    code = call(name("types", "CodeType"), number(0))
    function = call(name("types", "FunctionType"), code, b"}") + b")R"
    yield Hostile("a code object", bare(function), "types.CodeType")
    codec = call(name("_codecs", "encode"), shell, text("zlib_codec"))
    yield Hostile("a codec", bare(codec), "latin1")
    codec = call(name("_codecs", "decode"), shell, text("zlib_codec"))
    yield Hostile("decode", bare(codec), "_codecs.decode")


def _in_torch_files(shell: bytes) -> Iterator[Hostile]:
    payload = call(name("posix", "system"), shell)
    yield Hostile("call in a zip", archive(payload), "posix.system")
    yield Hostile("call in a legacy file", stream(payload), "posix.system")
    yield Hostile(
        "call in a tensor", bare(tensor(nested(stream(payload)), (4,), (1,))), "posix.system"
    )
    deep = stream(legacy_storage_id("0", 4))
    for _ in range(10):
        deep = stream(nested(deep), keys=())
    yield Hostile("streams within streams", bare(nested(deep)), "within a tensor")
    for place, make in (("zip", archive), ("legacy", stream)):
        reference = storage_id("0", 4, name("posix", "system"))
        yield Hostile(
            f"storage class in {place}", make(tensor(reference, (4,), (1,))), "posix.system"
        )
        other = row(text("module"), name("foo", "Net"), text("a.py"), text("import os")) + b"Q"
        yield Hostile(f"class source in {place}", make(other), "foo.Net")
        yield Hostile(f"odd reference in {place}", make(text("x") + b"Q"), "reference")
    yield Hostile("reference in a pickle", bare(storage_id("0", 4)), "outside of the file")
    yield Hostile("reference by line", bare(b"P0\n"), "outside of the file")
    yield Hostile("outside buffer", bare(b"\x97"), "outside of the file")
    buffer = io.BytesIO()
    torch.save(_whole_network(), buffer)
    yield Hostile("whole network", buffer.getvalue(), "torch.save(network.state_dict(), FILE)")
    buffer = io.BytesIO()
    torch.save({"g_ema": torch.nn.Linear(1, 1), "x": _Odd()}, buffer)
    yield Hostile("network in a dict", buffer.getvalue(), "torch.nn.modules.linear.Linear")


class _Odd:
    pass


def _whole_network() -> torch.nn.Module:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    network.register_module("odd", torch.nn.Bilinear(1, 1, 1))
    return network


def _bombs() -> Iterator[Hostile]:
    """What would take all memory or time."""
    for operation, form in (
        (b"X", "<I"),
        (b"B", "<I"),
        (b"T", "<i"),
        (b"\x8d", "<Q"),
        (b"\x8e", "<Q"),
        (b"\x96", "<Q"),
    ):
        size = 2**60 if form == "<Q" else 2**31 - 1
        content = bare(operation + struct.pack(form, size) + b"abc")
        yield Hostile(f"size of {operation!r}", content, "ends too early")
    yield Hostile("negative size", bare(b"T" + struct.pack("<i", -5)), "negative")
    yield Hostile("long integer", bare(b"\x8b" + struct.pack("<i", 2**31 - 1)), "integer of")
    million = b"\x8b" + struct.pack("<i", 10**6) + b"\x55" * 10**6
    yield Hostile("integer of a million bytes", bare(million), "integer of")
    yield Hostile("negative integer size", bare(b"\x8b" + struct.pack("<i", -1)), "integer of")
    yield Hostile("integer in digits", b"(lp0\nI" + b"9" * 10**6 + b"\n.", "digits")
    yield Hostile("line without end", b"(lp0\nV" + b"x" * (20 << 20), "line of more than")
    yield Hostile("memo index", bare(b"Nr" + struct.pack("<I", 2**32 - 1)), None)
    yield Hostile("memo index in digits", bare(b"Np" + b"9" * 1900 + b"\n"), "memo index")
    yield Hostile("negative memo index", bare(b"Np-1\n"), "memo index")
    puts = b"".join(b"p%d\n" % (k * (2**61 - 1)) for k in range(1, 60_000))
    yield Hostile("memo indices of one hash", bare(b"N" + puts), "memo index")
    yield Hostile("memo indices that meet in a dict", bare(b"N" + _meeting_indices()), None)
    yield Hostile("deep tuples", bare(b"N" + b"\x85" * 100_000), "deep")
    yield Hostile("deep lists", bare(b"]" * 100_000 + b"a" * 99_999), "deep")
    yield Hostile("deep dicts", bare(b"}" + b"N}" * 50_000 + b"s" * 50_000), "deep")
    yield Hostile("deep shared tuples", bare(_shared_chain()), "deep")
    laughs = b"N\x85" + b"2\x86" * 100
    yield Hostile("laughing value", bare(laughs), "entries")
    yield Hostile("laughing key", bare(b"}" + laughs + b"Ns"), "key")
    yield Hostile("laughing member", bare(b"\x8f(" + laughs + b"\x90"), "key")
    yield Hostile("list in itself", bare(b"]q\x01h\x01a"), "contains itself")
    yield Hostile("dict in itself", bare(b"}q\x01Nh\x01s"), "contains itself")
    yield Hostile("tuple in itself", bare(b"]q\x01h\x01\x85q\x02ah\x02"), "contains itself")
    own = name("torch.nn.modules.linear", "Linear") + b")\x81q\x01}Nh\x01sb"
    yield Hostile("instance in itself", bare(own), "contains itself")
    yield Hostile("list as key", bare(b"}]Ns"), "key")
    same = b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 20_000))
    yield Hostile("keys of one hash", bare(b"}(" + same + b"u"), "key")
    many = b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(40_000))
    yield Hostile("numbers as keys", bare(b"}(" + many + b"u"), "numbers as dict keys")
    floats = b"".join(
        b"G" + struct.pack(">d", m * 2.0 ** (61 * e)) for m in range(1, 3000) for e in range(16)
    )
    yield Hostile("floats of few hashes", bare(b"\x8f(" + floats + b"\x90"), "numbers as dict keys")
    pairs = b"".join(number(i) + b"N\x86N" for i in range(10_000))
    yield Hostile("tuples as keys", bare(b"}(" + pairs + b"u"), "key")
    yield Hostile("marks", bare(b"(" * 100_000), "marks")
    yield Hostile("operations", bare(b"(" + b"N" * 1_000_000 + b"l"), "operations")
    copies = b"(" + b"N" * 100_000 + b"lq\x01" + call(name("builtins", "list"), b"h\x01") * 1000
    yield Hostile("copies of a list", bare(b"(" + copies + b"l"), "operations")
    encoded = call(name("_codecs", "encode"), b"h\x01", text("latin1"))
    encoded = text("x" * 60_000) + b"q\x01" + encoded * 10_000
    yield Hostile("copies of text", bare(b"(" + encoded + b"l"), "text")
    small = stream(legacy_storage_id("0", 4))
    again = call(name("torch.storage", "_load_from_bytes"), b"h\x01") * 50_000
    yield Hostile(
        "copies of a stream", bare(b"(" + blob(small) + b"q\x01" + again + b"l"), "operations"
    )


def _meeting_indices() -> bytes:
    """Indices that fill a dict of integers along the way on which it looks for a free place.

    The last is looked up 100,000 times, each time along nearly all of that way.
    """
    size = 2**19
    way, place = [], 0
    for _ in range(300_000):
        way.append(place)
        place = (5 * place + 1) % size
    taken, early = set(way), set(way[:30_000])

    def meets(index: int) -> bool:
        place, rest = index % size, index
        while rest:
            if place not in taken:
                return False
            rest >>= 5
            place = (5 * place + rest + 1) % size
        return place in early

    last = struct.pack("<I", next(index for index in range(2**31, 2**32) if meets(index)))
    puts = b"".join(b"r" + struct.pack("<I", index) for index in way)
    return puts + b"r" + last + (b"j" + last + b"0") * 90_000


def _shared_chain() -> bytes:
    """A tuple 100 deep, referred to from the bottom of a list 100 deep: each alone would do."""
    return b"(" + b"N" + b"\x85" * 100 + b"q\x01" + b"]" * 100 + b"h\x01" + b"a" * 100 + b"l"


def _lying_tensors() -> Iterator[Hostile]:
    here = storage_id("0", 4)
    for what, shape, stride, offset, says in (
        ("beyond its storage", (5,), (1,), 0, "beyond"),
        ("offset beyond", (4,), (1,), 1, "beyond"),
        ("stride beyond", (2,), (4,), 0, "beyond"),
        ("negative stride", (2,), (-1,), 1, "negative"),
        ("negative size", (-1,), (1,), 0, "negative"),
        ("negative offset", (1,), (1,), -1, "negative"),
        ("expanded to 100 GB", (10**5, 10**5, 10), (0, 0, 0), 0, "more than the file can hold"),
        ("overflow of a product", (2**32, 2**32), (0, 0), 0, "impossible"),
        ("overflow beside zero", (0, 2**40, 2**40), (0, 0, 0), 0, "impossible"),
        ("overflow of a stride", (2,), (2**63,), 0, "improper"),
        ("integer of 200 bytes", (2**1600,), (0,), 0, "improper"),
        ("17 dimensions", (1,) * 17, (1,) * 17, 0, "17"),
        ("a thousand dimensions", (1,) * 1000, (1,) * 1000, 0, "1000"),
        ("sizes without strides", (2, 2), (1,), 0, "2 sizes and 1"),
    ):
        main = tensor(here, shape, stride, offset)
        yield Hostile(f"tensor {what}", archive(main), says)
        storage = nested(stream(legacy_storage_id("0", 4)))
        yield Hostile(f"nested tensor {what}", bare(tensor(storage, shape, stride, offset)), says)
    for what, count in (
        ("fewer", 3),
        ("more", 5),
        ("no", 0),
        ("2 ** 59", 2**59),
        ("minus one", -1),
    ):
        main = tensor(storage_id("0", count), (1,), (1,))
        yield Hostile(f"storage of {what} numbers", archive(main), "storage")
        main = tensor(legacy_storage_id("0", count), (0,), (1,))
        yield Hostile(f"legacy storage of {what} numbers", stream(main), "storage")
    main = tensor(storage_id("../../../etc/passwd", 4), (4,), (1,))
    yield Hostile("storage outside", archive(main), "is missing")
    views = here + b"q\x01" + tensor(b"h\x01", (2**20,), (1,)) * 200
    yield Hostile(
        "many views",
        archive(b"(" + views.replace(number(4), number(2**20)) + b"l", data=bytes(2**22)),
        "more than the file can hold",
    )
    wide = tensor(here, (2**22,), (0,)) + b"q\x01"
    keys = b"".join(text(f"mapping.fc{i}.weight") + b"h\x01" for i in range(1000))
    yield Hostile(
        "one wide tensor for all", archive(wide + b"}(" + keys + b"u"), "more than the file"
    )
    good = tensor(legacy_storage_id("0", 4), (4,), (1,))
    yield Hostile("legacy version", stream(good, version=1002), "unknown version")
    yield Hostile("nested magic", bare(nested(stream(good, magic=MAGIC + 1))), "no torch file")
    yield Hostile("legacy keys", stream(good, keys=("1",)), "list of storages")
    yield Hostile("legacy keys twice", stream(good, keys=("0", "0")), "list of storages")
    yield Hostile("legacy without keys", stream(good, keys=()), "list of storages")
    yield Hostile("legacy without numbers", stream(good, tail=b""), "ends inside a tensor")
    yield Hostile(
        "legacy cut", stream(good, tail=struct.pack("<q2f", 4, 1, 2)), "ends inside a tensor"
    )
    negative = struct.pack("<q4f", -4, 1, 2, 3, 4)
    yield Hostile("legacy negative count", stream(good, tail=negative), "declares 4 elements")
    two = legacy_storage_id("0", 4) + legacy_storage_id("0", 2, name("torch", "DoubleStorage"))
    yield Hostile("one storage of two types", stream(b"(" + two + b"l"), "of one name")
    quantised = storage_id("0", 16, name("torch", "QInt8Storage"))
    yield Hostile("quantised", archive(tensor(quantised, (16,), (1,))), "torch.QInt8Storage")
    yield Hostile("tensor of text", archive(tensor(text("x"), (1,), (1,))), "without storage")
    parameter = call(name("torch._utils", "_rebuild_parameter"), b"]", b"\x89", b"}")
    yield Hostile("parameter of a list", archive(parameter), "no tensor")
    typed = call(
        name("torch._tensor", "_rebuild_from_type_v2"),
        name("torch._tensor", "_rebuild_from_type_v2"),
        name("torch", "Tensor"),
        b")",
        b"}",
    )
    yield Hostile("types of types", archive(typed), "no name")
    yield Hostile(
        "too few arguments", bare(call(name("torch._utils", "_rebuild_tensor_v2"))), "0 arg"
    )


def _lying_archives() -> Iterator[Hostile]:
    main = tensor(storage_id("0", 4), (4,), (1,))
    good = archive(main)
    table = good.index(b"PK\1\2")
    end = good.index(b"PK\5\6")
    yield Hostile(
        "zip bomb", archive(b"N", method=zipfile.ZIP_DEFLATED, data=bytes(150 << 20)), "MB"
    )
    packed = bytearray(archive(main, method=zipfile.ZIP_DEFLATED, data=bytes(2**20)))
    second = packed.index(b"PK\1\2", packed.index(b"PK\1\2") + 4)
    packed[second + 24 : second + 28] = struct.pack("<I", 16)
    yield Hostile("zip bomb that lies", bytes(packed), "checksum")
    yield Hostile("many members", many_members(100_000), "100000 members")
    yield Hostile("encrypted", _patched(good, table + 8, b"\1\0"), "encrypted")
    yield Hostile("strange compression", _patched(good, table + 10, b"\x0c\0"), "method 12")
    yield Hostile("truncated zip", good[: end - 20], "end of the zip")
    yield Hostile("truncated table", good[: end - 20] + good[end:], "incomplete")
    yield Hostile("damaged table", _patched(good, table, b"XX"), "damaged")
    second = good.index(b"PK\1\2", table + 4)
    yield Hostile("overlapping members", _patched(good, second + 42, bytes(4)), "overlapping")
    yield Hostile("header elsewhere", _patched(good, second + 42, b"\xf0\0\0\0"), "header")
    yield Hostile("header beyond", _patched(good, second + 42, b"\xfe\xff\xff\xff"), "beyond")
    yield Hostile("two sizes", _patched(good, second + 20, b"\x08"), "two sizes")
    large = _patched(_patched(good, second + 20, b"\0\0\1\0"), second + 24, b"\0\0\1\0")
    yield Hostile("member beyond", large, "beyond")
    missing = _patched(good, second + 20, b"\xff" * 4)
    yield Hostile("zip64 without sizes", missing, "lacks a size")
    flipped = bytearray(good)
    flipped[good.index(b"archive/data/0") + len("archive/data/0") + 3] ^= 1
    yield Hostile("flipped number", bytes(flipped), "archive/data/0 fails its checksum")
    yield Hostile("several disks", _patched(good, end + 4, b"\1\0"), "several parts")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02N.")
        file.writestr("archive/data.pkk", bare(call(name("os", "system"), text("x"))))
    yield Hostile("one name twice", buffer.getvalue().replace(b".pkk", b".pkl"), "one name")
    yield Hostile("byte order", archive(main, byteorder=b"middle"), "byte order")
    yield Hostile(
        "storage missing", archive(tensor(storage_id("7", 4), (4,), (1,))), "7 is missing"
    )


def _patched(content: bytes, position: int, patch: bytes) -> bytes:
    return content[:position] + patch + content[position + len(patch) :]


def many_members(count: int, name: bytes = b"a.npy") -> bytes:
    """A zip archive that lists its one member ``count`` times."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, *[0] * 7, len(name), 0) + name
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *[0] * 7, len(name), *[0] * 6) + name
    table = entry * count
    start = len(local)
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(table), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(table), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return local + table + wide + locator + end


def _lying_arrays() -> Iterator[Hostile]:
    four = dtype("f4")
    raw = blob(bytes(16))
    yield Hostile(
        "array of objects", bare(array(dtype("O8"), row(number(1)), b"]")), "Python objects"
    )
    records = b"N" + row(text("a")) + b"}"
    yield Hostile(
        "array of records", bare(array(dtype("V4", records), row(number(4)), raw)), "records"
    )
    yield Hostile("array of text", bare(array(dtype("U4"), row(number(1)), raw)), "kind U4")
    yield Hostile("array of other size", bare(array(four, row(number(5)), raw)), "storage declares")
    yield Hostile(
        "array of 2 ** 40", bare(array(four, row(number(2**40)), raw)), "storage declares"
    )
    yield Hostile(
        "array overflow", bare(array(four, row(*[number(2**40)] * 2), raw)), "proper size"
    )
    yield Hostile("array of negative size", bare(array(four, row(number(-4)), raw)), "improper")
    yield Hostile("array of 100 sizes", bare(array(four, row(*[number(1)] * 100), raw)), "improper")
    half = array(four, row(number(4)), raw)[: -len(b"b")]
    yield Hostile("array half made", bare(b"(" + half + b"l"), "without content")
    subclass = call(
        name("numpy.core.multiarray", "_reconstruct"), name("numpy", "matrix"), b")", blob(b"b")
    )
    yield Hostile("array subclass", bare(subclass), "numpy.matrix")
    scalar = call(name("numpy.core.multiarray", "scalar"), dtype("f8"), blob(b"abc"))
    yield Hostile("number of other size", bare(scalar), "another size")
    yield Hostile(
        "array twice made", bare(array(four, row(number(4)), raw) + b"}b"), "proper state"
    )
    utf8 = text("\xe9" * 50_000)
    encoded = call(name("_codecs", "encode"), utf8, text("latin1"))
    yield Hostile(
        "array in text", bare(array(four, row(number(10**6)), encoded)), "declares 4000000 bytes"
    )
    encoded = call(name("_codecs", "encode"), text("\u20ac" * 50_000), text("latin1"))
    yield Hostile("array in other text", bare(array(four, row(number(12_500)), encoded)), "as text")
    yield Hostile("complex of text", bare(call(name("builtins", "complex"), text("1"))), "complex")
    overflow = call(name("builtins", "complex"), number(2**1100), number(1))
    yield Hostile("complex of all", bare(overflow), "complex")


def _broken_pickles() -> Iterator[Hostile]:
    yield Hostile("unknown operation", bare(b"\xff"), "0xff")
    yield Hostile("unknown protocol", b"\x80\x04\x80\x09N.", "protocol 9")
    yield Hostile("empty stack", bare(b""), "more than it has")
    yield Hostile("no mark", bare(b"NNt"), "without a mark")
    yield Hostile("no such memo", bare(b"h\x07"), "never had")
    yield Hostile("odd items", bare(b"}(Nu"), "no dict")
    yield Hostile("append to a number", bare(number(1) + b"Na"), "no list")
    yield Hostile("state for a number", bare(number(1) + b"}b"), "attributes")
    yield Hostile("call of a number", bare(call(number(1))), "no name")
    instance = name("torch.nn.modules.linear", "Linear") + b")\x81"
    yield Hostile("call of an instance", bare(call(instance)), "no name")
    yield Hostile("arguments in a list", bare(name("builtins", "list") + b"]R"), "no name")
    yield Hostile("name of numbers", bare(number(1) + number(2) + b"\x93"), "no text")
    yield Hostile("wrong escape", b"(lp0\nV\\uZZZZ\n.", "escape")
    yield Hostile("no quotes", b"(lp0\nSabc\n.", "quotes")
    yield Hostile("no digits", b"(lp0\nI0x10\n.", "digits")
    yield Hostile("no float", b"(lp0\nF1__0\n.", "digits")
    yield Hostile("no end", b"\x80\x04N", "ends too early")
    yield Hostile("only a protocol", b"\x80\x04", "ends too early")
    yield Hostile("object of nothing", bare(b"(o"), "without a class")


def _something_else() -> Iterator[Hostile]:
    yield Hostile("web page", b"<!DOCTYPE html><html>Quota exceeded</html>", "an HTML page")
    yield Hostile("web page after space", b"\n  <HTML><head>", "an HTML page")
    yield Hostile("empty", b"", "is empty")
    yield Hostile("text", b"hello, this is text", "something unknown")
    yield Hostile("one byte", b"x", "something unknown")
    yield Hostile("zeros", bytes(1000), "something unknown")
    yield Hostile("gzip", zlib.compress(b"abc", wbits=31), "gzip")
    yield Hostile("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5")
    yield Hostile("picture", b"\x89PNG\r\n\x1a\n" + bytes(20), "a picture")
    yield Hostile("safetensors", struct.pack("<Q", 2**32) + b'{"a":', "safetensors")
    yield Hostile("Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS")
    yield Hostile("JSON", b'{"a": 1}', "JSON")
    yield Hostile("ONNX", b"\x08\x07\x12\x07pytorch\x1a", "ONNX")
    yield Hostile("numpy", b"\x93NUMPY\1\0", "numpy")
    tar = b"storages".ljust(257, b"\0") + b"ustar"
    yield Hostile("tar of old torch", tar.ljust(512, b"\0"), "before 2017")
    yield Hostile("tar", b"\0" + tar[1:].replace(b"torages", b"\0" * 7), "tar archive")
    for what, member, says in (
        ("pictures", "00000/img0.png", "pictures"),
        ("arrays", "ws.npy", "npz"),
        ("text", "readme.txt", "zip archive"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr(member, b"abc")
        yield Hostile(f"zip of {what}", buffer.getvalue(), says)
    yield Hostile(
        "TorchScript", archive(b"N", **{"code/a.py": b"x", "constants.pkl": b"x"}), "TorchScr"
    )
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(3))
    yield Hostile("latent archive", buffer.getvalue(), "npz")
    yield Hostile("empty zip", b"PK\5\6" + bytes(18), "empty zip")


# The watched reader

_WATCHED = (
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.spawn",
        "os.posix_spawn",
        "os.startfile",
    ),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.putenv"),
    *("os.chmod", "os.kill", "subprocess.Popen", "pty.spawn", "exec", "compile", "import"),
    *("marshal.loads", "code.__new__", "pickle.find_class", "function.__new__", "open"),
    *("ctypes.dlopen", "ctypes.dlsym", "urllib.Request", "webbrowser.open", "shutil.rmtree"),
    "socket.",
)


class Watch:
    """Notes what Python reports while ``on``, but for modules already there and one file read."""

    def __init__(self) -> None:
        self.on = False
        self.path = ""
        self.events: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or not event.startswith(_WATCHED):
            return
        if event == "import" and arguments[0] in sys.modules:
            return
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        if event == "open" and arguments[0] == self.path and not arguments[2] & writing:
            return
        self.events.append(f"{event} {arguments!r:.200}")


def read_all(path: Path) -> str:
    """Open a file and load every tensor in it; return the error, or an empty text."""
    try:
        for tensor_ in stored_tensors(open_pickled(path).trusted()):
            tensor_.load()
    except GaneditError as error:
        return str(error)
    return ""


def stored_tensors(value: Any) -> Iterator[StoredTensor]:
    """The tensors in a value, each container walked through once."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, StoredTensor):
            yield value
        elif isinstance(value, (list, tuple, dict, Record)) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Record):
                waiting += [value.args, value.state]
            else:
                waiting += value.values() if isinstance(value, dict) else value


def main(folder: Path) -> None:
    watch = Watch()
    paths = sorted(folder.iterdir())
    warm = folder.parent / "warm"  # what is imported at the first use of a codec is no offence
    for content in (pickle.dumps([1, "é", b"x"], 0), pickle.dumps(np.str_("é"), 2)):
        warm.write_bytes(content)
        read_all(warm)
    for path in paths:
        started = time.perf_counter()
        watch.path, watch.on = str(path), True
        error = read_all(path)
        watch.on = False
        seconds = time.perf_counter() - started
        peak = peak_kilobytes() // 1024
        print(json.dumps([path.name, error, watch.events, seconds, peak]))  # noqa: T201 - a command
        watch.events = []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
