"""A machine for the operations of a pickle, which never runs anything that a file names.

It knows every operation of protocols 0 to 5. What a file names is looked up in the tables of
`pickle_names` and nowhere else. Long byte strings stay in the file, as windows.
"""

import re
import struct
from collections.abc import Callable
from typing import Any

from ganedit.io import pickle_names as names
from ganedit.io.pickle_names import Global, LongText, Record, Session
from ganedit.io.stored import Broken, Refused, Window

_MAX_MARKS = 1000
_LONG_BYTES = 2**12
_LONG_TEXT = 2**16
_MAX_LINE = 2**24
_MAX_INTEGER = 1024  # bytes
_MAX_DIGITS = 2000
_MAX_MEMO_INDEX = 2**32

Persistent = Callable[[Session, Any], Any]


def run_pickle(
    window: Window, start: int, session: Session, persistent: Persistent | None = None
) -> tuple[Any, int]:
    """Interpret one pickle; return its value, which may be half made, and where it ends.

    Raises:
        Flaw: It is broken or incomplete, or asks for too much.
    """
    machine = _Machine(_Cursor(window, start), session, persistent)
    value = machine.run()
    return value, machine.cursor.position


class _Cursor:
    """Reads a window from front to back, in growing blocks."""

    def __init__(self, window: Window, start: int) -> None:
        self._window = window
        self._buffer = b""
        self._index = 0
        self._next = start  # where the block after the buffer begins
        self._block = 512

    @property
    def position(self) -> int:
        return self._next - len(self._buffer) + self._index

    def byte(self) -> int:
        if self._index == len(self._buffer):
            self._fill(1)
        self._index += 1
        return self._buffer[self._index - 1]

    def take(self, count: int) -> bytes:
        if self._index + count > len(self._buffer):
            self._fill(count)
        self._index += count
        return self._buffer[self._index - count : self._index]

    def span(self, count: int) -> Window:
        """Return the next bytes unread."""
        start = self.position
        self._need(start, count)
        if self._index + count <= len(self._buffer):
            self._index += count
        else:
            self._buffer, self._index, self._next = b"", 0, start + count
        return self._window.window(start, count)

    def line(self) -> bytes:
        """Return the bytes up to the next line feed, which is passed."""
        end = self._buffer.find(b"\n", self._index)
        while end < 0:
            kept = len(self._buffer) - self._index
            if kept > _MAX_LINE:
                raise Refused(f"a line of more than {_MAX_LINE // 2**20} MB")
            self._need(self.position, kept + 1)
            self._fill(min(2 * kept + 1, self._window.length - self.position))
            end = self._buffer.find(b"\n", kept)
        line = self._buffer[self._index : end]
        self._index = end + 1
        return line

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def _need(self, start: int, count: int) -> None:
        if start + count > self._window.length:
            raise Broken("it ends too early")

    def _fill(self, count: int) -> None:
        """Have at least ``count`` bytes in the buffer."""
        start = self.position
        self._need(start, count)
        size = min(max(count, self._block), self._window.length - start)
        self._buffer = self._window.read(start, size)
        self._index, self._next = 0, start + size
        self._block = min(2 * self._block, 2**16)


class _Machine:
    """The stack and memo of one pickle."""

    def __init__(self, cursor: _Cursor, session: Session, persistent: Persistent | None) -> None:
        self.cursor = cursor
        self.session = session
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        # By the bytes of the index: their hashes are random, those of integers a file could choose
        # so that all of them meet.
        self.memo: dict[bytes, Any] = {}

    def run(self) -> Any:
        table, byte, spend = _OPERATIONS, self.cursor.byte, self.session.spend_operations
        while True:
            code = byte()
            if code == _STOP:
                return self.pop()
            operation = table.get(code)
            if operation is None:
                raise Broken(f"no pickle has the operation {code:#04x}")
            spend(1)
            operation(self)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise Broken("a pickle takes more than it has")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise Broken("a pickle takes more than it has")
        return self.stack[-1]

    def mark(self) -> None:
        if len(self.marks) == _MAX_MARKS:
            raise Refused(f"more than {_MAX_MARKS} open marks")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise Broken("a pickle without a mark")
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def keep_text(self, text: str) -> None:
        self.session.spend_text(4 * len(text))
        self.stack.append(text)


# Numbers and constants


def _constant(value: Any) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.push(value)

    return operation


def _packed(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.push(machine.cursor.number(form))

    return operation


def _decimal(line: bytes) -> int:
    if not re.fullmatch(rb"[+-]?\d{1,%d}L?" % _MAX_DIGITS, line):
        raise Broken("a number without proper digits")
    return int(line.rstrip(b"L"))


def _int(machine: _Machine) -> None:
    line = machine.cursor.line()
    machine.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _decimal(line))


def _long(machine: _Machine) -> None:
    machine.push(_decimal(machine.cursor.line()))


def _float(machine: _Machine) -> None:
    line = machine.cursor.line()
    if not re.fullmatch(rb"[+-]?(\d{0,30}\.?\d{0,30}(e[+-]?\d{1,5})?|inf|nan)", line):
        raise Broken("a number without proper digits")
    try:
        machine.push(float(line))
    except ValueError as error:
        raise Broken("a number without proper digits") from error


def _long_bytes(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        count = machine.cursor.number(form)
        if not 0 <= count <= _MAX_INTEGER:
            raise Refused(f"an integer of {count} bytes")
        machine.push(int.from_bytes(machine.cursor.take(count), "little", signed=True))

    return operation


# Text and bytes


def _text(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        count = machine.cursor.number(form)
        if count > _LONG_TEXT:
            machine.push(LongText(machine.cursor.span(count)))
        else:
            machine.keep_text(machine.cursor.take(count).decode("utf-8", "replace"))

    return operation


def _bytes(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        count = machine.cursor.number(form)
        if count > _LONG_BYTES:
            machine.push(machine.cursor.span(count))
        else:
            machine.session.spend_text(count)
            machine.push(machine.cursor.take(count))

    return operation


def _old_text(form: str) -> Callable[[_Machine], None]:
    """Python 2's strings, which are text or bytes: text, as long as nobody asks for bytes."""

    def operation(machine: _Machine) -> None:
        count = machine.cursor.number(form)
        if count > _LONG_TEXT:
            machine.push(machine.cursor.span(count))
        elif count < 0:
            raise Broken("text of negative length")
        else:
            machine.keep_text(machine.cursor.take(count).decode("latin-1"))

    return operation


def _text_line(machine: _Machine) -> None:
    line = machine.cursor.line()
    try:
        text = line.decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise Broken("text with a wrong escape") from error
    machine.keep_text(text.encode("utf-8", "replace").decode())


_ESCAPES = {b"n": "\n", b"r": "\r", b"t": "\t", b"\\": "\\", b"'": "'", b'"': '"'}
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[nrt\\'\"])")


def _quoted_line(machine: _Machine) -> None:
    line = machine.cursor.line().strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise Broken("text without quotes")

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return _ESCAPES[code].encode() if code in _ESCAPES else bytes([int(code[1:], 16)])

    machine.keep_text(_ESCAPE.sub(plain, line[1:-1]).decode("latin-1"))


# Containers


def _empty(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.push(make())

    return operation


def _collected(make: Callable[[list[Any]], Any]) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.push(make(machine.since_mark()))

    return operation


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(items)))

    return operation


def _append(machine: _Machine) -> None:
    item = machine.pop()
    _extend(machine, [item])


def _appends(machine: _Machine) -> None:
    _extend(machine, machine.since_mark())


def _extend(machine: _Machine, items: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Record):  # the items of a refused list are not kept
        raise Broken("an entry for something that is no list")


def _set_item(machine: _Machine) -> None:
    value = machine.pop()
    _update(machine, [machine.pop(), value])


def _set_items(machine: _Machine) -> None:
    _update(machine, machine.since_mark())


def _update(machine: _Machine, items: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, Record):  # the items of a refused dict are not kept
        return
    if not isinstance(target, dict) or len(items) % 2:
        raise Broken("an entry for something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[machine.session.key(key)] = value


def _dict(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.push({})
    _update(machine, items)


def _add_items(machine: _Machine) -> None:
    items = machine.since_mark()
    target = machine.top()
    if not isinstance(target, set):
        raise Broken("an entry for something that is no set")
    target.update(machine.session.key(item) for item in items)


def _frozenset(machine: _Machine) -> None:
    machine.push(frozenset(machine.session.key(item) for item in machine.since_mark()))


# The stack and the memo


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.since_mark()


def _duplicate(machine: _Machine) -> None:
    machine.push(machine.top())


def _memoize(machine: _Machine) -> None:
    machine.memo[_memo_key(len(machine.memo))] = machine.top()


def _memo_key(index: int) -> bytes:
    if not 0 <= index < _MAX_MEMO_INDEX:
        raise Refused("a memo index that no pickle has")
    return index.to_bytes(4, "little")


def _index_line(machine: _Machine) -> int:
    return _decimal(machine.cursor.line())


def _put(index: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        machine.memo[_memo_key(index(machine))] = machine.top()

    return operation


def _get(index: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        key = _memo_key(index(machine))
        if key not in machine.memo:
            raise Broken("a pickle refers to a value that it never had")
        machine.push(machine.memo[key])

    return operation


def _index(form: str) -> Callable[[_Machine], int]:
    def index(machine: _Machine) -> int:
        number: int = machine.cursor.number(form)
        return number

    return index


# Names, calls and instances


def _name_line(machine: _Machine) -> str:
    return machine.cursor.line().decode("utf-8", "replace")


def _global(machine: _Machine) -> None:
    module = _name_line(machine)
    machine.push(names.look_up(machine.session, module, _name_line(machine)))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise Broken("a name that is no text")
    machine.push(names.look_up(machine.session, module, name))


def _extension(form: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        code = machine.cursor.number(form)
        raise Refused(f"an extension code, {code}, which stands for an unknown name")

    return operation


def _call(machine: _Machine) -> None:
    arguments = machine.pop()
    machine.push(names.call(machine.session, machine.pop(), arguments))


def _new_with_keywords(machine: _Machine) -> None:
    keywords = machine.pop()
    if not isinstance(keywords, dict):
        raise Broken("keywords that are no dict")
    if not keywords:
        return _call(machine)
    arguments, kind = machine.pop(), machine.pop()
    if not isinstance(kind, Global):
        raise Broken("an instance of something that is no name")
    machine.session.refuse(f"{kind} with keywords")
    return machine.push(Record(kind, (arguments, keywords)))


def _instance(machine: _Machine) -> None:
    module = _name_line(machine)
    kind = names.look_up(machine.session, module, _name_line(machine))
    machine.push(names.call(machine.session, kind, tuple(machine.since_mark())))


def _object(machine: _Machine) -> None:
    items = machine.since_mark()
    if not items:
        raise Broken("an instance without a class")
    machine.push(names.call(machine.session, items[0], tuple(items[1:])))


def _build(machine: _Machine) -> None:
    state = machine.pop()
    names.fill(machine.session, machine.top(), state)


def _persistent_id(machine: _Machine) -> None:
    _persist(machine, machine.pop())


def _persistent_line(machine: _Machine) -> None:
    _persist(machine, machine.cursor.line().decode("utf-8", "replace"))


def _persist(machine: _Machine, value: Any) -> None:
    if machine.persistent is None:
        raise Refused("a reference to something outside of the file")
    machine.push(machine.persistent(machine.session, value))


def _protocol(machine: _Machine) -> None:
    version = machine.cursor.byte()
    if version > 5:
        raise Broken(f"pickle protocol {version} is unknown")


def _frame(machine: _Machine) -> None:
    machine.cursor.number("<Q")  # a hint for readers that read ahead


def _outside_buffer(_machine: _Machine) -> None:
    raise Refused("a buffer outside of the file")


def _read_only(_machine: _Machine) -> None:
    pass  # everything is


_STOP = ord(".")
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord("0"): _pop,
    ord("1"): lambda machine: (machine.since_mark(), None)[1],
    ord("2"): _duplicate,
    ord("F"): _float,
    ord("I"): _int,
    ord("J"): _packed("<i"),
    ord("K"): _packed("<B"),
    ord("L"): _long,
    ord("M"): _packed("<H"),
    ord("N"): _constant(None),
    ord("P"): _persistent_line,
    ord("Q"): _persistent_id,
    ord("R"): _call,
    ord("S"): _quoted_line,
    ord("T"): _old_text("<i"),
    ord("U"): _old_text("<B"),
    ord("V"): _text_line,
    ord("X"): _text("<I"),
    ord("a"): _append,
    ord("b"): _build,
    ord("c"): _global,
    ord("d"): _dict,
    ord("}"): _empty(dict),
    ord("e"): _appends,
    ord("g"): _get(_index_line),
    ord("h"): _get(_index("<B")),
    ord("i"): _instance,
    ord("j"): _get(_index("<I")),
    ord("l"): _collected(list),
    ord("]"): _empty(list),
    ord("o"): _object,
    ord("p"): _put(_index_line),
    ord("q"): _put(_index("<B")),
    ord("r"): _put(_index("<I")),
    ord("s"): _set_item,
    ord("t"): _collected(tuple),
    ord(")"): _constant(()),
    ord("u"): _set_items,
    ord("G"): _packed(">d"),
    0x80: _protocol,
    0x81: _call,
    0x82: _extension("<B"),
    0x83: _extension("<H"),
    0x84: _extension("<i"),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    0x88: _constant(True),
    0x89: _constant(False),
    0x8A: _long_bytes("<B"),
    0x8B: _long_bytes("<i"),
    ord("B"): _bytes("<I"),
    ord("C"): _bytes("<B"),
    0x8C: _text("<B"),
    0x8D: _text("<Q"),
    0x8E: _bytes("<Q"),
    0x8F: _empty(set),
    0x90: _add_items,
    0x91: _frozenset,
    0x92: _new_with_keywords,
    0x93: _stack_global,
    0x94: _memoize,
    0x95: _frame,
    0x96: _bytes("<Q"),
    0x97: _outside_buffer,
    0x98: _read_only,
}
