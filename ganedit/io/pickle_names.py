"""What a pickle may name, and the harmless value that each name's call becomes.

Nothing is ever imported or looked up by a name from a file: the tables below are all there is. A
name that is in no table is noted as refused, and its calls become inert records.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ganedit.io.stored import (
    MAX_DIMENSIONS,
    Broken,
    ByteOrder,
    Refused,
    Storage,
    StoredTensor,
    Window,
    bytes_window,
    latin1_window,
    shown,
)

MAX_OPERATIONS = 500_000  # the largest networks need 60 thousand
MAX_TEXT = 2**26  # bytes of strings kept in memory
_TENSOR_SLACK = 2**26
_MAX_NESTING = 3
_MAX_KEY = 2**60  # beyond, the hashes of different integers are equal
_MAX_KEY_TUPLES = 4096
_MAX_KEY_NUMBERS = 2**14  # a file could choose them so that their hashes meet in a dict
_MAX_NAME = 200
_MAX_REFUSED = 1000
_STREAM_OPERATIONS = 100  # what it takes to begin a nested stream, in operations


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle: inert, never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return ``module.name``, fit for a line of text whatever the file says."""
        return f"{shown(self.module, longest=80)}.{shown(self.name, longest=80)}"


@dataclass(eq=False, slots=True)
class Record:
    """An instance in a pickle, as inert data.

    Attributes:
        kind: Its class.
        args: What its constructor would have been called with.
        state: What its attributes would have been set from, usually a dict; None without.
    """

    kind: Global
    args: tuple[Any, ...] = ()
    state: Any = None


class Fields(dict[Any, Any]):
    """A dict whose entries also are attributes in the file: Namespace, EasyDict."""


@dataclass(frozen=True)
class LongText:
    """A long string, not yet decoded."""

    window: Window


@dataclass(frozen=True)
class EncodedText:
    """The bytes that the characters of a long string stand for, not yet decoded."""

    window: Window


class Session:
    """What the reading of one file has used up, over all pickles nested in it.

    Attributes:
        name: The file's name.
        refused: Names asked for that are in no table, in order.
        names: All names asked for, and what they stand for.
        tensor_bytes: What all its tensors may take when loaded, those met twice counted twice.
    """

    def __init__(
        self, *, name: str, size: int, read_stream: "Callable[[Window, Session], Any]"
    ) -> None:
        """Start with nothing used.

        Args:
            name: The file's name, for errors.
            size: Bytes of the file; its tensors may take four times as much and 64 MB.
            read_stream: Reads a torch stream that is nested in a pickle.
        """
        self.name = name
        self.refused: dict[str, None] = {}
        self.names: dict[tuple[str, str], Any] = {}
        self._operations = MAX_OPERATIONS
        self._text = MAX_TEXT
        self.tensor_bytes = 4 * size + _TENSOR_SLACK
        self._key_tuples = _MAX_KEY_TUPLES
        self._key_numbers = _MAX_KEY_NUMBERS
        self._nesting = 0
        self._read_stream = read_stream

    def refuse(self, name: str) -> None:
        """Note a name that is in no table.

        Raises:
            Refused: There were so many that nothing else will come of this file.
        """
        self.refused[name] = None
        if len(self.refused) > _MAX_REFUSED:
            raise Refused(f"it asks for more than {_MAX_REFUSED} unknown names")

    def spend_operations(self, count: int) -> None:
        """Count operations, or elements copied by one.

        Raises:
            Refused: There were too many.
        """
        self._operations -= count
        if self._operations < 0:
            raise Refused(f"it takes more than {MAX_OPERATIONS} operations to read")

    def spend_text(self, size: int) -> None:
        """Count bytes of strings kept in memory.

        Raises:
            Refused: There were too many.
        """
        self._text -= size
        if self._text < 0:
            raise Refused(f"it holds more than {MAX_TEXT // 2**20} MB of text")

    def stream(self, window: Window) -> Any:
        """Return the value of a torch stream nested in a pickle.

        Raises:
            Flaw: It is broken, asks for too much, or is nested too deep.
        """
        if self._nesting == _MAX_NESTING:
            raise Refused("a torch file within a tensor")
        self.spend_operations(_STREAM_OPERATIONS)
        self._nesting += 1
        value = self._read_stream(window, self)
        self._nesting -= 1
        return value

    def key(self, value: Any) -> Any:
        """Return a dict key or set member, if it is one that hashes quickly.

        Raises:
            Refused: It is another.
        """
        if isinstance(value, tuple):
            self._key_tuples -= 1
            if len(value) > 4 or self._key_tuples < 0 or not all(map(_is_atom, value)):
                raise Refused("a dict key or set member that is no plain value")
        elif not _is_atom(value):
            raise Refused("a dict key or set member that is no plain value")
        elif isinstance(value, (int, float)):
            self._key_numbers -= 1
            if self._key_numbers < 0:
                raise Refused(f"more than {_MAX_KEY_NUMBERS} numbers as dict keys or set members")
        return value


def _is_atom(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < _MAX_KEY
    return value is None or isinstance(value, (str, bytes, float, bool, Global))


def look_up(session: Session, module: str, name: str) -> Any:
    """Return the inert value that a name stands for, and note it when it is in no table.

    Raises:
        Broken: No name can be that long.
    """
    key = (module, name)
    if key not in session.names:
        session.names[key] = _inert(session, module, name)
    return session.names[key]


def _inert(session: Session, module: str, name: str) -> Any:
    if len(module) > _MAX_NAME or len(name) > _MAX_NAME:
        raise Broken(f"a name of more than {_MAX_NAME} characters")
    if module == "torch" and name in _TORCH_WORDS:
        return f"torch.{name}"
    key, value = (module, name), Global(module, name)
    if key not in _CALLS and key not in _STORAGES and key not in _INERT:
        session.refuse(str(value))
    return value


def call(session: Session, function: Any, args: Any) -> Any:
    """Return what the tables say that ``function(*args)`` becomes, or an inert record.

    Raises:
        Flaw: ``function`` is no name, or ``args`` do not suit it.
    """
    if isinstance(function, Record) and str(function.kind) in session.refused:
        return Record(function.kind)  # a chain of calls, refused at its first name
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise Broken("a call of something that is no name")
    rule = _CALLS.get((function.module, function.name))
    if rule is None:
        return Record(function, args)
    if not rule.least <= len(args) <= rule.most:
        raise Broken(f"a call of {function} with {len(args)} arguments")
    return rule.make(session, *args)


def fill(session: Session, target: Any, state: Any) -> None:
    """Give an instance its state, as BUILD asks; nothing but data is ever set.

    Raises:
        Flaw: The target takes no such state.
    """
    if isinstance(target, (_Dtype, _Array)):
        target.fill(session, state)
    elif isinstance(target, Record) and target.state is None:
        target.state = state
    elif isinstance(target, Fields) and isinstance(state, dict):
        session.spend_operations(len(state))
        target.update(state)
    elif not isinstance(target, (dict, StoredTensor)) or not isinstance(state, (dict, tuple)):
        raise Broken("attributes for a value that has none")
    # An OrderedDict's or tensor's attributes (a state dict's _metadata) are of no use here.


def final(session: Session, value: Any) -> Any:
    """Return what a value of the tables is to the outside: plain data or a stored tensor.

    Raises:
        Flaw: It was left half made.
    """
    if isinstance(value, LongText):
        session.spend_text(4 * value.window.length)
        return value.window.read(0, value.window.length).decode("utf-8", "replace")
    if isinstance(value, EncodedText):
        raise Refused("long bytes stored as text that belong to no array")
    if isinstance(value, _Dtype):
        return value.code
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, Storage):
        return StoredTensor(value.dtype, (value.count,), (1,), 0, value)
    return value


# Plain containers and values


def _elements(session: Session, items: Any) -> Any:
    if not isinstance(items, (list, tuple, set, frozenset, dict)):
        raise Broken("a container made from something that is none")
    session.spend_operations(len(items))
    return items


def _list(session: Session, items: Any = (), _limit: Any = None) -> list[Any]:
    return list(_elements(session, items))


def _tuple(session: Session, items: Any = ()) -> tuple[Any, ...]:
    return tuple(_elements(session, items))


def _set(session: Session, items: Any = ()) -> set[Any]:
    return {session.key(item) for item in _elements(session, items)}


def _frozenset(session: Session, items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(session, items))


def _pairs(session: Session, items: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(_elements(session, items))
    result = {}
    for pair in _elements(session, items):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Broken("a dict made from something that is no pair")
        result[session.key(pair[0])] = pair[1]
    return result


def _dict(session: Session, items: Any = ()) -> dict[Any, Any]:
    return _pairs(session, items)


def _defaultdict(session: Session, _factory: Any = None, items: Any = ()) -> dict[Any, Any]:
    return _pairs(session, items)


def _fields(session: Session, items: Any = ()) -> Fields:
    return Fields(_pairs(session, items))


def _complex(_session: Session, real: Any, imaginary: Any = 0.0) -> complex:
    if not all(type(part) in (int, float) for part in (real, imaginary)):
        raise Broken("a complex number of other things than numbers")
    try:
        return complex(real, imaginary)
    except OverflowError as error:
        raise Broken("a complex number that is too large") from error


def _bytes(session: Session, content: Any = b"", encoding: Any = "latin-1") -> Any:
    if isinstance(content, (str, LongText)):
        return _encode(session, content, encoding)
    if isinstance(content, (bytes, Window)):
        return content
    if isinstance(content, list):  # protocol 0 and 1 in Python 2: one number a byte
        session.spend_operations(len(content))
        if all(type(byte) is int and 0 <= byte < 256 for byte in content):
            return bytes(content)
    raise Broken("bytes made from something that is none")


def _encode(session: Session, text: Any, encoding: Any = "latin-1") -> Any:
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise Refused("text in an encoding other than latin1")
    if isinstance(text, LongText):
        return EncodedText(text.window)
    if not isinstance(text, str):
        raise Broken("bytes made from something that is no text")
    session.spend_text(len(text))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Broken("bytes made from other text than latin1") from error


def _text(_session: Session, text: Any = "") -> str:
    if not isinstance(text, str):
        raise Broken("text made from something that is none")
    return text


def _path(session: Session, *parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts):
        raise Broken("a path of other things than names")
    session.spend_text(sum(map(len, parts)))
    return "/".join(parts).replace("//", "/", 1)


def _constructor(session: Session, kind: Any, base: Any, items: Any) -> Any:
    """``copyreg._reconstructor``: how protocols 0 and 1 make instances."""
    return call(session, kind, () if items is None or base == _OBJECT else (items,))


def _new_object(session: Session, kind: Any, *args: Any) -> Any:
    return call(session, kind, args)


_OBJECT = Global("builtins", "object")


# NVlabs


def _persistent(_session: Session, meta: Any) -> Record:
    """NVlabs' networks and layers: the embedded source is dropped unread."""
    name = meta.get("class_name") if isinstance(meta, dict) else None
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        raise Broken("a persistent object without a class name")
    state = meta.get("state")
    if meta.get("type") != "class" or not isinstance(state, (dict, type(None))):
        raise Broken("a persistent object without a state")
    return Record(Global("torch_utils.persistence", name), (), state or {})


# torch

_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float8_e4m3fn", "float8_e5m2"),
    )
}
_TORCH_WORDS = frozenset(
    {
        *_DTYPES,
        *("half", "float", "double", "short", "int", "long", "complex32", "strided"),
        *("contiguous_format", "channels_last", "preserve_format", "channels_last_3d"),
    }
)
_STORAGES: dict[tuple[str, str], torch.dtype] = {
    (module, f"{name}Storage"): dtype
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in (
        ("Float", torch.float32),
        ("Double", torch.float64),
        ("Half", torch.float16),
        ("BFloat16", torch.bfloat16),
        ("Long", torch.int64),
        ("Int", torch.int32),
        ("Short", torch.int16),
        ("Char", torch.int8),
        ("Byte", torch.uint8),
        ("Bool", torch.bool),
        ("ComplexFloat", torch.complex64),
        ("ComplexDouble", torch.complex128),
        ("Untyped", torch.uint8),
        ("_Untyped", torch.uint8),
    )
}


def storage_dtype(kind: Any) -> torch.dtype:
    """Return the element type of a storage class.

    Raises:
        Refused: It is none, or one of quantised numbers.
    """
    dtype = None
    if isinstance(kind, Global):
        dtype = _STORAGES.get((kind.module, kind.name))
    if dtype is None:
        raise Refused("a tensor storage of a kind that ganedit does not read")
    return dtype


def _load_from_bytes(session: Session, content: Any) -> Storage:
    window = content
    if isinstance(content, bytes):
        window = bytes_window(content, name=session.name)
    if isinstance(content, EncodedText):
        window = latin1_window(content.window)
    if not isinstance(window, Window):
        raise Broken("a tensor storage that is no bytes")
    storage = session.stream(window)
    if not isinstance(storage, Storage):
        raise Refused("a tensor storage that holds something else")
    return storage


def _tensor(
    _session: Session,
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    _requires_grad: Any = False,
    _hooks: Any = None,
    metadata: Any = None,
) -> StoredTensor:
    if not (
        isinstance(storage, Storage) and isinstance(shape, tuple) and isinstance(stride, tuple)
    ):
        raise Broken("a tensor without storage, shape or stride")
    if metadata:
        raise Refused("a conjugated or negated view; save it with .clone()")
    return StoredTensor(storage.dtype, shape, stride, offset, storage)


def _typed_tensor(
    session: Session,
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> StoredTensor:
    kind = _DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else None
    if kind is None or not isinstance(storage, Storage):
        raise Refused("a tensor of a type that ganedit does not read")
    typed = storage.as_dtype(kind)
    return _tensor(session, typed, offset, shape, stride, requires_grad, hooks, metadata)


def _parameter(_session: Session, tensor: Any, *_rest: Any) -> StoredTensor:
    tensor = tensor.value if isinstance(tensor, _Array) else tensor
    if not isinstance(tensor, StoredTensor):
        raise Broken("a parameter that is no tensor")
    return tensor


def _tensor_of_type(session: Session, function: Any, kind: Any, args: Any, _state: Any) -> Any:
    if not isinstance(kind, Global) or getattr(function, "module", "") != "torch._utils":
        raise Broken("a tensor of a type that is no name")
    return _parameter(session, call(session, function, args))


def _size(session: Session, sizes: Any = ()) -> tuple[Any, ...]:
    return tuple(_elements(session, sizes))


def _device(_session: Session, kind: Any, index: Any = None) -> str:
    if not isinstance(kind, str) or type(index) not in (int, type(None)):
        raise Broken("a device without a name")
    return kind if index is None else f"{kind}:{index}"


# numpy

_NUMPY_TYPES: dict[str, tuple[torch.dtype, str]] = {
    "f2": (torch.float16, "e"),
    "f4": (torch.float32, "f"),
    "f8": (torch.float64, "d"),
    "i1": (torch.int8, "b"),
    "i2": (torch.int16, "h"),
    "i4": (torch.int32, "i"),
    "i8": (torch.int64, "q"),
    "u1": (torch.uint8, "B"),
    "u2": (torch.uint16, "H"),
    "u4": (torch.uint32, "I"),
    "u8": (torch.uint64, "Q"),
    "b1": (torch.bool, "?"),
    "c8": (torch.complex64, "2f"),
    "c16": (torch.complex128, "2d"),
}
_MAX_SCALAR = 4096


class _Dtype:
    """A numpy dtype under construction."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.byteorder: ByteOrder = "little"

    def fill(self, _session: Session, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5:
            raise Broken("a numpy type without a proper state")
        if any(part is not None for part in state[2:5]):
            raise Refused("a numpy array of records; save its fields one by one")
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise Broken("a numpy type without a byte order")
        self.byteorder = "big" if order == ">" else "little"

    @property
    def numbers(self) -> tuple[torch.dtype, str]:
        """The type in torch, and its code for `struct`."""
        if self.code not in _NUMPY_TYPES:
            what = "Python objects" if self.code.startswith("O") else f"kind {shown(self.code)}"
            raise Refused(f"numpy values of {what}, where only numbers are read")
        return _NUMPY_TYPES[self.code]

    def scalar(self, raw: bytes) -> Any:
        """Return the Python value of one element."""
        if self.code[:1] == "U":
            order = "be" if self.byteorder == "big" else "le"
            return raw.decode(f"utf-32-{order}", "replace").rstrip("\0")
        if self.code[:1] == "S":
            return raw.rstrip(b"\0")
        form = (">" if self.byteorder == "big" else "<") + self.numbers[1]
        if len(raw) != struct.calcsize(form):
            raise Broken("a numpy number of another size than its type")
        parts = struct.unpack(form, raw)
        return parts[0] if len(parts) == 1 else complex(*parts)


def _dtype(_session: Session, code: Any, _align: Any = False, _copy: Any = False) -> _Dtype:
    if isinstance(code, bytes):
        code = code.decode("latin-1")
    if isinstance(code, Global) and code.module == "numpy":
        code = _SCALAR_TYPES.get(code.name)
    if not isinstance(code, str) or not 1 < len(code) < 16 or not code.isascii():
        raise Broken("a numpy type without a name")
    result = _Dtype(code.lstrip("<>|=")[:15])
    if code[0] == ">":
        result.byteorder = "big"
    return result


_SCALAR_TYPES = {
    "float16": "f2",
    "float32": "f4",
    "float64": "f8",
    "int8": "i1",
    "int16": "i2",
    "int32": "i4",
    "int64": "i8",
    "uint8": "u1",
    "uint16": "u2",
    "uint32": "u4",
    "uint64": "u8",
    "bool_": "b1",
    "bool": "b1",
    "complex64": "c8",
    "complex128": "c16",
}


def _scalar(session: Session, dtype: Any, raw: Any = None) -> Any:
    if isinstance(raw, str):
        raw = _encode(session, raw)
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or len(raw) > _MAX_SCALAR:
        raise Refused("a numpy value that is no number")
    session.spend_text(len(raw))
    return dtype.scalar(raw)


class _Array:
    """A numpy array under construction."""

    def __init__(self) -> None:
        self._value: Any = None
        self._made = False

    @property
    def value(self) -> Any:
        """A stored tensor, or the number of an array without dimensions."""
        if not self._made:
            raise Broken("a numpy array without content")
        return self._value

    def fill(self, session: Session, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5) or self._made:
            raise Broken("a numpy array without a proper state")
        shape, dtype, fortran, raw = state[-4:]
        order: Literal["C", "F"] = "F" if fortran else "C"
        self._value = _numbers(session, raw, dtype, shape, order)
        self._made = True


def _array(_session: Session, kind: Any, _shape: Any, _code: Any) -> _Array:
    if kind != Global("numpy", "ndarray"):
        raise Refused("a numpy array of an unknown kind")
    return _Array()


def _numbers(session: Session, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    """``numpy._core.numeric._frombuffer``: an array from its bytes."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise Broken("a numpy array without type or shape")
    if isinstance(raw, str):
        raw = _encode(session, raw)
    kind, _ = dtype.numbers
    if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise Broken("a numpy array with improper sizes")
    if isinstance(raw, bytes):
        if not shape:
            return dtype.scalar(raw)
        raw = bytes_window(raw, name=session.name)
    storage = Storage(kind, math.prod(shape), byteorder=dtype.byteorder)
    if isinstance(raw, EncodedText):
        raw = latin1_window(raw.window)
    if not isinstance(raw, Window):
        raise Broken("a numpy array without bytes")
    strides = _steps(shape if order == "C" else shape[::-1])
    stride = strides if order == "C" else strides[::-1]
    return StoredTensor(kind, shape, stride, 0, storage.bind(raw))


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor without gaps, the last dimension fastest."""
    return tuple(math.prod(max(n, 1) for n in shape[i + 1 :]) for i in range(len(shape)))


# The tables


@dataclass(frozen=True)
class _Rule:
    """What a call becomes, and how many arguments it takes."""

    make: Callable[..., Any]
    least: int
    most: int


_BUILTINS = ("builtins", "__builtin__")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_COPYREG = ("copyreg", "copy_reg")

_CALLS: dict[tuple[str, str], _Rule] = {
    (module, name): _Rule(make, least, most)
    for modules, name, make, least, most in (
        (_BUILTINS, "list", _list, 0, 1),
        (_BUILTINS, "tuple", _tuple, 0, 1),
        (_BUILTINS, "set", _set, 0, 1),
        (_BUILTINS, "frozenset", _frozenset, 0, 1),
        (_BUILTINS, "dict", _dict, 0, 1),
        (_BUILTINS, "complex", _complex, 1, 2),
        (_BUILTINS, "bytes", _bytes, 0, 2),
        (_BUILTINS, "bytearray", _bytes, 0, 2),
        (_BUILTINS, "str", _text, 0, 1),
        (("collections",), "OrderedDict", _dict, 0, 1),
        (("collections",), "Counter", _dict, 0, 1),
        (("collections",), "defaultdict", _defaultdict, 0, 2),
        (("collections",), "deque", _list, 0, 2),
        (("_codecs",), "encode", _encode, 1, 2),
        (_COPYREG, "_reconstructor", _constructor, 3, 3),
        (_COPYREG, "__newobj__", _new_object, 1, 8),
        (("argparse",), "Namespace", _fields, 0, 0),
        (("types",), "SimpleNamespace", _fields, 0, 1),
        (("dnnlib.util", "dnnlib", "easydict"), "EasyDict", _fields, 0, 1),
        (("pathlib", "pathlib._local"), "PosixPath", _path, 0, 64),
        (("pathlib", "pathlib._local"), "WindowsPath", _path, 0, 64),
        (("pathlib", "pathlib._local"), "PurePosixPath", _path, 0, 64),
        (("pathlib", "pathlib._local"), "PureWindowsPath", _path, 0, 64),
        (("pathlib", "pathlib._local"), "Path", _path, 0, 64),
        (("torch_utils.persistence",), "_reconstruct_persistent_obj", _persistent, 1, 1),
        (("torch.storage",), "_load_from_bytes", _load_from_bytes, 1, 1),
        (("torch._utils",), "_rebuild_tensor", _tensor, 4, 4),
        (("torch._utils",), "_rebuild_tensor_v2", _tensor, 6, 7),
        (("torch._utils",), "_rebuild_tensor_v3", _typed_tensor, 7, 8),
        (("torch._utils",), "_rebuild_parameter", _parameter, 3, 3),
        (("torch._utils",), "_rebuild_parameter_with_state", _parameter, 4, 4),
        (("torch._utils",), "_rebuild_device_tensor_from_cpu_tensor", _parameter, 4, 4),
        (("torch._utils",), "_rebuild_device_tensor_from_numpy", _parameter, 4, 4),
        (("torch._utils",), "_rebuild_xla_tensor", _parameter, 4, 4),
        (("torch._tensor",), "_rebuild_from_type_v2", _tensor_of_type, 4, 4),
        (("torch",), "Size", _size, 0, 1),
        (("torch",), "device", _device, 1, 2),
        (("torch.torch_version",), "TorchVersion", _text, 1, 1),
        (("numpy",), "dtype", _dtype, 1, 3),
        (_MULTIARRAY, "_reconstruct", _array, 3, 3),
        (_MULTIARRAY, "scalar", _scalar, 1, 2),
        (_NUMERIC, "_frombuffer", _numbers, 3, 4),
    )
    for module in modules
}

# Classes whose instances are kept as records, and names that may stand about uncalled.
_INERT: frozenset[tuple[str, str]] = frozenset(
    (module, name)
    for modules, names in (
        (_BUILTINS, "object int float bool type slice range NoneType"),
        (("dnnlib.tflib.network",), "Network"),
        (("training.volumetric_rendering.renderer",), "ImportanceRenderer"),
        (("training.volumetric_rendering.ray_marcher",), "MipRayMarcher2"),
        (("training.volumetric_rendering.ray_sampler",), "RaySampler"),
        (("training.triplane",), "OSGDecoder"),
        (("torch",), "Tensor"),
        (("torch.nn.parameter",), "Parameter Buffer"),
        (("torch.storage",), "TypedStorage _TypedStorage"),
        (
            ("torch.nn.modules.container",),
            "Sequential ModuleList ModuleDict ParameterList ParameterDict",
        ),
        (
            ("torch.nn.modules.activation",),
            "ReLU LeakyReLU PReLU ELU SELU GELU SiLU Mish Sigmoid Tanh Softplus Softmax Hardtanh",
        ),
        (("torch.nn.modules.linear",), "Linear Identity Bilinear"),
        (("torch.nn.modules.conv",), "Conv1d Conv2d Conv3d ConvTranspose2d"),
        (("torch.nn.modules.batchnorm",), "BatchNorm1d BatchNorm2d BatchNorm3d"),
        (("torch.nn.modules.normalization",), "LayerNorm GroupNorm"),
        (("torch.nn.modules.instancenorm",), "InstanceNorm2d"),
        (("torch.nn.modules.pooling",), "MaxPool2d AvgPool2d AdaptiveAvgPool2d AdaptiveMaxPool2d"),
        (("torch.nn.modules.upsampling",), "Upsample UpsamplingNearest2d UpsamplingBilinear2d"),
        (("torch.nn.modules.dropout",), "Dropout Dropout2d"),
        (("torch.nn.modules.flatten",), "Flatten"),
        (("torch.nn.modules.padding",), "ZeroPad2d ReflectionPad2d ReplicationPad2d"),
        (("torch.nn.modules.sparse",), "Embedding"),
        (("numpy",), f"ndarray {' '.join(_SCALAR_TYPES)}"),
    )
    for module in modules
    for name in names.split()
)
