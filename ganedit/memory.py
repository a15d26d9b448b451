"""The machine's memory; apart from runtime.py so that ``--help`` need not import torch."""

import contextlib
import ctypes
import re
from pathlib import Path


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
    """Return the bytes that programs on this machine can still have; None where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else None
