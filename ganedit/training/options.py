"""What the options of every training have in common: ranges, flags, and what makes two runs one."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ganedit.errors import GaneditError

Range = tuple[str, float, float]
"""A field, its smallest and its largest value, both allowed."""


def flag_of(name: str, renamed: Mapping[str, str]) -> str:
    """Return the command line's flag of a field: ``renamed``'s, or the field's name with dashes."""
    return renamed.get(name, "--" + name.replace("_", "-"))


def check_ranges(config: Any, ranges: Iterable[Range], renamed: Mapping[str, str]) -> None:
    """Check the numbers of a dataclass; None, for a default, is always good.

    Raises:
        GaneditError: One is out of its range or not finite; the message names the flag.
    """
    for name, low, high in ranges:
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise GaneditError(f"{flag_of(name, renamed)} must be {low:g} to {high:g}, got {value}")


def recipe_of(config: Any, *, without: Collection[str]) -> dict[str, Any]:
    """Return the fields of a dataclass that decide what a step computes, JSON-able.

    Args:
        config: The dataclass.
        without: Fields that do not: paths, devices, how often something is saved.
    """
    fields = dataclasses.asdict(config).items()
    kept = {name: value for name, value in fields if name not in without}
    return {n: list(value) if isinstance(value, tuple) else value for n, value in kept.items()}


def recipe_changes(
    now: Mapping[str, Any], then: Mapping[str, Any], renamed: Mapping[str, str]
) -> list[str]:
    """Return what of a recipe trains differently than another did, a phrase a flag."""
    return [
        f"{flag_of(name, renamed)} {then.get(name)!r} is now {value!r}"
        for name, value in now.items()
        if then.get(name) != value
    ]
