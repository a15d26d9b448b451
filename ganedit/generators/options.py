"""Checks of the networks' constructor arguments, which the files of strangers reach.

Each raises a ValueError that names the argument, what was wanted and what was got.
"""

import math
from collections.abc import Mapping
from typing import Any

LONGEST_FILTER = 64  # taps along an axis


def check_whole(
    config: Mapping[str, Any], smallest: Mapping[str, int], *, optional: bool = False
) -> None:
    """Check that arguments are whole numbers, each at least its smallest; or None if optional."""
    for name, least in smallest.items():
        value = config[name]
        if value is None and optional:
            continue
        if type(value) is not int or value < least:
            _refuse(name, f"a whole number from {least}{' or None' * optional}", value)


def check_positive(config: Mapping[str, Any], *names: str, optional: bool = False) -> None:
    """Check that arguments are positive numbers; or None if optional."""
    for name in names:
        value = config[name]
        if not (optional and value is None) and not (_is_number(value) and value > 0):
            _refuse(name, f"a positive number{' or None' * optional}", value)


def check_numbers(
    config: Mapping[str, Any], *names: str, low: float = -math.inf, high: float = math.inf
) -> None:
    """Check that arguments are finite numbers from ``low`` to ``high``."""
    wanted = "a finite number" if math.isinf(high) else f"a number from {low} to {high}"
    for name in names:
        if not (_is_number(config[name]) and low <= config[name] <= high):
            _refuse(name, wanted, config[name])


def check_flags(config: Mapping[str, Any], *names: str) -> None:
    """Check that arguments are True or False."""
    for name in names:
        if not isinstance(config[name], bool):
            _refuse(name, "True or False", config[name])


def check_choices(config: Mapping[str, Any], choices: tuple[str, ...], *names: str) -> None:
    """Check that arguments are one of some words."""
    for name in names:
        if not isinstance(config[name], str) or config[name] not in choices:
            _refuse(name, f"{', '.join(choices[:-1])} or {choices[-1]}", config[name])


def check_resolution(config: Mapping[str, Any]) -> None:
    """Check ``img_resolution``."""
    size = config["img_resolution"]
    if type(size) is not int or size < 8 or size & (size - 1):
        _refuse("img_resolution", "a power of two from 8", size)


def check_filter(taps: Any, name: str) -> None:
    """Check the taps of a filter: numbers, or rows of as many each, whose sum is not zero."""
    rows = list(taps) if isinstance(taps, (list, tuple)) else []
    if not any(isinstance(row, (list, tuple)) for row in rows):
        rows = [rows]
    widths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in rows}
    small = len(widths) == 1 and max(widths) >= 1 and max(*widths, len(rows)) <= LONGEST_FILTER
    numbers = [tap for row in rows for tap in row] if small else []
    if not numbers or not all(map(_is_number, numbers)) or sum(numbers) == 0:
        wanted = f"up to {LONGEST_FILTER} numbers that do not sum to zero, or rows of them"
        _refuse(name, wanted, taps)


def _is_number(value: Any) -> bool:
    # Compared with infinity, a whole number need not fit into a float, and nan fails.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _refuse(name: str, wanted: str, value: Any) -> None:
    raise ValueError(f"{name}: expected {wanted}, got {value!r:.60}")
