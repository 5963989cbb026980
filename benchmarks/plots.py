"""Charts as SVG, a light and a dark one: small enough to be read in a diff, which a plotting library's are not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

__all__ = ["DARK", "LIGHT", "Bar", "Bars", "Chart", "Curve", "Curves", "Theme"]

_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_WIDTH = 820
_PALE = 0.45


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours; against the paper, text has a contrast of 4.5 and more, bars and curves of 3."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    ours: str
    others: Sequence[str]


LIGHT = Theme("light", "#ffffff", "#1f2328", "#59636e", "#d1d9e0", "#0969da", ("#818b98", "#bc4c00"))
DARK = Theme("dark", "#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#4493f8", ("#7d8590", "#db6d28"))


class Chart(Protocol):
    """Something to draw. ``name``: the file's, without theme and suffix."""

    name: str

    def svg(self, theme: Theme) -> str:
        """The whole file."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One of them."""

    label: str
    value: float
    is_ours: bool = False


@dataclass(slots=True)
class Bars:
    """Lying bars, in groups with a heading. ``base``: the part that all have alike, which ``floor`` explains."""

    name: str
    title: str
    axis: str
    floor: str
    base: float
    groups: Sequence[tuple[str, Sequence[Bar]]]

    def svg(self, theme: Theme) -> str:
        left, top, step = 270, 60, 28
        ticks = list(_ticks(max(bar.value for _, bars in self.groups for bar in bars)))
        scale = (_WIDTH - left - 70) / ticks[-1]
        shapes, y = [], float(top)
        for heading, bars in self.groups:
            shapes.append(_text(left - 10, y + 17, heading, theme.muted, "end"))
            y += step
            for bar in bars:
                shapes += self._bar(theme, bar, left, y, scale)
                y += step
            y += 8
        grid = []
        for tick in ticks:
            x = left + tick * scale
            grid += [_line(x, top, x, y, theme.grid), _text(x, y + 18, f"{tick:,.0f}", theme.muted, "middle")]
        legend = [
            _text(left + ticks[-1] * scale / 2, y + 40, self.axis, theme.muted, "middle"),
            _box(left, y + 56, 26, 12, theme.others[0], opacity=_PALE),
            _box(left + 30, y + 56, 26, 12, theme.ours, opacity=_PALE),
            _text(left + 64, y + 66.5, f"{self.floor}: {self.base:,.0f}", theme.muted),
        ]
        return _file(theme, y + 84, self.title, [*grid, *shapes, *legend])

    def _bar(self, theme: Theme, bar: Bar, left: float, y: float, scale: float) -> list[str]:
        colour = theme.ours if bar.is_ours else theme.others[0]
        base = min(self.base, bar.value)
        return [
            _text(left - 10, y + 17, bar.label, theme.ink, "end", weight="600" if bar.is_ours else "400"),
            _box(left, y + 4, base * scale, 18, colour, opacity=_PALE),
            _box(left + base * scale, y + 4, (bar.value - base) * scale, 18, colour),
            _text(left + bar.value * scale + 7, y + 17, f"{bar.value:,.0f}", theme.ink),
        ]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one thing."""

    label: str
    points: Sequence[tuple[float, float]]
    is_ours: bool = False


@dataclass(slots=True)
class Curves:
    """Curves over two logarithmic axes; ``show_y`` writes a number of the upright one."""

    name: str
    title: str
    axis_x: str
    axis_y: str
    show_y: Callable[[float], str]
    curves: Sequence[Curve]

    def svg(self, theme: Theme) -> str:
        left, top, right, height = 92, 60, 235, 430
        bottom = height - 66
        xs = [x for curve in self.curves for x, _ in curve.points]
        ys = [y for curve in self.curves for _, y in curve.points]
        x_of = _logarithmic(_decades(xs, min(xs), max(xs)), left, _WIDTH - right)
        y_of = _logarithmic(_decades(ys, None, None), bottom, top)
        parts = []
        for x in _powers(min(xs), max(xs)):
            parts += [
                _line(x_of(x), top, x_of(x), bottom, theme.grid),
                _text(x_of(x), bottom + 20, f"{x:,.0f}", theme.muted, "middle"),
            ]
        for y in _powers(*_decades(ys, None, None)):
            parts += [
                _line(left, y_of(y), _WIDTH - right, y_of(y), theme.grid),
                _text(left - 10, y_of(y) + 4.5, self.show_y(y), theme.muted, "end"),
            ]
        others = iter(theme.others)
        for curve in self.curves:
            colour = theme.ours if curve.is_ours else next(others)
            path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in curve.points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
            parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="4" fill="{colour}"/>' for x, y in curve.points]
            x, y = curve.points[-1]
            parts.append(
                _text(x_of(x) + 12, y_of(y) + 4.5, curve.label, theme.ink, weight="600" if curve.is_ours else "400")
            )
        middle = (top + bottom) / 2
        parts += [
            _text((left + _WIDTH - right) / 2, bottom + 44, self.axis_x, theme.muted, "middle"),
            f'<g transform="rotate(-90 22 {middle})">{_text(22, middle, self.axis_y, theme.muted, "middle")}</g>',
        ]
        return _file(theme, height, self.title, parts)


def _file(theme: Theme, height: float, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(title)}" font-family="{_FONT}" font-size="13">'
    )
    paper = _box(0, 0, _WIDTH, height, theme.paper)
    heading = _text(24, 34, title, theme.ink, size=16, weight="600")
    return "\n".join([head, paper, heading, *parts, "</svg>"]) + "\n"


def _text(
    x: float, y: float, text: str, colour: str, anchor: str = "start", *, size: int = 13, weight: str = "400"
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" {style}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str, *, opacity: float = 1) -> str:
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {shape} fill="{colour}" fill-opacity="{opacity}"/>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'


def _ticks(highest: float) -> Iterator[float]:
    """Round numbers from zero to past the highest, about six."""
    raw = highest / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(step for step in (size, 2 * size, 5 * size, 10 * size) if step >= raw)
    for number in range(math.ceil(highest / step) + 1):
        yield number * step


def _decades(values: Sequence[float], low: float | None, high: float | None) -> tuple[float, float]:
    """Whole powers of ten around the values, where no bounds are given."""
    return (
        10 ** math.floor(math.log10(min(values))) if low is None else low,
        10 ** math.ceil(math.log10(max(values))) if high is None else high,
    )


def _powers(low: float, high: float) -> Iterator[float]:
    for exponent in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1):
        yield 10.0**exponent


def _logarithmic(bounds: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    low, high = (math.log10(bound) for bound in bounds)
    return lambda value: start + (math.log10(value) - low) / ((high - low) or 1) * (end - start)
