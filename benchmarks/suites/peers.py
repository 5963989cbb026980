"""What does it cost to know who asks? This package, Simple JWT alone, and others that can revoke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.peers.processes import POSTGRES, SQLITE, Found, databases, measure
from benchmarks.plots import Bar, Bars
from benchmarks.reports import Line, Report, Table, compared, duration

__all__ = ["run"]

_ALGORITHMS = ("HS256", "RS256")
_ROUNDS, _SECONDS = 40, 40
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 5

# In the order of the tables.
_STATELESS = {
    "stock": "Simple JWT, unchecked",
    "get": "the same and one GET by redis-py",
    "tutorial": "blacklist by `cache.get`",
    "blacklist": "Simple JWT + token_blacklist",
    "direct": "**jwt_redis, direct**",
    "near": "**jwt_redis, near**",
}
_WITH_ROW = {
    "stock row": "Simple JWT, unchecked",
    "tutorial row": "blacklist by `cache.get`",
    "blacklist row": "Simple JWT + token_blacklist",
    "knox row": "django-rest-knox",
    "allauth row": "allauth headless JWT, stateful",
    "direct row": "**jwt_redis, direct**",
    "near row": "**jwt_redis, near**",
}
_NAMES = {
    "none": "a view without authentication",
    **_STATELESS,
    **{name: f"{label}, user row" for name, label in _WITH_ROW.items()},
}
_OURS = ("direct", "near", "direct row", "near row")


def run(is_quick: bool) -> Report:
    """A process for each database and algorithm; all peers in each of its rounds."""
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if is_quick else (_ROUNDS, _SECONDS)
    found: dict[tuple[str, str], Found] = {}
    with databases() as (makers, note):
        for name, database in makers.items():
            for algorithm in _ALGORITHMS[:1] if is_quick else _ALGORITHMS:
                found[name, algorithm] = measure(
                    "requests", database, algorithm, is_quick=is_quick, rounds=rounds, seconds=seconds
                )
    # What asks no database is the same with either; the rest is worth most beside a real server.
    place = POSTGRES if any(name == POSTGRES for name, _ in found) else SQLITE
    some = next(iter(found.values()))
    versions = ", ".join(f"{name} {number}" for name, number in some.versions.items())
    notes = [f"{note} {versions}.", *dict.fromkeys(each.note for each in found.values() if each.note)]
    return Report(
        "Knowing who asks",
        [line for (name, algorithm), each in found.items() if name == place for line in _lines(each, algorithm, place)],
        "\n\n".join(notes),
        tables=[
            _table("Whole request", "request", found, _NAMES),
            _table("Authentication alone", "authentication", found, [name for name in _NAMES if name != "none"]),
            _table("The check alone", "check", found, ["blacklist", "direct", "near"]),
        ],
        charts=[_chart(found[place, _ALGORITHMS[0]], place)],
    )


def _lines(found: Found, algorithm: str, place: str) -> Iterator[Line]:
    is_first = algorithm == _ALGORITHMS[0]

    def line(
        what: str, kind: str, name: str, base: str, at_most: float | None = None, *, is_headline: bool = False
    ) -> Line:
        headline = what if is_headline and is_first else ""
        what = f"{what}, {algorithm}"
        return compared(what, found.times, f"{kind} {name}", f"{kind} {base}", at_most=at_most, headline=headline)

    whole, alone, check = "request", "authentication", "check"
    unchecked = "Simple JWT, which checks nothing"
    yield line(f"a request, stateless: near ÷ {unchecked}", whole, "near", "stock", 0.60, is_headline=True)
    yield line("a request, stateless: near ÷ a view without authentication", whole, "near", "none", 1.20)
    yield line(f"a request, stateless: direct ÷ {unchecked}, and one GET by redis-py", whole, "direct", "get", 0.85,
               is_headline=True)  # fmt: skip
    yield line(f"a request, user row: near ÷ {unchecked}", whole, "near row", "stock row", 0.95, is_headline=True)
    for name, at_most in (("direct", 0.25), ("near", 0.06)):
        beside = f"{name} ÷ Simple JWT + token_blacklist, {place}"
        judged = at_most if place == POSTGRES else None
        yield line(f"authentication alone, stateless: {beside}", alone, name, "blacklist", judged, is_headline=True)
        yield line(f"authentication alone, user row: {beside}", alone, f"{name} row", "blacklist row")
        yield line(f"the check alone: {beside}", check, name, "blacklist")
        yield line(f"a request, stateless: {beside}", whole, name, "blacklist")
        yield line(f"a request, user row: {beside}", whole, f"{name} row", "blacklist row")
    beside = f"a view without authentication ÷ Simple JWT + token_blacklist, {place}"
    yield line(f"a request, stateless: {beside}", whole, "none", "blacklist")


def _table(title: str, kind: str, found: dict[tuple[str, str], Found], names: Iterable[str]) -> Table:
    with_counts = kind == "request"
    head = [title, *(f"{name}, {algorithm}" for name, algorithm in found)]
    rows = []
    counts = next(iter(found.values())).counts
    for name in names:
        row = [_NAMES[name], *(duration(each.times.median(f"{kind} {name}")) for each in found.values())]
        if with_counts:
            row += [str(count) for count in counts[name]]
        rows.append(row)
    return Table([*head, "queries", "Redis round trips"] if with_counts else head, rows)


def _chart(found: Found, place: str) -> Bars:
    def microseconds(name: str) -> float:
        return found.times.median(f"request {name}") * 1e6

    def bars(labels: dict[str, str]) -> list[Bar]:
        return [
            Bar(label.replace("*", "").replace("`", ""), microseconds(name), is_ours=name in _OURS)
            for name, label in labels.items()
        ]

    return Bars(
        name="cost-of-a-request",
        title=f"What it costs to know who asks: {place}, HS256",
        axis="microseconds a request, in process; less is better",
        floor="of these: the view without authentication",
        base=microseconds("none"),
        groups=[("stateless", bars(_STATELESS)), ("with the user's row", bars(_WITH_ROW))],
    )
