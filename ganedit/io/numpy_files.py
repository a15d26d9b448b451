"""Numpy's ``.npy`` and ``.npz`` files, read without numpy, which would run pickles in them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ganedit.errors import GaneditError
from ganedit.io.stored import Flaw, Window, flaw_error, open_window
from ganedit.io.zip_files import read_archive

_NPY = b"\x93NUMPY"
_TYPE = re.compile(
    r"""['"]descr['"]:\s*['"](?P<order>[<>=|]?)(?P<kind>[a-zA-Z])(?P<bytes>[248])['"]"""
)
_COLUMNS = re.compile(r"""['"]fortran_order['"]:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]:\s*\(([\d\s,L]{0,200})\)""")
_MAX_DIMENSIONS = 32
_LARGEST_HEADER = 1 << 14


def is_numpy(start: bytes) -> bool:
    """Return whether a file is an array, or a zip archive whose first member is named as one."""
    if not start.startswith(b"PK\3\4"):
        return start.startswith(_NPY)
    length = int.from_bytes(start[26:28], "little")
    return start[30 : 30 + length].endswith(b".npy")


def numpy_arrays(path: Path) -> Window | dict[str, Window]:
    """Return the array in a ``.npy`` file, or those of an ``.npz`` archive by name, for `read_npy`.

    Raises:
        GaneditError: The file is missing, broken, or packed in a way that is not read.
    """
    window = open_window(path)
    if window.read(0, 2) != b"PK":
        return window
    try:
        members = read_archive(window)
    except Flaw as flaw:
        raise flaw_error(str(path), flaw) from flaw
    return {
        name.removesuffix(".npy"): member
        for name, member in members.items()
        if name.endswith(".npy")
    }


def read_npy(window: Window, name: str, *, max_bytes: int) -> "np.ndarray[Any, Any]":
    """Return the floating point array in the bytes of a ``.npy`` file.

    The header is Python text, of which a few words are enough; numpy would run its tokenizer on it,
    and on arrays of objects its unpickler.

    Args:
        window: Of `numpy_arrays`.
        name: For errors.
        max_bytes: It must not be larger.

    Raises:
        GaneditError: It is broken, too large, or holds something else.
    """
    if window.length > max_bytes:
        raise GaneditError(f"{name}: {window.length >> 20} MB is too large")
    broken = GaneditError(f"{name}: broken or incomplete; nothing in it was run")
    start = window.read(0, min(12, window.length))
    width = 2 if start[6:7] == b"\1" else 4
    length = int.from_bytes(start[8 : 8 + width], "little")
    begin = 8 + width + length
    if not start.startswith(_NPY) or length > _LARGEST_HEADER or begin > window.length:
        raise broken
    header = window.read(8 + width, length).decode("latin-1")
    kind, columns, sizes = (pattern.search(header) for pattern in (_TYPE, _COLUMNS, _SHAPE))
    if columns is None or sizes is None:
        raise broken
    if kind is None or kind["kind"] != "f":
        if re.search(r"['\"]\|?O", header):
            raise GaneditError(
                f"{name}: refused, it pickles Python objects; save a plain array of numbers instead"
            )
        raise GaneditError(f"{name}: expected an array of floating point numbers")
    dtype = np.dtype(f"{kind['order']}f{kind['bytes']}")
    shape = tuple(int(number) for number in re.findall(r"\d+", sizes[1]))
    nbytes = math.prod(shape) * dtype.itemsize
    if window.length - begin != nbytes or len(shape) > _MAX_DIMENSIONS:
        raise broken
    array = np.frombuffer(window.read(begin, nbytes), dtype)
    return array.reshape(shape, order="F" if columns[1] == "True" else "C")
