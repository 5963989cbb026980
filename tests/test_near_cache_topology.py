"""The near cache behind Sentinel and in Cluster: the bound holds through failovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jwt_redis import near_cache, operations, sessions
from jwt_redis.store import client
from tests.oracle.world import KINDS, LOG, Report, World, prepare, world
from tests.support.topology import Cluster, Sentinels
from tests.support.waiting import wait_for
from tests.test_staleness import assert_kept, begin, paused

pytestmark = pytest.mark.slow

LEASE = 0.5


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("topology"))


@pytest.fixture
def said(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[Report], Report]:
    def say(report: Report) -> Report:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {report}", end="")  # noqa: T201
        return report

    return say


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    with Sentinels(replicas=2) as place:
        yield place


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as place:
        yield place


def revoking(made: World, count: int, pause: float = 0.05) -> threading.Thread:
    thread = threading.Thread(target=made.revoke_some, args=(count, pause))
    thread.start()
    return thread


# One server -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_direct_check_rests_on_a_proof_of_the_last_second(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the lease: the follower's questions between two proofs do not make the marker's copy younger."""
    settings.JWT_REDIS = {**settings.JWT_REDIS, "NEAR_CACHE": {"lease": 30.0, "poll": 0.05}}
    proofs: list[float] = []
    execute = client.execute

    def noting(*many: Any) -> Any:
        if any(command.proves_primary for command in many):
            proofs.append(time.monotonic())
        return execute(*many)

    monkeypatch.setattr(client, "execute", noting)
    monkeypatch.setattr(operations, "execute", noting)
    try:
        token = sessions.open_session(alice).access_token
        sessions.check(token)
        wait_for(near_cache.is_fresh, "the near cache answers", 10)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            began = time.monotonic()
            assert sessions.check(token, directly=True).allowed
            assert began - proofs[-1] <= 1.0
            time.sleep(0.01)
    finally:
        near_cache.stop(5)


# Sentinel -------------------------------------------------------------------------------------------------------------


def test_the_primary_is_killed(sentinels: Sentinels, database: Path, said: Callable[[Report], Report]) -> None:
    """A replica takes over that has all of it; revocations go on, and are acknowledged when it does."""
    with world(database, lease=LEASE, place=sentinels) as made:
        begin(made, {}, {"asynchronous": True})
        made.revoke_some(6)
        sentinels.wait_until_replicated()
        former = sentinels.primary()
        thread = revoking(made, 12)
        former.kill()
        sentinels.wait_for_failover(former)
        thread.join()
        report = said(made.finish(seconds=60))
        assert_kept(report)
        assert max(revocation.tries for revocation in report.revocations) > 1


def test_a_replica_takes_over_that_lagged(
    sentinels: Sentinels, database: Path, said: Callable[[Report], Report]
) -> None:
    """What it lacks stands in the journal, and neither the log nor the number tells of it."""
    with world(database, lease=LEASE, place=sentinels) as made:
        begin(made, {}, {})
        made.revoke_some(6)
        sentinels.wait_until_replicated()
        for replica in list(sentinels.replicas()):
            sentinels.stall_replica(sentinels.replicas().index(replica))
        made.revoke_some(8)
        former = sentinels.kill_primary()
        sentinels.wait_for_failover(former)
        made.revoke_some(6)
        assert_kept(said(made.finish(keeps=False, seconds=60)))


def test_the_primary_stands_still(sentinels: Sentinels, database: Path, said: Callable[[Report], Report]) -> None:
    """It is replaced meanwhile, and then goes on as if it still were one; who holds a connection to it may ask it."""
    with world(database, lease=LEASE, place=sentinels) as made:
        # For a second a check that asks Redis may be answered by the former one; the memory has but its lease.
        made.has_two_primaries = True
        begin(made, {}, {})
        made.revoke_some(6)
        sentinels.wait_until_replicated()
        former = sentinels.primary()
        thread = revoking(made, 12, 0.3)
        with paused(former.process):
            sentinels.wait_for_failover(former)
        thread.join()
        assert_kept(said(made.finish(seconds=60)))


# Cluster --------------------------------------------------------------------------------------------------------------


def test_the_logs_node_is_killed(cluster: Cluster, database: Path, said: Callable[[Report], Report]) -> None:
    """Users' nodes go on meanwhile: a script may have run there whose entry in the log failed, and is tried again."""
    with world(database, lease=LEASE, place=cluster) as made:
        begin(made, {}, {"asynchronous": True}, users=16)
        made.revoke_some(6)
        cluster.wait_until_replicated()
        # Found beforehand: that takes as long as the slowest node, and they might be over.
        primary = cluster.owner_of(LOG)
        thread = revoking(made, 18)
        time.sleep(0.1)
        primary.kill()
        cluster.wait_until_ok()
        thread.join()
        report = said(made.finish(seconds=60))
        assert_kept(report)
        assert max(revocation.tries for revocation in report.revocations) > 1


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_the_logs_node_stands_still(
    strategy: str, cluster: Cluster, database: Path, said: Callable[[Report], Report]
) -> None:
    """For less than a failover takes: nothing is lost, but what is revoked meanwhile takes long, and so does asking."""
    with world(database, lease=LEASE, place=cluster, strategy=strategy) as made:
        begin(made, {}, {}, users=16)
        made.revoke_some(6)
        for _ in range(2):
            with paused(cluster.owner_of(LOG).process):
                thread = revoking(made, 6, 0)
                time.sleep(0.9)
            thread.join()
        assert_kept(said(made.finish(seconds=60)))


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
@pytest.mark.parametrize("error", ["TimeoutError", "ConnectionError"])
def test_an_append_that_failed_is_made_up_for(
    error: str, strategy: str, journal: bool, cluster: Cluster, database: Path, said: Callable[[Report], Report]
) -> None:
    """The user's node has done it, and the log's does not know. After a timeout it is for the caller to try again."""
    kinds = [kind for kind in KINDS if kind != "push-out"]
    with world(database, lease=LEASE, place=cluster, strategy=strategy, JOURNAL=journal) as made:
        begin(made, {}, {}, users=len(kinds))
        for user, kind in enumerate(kinds, 2):
            made.revoker("stumble", error=error)
            made.revoke(kind, next(one for one in made.live() if one.user == user))
        report = said(made.finish(seconds=60))
        assert_kept(report, kinds=len(kinds))
        assert all((revocation.tries > 1) == (error == "TimeoutError") for revocation in report.revocations)
