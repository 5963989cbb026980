"""An acknowledged revocation is refused in every process within the lease, whatever happens meanwhile.

Real processes check tokens as fast as they can, another one revokes; one clock says when a check began and when a
revocation was acknowledged. Nothing else is timed: a slow machine makes these tests slow, and no test red.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.world import LOG, MARKER, Report, World, prepare, world

SHORT, LONG = 0.3, 1.0
AOF = {"appendonly": "yes", "appendfsync": "always"}

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("staleness"))


@pytest.fixture
def said(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[Report], Report]:
    def say(report: Report) -> Report:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {report}", end="")  # noqa: T201
        return report

    return say


@contextlib.contextmanager
def paused(process: Any) -> Iterator[None]:
    """SIGSTOP, and SIGCONT whatever happens."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def begin(made: World, *options: dict[str, Any], users: int = 12) -> None:
    """Sessions, and a worker for each of ``options``; all of them answer from memory."""
    made.open(users)
    for one in options:
        made.start_worker(**one)
    made.wait_until_warm()


def assert_kept(report: Report, *, kinds: int = 6) -> None:
    assert not report.violations, report.violations
    assert len(report.worst) >= kinds
    assert report.from_memory > 1000


# Nothing happens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "lease", "near_cache"),
    [
        pytest.param("whitelist", SHORT, {}, id="whitelist-waiting-0.3"),
        pytest.param("blacklist", LONG, {}, id="blacklist-waiting-1.0", marks=slow),
        pytest.param("whitelist", LONG, {"max_waiting": 0}, id="whitelist-polling-1.0", marks=slow),
        pytest.param("blacklist", SHORT, {"max_waiting": 0}, id="blacklist-polling-0.3"),
    ],
)
def test_nothing_happens(
    strategy: str, lease: float, near_cache: dict[str, Any], database: Path, said: Callable[[Report], Report]
) -> None:
    with world(database, lease=lease, strategy=strategy, near_cache=near_cache) as made:
        begin(made, {}, {"asynchronous": True})
        made.revoke_some(18)
        made.revoke("everything")
        assert_kept(said(made.finish()), kinds=7)


def test_answers_come_in_small_pages(database: Path, said: Callable[[Report], Report]) -> None:
    """More was revoked than one question brings, while a worker slept."""
    with world(database, lease=SHORT) as made:
        begin(made, {"sabotage": ["small_pages"]})
        with paused(made.workers[0]):
            made.revoke_some(18, pause=0)
        assert_kept(said(made.finish()))


@slow
def test_the_near_cache_begins_anew_all_the_time(database: Path, said: Callable[[Report], Report]) -> None:
    with world(database, lease=SHORT) as made:
        begin(made, {"restarts": 0.1}, {})
        made.revoke_some(24, pause=0.04)
        assert_kept(said(made.finish()))


# The interpreter is busy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beside", "strategy", "lease"),
    [
        pytest.param("spinning", "whitelist", LONG, marks=slow),
        ("switching", "blacklist", SHORT),
        pytest.param("switching", "whitelist", LONG, marks=slow),
    ],
)
def test_other_threads_want_the_interpreter(
    beside: str, strategy: str, lease: float, database: Path, said: Callable[[Report], Report]
) -> None:
    """``switching``: threads that let go of its lock for a moment only, which starves whoever waits for the network."""
    with world(database, lease=lease, strategy=strategy) as made:
        begin(made, {"beside": beside}, users=6)
        made.revoke_some(12)
        assert_kept(said(made.finish()))


# The network ----------------------------------------------------------------------------------------------------------


def black_hole(made: World, times: int, *, requests: bool = True) -> None:
    """No reply arrives for three leases, then all of them do; ``requests``: nor does a question."""
    assert made.link is not None
    made.link.delay = 0.1
    for _ in range(times):
        time.sleep(0.2)
        made.link.hold(requests=requests)
        made.revoke_some(4)
        time.sleep(3 * SHORT)
        made.link.release()
        made.revoke_some(2)
    made.link.delay = 0.0


# It is nearly always waiting for an answer.
ASKING = {"max_waiting": 0, "poll": 0.03}


@pytest.mark.parametrize(
    ("timeout", "near_cache", "requests"),
    [
        pytest.param(0.25, {}, True, id="impatient", marks=slow),
        pytest.param(5.0, {}, True, id="patient", marks=slow),
        pytest.param(5.0, ASKING, False, id="asking"),
    ],
)
def test_the_link_is_a_black_hole(
    timeout: float, near_cache: dict[str, Any], requests: bool, database: Path, said: Callable[[Report], Report]
) -> None:
    """A client that is patient gets answers that are old."""
    options = {"SOCKET_TIMEOUT": timeout}
    with world(database, lease=SHORT, linked=True, client_options=options, near_cache=near_cache) as made:
        begin(made, {"threads": 3})
        black_hole(made, 3, requests=requests)
        report = said(made.finish())
        assert_kept(report)
        assert (report.unanswered > 0) == (timeout < 3 * SHORT)


@pytest.mark.parametrize("delay", [0.5, pytest.param(2.0, marks=slow)])
def test_the_link_is_slow(delay: float, database: Path, said: Callable[[Report], Report]) -> None:
    """Each reply is half a lease old when it comes, or two leases."""
    with world(database, lease=SHORT, linked=True, client_options={"SOCKET_TIMEOUT": 5.0}) as made:
        assert made.link is not None
        begin(made, {"threads": 3}, users=6)
        made.link.delay = delay * SHORT
        made.revoke_some(10, pause=0.1)
        made.link.delay = 0.0
        assert_kept(said(made.finish()), kinds=5)


# Somebody stands still ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strategy", "lease"), [("whitelist", SHORT), pytest.param("blacklist", LONG, marks=slow)])
def test_redis_stands_still(strategy: str, lease: float, database: Path, said: Callable[[Report], Report]) -> None:
    """Revocations that were sent meanwhile are acknowledged once it goes on."""
    with world(database, lease=lease, strategy=strategy) as made:
        begin(made, {}, {})
        for _ in range(2):
            made.revoke_some(5)
            with paused(made.place.process):
                late = threading.Thread(target=made.revoke_some, args=(2, 0))
                late.start()
                time.sleep(1.5 * lease)
            late.join()
        assert_kept(said(made.finish()), kinds=5)


@pytest.mark.parametrize("lease", [SHORT, pytest.param(LONG, marks=slow)])
def test_a_worker_stands_still(lease: float, database: Path, said: Callable[[Report], Report]) -> None:
    """When it goes on it has not heard of anything that was revoked meanwhile."""
    with world(database, lease=lease) as made:
        begin(made, {}, {"threads": 2})
        for _ in range(2):
            for worker in made.workers:
                with paused(worker):
                    made.revoke_some(4)
                    time.sleep(0.8 * lease)
        assert_kept(said(made.finish()))


def test_a_worker_is_forked(database: Path, said: Callable[[Report], Report]) -> None:
    """The child has its parent's memory and nobody to keep it; the parent goes on."""
    with world(database, lease=SHORT) as made:
        begin(made, {"fork": 1}, {"fork": 1, "asynchronous": True})
        made.revoke_some(18)
        assert_kept(said(made.finish()))


# Redis loses, or is made to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strategy", "lease"), [("whitelist", SHORT), pytest.param("blacklist", LONG, marks=slow)])
def test_redis_is_killed(strategy: str, lease: float, database: Path, said: Callable[[Report], Report]) -> None:
    """With all that it has written, it is back on the same port; revocations go on throughout."""
    with world(database, lease=lease, strategy=strategy, options=AOF) as made:
        begin(made, {}, {})
        for _ in range(2):
            made.revoke_some(3)
            made.place.kill()
            revoking = threading.Thread(target=made.revoke_some, args=(6, 0.04))
            revoking.start()
            time.sleep(0.15)
            made.place.start()
            revoking.join()
        report = said(made.finish())
        assert_kept(report)
        assert max(revocation.tries for revocation in report.revocations) > 1


@pytest.mark.parametrize("strategy", [pytest.param("whitelist", marks=slow), "blacklist"])
def test_redis_is_emptied(strategy: str, database: Path, said: Callable[[Report], Report]) -> None:
    """Under the whitelist that ends every session; under the blacklist the journal brings back what was revoked."""
    with world(database, lease=SHORT, strategy=strategy) as made:
        # Who signed in within the journal's first second would have to do so again.
        made.revoke("session")
        time.sleep(1.0)
        begin(made, {}, {})
        made.revoke_some(12)
        with made.store() as store:
            store.flushall()
        if strategy == "whitelist":
            made.happened("flushed", time.monotonic(), made.live())
        else:
            made.revoke_some(6)
        # Whose record is lost, and who was spared by "others", is not known to have been.
        assert_kept(said(made.finish(keeps=False)))


def _delete_log(store: Any) -> None:
    store.delete(LOG)


def _trim_log(store: Any) -> None:
    store.xtrim(LOG, maxlen=0, approximate=False)


def _trim_log_but_for_one(store: Any) -> None:
    store.xtrim(LOG, maxlen=1, approximate=False)


def _replace_log(store: Any) -> None:
    store.set(LOG, "damaged")
    time.sleep(0.1)
    store.delete(LOG)


def _add_to_log(store: Any) -> None:
    store.xadd(LOG, {"kind": "nonsense", "user": "nobody"})


def _forget_scripts(store: Any) -> None:
    store.script_flush()


@pytest.mark.parametrize(
    "damage",
    [
        _delete_log,
        _trim_log_but_for_one,
        *(pytest.param(one, marks=slow) for one in (_trim_log, _replace_log, _add_to_log, _forget_scripts)),
    ],
)
def test_the_log_is_damaged_by_hand(
    damage: Callable[[Any], None], database: Path, said: Callable[[Report], Report]
) -> None:
    """Again and again, in between revocations, and before all who follow have heard of them."""
    with world(database, lease=SHORT) as made, made.store() as store:
        begin(made, {"sabotage": ["young_store"]}, {"sabotage": ["young_store"]}, users=4)
        for _ in range(2):
            made.revoke_some(3, pause=0)
            damage(store)
            made.revoke_some(4, pause=0)
            # What is issued now is young enough for the log that is left.
            time.sleep(1.0)
            made.wait_until_warm(made.open(4))
        with paused(made.workers[0]):
            made.revoke_some(3, pause=0)
            damage(store)
        made.revoke_some(3, pause=0)
        assert_kept(said(made.finish()))


def test_the_marker_is_deleted(database: Path, said: Callable[[Report], Report]) -> None:
    """It counts as a store that is lost: no session from before is good."""
    with world(database, lease=SHORT) as made, made.store() as store:
        begin(made, {}, {})
        made.revoke_some(12)
        store.delete(MARKER)
        made.happened("marker", time.monotonic(), made.live())
        assert_kept(said(made.finish()))


# The oracle itself ----------------------------------------------------------------------------------------------------


def _trimmed_unheard(made: World) -> None:
    with made.store() as store:
        for worker in made.workers:
            os.kill(worker.pid, signal.SIGSTOP)
        made.revoke_some(6, pause=0)
        _trim_log(store)
        for worker in made.workers:
            os.kill(worker.pid, signal.SIGCONT)


def _nothing(made: World) -> None:
    made.revoke_some(6)


@pytest.mark.parametrize(
    ("guard", "accident"),
    [
        pytest.param("late_lease", lambda made: black_hole(made, 3, requests=False), id="late_lease"),
        pytest.param("endless_lease", lambda made: black_hole(made, 1), id="endless_lease", marks=slow),
        pytest.param("blind_to_gaps", _trimmed_unheard, id="blind_to_gaps"),
        pytest.param("deaf", _nothing, id="deaf", marks=slow),
    ],
)
def test_without_a_guard_it_turns_red(guard: str, accident: Callable[[World], None], database: Path) -> None:
    options = {"SOCKET_TIMEOUT": 5.0}
    with world(database, lease=SHORT, linked=True, client_options=options, near_cache=ASKING) as made:
        begin(made, {"threads": 3, "sabotage": [guard]})
        accident(made)
        assert made.finish(keeps=False).violations


def test_an_oracle_that_was_told_nothing_is_not_content(database: Path) -> None:
    """A worker that does not answer from memory is no witness."""
    with world(database, lease=SHORT) as made:
        made.open(1)
        made.start_worker(sabotage=["silent"])
        with pytest.raises(AssertionError, match="still not: all threads answer from memory"):
            made.wait_until_warm(seconds=1)
