"""The table, and the page that it is on."""

from __future__ import annotations

import platform
from pathlib import Path

import redis

from jwt_redis.testing.servers import RedisServer
from tests.chaos.guards import Guard
from tests.chaos.oracle import NO_ANSWER
from tests.chaos.world import Result

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "chaos.md"

_INTRO = """# Broken on purpose

<!-- chaos: written by `python -m tests.chaos --write`; do not edit -->

Does a revoked token ever work again? Real Redis servers, two worker processes with six threads each; clients sign in,
ask, refresh, revoke in every way there is, and ask again with what was revoked, while something is broken. *Accepted
after* counts requests that began after the revocation had been acknowledged and were let in; "within the bound" is
what [the promise](../explanation/promises.md) excepts: a user who was changed while Redis could not be told, at a
view that does not load the user row, until a second after Redis can be told. Sessions are lost when they are refused
though nobody ended them: none may be, except where the store itself loses state, or evicts. The seconds are from the
end of the fault to the first request that was let in, and to the first revocation. Clients may see no error but 503,
or a lost connection where a worker is killed.

```console
make chaos                      # every scenario; some minutes
python -m tests.chaos kill-rdb  # one of them
python -m tests.chaos --write   # every scenario, and this page
```

"""

_HEAD = (
    "| scenario | strategy | revocations acknowledged | accepted after | sessions lost"
    " | errors seen by clients | seconds to recover |\n| --- | --- | ---: | ---: | --- | --- | --- |\n"
)


def _accepted(result: Result) -> str:
    bounded = f" ({len(result.bounded)} within the bound)" if result.bounded else ""
    return (f"**{len(result.wrong)}**" if result.wrong else "0") + bounded


def _lost(result: Result) -> str:
    if result.scenario.keeps or not result.lost:
        return str(result.lost)
    # Which of them the store has lost is not looked into.
    return f"{result.lost} of {result.opened}, the store's own loss among them"


def _errors(result: Result) -> str:
    errors = {status: n for status, n in sorted(result.statuses.items()) if not 200 <= status < 300 and status != 401}
    named = {NO_ANSWER: "connection lost"}
    return ", ".join(f"{named.get(status, status)} ({n:,} times)" for status, n in errors.items()) or "none"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def line(result: Result) -> str:
    """One row."""
    cells = (
        result.scenario.title,
        result.strategy,
        f"{sum(result.acknowledged.values()):,}",
        _accepted(result),
        _lost(result),
        "503 to everybody" if result.strategy in result.scenario.refuses else _errors(result),
        f"{_seconds(result.check_seconds)}, {_seconds(result.revoke_seconds)}",
    )
    return "| " + " | ".join(cells) + " |\n"


def _versions() -> str:
    with RedisServer() as server, server.client() as client:
        info = client.info("server")
    name = str(info.get("server_name", "redis")).capitalize()
    version = info.get("valkey_version") or info["redis_version"]
    return f"{name} {version}, redis-py {redis.__version__}, Python {platform.python_version()}"


def page(results: list[Result], guards: list[tuple[Guard, Result]], breaker: tuple[float, float], seed: int) -> str:
    """All of it."""
    total = sum(sum(result.acknowledged.values()) for result in results)
    wrong = sum(len(result.wrong) for result in results)
    rows = "".join(line(result) for result in results)
    taken_out = "".join(
        f"| {guard.title} | {result.scenario.title} | {guard.strategy} | {len(result.wrong)} |\n"
        for guard, result in guards
    )
    return (
        f"{_INTRO}{total:,} revocations acknowledged, {wrong} accepted after. {_versions()}; seed {seed}.\n\n"
        f"{_HEAD}{rows}"
        "\n## With a guard taken out\n\nThat these numbers can be other than 0 is shown by taking out of the workers"
        " what keeps them there.\n\n| without | scenario | strategy | accepted after |\n| --- | --- | --- | ---: |\n"
        f"{taken_out}\nOf the requests that were answered 503 because Redis' address was dead, {breaker[0]:.0%} had"
        f" tried to connect to it; without the breaker {breaker[1]:.0%}.\n\n<!-- /chaos -->\n"
    )
