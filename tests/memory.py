"""The most memory that this process has held."""

import re
import resource
import sys
from pathlib import Path


def peak_kilobytes() -> int:
    """Return the peak of this process alone; ru_maxrss also counts what its parent held."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # macOS counts bytes
