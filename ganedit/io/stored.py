"""Tensors that are still in their file: where their bytes lie, read only when asked for."""

import bisect
import codecs
import io
import math
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.files import open_file

ByteOrder = Literal["little", "big"]

MAX_DIMENSIONS = 16
_BLOCK = 2**20
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 within a character
_MAX_ELEMENTS = 2**60  # of all dimensions but the empty ones: beyond, torch's own sums overflow


class Flaw(Exception):
    """Why a file cannot be read; becomes a `GaneditError` where the file's name is known."""


class Broken(Flaw):
    """The bytes are not what their format asks for."""


class Refused(Flaw):
    """The bytes ask for more than a file may: too much memory, too deep, a thing unknown."""


def shown(text: str, *, longest: int = 60) -> str:
    """Return text of a file so that it fits in a line of ours, whatever it is."""
    return "".join(char if char.isprintable() else "?" for char in text[:longest])


def flaw_error(name: str, flaw: Flaw) -> GaneditError:
    """Return the one-line error for a file that cannot be read."""
    if isinstance(flaw, Refused):
        return GaneditError(f"{name}: refused ({flaw}); nothing was run")
    return GaneditError(f"{name}: broken or incomplete ({flaw})")


class Source(Protocol):
    """Where bytes come from."""

    @property
    def name(self) -> str:
        """Of the file, for errors."""
        ...

    def read_into(self, position: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``position`` on, which the caller has checked to be inside."""
        ...


class Window:
    """A readable span of an open file, or of bytes in memory.

    Attributes:
        length: Bytes in it.
    """

    def __init__(self, source: Source, start: int, length: int) -> None:
        """Cut a span out of a source; `open_window` and `bytes_window` make whole ones."""
        self._source = source
        self._start = start
        self.length = length

    @property
    def name(self) -> str:
        """The file's name, for errors."""
        return self._source.name

    def read(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes from ``offset`` on.

        Raises:
            GaneditError: The file has fewer, or the system refuses.
        """
        buffer = bytearray(self._checked(offset, count))
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes from ``offset`` on.

        Raises:
            GaneditError: The file has fewer, or the system refuses.
        """
        self._checked(offset, len(buffer))
        if len(buffer):
            self._source.read_into(self._start + offset, buffer)

    def window(self, offset: int, length: int) -> "Window":
        """Return a part of this window.

        Raises:
            GaneditError: It reaches beyond the end.
        """
        return Window(self._source, self._start + offset, self._checked(offset, length))

    def _checked(self, offset: int, count: int) -> int:
        if offset < 0 or count < 0 or offset + count > self.length:
            raise GaneditError(f"{self.name}: broken or incomplete (ends too early)")
        return count


def open_window(path: Path) -> Window:
    """Return a whole file as a window; the file stays open as long as any part of it is in use.

    Raises:
        GaneditError: It is missing, no regular file, empty, or cannot be opened.
    """
    source = _File(path)
    if not source.size:
        raise GaneditError(f"{path}: the file is empty")
    return Window(source, 0, source.size)


def bytes_window(content: bytes, *, name: str) -> Window:
    """Return bytes in memory as a window; ``name`` is used in errors."""
    return Window(_Memory(content, name), 0, len(content))


def latin1_window(text: Window) -> Window:
    """Return text, stored as UTF-8, as the bytes that its characters stand for.

    So do pickles of protocol 2 and below keep the numbers of an array.
    """
    source = _Latin1(text)
    return Window(source, 0, source.length)


class _File:
    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = open_file(path)
        weakref.finalize(self, self._file.close)
        self.size = self._file.seek(0, io.SEEK_END)

    def read_into(self, position: int, buffer: memoryview) -> None:
        try:
            self._file.seek(position)
            while len(buffer):
                count = self._file.readinto(buffer)
                if not count:
                    raise GaneditError(f"{self.name}: became shorter while it was read")
                buffer = buffer[count:]
        except OSError as error:
            reason = error.strerror or error
            raise GaneditError(f"{self.name}: cannot be read ({reason})") from error


class _Memory:
    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        self._content = memoryview(content)

    def read_into(self, position: int, buffer: memoryview) -> None:
        buffer[:] = self._content[position : position + len(buffer)]


class _Latin1:
    """The characters of a text as bytes; any of them are found without decoding all before."""

    def __init__(self, text: Window) -> None:
        self.name = text.name
        self._text = text
        self._starts = [0]  # characters that begin before each block
        for start in range(0, text.length, _BLOCK):
            block = text.read(start, min(_BLOCK, text.length - start))
            begun = len(block.translate(None, _CONTINUATION))
            self._starts.append(self._starts[-1] + begun)
        self.length = self._starts[-1]

    def read_into(self, position: int, buffer: memoryview) -> None:
        first = bisect.bisect_right(self._starts, position) - 1
        last = bisect.bisect_left(self._starts, position + len(buffer))
        start = first * _BLOCK
        # One byte more: the last character may go on in the next block.
        block = self._text.read(start, min(last * _BLOCK + 1, self._text.length) - start)
        try:
            decoder = codecs.getincrementaldecoder("utf-8")()
            content = decoder.decode(block.lstrip(_CONTINUATION)).encode("latin-1")
        except UnicodeError as error:
            raise GaneditError(f"{self.name}: broken (numbers stored as text)") from error
        skipped = position - self._starts[first]
        part = content[skipped : skipped + len(buffer)]
        if len(part) != len(buffer):
            raise GaneditError(f"{self.name}: broken (numbers stored as text)")
        buffer[:] = part


class Storage:
    """A run of equal elements that tensors are views of.

    Its bytes may be found after its tensors: old torch files keep them behind the pickle.

    Attributes:
        dtype: Of its elements.
        count: Elements that the file declares.
        byteorder: Of its elements.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        count: int,
        *,
        byteorder: ByteOrder = "little",
        within: "tuple[Storage, int] | None" = None,
    ) -> None:
        """Describe a storage, or a part of another: ``within`` is that one and a first byte.

        Raises:
            Broken: The count is no proper number, or the part reaches beyond the whole.
        """
        if type(count) is not int or not 0 <= count <= _MAX_ELEMENTS:
            raise Broken("a tensor storage without a proper size")
        self.dtype = dtype
        self.count = count
        self.byteorder = byteorder
        self._within = within
        self._window: Window | None = None
        if within is not None and within[1] + self.nbytes > within[0].nbytes:
            raise Broken("a part of a tensor storage reaches beyond the whole")

    @property
    def nbytes(self) -> int:
        """Bytes that the file declares."""
        return self.count * self.dtype.itemsize

    @property
    def window(self) -> Window | None:
        """Where the bytes are, or None before `bind`."""
        if self._within is None:
            return self._window
        whole, start = self._within
        return None if whole.window is None else whole.window.window(start, self.nbytes)

    def bind(self, window: Window) -> "Storage":
        """Say where the bytes are, and return this storage.

        Raises:
            Broken: There are more or fewer than declared.
        """
        if window.length != self.nbytes:
            raise Broken(f"a tensor storage declares {self.nbytes} bytes and has {window.length}")
        self._window = window
        return self

    def as_dtype(self, dtype: torch.dtype) -> "Storage":
        """Return the same bytes as elements of another type.

        Raises:
            Broken: They are no whole number of those.
        """
        count, rest = divmod(self.nbytes, dtype.itemsize)
        if rest:
            raise Broken("a tensor storage of another type than its tensor")
        return Storage(dtype, count, byteorder=self.byteorder, within=(self, 0))

    def part(self, start: int, count: int) -> "Storage":
        """Return ``count`` elements from ``start`` on.

        Raises:
            Broken: There are fewer.
        """
        if type(start) is not int or not 0 <= start <= self.count:
            raise Broken("a part of a tensor storage without a proper start")
        within = (self, start * self.dtype.itemsize)
        return Storage(self.dtype, count, byteorder=self.byteorder, within=within)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that is still in its file; costs nothing until loaded.

    Attributes:
        dtype: Of its elements.
        shape: Size of each dimension.
        stride: Elements from one entry to the next, for each dimension.
        offset: Elements of the storage before the first entry.
        storage: What it is a view of.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage

    def __post_init__(self) -> None:
        """Check that every entry lies in what the storage declares.

        Raises:
            Broken: It does not, or a size is no proper number.
        """
        sizes = (*self.shape, *self.stride, self.offset)
        if any(type(size) is not int or not 0 <= size <= _MAX_ELEMENTS for size in sizes):
            raise Broken("a tensor with negative or improper sizes")
        if len(self.shape) != len(self.stride) or len(self.shape) > MAX_DIMENSIONS:
            raise Broken(f"a tensor of {len(self.shape)} sizes and {len(self.stride)} strides")
        if math.prod(max(size, 1) for size in self.shape) > _MAX_ELEMENTS:
            raise Broken("a tensor of impossible size")
        if self.dtype != self.storage.dtype or self.offset + self._span > self.storage.count:
            raise Broken("a tensor reaches beyond its storage")

    @property
    def numel(self) -> int:
        """Number of its entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes when loaded."""
        return self.numel * self.dtype.itemsize

    @property
    def cost(self) -> int:
        """Bytes that loading it reads or makes, whichever is more."""
        return max(self.numel, self._span) * self.dtype.itemsize

    @property
    def _span(self) -> int:
        """Elements from the first entry to the last, both included."""
        if not self.numel:
            return 0
        steps = zip(self.shape, self.stride, strict=True)
        return sum((size - 1) * stride for size, stride in steps) + 1

    def meta(self) -> Tensor:
        """Return a stand-in of the same shape and type without numbers."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")

    def load(self) -> Tensor:
        """Read it: contiguous on the CPU, in memory of its own and in this machine's byte order.

        Raises:
            GaneditError: The file is incomplete or damaged, or cannot be read.
        """
        return self.load_strided().contiguous()

    def load_strided(self) -> Tensor:
        """Read it as `load` does, but laid out in memory as it was saved.

        The state of an optimiser must stay laid out as the weights are: its fused steps go through
        the memory of both side by side.
        """
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        window = self.storage.window
        assert window is not None  # whoever hands out tensors has found all storages
        content = torch.empty(self._span * self.dtype.itemsize, dtype=torch.uint8)
        window.read_into(self.offset * self.dtype.itemsize, content.numpy().data)
        if self.storage.byteorder != sys.byteorder:
            content = _swapped(content, self.dtype)
        # A bool of another byte than 0 or 1 would confuse torch.
        elements = content.ne(0) if self.dtype == torch.bool else content.view(self.dtype)
        return elements.as_strided(self.shape, self.stride)


def _swapped(content: Tensor, dtype: torch.dtype) -> Tensor:
    """Reverse the bytes of each number; a complex one is two."""
    width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
    return content.view(-1, width).flip(1).reshape(-1)
