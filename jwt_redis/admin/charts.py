"""Small charts as SVG: what stands where. The template draws it, beside a table with the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Bar", "Bucket", "Chart", "Part", "Point", "bars", "line"]

WIDTH, HEIGHT = 720, 132
# Room for the numbers at the left, and for the times below.
_LEFT, _TOP, _BOTTOM = 72, 10, 22
_BASE = HEIGHT - _BOTTOM
_GAP = 0.25
_TICKS = 6
_EDGE = 36


@dataclass(frozen=True, slots=True)
class Bucket:
    """So much in an hour or a day. ``values``: by series, in the order in which they are stacked."""

    start: datetime
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        """Of all series."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a stacked bar; ``series`` is its number, from 1."""

    series: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bucket, and its pieces."""

    bucket: Bucket
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A place on a line."""

    bucket: Bucket
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """``id``: within the page. ``series``: their names. ``note``: what the numbers leave out. ``missing``: why there
    are none. ``times``: where a time is written below, ``top``: the number at the upper end."""

    id: str
    title: Any
    series: tuple[Any, ...] = ()
    bars: tuple[Bar, ...] = ()
    points: tuple[Point, ...] = ()
    times: tuple[tuple[float, datetime], ...] = ()
    top: int = 0
    total: int | None = None
    note: Any = ""
    missing: Any = ""
    by_hour: bool = True
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=_LEFT, init=False)
    base: int = field(default=_BASE, init=False)
    upper: int = field(default=_TOP, init=False)

    @property
    def buckets(self) -> list[Bucket]:
        """For the table, the newest first."""
        drawn: tuple[Bar | Point, ...] = self.bars or self.points
        return [one.bucket for one in reversed(drawn)]

    @property
    def path(self) -> str:
        """The line, as ``points`` of an SVG ``polyline``."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


def _ceiling(highest: int) -> int:
    """A round number that is not lower."""
    if highest <= 4:
        return max(highest, 1)
    power: int = 10 ** (len(str(highest)) - 1)
    steps = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100)
    return next(step * power // 10 for step in steps if step * power >= highest * 10)


def _y(value: int, top: int) -> float:
    return round(_BASE - (_BASE - _TOP) * value / top, 1)


def bars(id: str, title: Any, series: Sequence[Any], buckets: Sequence[Bucket], **more: Any) -> Chart:
    """Stacked bars, one a bucket."""
    top = _ceiling(max((bucket.total for bucket in buckets), default=0))
    room = (WIDTH - _LEFT) / max(len(buckets), 1)
    drawn, times = [], []
    for number, bucket in enumerate(buckets):
        x = round(_LEFT + room * (number + _GAP / 2), 1)
        parts, below = [], 0
        for which, value in enumerate(bucket.values, 1):
            if value:
                y = _y(below + value, top)
                parts.append(Part(which, x, y, round(room * (1 - _GAP), 1), round(_y(below, top) - y, 1)))
                below += value
        drawn.append(Bar(bucket, tuple(parts)))
        # The last one's time would be cut off at the edge.
        if number % max(1, len(buckets) // _TICKS) == 0 and x < WIDTH - _EDGE:
            times.append((x, bucket.start))
    total = sum(bucket.total for bucket in buckets)
    return Chart(id, title, tuple(series), bars=tuple(drawn), times=tuple(times), top=top, total=total, **more)


def line(id: str, title: Any, series: Any, samples: Sequence[Bucket], **more: Any) -> Chart:
    """A line through samples, each at its own time."""
    top = _ceiling(max((sample.total for sample in samples), default=0))
    first, last = samples[0].start, samples[-1].start
    span = (last - first).total_seconds() or 1.0
    room = WIDTH - _LEFT - 8
    points = tuple(
        Point(sample, round(_LEFT + 4 + room * (sample.start - first).total_seconds() / span, 1), _y(sample.total, top))
        for sample in samples
    )
    ticks = points[:: max(1, len(points) // _TICKS)]
    times = tuple((point.x, point.bucket.start) for point in ticks if point.x < WIDTH - _EDGE)
    return Chart(id, title, (series,), points=points, times=times, top=top, **more)
