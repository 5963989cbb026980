"""What a suite found, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.plots import Chart
from benchmarks.rounds import Times

__all__ = ["BYTES", "TIMES", "Line", "Report", "Table", "compared", "duration", "summary", "table"]

# Units.
TIMES = "×"  # noqa: RUF001
BYTES = "B"


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement. ``at_most``: its target, if it has one. ``beside``: absolute figures, which are the machine's.

    ``headline``: what to call it among the few figures of the README; "" keeps it out of them.
    """

    what: str
    measured: float
    unit: str
    at_most: float | None = None
    beside: str = ""
    headline: str = ""

    @property
    def shown(self) -> str:
        return _number(self.measured, self.unit)

    @property
    def target(self) -> str:
        return "" if self.at_most is None else "≤ " + _number(self.at_most, self.unit)

    @property
    def verdict(self) -> str:
        if self.at_most is None:
            return ""
        return "met" if self.measured <= self.at_most else "**missed**"


@dataclass(frozen=True, slots=True)
class Table:
    """Absolute figures of many cases: they are the machine's, and nothing is judged by them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """A suite's lines, and what has to be said of the run as a whole."""

    title: str
    lines: Sequence[Line]
    note: str = ""
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()


def compared(
    what: str, times: Times, name: str, base: str, *, at_most: float | None = None, headline: str = ""
) -> Line:
    """One case as a multiple of another."""
    low, high = times.middle_half(name, base)
    rounds = min(times.rounds(name), times.rounds(base))
    beside = f"{duration(times.median(name))} ÷ {duration(times.median(base))}; {rounds} rounds"
    if rounds > 3:
        beside += f", half of them {_number(low, TIMES)} to {_number(high, TIMES)}"
    return Line(what, times.ratio(name, base), TIMES, at_most, beside, headline)


def duration(seconds: float) -> str:
    """``0.41 ms``: three digits in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def table(report: Report, machine: str, *, is_quick: bool) -> str:
    """The whole of a suite. A quick run's sizes are too small to judge by."""
    head = ("what", "measured", "target", "verdict", "beside it")
    rows = [
        (line.what, line.shown, line.target, "not judged" if is_quick and line.target else line.verdict, line.beside)
        for line in report.lines
    ]
    tables = [_markdown(each.head, each.rows) for each in report.tables]
    if rows:
        tables.insert(0, _markdown(head, rows))
    notes = [machine, report.note]
    return "\n\n".join([*tables, *(note for note in notes if note)])


def summary(reports: Iterable[Report], machine: str) -> str:
    """The headlines of all suites."""
    lines = [line for report in reports for line in report.lines if line.headline]
    rows = [(line.headline, line.shown, line.target) for line in lines]
    return _markdown(("what", "measured", "target"), rows) + f"\n\n{machine}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _number(value: float, unit: str) -> str:
    if unit != TIMES:
        return f"{value:,.0f} {unit}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}{unit}"
