"""Torch files, old and new, and bare pickles: opened as data, without running anything in them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ganedit.errors import GaneditError
from ganedit.io.files import write_atomic
from ganedit.io.kinds import kind_of
from ganedit.io.pickle_machine import Persistent, run_pickle
from ganedit.io.pickle_names import Global, Record, Session, storage_dtype
from ganedit.io.safe_pickle import Unpickled, asked_for, failure, finished
from ganedit.io.stored import (
    Broken,
    ByteOrder,
    Flaw,
    Refused,
    Storage,
    StoredTensor,
    Window,
    open_window,
    shown,
)
from ganedit.io.zip_files import read_archive

Container = Literal["torch-zip", "torch-legacy", "pickle"]

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = _MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001
_START = 1 << 12

# The first operations of pickles in protocols 0 and 1, which have no header: a container, a call
# or an instance, and what its first entry may be. Text files do not begin so.
_OLD_PICKLE = re.compile(
    rb"\((dp?\d*\n|lp?\d*\n|[dlt][.pq]|i\w[\w.]*\n|c\w[\w.]*\n|[IFL][-+\d.]+L?\n|[SV]['\"\w]|[XKJMG}\]()])"
    rb"|c\w[\w.]*\n\w[\w.]*\n|[\]}][.q(a0]|[IFL][-+\d.]+(e[-+]?\d+)?L?\n\.|[SV].*\np\d+\n|N\.|\)\."
)

_WANTED = "not a network or tensor file (.pkl of NVlabs, .pt of torch)"


@dataclass(frozen=True, eq=False)
class Pickled:
    """What a pickle or torch file holds, as data.

    Attributes:
        path: The file.
        container: How it is packed.
        value: Plain data, records and stored tensors.
        refused: Names that the file asks for and that nothing here stands for, in order.
        whole_network: The class of a network that was pickled as an object, if one was.
    """

    path: Path
    container: Container
    value: Any
    refused: tuple[str, ...] = ()
    whole_network: str | None = None

    def trusted(self) -> Any:
        """Return the value, if the file asks for nothing that was refused.

        Raises:
            GaneditError: It does; the line names what.
        """
        if self.whole_network and (self.refused or isinstance(self.value, Record)):
            raise GaneditError(
                f"{self.path}: refused, it pickles a whole network object ({self.whole_network});"
                " re-save it in its own project with torch.save(network.state_dict(), FILE)"
            )
        if self.refused:
            raise GaneditError(f"{self.path}: refused, {asked_for(self.refused)}")
        return self.value


def open_pickled(path: Path | str) -> Pickled:
    """Open a pickle or torch file, told by its content; no code in it is run, no weight is read.

    Raises:
        GaneditError: It is missing, something else, broken, incomplete, or asks for too much.
    """
    path = Path(path)
    window = open_window(path)
    start = window.read(0, min(_START, window.length))
    container = pickled_container(start)
    if container is None:
        raise GaneditError(f"{path}: {_WANTED}: {kind_of(start)}")
    session = Session(name=str(path), size=window.length, read_stream=_read_nested)
    try:
        unpickled = _READERS[container](window, session)
    except Flaw as flaw:
        raise failure(session, flaw) from flaw
    return Pickled(path, container, unpickled.value, unpickled.refused, unpickled.whole_network)


def pickled_container(start: bytes) -> Container | None:
    """Return how a file is packed that begins with ``start``, 64 bytes or more; None: otherwise."""
    if start.startswith(b"PK\3\4"):
        return "torch-zip"
    if _MAGIC_BYTES in start[:32]:
        return "torch-legacy"
    if start[:1] == b"\x80" and start[1:2] <= b"\5":
        return "pickle"
    return "pickle" if _OLD_PICKLE.match(start) else None


def load_tensors(value: Any) -> Any:
    """Return plain data with every stored tensor in it read, laid out in memory as it was saved.

    Raises:
        GaneditError: A tensor is incomplete or damaged.
    """
    if isinstance(value, StoredTensor):
        return value.load_strided()
    if isinstance(value, dict):
        return {key: load_tensors(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(load_tensors(entry) for entry in value)
    return value


# The containers


def _read_bare(window: Window, session: Session) -> Unpickled:
    value, _ = run_pickle(window, 0, session)
    return finished(value, session)


def _read_zip(window: Window, session: Session) -> Unpickled:
    members = read_archive(window)
    pickles = [name for name in members if re.fullmatch(r"[^/]*/data\.pkl", name)]
    if len(pickles) != 1:
        raise GaneditError(f"{session.name}: {_WANTED}: {_described_archive(members)}")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members or any(n.startswith(f"{root}code/") for n in members):
        raise GaneditError(
            f"{session.name}: a TorchScript program, which is never run;"
            " save torch.jit.load(FILE).state_dict() with torch.save"
        )
    order = _byteorder(members.get(f"{root}byteorder"))
    storages: dict[str, Storage] = {}

    def persistent(_session: Session, value: Any) -> Storage:
        dtype, key, count, _ = _storage_reference(value)
        if key not in storages:
            if f"{root}data/{key}" not in members:
                raise Broken(f"tensor storage {shown(key)} is missing")
            member = members[f"{root}data/{key}"]
            storages[key] = Storage(dtype, count, byteorder=order).bind(member)
        return storages[key] if storages[key].dtype == dtype else storages[key].as_dtype(dtype)

    value, _ = run_pickle(members[pickles[0]], 0, session, persistent)
    return finished(value, session)


def _described_archive(names: Collection[str]) -> str:
    if any(name.endswith(".npy") for name in names):
        return "a numpy archive (.npz)"
    if any(name.lower().endswith((".png", ".jpg", ".jpeg", ".webp")) for name in names):
        return "a zip archive of pictures"
    return "a zip archive, but not one of torch"


def _byteorder(member: Window | None) -> ByteOrder:
    text = b"little" if member is None else member.read(0, min(member.length, 16))
    if text not in (b"little", b"big"):
        raise Broken("an unknown byte order")
    return "little" if text == b"little" else "big"


def _storage_reference(value: Any) -> tuple[torch.dtype, str, int, Any]:
    """Return element type, key, element count and view of a persistent id."""
    if not isinstance(value, tuple) or len(value) not in (5, 6) or value[0] != "storage":
        raise Refused("a reference to something that is no tensor storage")
    _, kind, key, _, count, *view = value
    if not isinstance(key, str) or type(count) is not int:
        raise Broken("a tensor storage without key or size")
    return storage_dtype(kind), key, count, view[0] if view else None


def _read_legacy(window: Window, session: Session) -> Unpickled:
    value, _ = _read_stream(window, session)
    return finished(value, session)


def _read_nested(window: Window, session: Session) -> Any:
    value, _ = _read_stream(window, session)
    return value


def _read_stream(window: Window, session: Session) -> tuple[Any, int]:
    """Read torch's format before zip: five pickles, then the storages one after the other."""
    magic, position = run_pickle(window, 0, session)
    version, position = run_pickle(window, position, session)
    system, position = run_pickle(window, position, session)
    if magic != _MAGIC or version != _PROTOCOL or not isinstance(system, dict):
        raise Broken("it is no torch file, or one of an unknown version")
    order: ByteOrder = "little" if system.get("little_endian", True) else "big"
    storages: dict[str, Storage] = {}
    value, position = run_pickle(window, position, session, _legacy_storages(storages, order))
    keys, position = run_pickle(window, position, session)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Broken("a torch file without its list of storages")
    if len(keys) != len(storages) or set(keys) != storages.keys():
        raise Broken("a torch file whose list of storages does not fit its tensors")
    for key in keys:
        position = _bind(storages[key], window, position, order)
    return value, position


def _legacy_storages(storages: dict[str, Storage], order: ByteOrder) -> Persistent:
    def persistent(_session: Session, value: Any) -> Any:
        if isinstance(value, tuple) and value and value[0] == "module":
            return _module(value)
        dtype, key, count, view = _storage_reference(value)
        storage = storages.setdefault(key, Storage(dtype, count, byteorder=order))
        if storage.dtype != dtype or storage.count != count:
            raise Broken("two tensor storages of one name")
        if view is None:
            return storage
        if not isinstance(view, tuple) or len(view) != 3:
            raise Broken("a view of a tensor storage without a size")
        return storage.part(view[1], view[2])

    return persistent


def _module(value: tuple[Any, ...]) -> Global:
    """Return the class that old files keep together with its source, which is left unread."""
    if len(value) < 2 or not isinstance(value[1], Global):
        raise Broken("a class without a name")
    return value[1]


def _bind(storage: Storage, window: Window, position: int, order: ByteOrder) -> int:
    if window.length - position < 8:
        raise Broken("it ends inside a tensor")
    count = int.from_bytes(window.read(position, 8), order, signed=True)
    if count != storage.count:
        raise Broken(f"a tensor storage declares {storage.count} elements and has {count}")
    position += 8
    if window.length - position < storage.nbytes:
        raise Broken("it ends inside a tensor")
    storage.bind(window.window(position, storage.nbytes))
    return position + storage.nbytes


_READERS = {"torch-zip": _read_zip, "torch-legacy": _read_legacy, "pickle": _read_bare}


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values as a torch file, atomically, without a copy in memory.

    Raises:
        GaneditError: The system refused: no space, no permission, a folder of that name, ...
    """

    def write(partial: Path) -> None:
        try:
            torch.save(content, partial)
        except RuntimeError as error:  # so torch's writer tells of a disk that fills
            raise GaneditError(
                f"{path}: could not be written whole; is the disk full? Make room, then try again"
            ) from error

    write_atomic(path, write)
