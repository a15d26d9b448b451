"""How progress leaves the library."""

from collections.abc import Callable, Mapping
from typing import Any

OnStep = Callable[[int, int, Mapping[str, Any]], None]
"""Called as ``on_step(step, total, values)``: steps done so far, steps in all, figures to show."""
