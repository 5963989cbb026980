"""Interleaved rounds: what is compared runs side by side, so that a noisy neighbour disturbs all of it alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Case", "Times", "interleave"]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Case:
    """Something to time. ``prepare`` comes before each ``run``, untimed.

    ``calls``: how many one ``run`` makes; times are per call. ``every``: a slow case takes part in every n-th round.
    """

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing
    calls: int = 1
    every: int = 1


class Times:
    """Seconds a call, by case and round."""

    def __init__(self, by_case: dict[str, dict[int, float]]) -> None:
        self._by_case = by_case

    @classmethod
    def load(cls, dumped: dict[str, dict[str, float]]) -> Times:
        """From another process, by way of JSON, whose keys are strings."""
        return cls({name: {int(number): took for number, took in rounds.items()} for name, rounds in dumped.items()})

    def dump(self) -> dict[str, dict[int, float]]:
        """For :meth:`load`."""
        return self._by_case

    def __contains__(self, name: object) -> bool:
        return name in self._by_case

    def rounds(self, name: str) -> int:
        """How many rounds the case took part in."""
        return len(self._by_case[name])

    def median(self, name: str) -> float:
        """Seconds a call."""
        return statistics.median(self._by_case[name].values())

    def ratio(self, name: str, base: str) -> float:
        """The median of each round's ratio: what slows a whole round down falls out."""
        return statistics.median(self._ratios(name, base))

    def middle_half(self, name: str, base: str) -> tuple[float, float]:
        """Between which two ratios half of the rounds are: how far :meth:`ratio` is to be trusted."""
        ratios = self._ratios(name, base)
        if len(ratios) < 2:
            return ratios[0], ratios[0]
        quarter, _, three_quarters = statistics.quantiles(ratios, n=4, method="inclusive")
        return quarter, three_quarters

    def _ratios(self, name: str, base: str) -> list[float]:
        ours, theirs = self._by_case[name], self._by_case[base]
        return [ours[number] / theirs[number] for number in ours if number in theirs]


def interleave(cases: Sequence[Case], *, rounds: int, seconds: float) -> Times:
    """Run all cases in each round. No round begins later than ``seconds`` after the start; the first always runs."""
    for case in cases:
        if case.every == 1:
            # Connections, scripts, caches.
            _timed(case)
    by_case: dict[str, dict[int, float]] = {case.name: {} for case in cases}
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > deadline:
            break
        # Back and forth, so that none always runs in the other's wake.
        for case in cases if number % 2 == 0 else reversed(cases):
            if number % case.every == 0:
                by_case[case.name][number] = _timed(case)
    return Times(by_case)


def _timed(case: Case) -> float:
    case.prepare()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        case.run()
        return (time.perf_counter() - start) / case.calls
    finally:
        gc.enable()
