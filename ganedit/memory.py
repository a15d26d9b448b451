"""The machine's memory; apart from runtime.py so that ``--help`` need not import torch."""

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROCESSES = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
# Of a control group: its limit, what it holds, and what of that is files cached and not in use.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")

# How torch says on each device that memory ran out; not all of it is torch.OutOfMemoryError.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def keep_memory() -> None:
    """Let the C library keep freed memory instead of returning it to the system.

    glibc hands back every large block, and the page faults of the next one cost more than the
    arithmetic of an elementwise operation: keeping them makes CPU work up to twice as fast. Does
    nothing where the C library is another. For programs (the CLI calls it), not for libraries.
    """
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_top_pad, 2**27)


def available_memory() -> int | None:
    """Return the bytes that this process can still have; None where the system does not say.

    That is the least of what the machine has left and of what the process's control groups leave
    it: containers and the schedulers of clusters set their limits there.
    """
    return min((*_free_of_machine(), *_free_of_groups()), default=None)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of the processor or of an accelerator."""
    if isinstance(error, MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in _NO_MEMORY)


def _free_of_machine() -> Iterator[int]:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _read(_PROCESSES / "meminfo"), re.M)
    if found:
        yield int(found[1]) * 1024


def _free_of_groups() -> Iterator[int]:
    """Yield what the limit of each control group around this process leaves.

    Lines of /proc/self/cgroup are "number:controllers:path"; version 2 has one hierarchy, without
    number and controllers. A group's limit holds for all inside it. In a container, the path may be
    the host's, and the container's own group is the top of what can be seen.
    """
    groups = _read(_PROCESSES / "self" / "cgroup")
    for controllers, path in re.findall(r"^\d+:([^:]*):(.*)$", groups, re.M):
        if not controllers:
            top, version = _GROUPS, _VERSION_2
        elif "memory" in controllers.split(","):
            top, version = _GROUPS / "memory", _VERSION_1
        else:
            continue
        group = PurePosixPath(path.strip("/"))
        for around in (group, *group.parents):
            yield from _free_of_group(top / around, *version)


def _free_of_group(group: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    most, now = _read(group / limit).strip(), _read(group / used).strip()
    if most.isdecimal() and now.isdecimal():  # no limit is the word "max"
        cache = re.search(rf"^{reclaimable} (\d+)$", _read(group / "memory.stat"), re.M)
        yield max(0, int(most) - int(now) + (int(cache[1]) if cache else 0))


def _read(path: Path) -> str:
    """Return the text of a file of the system, empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
