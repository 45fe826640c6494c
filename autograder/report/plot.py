"""The plot of a load: from the points of an evidence to what the page draws, in the SVG's own units.

Time runs to the right, the answer's latency upwards; each version that answered has its own mark, a failure
is a cross. A load of any length becomes a picture of bounded size that still shows its extremes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from autograder.report.model import LoadPoint
from autograder.report.wording import answered_by

__all__ = ["BOTTOM", "HEIGHT", "LEFT", "RIGHT", "TOP", "WIDTH", "Plot", "Series", "plot", "shape"]

WIDTH, HEIGHT = 600, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 588, 24, 216

# More answers than there are marks share the last one.
_MARKS = 5
# A series longer than this is thinned to the fastest and the slowest of each stretch.
_LONGEST = 1_200
# Latencies that spread wider than this, against their median, are drawn on a logarithmic scale.
_WIDE = 12
# Beyond this (seconds) a number is nonsense, not a time.
_NONSENSE = 1e7


@dataclass(frozen=True)
class Series:
    """All answers of one kind: a version, or the failures."""

    label: str
    mark: int
    failed: bool
    path: str
    count: int
    median: str
    slowest: str
    first: str
    last: str


@dataclass(frozen=True)
class Plot:
    """What the page draws.

    Attributes:
        series: the versions in the order of their first answer, then the failures.
        x_ticks: position and label along the time.
        y_ticks: position and label along the latency.
        changes: position and label of each version's first answer but the first one's.
        logarithmic: whether the latency's scale is.
        shown: how many points are drawn; fewer than ``total`` when the load was long.
        total: how many requests there were.
    """

    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    changes: tuple[tuple[float, str], ...]
    logarithmic: bool
    shown: int
    total: int


def plot(load: Sequence[LoadPoint]) -> Plot | None:
    """The plot of ``load``; ``None`` when no point of it has a usable time."""
    usable = [point for point in load if abs(point.at) < _NONSENSE and 0 <= point.seconds < _NONSENSE]
    if not usable:
        return None
    begin, end = min(0.0, *(point.at for point in usable)), max(point.at for point in usable)
    x = _scale(begin, end if end > begin else begin + 1, LEFT, RIGHT)
    latencies = sorted(point.seconds * 1000 for point in usable)
    y, y_ticks, logarithmic = _latency_axis(latencies)

    groups = _grouped(usable)
    series, changes, shown = [], [], 0
    for number, (label, failed, points) in enumerate(groups):
        mark = _MARKS if failed else min(number, _MARKS - 1)
        drawn = _thinned(points)
        shown += len(drawn)
        path = "".join(shape(mark, x(point.at), y(point.seconds * 1000)) for point in drawn)
        series.append(_series(label, mark, failed, path, points))
        if number and not failed:
            changes.append((round(x(points[0].at), 1), label))
    x_ticks = tuple((round(x(value), 1), label) for value, label in _ticks(begin, end))
    return Plot(tuple(series), x_ticks, y_ticks, tuple(changes), logarithmic, shown, len(load))


def shape(mark: int, x: float, y: float) -> str:
    """The path of one mark around a point: five forms for versions, and the cross of a failure."""
    at = f"M{x:.1f} {y:.1f}"
    return (
        at
        + (
            "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",  # circle
            "m0-4l3.8 6.6h-7.6z",  # triangle
            "m-3-3h6v6h-6z",  # square
            "m0-4.2l4.2 4.2l-4.2 4.2l-4.2-4.2z",  # diamond
            "m-4 0h8m-4-4v8",  # plus
            "m-4.5-4.5l9 9m0-9l-9 9",  # cross
        )[mark]
    )


def _grouped(points: list[LoadPoint]) -> list[tuple[str, bool, list[LoadPoint]]]:
    """(label, failed, points) for each version by its first answer, late ones together, then the failures."""
    points = sorted(points, key=lambda point: point.at)
    answers: dict[str, list[LoadPoint]] = {}
    for point in points:
        if not point.failed:
            answers.setdefault(answered_by(point), []).append(point)
    groups = [(label, False, found) for label, found in answers.items()]
    if len(groups) > _MARKS:
        rest = sorted((point for group in groups[_MARKS - 1 :] for point in group[2]), key=lambda point: point.at)
        groups = [*groups[: _MARKS - 1], (f"{len(groups) - _MARKS + 1} other answers", False, rest)]
    if failures := [point for point in points if point.failed]:
        groups.append(("failed", True, failures))
    return groups


def _series(label: str, mark: int, failed: bool, path: str, points: list[LoadPoint]) -> Series:
    latencies = [point.seconds * 1000 for point in points]
    return Series(
        label=label,
        mark=mark,
        failed=failed,
        path=path,
        count=len(points),
        median=f"{_number(median(latencies))} ms",
        slowest=f"{_number(max(latencies))} ms",
        first=f"{points[0].at:.2f} s",
        last=f"{points[-1].at:.2f} s",
    )


def _thinned(points: list[LoadPoint]) -> list[LoadPoint]:
    if len(points) <= _LONGEST:
        return points
    stretch = math.ceil(len(points) / (_LONGEST // 2))
    kept = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += [min(part, key=lambda point: point.seconds), max(part, key=lambda point: point.seconds)]
    return kept


def _latency_axis(
    latencies: list[float],
) -> tuple[Callable[[float], float], tuple[tuple[float, str], ...], bool]:
    """The scale of sorted latencies in milliseconds, its ticks, and whether it is logarithmic."""
    middle, slowest = median(latencies), latencies[-1]
    if middle <= 0 or slowest <= _WIDE * middle:
        scale = _scale(0, slowest * 1.06 or 1.0, BOTTOM, TOP)
        ticks = tuple((round(scale(value), 1), label) for value, label in _ticks(0, slowest * 1.06 or 1.0, 4))
        return scale, ticks, False
    least = max(min(value for value in latencies if value > 0), middle / 100)
    low, high = math.floor(math.log10(least)), math.log10(slowest * 1.3)
    linear = _scale(low, high, BOTTOM, TOP)

    def logarithmic(value: float) -> float:
        return linear(max(math.log10(value) if value > 0 else low, low))

    powers = range(low, math.floor(high) + 1)
    return logarithmic, tuple((round(linear(power), 1), _number(10.0**power)) for power in powers), True


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def _ticks(low: float, high: float, wanted: int = 6) -> list[tuple[float, str]]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``, with their labels."""
    span = high - low if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor((low + span) / step + 1e-9)
    return [(number * step, _number(number * step)) for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
