"""Pickles read as plain data, without running anything that they name."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ganedit.errors import GaneditError
from ganedit.io.pickle_names import Global, Record, Session, final
from ganedit.io.stored import Flaw, Refused, StoredTensor, flaw_error

__all__ = ["Global", "Record", "Unpickled", "asked_for", "failure", "finished"]

MAX_DEPTH = 128  # of containers within containers; NVlabs' networks need 20
MAX_ENTRIES = 2_000_000  # of all containers; what is met twice counts twice
_PERSISTENCE = "torch_utils.persistence"


@dataclass(frozen=True, eq=False)
class Unpickled:
    """What a pickle holds.

    Attributes:
        value: Plain data, records, stored tensors.
        refused: Names that the file asks for and that are in no table, in order.
        whole_network: The class of a network that was pickled as an object, if one was.
    """

    value: Any
    refused: tuple[str, ...]
    whole_network: str | None


def failure(session: Session, flaw: Flaw) -> GaneditError:
    """Return the one-line error for a file that cannot be read."""
    if session.refused:
        return GaneditError(f"{session.name}: refused, {asked_for(tuple(session.refused))}")
    return flaw_error(session.name, flaw)


def asked_for(refused: tuple[str, ...]) -> str:
    """Return the phrase that names what a file asked for."""
    shown = ", ".join(f"{name:.80}" for name in refused[:3])
    more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
    return f"it asks for {shown}{more}; nothing was run"


def finished(value: Any, session: Session) -> Unpickled:
    """Turn the value of a pickle into plain data, and check that it is safe to walk through.

    Raises:
        Flaw: It is nested too deep, contains itself, or is larger than all of the file.
    """
    finisher = _Finisher(session)
    copy = finisher.copy(value, 0)
    if copy.nbytes > session.tensor_bytes:
        raise Refused(f"its tensors would take {copy.nbytes >> 20} MB, more than the file can hold")
    return Unpickled(copy.value, tuple(session.refused), finisher.whole_network)


@dataclass(frozen=True, eq=False, slots=True)
class _Copy:
    """A value in plain containers, and its measures when written out.

    Attributes:
        value: The copy.
        entries: Of all its containers.
        height: Containers within containers.
        nbytes: What its tensors take when loaded.
    """

    value: Any
    entries: int = 1
    height: int = 0
    nbytes: int = 0


class _Finisher:
    """Copies a value into plain containers, each once, however often it is referred to."""

    def __init__(self, session: Session) -> None:
        self.whole_network: str | None = None
        self._network_depth = MAX_DEPTH
        self._session = session
        self._done: dict[int, _Copy] = {}
        self._open: set[int] = set()

    def copy(self, value: Any, depth: int) -> _Copy:
        if not isinstance(value, (list, tuple, dict, Record)):
            plain = final(self._session, value)
            return _Copy(plain, nbytes=plain.cost if isinstance(plain, StoredTensor) else 0)
        known = self._done.get(id(value))
        if known is None:
            if id(value) in self._open:
                raise Refused("a container that contains itself")
            self._open.add(id(value))
            known = self._done[id(value)] = self._copied(value, depth)
            self._open.remove(id(value))
        return known

    def _copied(self, value: Any, depth: int) -> _Copy:
        parts = _parts(value)
        copies = []
        entries, height, nbytes = 1, 0, 0
        for part in parts:
            # What was copied before has a height of its own, though it is met less deep here.
            copy = None if depth == MAX_DEPTH else self.copy(part, depth + 1)
            if copy is None or copy.height == MAX_DEPTH:
                raise Refused(f"containers nested more than {MAX_DEPTH} deep")
            copies.append(copy.value)
            entries += copy.entries
            height = max(height, copy.height + 1)
            nbytes += copy.nbytes
        if entries > MAX_ENTRIES:
            raise Refused(f"a value of more than {MAX_ENTRIES} entries")
        return _Copy(self._rebuilt(value, copies, depth), entries, height, nbytes)

    def _rebuilt(self, value: Any, copies: list[Any], depth: int) -> Any:
        if isinstance(value, dict):
            return dict(zip(value, copies, strict=True))
        if isinstance(value, tuple):
            return tuple(copies)
        if isinstance(value, list):
            return copies
        kind, state = value.kind, copies[1]
        is_network = isinstance(state, dict) and {"_parameters", "_modules"} <= state.keys()
        if is_network and kind.module != _PERSISTENCE and depth < self._network_depth:
            self.whole_network, self._network_depth = str(kind), depth
        return Record(kind, copies[0], state)


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return (value.args, value.state) if isinstance(value, Record) else value
