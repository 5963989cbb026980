"""Does ending one user's sessions, or checking a token, cost more in a store of a million sessions?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain

from benchmarks.filled import FilledStore
from benchmarks.plots import Curve, Curves
from benchmarks.reports import Line, Report, compared, duration
from benchmarks.rounds import Case, Times, interleave
from jwt_redis.testing.servers import RedisServer

__all__ = ["run"]

_AT_MOST = 1.5
# COUNT of the SCAN, and in every how many rounds it takes part: at a million keys the first takes many seconds.
_SCANS = {10: 20, 10_000: 6}
_QUICK_SCANS = {10: 3, 10_000: 2}


def run(is_quick: bool) -> Report:
    """Servers side by side, from a small store to a large one; each case runs on all of them in each round."""
    sizes = (1_000, 20_000) if is_quick else (1_000, 10_000, 100_000, 1_000_000)
    rounds, seconds, scans = (6, 15, _QUICK_SCANS) if is_quick else (60, 300, _SCANS)
    with ExitStack() as stack:
        stores = [FilledStore(stack.enter_context(RedisServer()), size) for size in sizes]
        side_by_side = zip(*(_cases(store, scans) for store in stores), strict=True)
        times = interleave(list(chain.from_iterable(side_by_side)), rounds=rounds, seconds=seconds)
    small, large = sizes[0], sizes[-1]
    return Report(
        "Size of the store",
        _lines(times, small, large),
        f"{large:,} ÷ {small:,}: sessions in the store. An ending is of {FilledStore.live} sessions of one user. By"
        " SCAN: sessions are keys of their own, found with django-redis' `delete_pattern`, whose default is count 10.",
        charts=[_chart(times, sizes)],
    )


def _chart(times: Times, sizes: Sequence[int]) -> Curves:
    def points(name: str) -> list[tuple[float, float]]:
        return [(size, times.median(f"{name} {size}")) for size in sizes]

    return Curves(
        name="cost-of-an-ending",
        title=f"Ending a user's {FilledStore.live} sessions",
        axis_x="sessions in the store",
        axis_y="time, logarithmic; less is better",
        show_y=duration,
        curves=[
            Curve("jwt_redis", points("end"), is_ours=True),
            Curve("SCAN, COUNT 10 (the default)", points("scan-10")),
            Curve("SCAN, COUNT 10,000", points("scan-10000")),
        ],
    )


def _cases(store: FilledStore, scans: dict[int, int]) -> list[Case]:
    size = store.size
    return [
        Case(f"end {size}", store.end_sessions, store.open_sessions, calls=len(store.ending)),
        Case(f"check {size}", store.check, store.prepare_check, calls=store.checks),
        Case(f"pipeline {size}", store.check_in_pipeline, calls=store.pipelined),
        *(
            Case(f"scan-{count} {size}", partial(store.end_by_scan, count), store.open_as_keys, every=every)
            for count, every in scans.items()
        ),
    ]


def _lines(times: Times, small: int, large: int) -> list[Line]:
    ending = "ending all of a user's sessions"

    def growth(what: str, name: str, at_most: float | None = None, headline: str = "") -> Line:
        what = f"{what}, {large:,} ÷ {small:,}"
        return compared(what, times, f"{name} {large}", f"{name} {small}", at_most=at_most, headline=headline)

    def price(count: int, headline: str = "") -> Line:
        what = f"by SCAN, count {count:,} ÷ by this package, {large:,}"
        return compared(what, times, f"scan-{count} {large}", f"end {large}", headline=headline)

    return [
        growth(ending, "end", _AT_MOST, f"{ending} with {large:,} sessions in the store ÷ with {small:,}"),
        growth("the same by SCAN, count 10", "scan-10"),
        growth("the same by SCAN, count 10,000", "scan-10000"),
        price(10, f"the same by SCAN, as django-redis' `delete_pattern` does ÷ by this package, {large:,} sessions"),
        price(10_000),
        growth("a check", "check"),
        growth("its command alone, 1,000 in a pipeline", "pipeline"),
    ]
