"""What Redis has lost comes back from the journal before anybody is let in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from jwt_redis import journal, journalling, recovery, sessions
from jwt_redis.exceptions import NotReplicated, RevocationUnavailable
from jwt_redis.models import Revocation
from jwt_redis.recovery import pending
from jwt_redis.store import client, gate, markers
from jwt_redis.testing import reset
from jwt_redis.testing.servers import RedisServer
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

# Within a test's own transaction nothing would ever count as committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server of the test's own, which keeps nothing but what is saved to its snapshot."""
    with RedisServer() as server, pointed_at(server):
        yield server


def snapshot(server: RedisServer) -> None:
    with server.client() as client:
        client.save()


def roll_back(server: RedisServer) -> None:
    """As a crash does to a server without an append-only file."""
    server.kill()
    server.start()


def reason(token: Any) -> str | None:
    return sessions.explain(str(token)).reason


class Pair:
    def __init__(self, user: Any) -> None:
        self.refresh = sessions.open_session(user)
        self.access = self.refresh.access_token
        self.sid = str(self.refresh["sid"])


WAYS = {
    "one session": lambda user, pair, other: sessions.end_session(user, pair.sid),
    "the others": lambda user, pair, other: sessions.end_other_sessions(user, other.sid),
    "all of a user's": lambda user, pair, other: sessions.end_all_sessions(user),
    "a refresh token": lambda user, pair, other: sessions.revoke_token(pair.refresh),
    "an access token": lambda user, pair, other: sessions.revoke_token(pair.access),
    "a jti": lambda user, pair, other: sessions.revoke_jti(user, str(pair.access["jti"])),
    "everything": lambda user, pair, other: sessions.revoke_everything(),
}


# A store that was set back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
@pytest.mark.parametrize("way", WAYS)
def test_what_was_revoked_after_the_snapshot_stays_revoked(
    own: RedisServer, alice: Any, bob: Any, settings: Any, way: str, strategy: str
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    pair, other, bobs = Pair(alice), Pair(alice), Pair(bob)
    snapshot(own)
    WAYS[way](alice, pair, other)
    before = reason(pair.access)
    roll_back(own)
    assert before is not None and reason(pair.access) == before
    assert (reason(other.access) is None) == (way not in ("all of a user's", "everything"))
    assert (reason(bobs.access) is None) == (way != "everything")


def test_without_the_journal_it_works_again_where_nobody_noticed(own: RedisServer, alice: Any, settings: Any) -> None:
    """What the journal is for. A process that has seen the higher number notices all the same: see below."""
    settings.JWT_REDIS = {"ALIAS": "sessions", "JOURNAL": False}
    pair = Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    roll_back(own)
    markers.reset(setting="CACHES")
    gate.reset()
    assert reason(pair.access) is None


def test_without_the_journal_a_process_that_knows_better_trusts_nobody_from_before(
    own: RedisServer, alice: Any, settings: Any
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "JOURNAL": False}
    pair, other = Pair(alice), Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    assert reason(other.access) is None
    roll_back(own)
    assert [reason(pair.access), reason(other.access)] == ["store_lost", "store_lost"]
    assert reason(Pair(alice).access) is None


def test_a_rollback_behind_an_open_connection_is_noticed_by_its_number(own: RedisServer, alice: Any) -> None:
    """As when a proxy leads to another server: the number of revocations only grows."""
    pair, other = Pair(alice), Pair(alice)
    with own.client() as outside:
        before = _state(outside)
        sessions.end_session(alice, pair.sid)
        assert reason(pair.access) == "session_ended"
        _restore(outside, before)
    markers.reset()
    assert reason(pair.access) == "session_ended"
    assert reason(other.access) is None


def _state(outside: redis.Redis) -> dict[str, dict[str, str]]:
    return {key: outside.hgetall(key) for key in outside.scan_iter(_type="hash")}


def _restore(outside: redis.Redis, state: dict[str, dict[str, str]]) -> None:
    outside.flushall()
    for key, fields in state.items():
        outside.hset(key, mapping=fields)


def test_only_what_the_store_lacks_is_applied_again(
    own: RedisServer, alice: Any, bob: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Pair(alice), Pair(bob)
    sessions.end_session(alice, first.sid)
    snapshot(own)
    sessions.end_session(bob, second.sid)
    roll_back(own)
    caplog.clear()
    assert reason(second.access) == "session_ended"
    assert "1 revocations were applied again" in caplog.text


def test_a_session_that_was_opened_after_a_revocation_outlives_its_second_application(
    own: RedisServer, alice: Any
) -> None:
    old = Pair(alice)
    snapshot(own)
    sessions.end_all_sessions(alice)
    new = Pair(alice)
    with own.client() as outside:
        state = _state(outside)
        user = f"jwt:{{{alice.pk}}}"
        # The new session survived, the revocation did not: as if another replica's state was put together.
        state[user] = {f"sid:{new.sid}": state[user][f"sid:{new.sid}"], f"sid:{old.sid}": "x"}
        state["jwt:{log}:marker"]["revocations"] = "0"
        _restore(outside, state)
    markers.reset()
    assert reason(new.access) is None


def test_a_reused_refresh_token_stays_the_end_of_its_session(own: RedisServer, alice: Any) -> None:
    pair = Pair(alice)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        sessions.rotate(pair.refresh, alice)
        snapshot(own)
        with pytest.raises(Exception, match="blacklisted"):
            sessions.rotate(pair.refresh, alice)
        roll_back(own)
        assert reason(pair.access) == "session_ended"


@pytest.mark.parametrize(("strategy", "survives"), [("whitelist", False), ("blacklist", True)])
def test_an_emptied_store_signs_out_the_whitelist_and_nobody_else(
    own: RedisServer, alice: Any, settings: Any, strategy: str, survives: bool
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    recovery.establish()
    threading.Event().wait(1.1)  # a token is older than the store until the second after its birth
    pair, other = Pair(alice), Pair(alice)
    sessions.end_session(alice, pair.sid)
    with own.client() as outside:
        outside.flushall()
    markers.reset()
    # Refused one way or the other.
    assert reason(pair.access) is not None
    assert (reason(other.access) is None) == survives
    assert reason(Pair(alice).access) is None


def test_the_first_login_after_a_flush_is_a_good_one(own: RedisServer, alice: Any) -> None:
    Pair(alice)
    with own.client() as outside:
        outside.flushall()
    # Nobody has looked at the marker since: the login itself finds that the store is another one.
    assert reason(Pair(alice).access) is None


def test_the_first_revocation_after_a_restart_says_what_it_did(own: RedisServer, alice: Any) -> None:
    pair = Pair(alice)
    snapshot(own)
    roll_back(own)
    assert sessions.end_session(alice, pair.sid) is True
    assert Revocation.objects.get().applied_at is not None


def test_one_process_mends_and_the_others_are_kept_out(own: RedisServer, alice: Any) -> None:
    pair = Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    roll_back(own)
    with own.client() as outside:
        # Somebody is at it.
        outside.set("jwt:{log}:lock", "somebody", px=60_000)
        with pytest.raises(RevocationUnavailable):
            sessions.explain(str(pair.access))
        outside.delete("jwt:{log}:lock")
    assert reason(pair.access) == "session_ended"


def test_a_database_that_is_down_keeps_everybody_out_of_a_store_that_may_lack_something(
    own: RedisServer, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, other = Pair(alice), Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    roll_back(own)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO away")
    with pytest.raises(RevocationUnavailable):
        sessions.explain(str(other.access))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO jwt_redis_revocation")
    assert [reason(pair.access), reason(other.access)] == ["session_ended", None]


# Replicas and eviction ---------------------------------------------------------------------------------------------


def test_a_replica_is_not_asked(own: RedisServer, alice: Any) -> None:
    pair = Pair(alice)
    with RedisServer(options={"replicaof": f"127.0.0.1 {own.port}"}) as copy:
        with copy.client() as client:
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", "replication")
        with pointed_at(copy), pytest.raises(RevocationUnavailable) as caught:
            sessions.explain(str(pair.access))
        assert "replica" in str(caught.value.__cause__)


def test_a_primary_that_becomes_a_replica_behind_open_connections_is_not_asked_for_longer_than_a_second(
    own: RedisServer, alice: Any
) -> None:
    pair = Pair(alice)
    assert reason(pair.access) is None
    with RedisServer() as other, own.client() as outside:
        outside.replicaof("127.0.0.1", other.port)
        markers.reset()  # a second has passed
        with pytest.raises(RevocationUnavailable):
            sessions.explain(str(pair.access))


def test_too_few_replicas_are_an_error_and_the_revocation_stays_pending(
    own: RedisServer, alice: Any, settings: Any
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "WAIT_REPLICAS": (1, 0.05)}
    pair = Pair(alice)
    with pytest.raises(NotReplicated) as caught:
        sessions.end_session(alice, pair.sid)
    assert (caught.value.confirmed, caught.value.wanted) == (0, 1)
    assert Revocation.objects.get().applied_at is None
    with RedisServer(options={"replicaof": f"127.0.0.1 {own.port}"}) as copy, copy.client() as client:
        wait_for(lambda: client.info("replication")["master_link_status"] == "up", "replication")
        # The next question brings it to the replica first.
        settings.JWT_REDIS = {"ALIAS": "sessions", "WAIT_REPLICAS": (1, 2.0)}
        recovery.note_failure()
        assert reason(pair.access) == "session_ended"
        assert Revocation.objects.get().applied_at is not None
        assert client.hget(f"jwt:{{{alice.pk}}}", f"sid:{pair.sid}").startswith("ended.")


def test_the_blacklist_strategy_does_not_run_where_redis_evicts(alice: Any) -> None:
    with RedisServer(options={"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}) as server:
        with pointed_at(server):
            pair = Pair(alice)
            assert reason(pair.access) is None
        with pointed_at(server, STRATEGY="blacklist"), pytest.raises(RevocationUnavailable) as caught:
            sessions.explain(str(pair.access))
        assert "evicts" in str(caught.value.__cause__)


def test_nor_where_redis_is_told_to_evict_meanwhile(alice: Any) -> None:
    with RedisServer(options={"maxmemory": "64mb"}) as server, pointed_at(server, STRATEGY="blacklist"):
        pair = Pair(alice)
        assert reason(pair.access) is None
        with server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            # Now, and not in some seconds: the connections stay, which the gate has let through.
            recovery.reset(setting="CACHES")
            with pytest.raises(RevocationUnavailable) as caught:
                sessions.explain(str(pair.access))
            assert "evicts" in str(caught.value.__cause__)
            client.config_set("maxmemory-policy", "noeviction")
        wait_for(lambda: answers(pair.access), "it is asked again")
        assert reason(pair.access) is None


# The journal -------------------------------------------------------------------------------------------------------


def test_each_revocation_is_one_row_however_often_it_is_made(alice: Any) -> None:
    pair = Pair(alice)
    for _ in range(3):
        sessions.end_session(alice, pair.sid)
        sessions.revoke_token(pair.access)
    rows = Revocation.objects.order_by("id")
    assert [(row.kind, row.user, row.target) for row in rows] == [
        ("session", str(alice.pk), pair.sid),
        ("token", str(alice.pk), str(pair.access["jti"])),
    ]


def test_a_row_says_what_whom_when_until_why_by_whom(alice: Any, store: redis.Redis) -> None:
    pair = Pair(alice)
    with journal.acting_as("an operator"):
        sessions.end_session(alice, pair.sid, reason="stolen_laptop")
    row = Revocation.objects.get()
    assert (row.reason, row.actor) == ("stolen_laptop", "an operator")
    now = datetime.now(tz=UTC)
    assert abs(row.created_at - now) < timedelta(seconds=10)
    # For as long as the refresh token could have been used.
    assert timedelta(days=1) <= row.until - now < timedelta(days=1, minutes=5)
    marker = store.hgetall("jwt:{log}:marker")
    assert (row.store_id, row.number) == (marker["store_id"], int(marker["revocations"])) and row.number == 1


def test_what_is_rolled_back_leaves_no_row_and_the_session_ended(alice: Any) -> None:
    pair = Pair(alice)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sessions.end_session(alice, pair.sid)
        raise ZeroDivisionError
    assert not Revocation.objects.exists()
    assert reason(pair.access) == "session_ended"


def test_within_a_transaction_the_row_counts_as_applied_only_after_the_commit(alice: Any) -> None:
    pair = Pair(alice)
    with transaction.atomic():
        sessions.end_session(alice, pair.sid)
        row = Revocation.objects.get()
        assert row.applied_at is None and row.number == 1
    row.refresh_from_db()
    assert row.applied_at is not None


def test_a_journal_that_cannot_be_written_is_an_error_and_the_session_is_ended(alice: Any) -> None:
    pair = Pair(alice)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO away")
    with pytest.raises(RevocationUnavailable):
        sessions.end_session(alice, pair.sid)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO jwt_redis_revocation")
    assert reason(pair.access) == "session_ended"
    # The client asks again, as 503 tells it to.
    sessions.end_session(alice, pair.sid)
    assert Revocation.objects.get().applied_at is not None


def test_a_journal_that_cannot_be_written_takes_neither_the_transaction_nor_anybody_else_along(
    alice: Any, bob: Any
) -> None:
    pair, bobs = Pair(alice), Pair(bob)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO away")
    with transaction.atomic():
        alice.set_password("new")
        with pytest.raises(RevocationUnavailable):
            alice.save()
        # Not broken: the caller may go on, or undo it.
        assert type(alice).objects.filter(pk=alice.pk).exists()
    assert [reason(pair.access), reason(bobs.access)] == ["session_ended", None]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO jwt_redis_revocation")


def test_a_revocation_while_redis_is_down_is_an_error_and_is_applied_first_of_all_when_it_is_back(
    own: RedisServer, alice: Any
) -> None:
    pair, other = Pair(alice), Pair(alice)
    with own.client() as outside:
        outside.config_set("save", "")
    snapshot(own)
    own.kill()
    with pytest.raises(RevocationUnavailable):
        sessions.end_session(alice, pair.sid)
    assert Revocation.objects.get().applied_at is None
    own.start()
    wait_for(lambda: answers(other.access), "an answer")
    assert reason(pair.access) == "session_ended" and reason(other.access) is None
    assert Revocation.objects.get().applied_at is not None


def test_what_is_left_pending_is_applied_without_anybody_asking(own: RedisServer, alice: Any) -> None:
    """Another process, which was not cut off, has no reason to look."""
    pair = Pair(alice)
    snapshot(own)
    own.kill()
    alice.is_active = False
    alice.save()
    own.start()
    with own.client() as outside:
        key, field = f"jwt:{{{alice.pk}}}", f"sid:{pair.sid}"
        wait_for(lambda: (outside.hget(key, field) or "").startswith("ended."), "the end of the session")
    wait_for(lambda: Revocation.objects.filter(applied_at=None).count() == 0, "the mark in the journal")


def test_a_revocation_is_tried_even_while_redis_is_known_dead(alice: Any) -> None:
    pair = Pair(alice)
    client._breaker_of().failed()
    with pytest.raises(RevocationUnavailable):
        sessions.explain(str(pair.access))
    sessions.end_session(alice, pair.sid)
    assert reason(pair.access) == "session_ended"


def answers(token: Any) -> bool:
    try:
        return reason(token) is None
    except RevocationUnavailable:
        return False


def test_the_next_revocation_applies_what_another_process_left_pending(alice: Any, bob: Any) -> None:
    pair, bobs = Pair(alice), Pair(bob)
    # As a process leaves it that is killed between the database and Redis.
    journal.begin([journal.Entry.of_session(str(alice.pk), pair.sid, "logout")])
    assert reason(pair.access) is None
    pending._next_sweep = 0.0
    sessions.end_session(bob, bobs.sid)
    assert reason(pair.access) == "session_ended"


def test_a_pending_end_of_all_sessions_spares_those_that_were_opened_since(alice: Any) -> None:
    old = Pair(alice)
    journal.begin([journal.Entry(Revocation.Kind.USER, str(alice.pk), reason="password_changed")])
    threading.Event().wait(3)  # what passes between the journal and the clock counts as later
    new = Pair(alice)
    assert recovery.trusted(recovery.sweep) == 1
    assert [reason(old.access), reason(new.access)] == ["session_ended", None]


def test_odd_user_ids_are_journalled_and_applied_again(own: RedisServer, settings: Any) -> None:
    for user in ("a b", "a{b}", "{log}", "log", "ü", "a" * 500, "%7B", "~abc", "\x00"):
        sid = sessions.new_sid()
        journal.begin([journal.Entry.of_session(user, sid, "test")])
        settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
        recovery.trusted(recovery.sweep)
        with own.client() as outside:
            key = [
                name
                for name in outside.scan_iter()
                if outside.type(name) == "hash" and outside.hget(name, f"sid:{sid}")
            ]
        from jwt_redis.keys import user_key

        assert key == [user_key(user)]


def test_a_row_that_comes_later_says_who_it_was_all_the_same(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's one writer was the transaction that the row must not be part of: a thread writes it."""
    pair = Pair(alice)
    entry = replace(journal.Entry.of_session(str(alice.pk), pair.sid, "provider_logout"), is_independent=True)
    begin, tries = journal.begin, []

    def locked_once(entries: Any) -> Any:
        tries.append(entries)
        if len(tries) == 1:
            raise OperationalError("database is locked")
        return begin(entries)

    monkeypatch.setattr(journal, "begin", locked_once)
    with journal.acting_as("https://op.example"):
        assert isinstance(journalling.begin([entry]), OperationalError)
    wait_for(lambda: Revocation.objects.exclude(applied_at=None).exists(), "the row, and its end")
    assert Revocation.objects.get().actor == "https://op.example"
    assert reason(pair.access) == "session_ended"


def test_the_test_kit_ends_the_thread_that_still_brings_rows(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would mend the store of the next test, who is 503 meanwhile."""
    began, brought = threading.Event(), []

    def bring(**kwargs: Any) -> int:
        began.set()
        time.sleep(0.3)
        brought.append(True)
        return 0

    monkeypatch.setattr(pending, "sweep", bring)
    recovery.note_failure(has_left_rows=True)
    assert began.wait(20)
    reset()
    assert brought and pending._keeper is None
