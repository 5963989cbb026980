"""What do signing in, refreshing, signing out cost, and what does the journal add?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.processes import POSTGRES, Found, databases, measure
from benchmarks.reports import Line, Report, Table, compared, duration

__all__ = ["run"]

_ROUNDS, _SECONDS = 40, 35
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 5

_NAMES = {
    "login theirs": "login, Simple JWT + token_blacklist",
    "login theirs dated": "login, the same with `UPDATE_LAST_LOGIN`",
    "login ours": "login, **jwt_redis**",
    "login ours dated": "login, **jwt_redis** with `UPDATE_LAST_LOGIN`",
    "refresh theirs": "refresh with rotation, Simple JWT + token_blacklist",
    "refresh ours": "refresh with rotation, **jwt_redis**",
    "logout theirs": "logout, Simple JWT + token_blacklist",
    "logout ours": "logout, **jwt_redis**",
    "logout ours unjournalled": "logout, **jwt_redis** with `JOURNAL` off",
    "end journalled": "`end_session`, **jwt_redis**",
    "end unjournalled": "`end_session`, **jwt_redis** with `JOURNAL` off",
}


def run(is_quick: bool) -> Report:
    """A process for each database; both packages in each of its rounds."""
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if is_quick else (_ROUNDS, _SECONDS)
    with databases() as (makers, note):
        found = {
            name: measure("endpoints", database, "HS256", is_quick=is_quick, rounds=rounds, seconds=seconds)
            for name, database in makers.items()
        }
    return Report(
        "Signing in, refreshing, signing out",
        [line for name, each in found.items() for line in _lines(each, name)],
        f"{note} Simple JWT {next(iter(found.values())).versions['djangorestframework-simplejwt']}.",
        tables=[_table(found)],
    )


def _lines(found: Found, database: str) -> Iterator[Line]:
    def line(what: str, name: str, base: str, at_most: float | None = None, *, is_headline: bool = False) -> Line:
        # The targets are those of a database server.
        is_judged = database == POSTGRES
        what = f"{what}, {database}"
        headline = what if is_headline and is_judged else ""
        return compared(what, found.times, name, base, at_most=at_most if is_judged else None, headline=headline)

    theirs = "÷ Simple JWT + token_blacklist"
    yield line(f"login {theirs}", "login ours", "login theirs", 0.60, is_headline=True)
    yield line(f"login {theirs}, both writing `last_login`", "login ours dated", "login theirs dated")
    yield line(f"refresh with rotation {theirs}", "refresh ours", "refresh theirs", 0.20, is_headline=True)
    yield line(f"logout {theirs}", "logout ours", "logout theirs")
    yield line("logout, `JOURNAL` on ÷ off", "logout ours", "logout ours unjournalled")
    yield line("`end_session`, `JOURNAL` on ÷ off", "end journalled", "end unjournalled")


def _table(found: dict[str, Found]) -> Table:
    head = ["What"]
    for name in found:
        head += [name, "queries", "Redis round trips"]
    rows = []
    for case, label in _NAMES.items():
        row = [label]
        for each in found.values():
            row += [duration(each.times.median(case)), *(str(count) for count in each.counts[case])]
        rows.append(row)
    return Table(head, rows)
