"""Zip archives, read defensively: every member is checked before any is read.

Members that are stored as they are become windows onto the file itself. Our own reader, because
Python's takes whatever the table of contents says: a member twice, members within members, and as
much memory as it declares.
"""

import struct
import zlib
from dataclasses import dataclass

from ganedit.errors import GaneditError
from ganedit.io.stored import Broken, Refused, Window, shown

MAX_MEMBERS = 2**16
_MAX_NAME = 2**10
_UNPACKED_SLACK = 2**26

_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = 0, 8
_BLOCK = 2**20


@dataclass(frozen=True)
class _Entry:
    """A line of the table of contents."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int  # where the member's own header begins


def read_archive(window: Window) -> dict[str, Window]:
    """Return the members of a zip archive, by name.

    The checksum of a member is compared when it is first read; one of 0 counts as not there, as
    torch writes it when told not to compute any. Compressed members may unpack to twice the
    archive's size and 64 MB, all together.

    Raises:
        Broken: The archive is broken or incomplete.
        Refused: It is larger unpacked, encrypted, or has overlapping or too many members.
        GaneditError: It cannot be read.
    """
    start, size, count = _table_of_contents(window)
    entries = _entries(window.read(start, size), count)
    if len({entry.name for entry in entries}) < len(entries):
        raise Refused("a zip archive with two members of one name")
    unpacked = sum(entry.size for entry in entries if entry.method == _DEFLATED)
    if unpacked > 2 * window.length + _UNPACKED_SLACK:
        raise Refused(f"a zip archive that unpacks to {unpacked // 2**20} MB")
    members = {}
    free = 0
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < free:
            raise Refused("a zip archive with overlapping members")
        data = _data_start(window, entry)
        free = data + entry.packed
        if free > start:
            raise Broken(f"{shown(entry.name)} reaches beyond the archive")
        members[entry.name] = _member(window.window(data, entry.packed), entry)
    return members


def _table_of_contents(window: Window) -> tuple[int, int, int]:
    """Return where the table begins, its bytes, and how many members it lists."""
    tail = min(window.length, _END.size + 2**16)
    end = window.read(window.length - tail, tail)
    found = end.rfind(b"PK\5\6")
    if found < 0 or len(end) - found < _END.size:
        raise Broken("the end of the zip archive is missing")
    position = window.length - tail + found
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(end, found)
    locator = position - _LOCATOR_64.size
    if locator >= 0 and window.read(locator, 4) == b"PK\6\7":
        _, _, record, _ = _LOCATOR_64.unpack(window.read(locator, _LOCATOR_64.size))
        if record + _END_64.size > locator or window.read(record, 4) != b"PK\6\6":
            raise Broken("the end of the zip archive is damaged")
        fields = _END_64.unpack(window.read(record, _END_64.size))
        disk, first_disk, here, count, size, start = fields[4:]
        position = record
    if disk or first_disk or here != count:
        raise Refused("a zip archive in several parts")
    if count > MAX_MEMBERS:
        raise Refused(f"a zip archive of {count} members")
    if start + size > position or size < count * _ENTRY.size:
        raise Broken("the zip archive is incomplete")
    return start, size, count


def _entries(table: bytes, count: int) -> list[_Entry]:
    entries = []
    position = 0
    for _ in range(count):
        if len(table) - position < _ENTRY.size:
            raise Broken("the zip archive's table of contents is incomplete")
        fields = _ENTRY.unpack_from(table, position)
        names_at = position + _ENTRY.size
        name_length, extra_length, comment_length = fields[10:13]
        position = names_at + name_length + extra_length + comment_length
        if fields[0] != b"PK\1\2" or position > len(table) or name_length > _MAX_NAME:
            raise Broken("the zip archive's table of contents is damaged")
        extra = table[names_at + name_length : names_at + name_length + extra_length]
        # In this order they may be too large for 32 bits, and then follow in the extra field.
        size, packed, header = _wide((fields[9], fields[8], fields[16]), extra)
        name = table[names_at : names_at + name_length].decode("utf-8", "replace")
        entry = _Entry(name, fields[3], fields[4], fields[7], packed, size, header)
        _check(entry)
        entries.append(entry)
    return entries


def _wide(sizes: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Return the sizes, those that are all ones replaced from the zip64 extra field."""
    missing = sizes.count(0xFFFFFFFF)
    if not missing:
        return sizes
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1 and 8 * missing <= length <= len(extra) - position:
            wide = iter(struct.unpack_from(f"<{missing}Q", extra, position))
            first, second, third = (next(wide) if n == 0xFFFFFFFF else n for n in sizes)
            return first, second, third
        position += length
    raise Broken("the zip archive's table of contents lacks a size")


def _check(entry: _Entry) -> None:
    if entry.flags & 0x2041:  # encrypted, strongly encrypted, names encrypted
        raise Refused("an encrypted zip archive")
    if entry.method not in (_STORED, _DEFLATED):
        raise Refused(f"a zip archive with compression method {entry.method}")
    if entry.method == _STORED and entry.packed != entry.size:
        raise Broken(f"{shown(entry.name)} has two sizes")


def _data_start(window: Window, entry: _Entry) -> int:
    """Return where a member's bytes begin, from the header in front of them."""
    names_at = entry.header + _LOCAL.size
    if names_at > window.length:
        raise Broken(f"{shown(entry.name)} lies beyond the archive")
    fields = _LOCAL.unpack(window.read(entry.header, _LOCAL.size))
    name_length, extra_length = fields[9:]
    start: int = names_at + name_length + extra_length
    if fields[0] != b"PK\3\4" or start > window.length or fields[3] != entry.method:
        raise Broken(f"the header of {shown(entry.name)} is damaged")
    name = window.read(names_at, name_length).decode("utf-8", "replace")
    if name != entry.name or fields[2] & 0x2041:
        raise Broken(f"the header of {shown(entry.name)} names another member")
    return start


def _member(packed: Window, entry: _Entry) -> Window:
    kind = _Stored if entry.method == _STORED else _Deflated
    return Window(kind(packed, entry), 0, entry.size)


class _Stored:
    """The bytes of a member that is not compressed."""

    def __init__(self, packed: Window, entry: _Entry) -> None:
        self.name = packed.name
        self._packed = packed
        self._entry = entry
        self._verified = entry.crc == 0

    def read_into(self, position: int, buffer: memoryview) -> None:
        self._packed.read_into(position, buffer)
        if not self._verified:
            whole = len(buffer) == self._packed.length
            _compare(self._entry, zlib.crc32(buffer) if whole else self._checksum(), self.name)
            self._verified = True

    def _checksum(self) -> int:
        checksum = 0
        for start in range(0, self._packed.length, _BLOCK):
            count = min(_BLOCK, self._packed.length - start)
            checksum = zlib.crc32(self._packed.read(start, count), checksum)
        return checksum


class _Deflated:
    """The bytes of a compressed member, unpacked when first read and kept."""

    def __init__(self, packed: Window, entry: _Entry) -> None:
        self.name = packed.name
        self._packed = packed
        self._entry = entry
        self._content: bytes | None = None

    def read_into(self, position: int, buffer: memoryview) -> None:
        if self._content is None:
            self._content = self._unpacked()
        buffer[:] = memoryview(self._content)[position : position + len(buffer)]

    def _unpacked(self) -> bytes:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = unpacker.decompress(
                self._packed.read(0, self._packed.length), self._entry.size
            )
        except zlib.error as error:
            raise GaneditError(f"{self.name}: broken or incomplete (zip compression)") from error
        if len(content) != self._entry.size:
            raise GaneditError(f"{self.name}: broken or incomplete ({shown(self._entry.name)})")
        if self._entry.crc:
            _compare(self._entry, zlib.crc32(content), self.name)
        return content


def _compare(entry: _Entry, checksum: int, name: str) -> None:
    if checksum != entry.crc:
        raise GaneditError(
            f"{name}: broken, {shown(entry.name)} fails its checksum; fetch it again"
        )
