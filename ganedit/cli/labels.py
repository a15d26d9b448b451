"""Labels of latents as commands take them: read off pictures, or written in a CSV file."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganedit.cli import console
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.editing.fit_directions import LabelColumn

OTHERS = "others"
"""What ``--unlike`` calls all that is fitted besides."""

_TOGETHER = ({"age", "grey"}, {"hair_length", "bald", "short", "long", "bun"})
"""Factors of clay heads that ``others`` leaves in each other's directions.

Hair is as long as its style has it, of four styles one excludes the rest, and age makes grey.
"""

_LARGEST_FILE = 2**24
_MOST_COLUMNS = 1000

Labels = dict[str, "tuple[Tensor, bool]"]
"""Values by name, [N] each, and whether they are binary."""


def clay_labels(readings: "Tensor") -> Labels:
    """Return what is known of clay heads.

    A choice between more than two becomes a label for each, a turn two: its cosine and its sine,
    as ``background_0`` and ``background_90`` (the hue in degrees towards which they go).

    Args:
        readings: Factors as `ClayFeatures.predict` gives them, [N, len(FACTORS)].
    """
    import torch

    from ganedit.data.clayheads.factors import FACTORS, HAIR_STYLES

    labels: Labels = {}
    for values, factor in zip(readings.double().unbind(1), FACTORS, strict=True):
        if factor.name == "hair_style":
            for index, style in enumerate(HAIR_STYLES):
                labels[style] = (values == index).double(), True
        elif factor.unit == "choice":
            labels[factor.name] = (values > 0.5).double(), True
        elif factor.unit == "turn":
            labels[f"{factor.name}_0"] = torch.cos(2 * math.pi * values), False
            labels[f"{factor.name}_90"] = torch.sin(2 * math.pi * values), False
        else:
            labels[factor.name] = values, False
    return labels


def read_labels(path: Path, names: Sequence[str]) -> Labels:
    """Return the columns of a CSV file with a header and a row for each latent.

    The first column may hold the latents' names, in any order; all others are numbers. A column of
    two values is binary: the larger one means that the latent has it.

    Args:
        path: The file.
        names: Of the latents.

    Raises:
        GaneditError: It is no such table, or not of these latents.
    """
    header, *rows = _rows(path)
    if len(set(header)) < len(header):
        raise GaneditError(f"{path}: two columns have the same name")
    named = [_number(row[0]) is None for row in rows]
    if any(named) and not any(row[0] in names for row in rows) and sum(named) < len(rows) / 2:
        raise _no_number(path, header[0], named.index(True) + 1, rows[named.index(True)][0])
    # Names may be digits only: then the header says what they are, or that all latents are there.
    if any(named) or header[0].casefold() == "name" or {row[0] for row in rows} >= set(names):
        told = {row[0]: row for row in rows}
        if len(told) < len(rows):
            raise GaneditError(f"{path}: two rows have the same name")
        missing = [name for name in names if name not in told]
        if missing:
            raise GaneditError(
                f"{path}: has no row for {missing[0]}; its first column names {next(iter(told))}"
                " and others"
            )
        rows, header = [told[name][1:] for name in names], header[1:]
    if len(rows) != len(names):
        raise GaneditError(
            f"{path}: has {len(rows)} rows for {len(names)} latents; give one each, or their names"
            " in the first column"
        )
    if not header:
        raise GaneditError(f"{path}: has names only; add columns of numbers")
    return _columns(path, header, rows)


def _rows(path: Path) -> list[list[str]]:
    """Return the rows of a file, the header first, all of one length."""
    from ganedit.io.files import read_start

    content = read_start(path, _LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise GaneditError(f"{path}: larger than 16 MB; no table of labels")
    try:
        text = content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise GaneditError(f"{path}: no CSV file in UTF-8") from error
    rows = [[cell.strip() for cell in row] for row in rows]
    if len(rows) < 2:
        raise GaneditError(f"{path}: expected a header and a row for each latent")
    if len(rows[0]) > _MOST_COLUMNS:
        raise GaneditError(
            f"{path}: has {len(rows[0])} columns; at most {_MOST_COLUMNS} are possible"
        )
    if len(rows[0]) == 1 and any(mark in rows[0][0] for mark in ";\t"):
        raise GaneditError(f"{path}: its columns are not parted by commas; save it with commas")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise GaneditError(
                f"{path}: row {number} has {len(row)} cells, but the header {len(rows[0])}"
            )
    return rows


def _columns(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Labels:
    import torch

    from ganedit.metrics.directions import plain_names

    labels: Labels = {}
    for place, (title, label) in enumerate(zip(header, plain_names(header), strict=True)):
        numbers = []
        for number, row in enumerate(rows, start=1):
            value = _number(row[place])
            if value is None:
                raise _no_number(path, title, number, row[place])
            numbers.append(value)
        values = torch.tensor(numbers, dtype=torch.float64)
        binary = len(set(numbers)) == 2 and all(map(math.isfinite, numbers))
        labels[label] = (values == max(numbers)).double() if binary else values, binary
    return labels


def _no_number(path: Path, title: str, row: int, cell: str) -> GaneditError:
    return GaneditError(f"{path}: {cell!r:.40} in row {row} of column {title!r:.40} is no number")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def choose_columns(
    labels: Labels, factors: Sequence[str] | None, unlike: Sequence[str]
) -> "tuple[list[LabelColumn], dict[str, list[str]]]":
    """Return what is fitted, those asked for first, and what each must not move.

    Args:
        labels: By name.
        factors: To fit; None for all that can be.
        unlike: What directions must not move; ``others`` is everything that can be fitted.

    Raises:
        GaneditError: A name is unknown, or nothing can be learnt of what was asked for by name.
    """
    from ganedit.editing.fit_directions import LabelColumn

    asked = [*(factors or ()), *(name for name in unlike if name != OTHERS)]
    for name in asked:
        if name not in labels:
            raise GaneditError(f"there are no labels of {name!r:.60}; there are {_some(labels)}")
    wanted = list(factors or labels)
    around = list(labels) if OTHERS in unlike else [name for name in unlike if name != OTHERS]
    columns, left_out = {}, []
    for name in dict.fromkeys([*wanted, *around]):
        try:
            columns[name] = LabelColumn(name, *labels[name])
        except GaneditError as error:
            if name in asked:
                raise
            left_out.append(str(error))
    if not any(name in columns for name in wanted):
        raise GaneditError(
            f"nothing can be fitted; give other labels, or more latents ({left_out[0]})"
        )
    for reason in left_out:
        console.note(f"left out: {reason}")
    named = set(unlike)
    apart = {
        name: [
            other
            for other in around
            if other in columns and other != name and (other in named or not _together(name, other))
        ]
        for name in wanted
        if name in columns
    }
    return list(columns.values()), apart


def _together(first: str, second: str) -> bool:
    return any({first, second} <= group for group in _TOGETHER)


def _some(labels: Mapping[str, object]) -> str:
    shown = list(labels)[:40]
    return ", ".join(shown) + (", ..." if len(labels) > len(shown) else "")
