"""The picture of an optimisation: its loss over its steps."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganedit.io.images import from_uint8

_SIZE = (960, 540)
_SCALE = 2  # drawn larger, then reduced: Pillow's lines have no antialiasing
_MARGINS = (84, 56, 32, 60)  # left, top, right, bottom
_PAPER, _INK, _MUTED, _GRID = "#ffffff", "#1f2328", "#6a737d", "#e4e7eb"
_LINE, _BEST = "#2f6fdb", "#e4572e"
_COLOURS = (_MUTED, _LINE, _BEST)


def draw_loss_curve(losses: Sequence[float], *, best_step: int, title: str) -> Tensor:
    """Return a plot of losses over steps on a logarithmic scale, [1, 3, 540, 960] in [-1, 1].

    Args:
        losses: One value a step; values that are not finite or not positive are left out.
        best_step: Index of the step to mark.
        title: Shown above the plot.
    """
    points = [(i, math.log10(v)) for i, v in enumerate(losses) if math.isfinite(v) and v > 0]
    size = (_SIZE[0] * _SCALE, _SIZE[1] * _SCALE)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    _text(draw, (_MARGINS[0], 26), title, anchor="lm", size=20, fill=_INK)
    if points:
        _draw_points(draw, points, best_step)
    reduced = picture.resize(_SIZE, Image.Resampling.LANCZOS)
    return from_uint8(np.asarray(reduced))


def draw_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, title: str, below: str
) -> Tensor:
    """Return a plot of several curves on logarithmic scales, [1, 3, 540, 960] in [-1, 1].

    Args:
        curves: Points (x, y) with positive numbers, by the name that stands at the curve's end.
        title: Shown above the plot.
        below: Name of the horizontal axis.
    """
    logs = {n: [(math.log10(x), math.log10(y)) for x, y in c] for n, c in curves.items()}
    points = [point for curve in logs.values() for point in curve]
    (left, right), (low, high) = ((min(v), max(v)) for v in zip(*points, strict=True))
    picture = Image.new("RGB", (_SIZE[0] * _SCALE, _SIZE[1] * _SCALE), _PAPER)
    draw = ImageDraw.Draw(picture)
    _text(draw, (_MARGINS[0], 26), title, anchor="lm", size=20, fill=_INK)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = (point[0] - left) / max(right - left, 1e-9)
        down = (high - point[1]) / max(high - low, 1e-9)
        width, height = _SIZE[0] - _MARGINS[0] - 120, _SIZE[1] - _MARGINS[1] - _MARGINS[3]
        return _MARGINS[0] + across * width, _MARGINS[1] + down * height

    for value in _levels(low, high):
        y = math.log10(value)
        _line(draw, [place((left, y)), place((right, y))], fill=_GRID, width=1)
        _text(draw, place((left, y)), f"{value:g} ", anchor="rm", size=15, fill=_MUTED)
    for value in _levels(left, right):
        x = math.log10(value)
        _line(draw, [place((x, low)), place((x, high))], fill=_GRID, width=1)
        _text(draw, place((x, low)), f"\n{value:g}", anchor="ma", size=15, fill=_MUTED)
    for (name, curve), colour in zip(logs.items(), itertools.cycle(_COLOURS), strict=False):
        _line(draw, [place(point) for point in curve], fill=colour, width=3)
        _text(draw, place(curve[-1]), f" {name}", anchor="lm", size=15, fill=colour)
    _text(draw, (_SIZE[0] / 2, _SIZE[1] - 12), below, anchor="mm", size=16, fill=_MUTED)
    return from_uint8(np.asarray(picture.resize(_SIZE, Image.Resampling.LANCZOS)))


def _draw_points(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[int, float]], best_step: int
) -> None:
    left, top, right, bottom = _MARGINS
    last = max(1, points[-1][0])
    low, high = min(y for _, y in points), max(y for _, y in points)
    slack = max(0.04 * (high - low), 0.02)
    low, high = low - slack, high + slack

    def place(step: float, level: float) -> tuple[float, float]:
        x = left + step / last * (_SIZE[0] - left - right)
        y = top + (high - level) / (high - low) * (_SIZE[1] - top - bottom)
        return x, y

    for value in _levels(low, high):
        x, y = place(0, math.log10(value))
        _line(draw, [(x, y), place(last, math.log10(value))], fill=_GRID, width=1)
        _text(draw, (x - 10, y), f"{value:g}", anchor="rm", size=15, fill=_MUTED)
    for step in _steps(last):
        x, y = place(step, low)
        _line(draw, [(x, y), (x, y + 6)], fill=_MUTED, width=1)
        _text(draw, (x, y + 12), str(step), anchor="mt", size=15, fill=_MUTED)
    _line(draw, [place(0, low), place(last, low)], fill=_MUTED, width=1)
    middle = place(last / 2, low)
    _text(draw, (middle[0], _SIZE[1] - 14), "step", anchor="mm", size=15, fill=_MUTED)
    _line(draw, [place(*point) for point in points], fill=_LINE, width=2)
    marked = dict(points).get(best_step)
    if marked is not None:
        x, y = place(best_step, marked)
        box = [(v + d) * _SCALE for d in (-5, 5) for v in (x, y)]
        draw.ellipse(box, fill=_BEST, outline=_PAPER, width=_SCALE)
        anchor, shift = ("rb", -8) if x > _SIZE[0] / 2 else ("lb", 8)
        label = f"best: {10**marked:.4g} at step {best_step}"
        _text(draw, (x + shift, y - 10), label, anchor=anchor, size=16, fill=_BEST)


def _levels(low: float, high: float) -> Iterator[float]:
    """Yield round values for the scale between two decimal logarithms."""
    span = high - low
    digits: tuple[float, ...] = (1, 2, 5)
    if span > 4:
        digits = (1,)
    elif span < 0.5:
        digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for digit in digits:
            value = digit * 10.0**exponent
            if low <= math.log10(value) <= high:
                yield value


def _steps(last: int) -> Iterator[int]:
    """Yield about eight round step numbers from 0."""
    rough = last / 8
    power = 10 ** math.floor(math.log10(max(rough, 1)))
    spacing = next(int(m * power) for m in (1, 2, 5, 10) if m * power >= rough)
    yield from range(0, last + 1, spacing)


def _line(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], *, fill: str, width: int
) -> None:
    scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
    draw.line(scaled, fill=fill, width=width * _SCALE, joint="curve")


def _text(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    *,
    anchor: str,
    size: int,
    fill: str,
) -> None:
    font = ImageFont.load_default(size * _SCALE)
    scaled = (position[0] * _SCALE, position[1] * _SCALE)
    draw.text(scaled, text, font=font, fill=fill, anchor=anchor)
