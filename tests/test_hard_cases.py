"""Two things at once: a second failure while the first is mended, two histories, two threads, two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.test import override_settings
from django.utils import timezone

from jwt_redis import journal, operations, recovery, sessions
from jwt_redis.exceptions import NotReplicated, RevocationUnavailable, StoreNotReady
from jwt_redis.journal import Entry
from jwt_redis.models import Revocation
from jwt_redis.recovery import pending, rows, stores
from jwt_redis.store import client, gate, markers
from jwt_redis.testing.servers import RedisServer, free_port
from jwt_redis.tokens import RefreshToken
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for
from tests.test_recovery import Pair, _restore, _state, answers, reason, roll_back, snapshot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server of the test's own, which keeps nothing but what is saved to its snapshot."""
    with RedisServer() as server, pointed_at(server):
        yield server


def forget() -> None:
    """As a process that has just started."""
    client.reset()
    gate.reset()
    markers.reset(setting="CACHES")
    recovery.reset(setting="CACHES")


def put_away(is_away: bool) -> None:
    """The journal's table is not there, or there again."""
    names = ("jwt_redis_revocation", "away") if is_away else ("away", "jwt_redis_revocation")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE {} RENAME TO {}".format(*names))


def is_ended_in(outside: redis.Redis, user: Any, pair: Pair) -> bool:
    """Without asking this process, which would look at the journal first."""
    return (outside.hget(f"jwt:{{{user.pk}}}", f"sid:{pair.sid}") or "").startswith("ended.")


# A store that is mended --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_mending_that_is_cut_off_is_begun_again_from_where_the_store_stood(
    own: RedisServer, alice: Any, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    for _ in range(6):
        sessions.revoke_token(Pair(alice).access)
    with own.client() as outside:
        outside.flushall()
    forget()
    pairs, alive = [Pair(alice) for _ in range(4)], Pair(alice)
    with own.client() as outside:
        before = _state(outside)
        outside.save()
        for pair in pairs:
            sessions.end_session(alice, pair.sid)
        if not is_restarted:
            _restore(outside, before)
    if is_restarted:
        roll_back(own)
    forget()
    read, batches = journal.missing_from, []

    def cut_off(*args: Any) -> list[Revocation]:
        batches.append(args)
        if len(batches) == 2:
            raise OperationalError("the database went away")
        return read(*args)

    with monkeypatch.context() as patch:
        # The first batch is what the former store was told, and raises the number of this one above that of the rest.
        patch.setattr(rows, "BATCH", 6)
        patch.setattr(journal, "missing_from", cut_off)
        with pytest.raises(RevocationUnavailable):
            sessions.explain(str(pairs[0].access))
    assert len(batches) == 2
    with own.client() as outside:
        assert int(outside.hget("jwt:{log}:marker", "revocations") or 0) >= len(pairs)
    forget()
    assert [reason(pair.access) for pair in pairs] == ["session_ended"] * 4
    assert reason(alive.access) is None


@pytest.fixture
def promoted(own: RedisServer) -> Iterator[RedisServer]:
    """Its replica, until it is promoted; ``own`` goes on believing to be the primary."""
    with RedisServer(options={"replicaof": f"127.0.0.1 {own.port}"}) as copy:
        with copy.client() as outside:
            wait_for(lambda: outside.info("replication")["master_link_status"] == "up", "replication")
        yield copy


def promote(copy: RedisServer, of: RedisServer) -> None:
    with copy.client() as outside, of.client() as primary:
        sent = primary.info("replication")["master_repl_offset"]
        wait_for(lambda: outside.info("replication")["slave_repl_offset"] >= sent, "the replica to catch up")
        outside.replicaof("NO", "ONE")


def test_what_the_old_primary_still_took_is_known_at_the_new_one(
    own: RedisServer, promoted: RedisServer, alice: Any
) -> None:
    here, there, alive = Pair(alice), Pair(alice), Pair(alice)
    promote(promoted, own)
    # Another process is at the new one already, and mends it.
    with pointed_at(promoted):
        sessions.end_session(alice, there.sid)
    # This one has a connection to the old one.
    sessions.end_session(alice, here.sid)
    mine = markers.trusted_store()
    with pointed_at(promoted):
        # It follows.
        markers._store = mine
        assert [reason(pair.access) for pair in (here, there, alive)] == ["session_ended", "session_ended", None]


def test_a_process_that_comes_back_to_the_old_primary_brings_what_the_new_one_was_told(
    own: RedisServer, promoted: RedisServer, alice: Any
) -> None:
    here, there, alive = Pair(alice), Pair(alice), Pair(alice)
    promote(promoted, own)
    sessions.end_session(alice, here.sid)
    with pointed_at(promoted):
        sessions.end_session(alice, there.sid)
        theirs = markers.trusted_store()
    markers._store = theirs
    assert [reason(pair.access) for pair in (here, there, alive)] == ["session_ended", "session_ended", None]


def test_a_process_that_has_just_started_notices_a_store_that_was_set_back_within_one_run(
    own: RedisServer, alice: Any
) -> None:
    """As a virtual machine is, together with its memory."""
    pair, other = Pair(alice), Pair(alice)
    with own.client() as outside:
        before = _state(outside)
        sessions.end_session(alice, pair.sid)
        _restore(outside, before)
    forget()
    assert [reason(pair.access), reason(other.access)] == ["session_ended", None]


def test_without_a_journal_a_revocation_beside_the_look_at_the_store_is_no_rollback(
    own: RedisServer, alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "JOURNAL": False}
    pair = Pair(alice)
    store_id, judge, jtis = markers.store_id(), stores._judge, iter("abcdef")
    assert store_id

    def judge_late(*args: Any) -> Any:
        # As another thread does, after the marker was read.
        sessions.revoke_jti("77", next(jtis))
        return judge(*args)

    monkeypatch.setattr(stores, "_judge", judge_late)
    recovery.establish()
    assert markers.store_id() == store_id
    assert reason(pair.access) is None


def test_allow_lets_nothing_pass_that_redis_may_have_forgotten(
    own: RedisServer, alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "ON_REDIS_FAILURE": "allow"}
    pair = Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    roll_back(own)
    # Redis answers, and the database does not.
    put_away(True)
    with pytest.raises(StoreNotReady):
        sessions.check(pair.access)
    put_away(False)
    assert sessions.check(pair.access).reason == "session_ended"
    own.kill()
    assert sessions.check(pair.access).checked is False


# Pending rows ------------------------------------------------------------------------------------------------------


def test_a_change_that_met_a_store_under_repair_takes_effect_without_anybody_asking(
    own: RedisServer, alice: Any
) -> None:
    pair = Pair(alice)
    snapshot(own)
    roll_back(own)
    with own.client() as outside:
        outside.set("jwt:{log}:lock", "somebody", px=60_000)
        alice.is_active = False
        alice.save()
        assert Revocation.objects.get().applied_at is None
        outside.delete("jwt:{log}:lock")
        wait_for(lambda: is_ended_in(outside, alice, pair), "the end of the session", 10)
    wait_for(lambda: not Revocation.objects.filter(applied_at=None).exists(), "the mark in the journal")


def test_whoever_brings_what_is_pending_survives_any_error(
    own: RedisServer, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, sweep, failed = Pair(alice), recovery.sweep, []

    def stumble(**kwargs: Any) -> int:
        if not failed:
            failed.append(True)
            raise TypeError("of a client library, amid a change of the settings")
        return sweep(**kwargs)

    monkeypatch.setattr(pending, "sweep", stumble)
    journal.begin([journal.Entry.of_session(str(alice.pk), pair.sid, "logout")])
    recovery.note_failure(has_left_rows=True)
    with own.client() as outside:
        wait_for(lambda: is_ended_in(outside, alice, pair), "the end of the session", 10)
    assert failed


def test_who_signs_out_again_while_the_store_is_mended_has_signed_out(
    own: RedisServer, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(alice)
    snapshot(own)
    sessions.end_session(alice, pair.sid)
    roll_back(own)
    ask, asked = operations.execute, []

    def lost_on_the_way(*many: Any) -> Any:
        asked.append(many)
        if len(asked) == 1:
            return ask(*many)
        raise RevocationUnavailable

    monkeypatch.setattr(operations, "execute", lost_on_the_way)
    with pytest.raises(RevocationUnavailable):
        sessions.end_session(alice, pair.sid)
    # The first was kept out, upon which this process mended the store.
    assert len(asked) == 2
    with own.client() as outside:
        assert is_ended_in(outside, alice, pair)


def test_a_row_that_is_left_while_the_journal_is_looked_at_is_looked_for_again(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, other = Pair(alice), Pair(alice)
    read, asked = journal.pending, []

    def answer_late(*args: Any) -> list[Revocation]:
        found = read(*args)
        asked.append(args)
        if len(asked) == 1:
            # As another thread does meanwhile.
            journal.begin([Entry.of_session(str(alice.pk), pair.sid, "logout")])
            recovery.note_failure()
        return found

    monkeypatch.setattr(journal, "pending", answer_late)
    recovery.note_failure()
    assert reason(other.access) is None
    assert len(asked) == 1
    assert [reason(pair.access), reason(other.access)] == ["session_ended", None]


def test_a_replica_that_is_away_holds_nobody_up(own: RedisServer, alice: Any, bob: Any, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "WAIT_REPLICAS": (1, 0.02)}
    pair, bobs = Pair(alice), Pair(bob)
    snapshot(own)
    with pytest.raises(NotReplicated):
        sessions.end_session(alice, pair.sid)
    assert [reason(bobs.access), reason(pair.access)] == [None, "session_ended"]
    # Nor where the store has to be told again.
    roll_back(own)
    # Whoever tries to bring the row to a replica may have met the server while it was down.
    wait_for(lambda: answers(bobs.access), "an answer")
    assert [reason(bobs.access), reason(pair.access)] == [None, "session_ended"]
    assert Revocation.objects.get().applied_at is None


def test_a_session_from_before_the_commit_ends_although_redis_is_down_at_the_commit(
    own: RedisServer, alice: Any
) -> None:
    old_row = type(alice).objects.get(pk=alice.pk)
    # The store is trusted from here on: in a database in memory, nobody else can read the journal in a transaction.
    sessions.list_sessions(alice)
    with transaction.atomic():
        alice.is_active = False
        alice.save()
        # Elsewhere, where the row is still an active one.
        meanwhile = Pair(old_row)
        assert reason(meanwhile.access) is None
        snapshot(own)
        own.kill()
    own.start()
    wait_for(lambda: available(meanwhile.access), "an answer")
    assert reason(meanwhile.access) == "session_ended"


def available(token: Any) -> bool:
    try:
        sessions.explain(str(token))
    except RevocationUnavailable:
        return False
    return True


# For how long ------------------------------------------------------------------------------------------------------


def remembered(user: Any, lifetime: timedelta) -> RefreshToken:
    token = RefreshToken.for_user(user)
    token.set_exp(lifetime=lifetime)
    str(token)
    return token


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_an_end_of_all_sessions_is_kept_for_as_long_as_any_token_it_refuses(
    alice: Any, settings: Any, strategy: str
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ACCESS_TOKEN_LIFETIME": timedelta(days=30)}
    # What is ended is a session of minutes; a token without a record may be good for a month.
    remembered(alice, timedelta(minutes=10))
    sessions.end_all_sessions(alice)
    assert Revocation.objects.get(kind="user").until - datetime.now(tz=UTC) >= timedelta(days=30)


def test_a_second_run_on_commit_does_not_shorten_the_first(alice: Any) -> None:
    remembered(alice, timedelta(days=60))
    with transaction.atomic():
        alice.is_active = False
        alice.save()
        remembered(alice, timedelta(minutes=5))
    assert Revocation.objects.get().until - datetime.now(tz=UTC) >= timedelta(days=60)


def test_a_jti_is_refused_for_as_long_as_a_token_that_was_given_a_longer_life(alice: Any, store: redis.Redis) -> None:
    token = remembered(alice, timedelta(days=60))
    assert sessions.revoke_jti(alice, str(token["jti"]))
    assert int(store.hget(f"jwt:{{{alice.pk}}}", f"blacklist:{token['jti']}") or 0) >= token["exp"]
    assert Revocation.objects.get().until.timestamp() >= token["exp"]


@pytest.mark.parametrize("moment", [datetime(2027, 7, 1, 12, tzinfo=UTC), datetime(2027, 10, 31, 1, 30, tzinfo=UTC)])
def test_without_time_zones_a_token_is_not_refused_for_less_than_its_life(settings: Any, moment: datetime) -> None:
    """The second is in the hour that comes twice."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    exp = int(moment.timestamp())
    with timezone.override("America/Los_Angeles"):
        keys = journal.begin([Entry.of_token("1", "abc", exp, "test")])
    (row,) = journal.rows(keys)
    assert exp <= journal.exp_of(row) <= exp + 2 * 3600


# Processes ---------------------------------------------------------------------------------------------------------

PROLOGUE = """
import contextlib, os, signal, sys, threading
import django
django.setup()
from urllib.parse import urlparse
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, connections, transaction
from jwt_redis import journal, recovery, sessions
from jwt_redis.recovery import pending, rows
from jwt_redis.exceptions import RevokedToken
from jwt_redis.models import Revocation
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.settings import REDIS_URL
from tests.test_hard_cases import Pair, forget, reason, roll_back, snapshot
call_command("migrate", verbosity=0)
connection.cursor().execute("PRAGMA journal_mode=WAL")
alice = get_user_model().objects.create(username="alice")
"""

FORK = """
with RedisServer(port=urlparse(REDIS_URL).port) as server:
    pair = Pair(alice)
    entry = journal.Entry.of_session(str(alice.pk), pair.sid, "logout")
    journal.begin([entry])
    breaker = client._breaker_of()
    breaker._open_until = 0.001  # it has been open, and the next one to ask probes
    held, done = threading.Event(), threading.Event()
    def hold():
        with rows._lock, pending._keeper_lock, client._lock, breaker._lock, recovery.under_way((entry.key,)):
            held.set()
            done.wait()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    if not (child := os.fork()):
        signal.alarm(8)
        connections.close_all()
        client._client = None
        recovery.note_failure(has_left_rows=True)
        print(reason(pair.access), flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    done.set()
    holder.join()
"""

SNAPSHOT = """
def elsewhere(work):
    def run():
        work()
        connections.close_all()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

with RedisServer(port=urlparse(REDIS_URL).port) as server:
    pair = Pair(alice)
    snapshot(server)
    with transaction.atomic():
        get_user_model().objects.count()
        elsewhere(lambda: sessions.end_session(alice, pair.sid))
        print(Revocation.objects.count())
        roll_back(server)
        print(reason(pair.access))
    forget()
    print(reason(pair.access))

    pair = Pair(alice)
    with transaction.atomic():
        get_user_model().objects.count()
        elsewhere(lambda: journal.begin([journal.Entry.of_session(str(alice.pk), pair.sid, "logout")]))
        recovery.note_failure()
        print(reason(pair.access))

    reused = Pair(alice)
    from django.test import override_settings
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        sessions.rotate(reused.refresh, alice)
        with contextlib.suppress(RevokedToken), transaction.atomic():
            get_user_model().objects.count()
            sessions.rotate(reused.refresh, alice)
    print(Revocation.objects.filter(target=reused.sid).exclude(applied_at=None).count())
"""


def run_alone(script: str, folder: Path) -> list[str]:
    """In a process of its own, with a database in a file."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "JWT_REDIS_TEST_DB": str(folder / "db.sqlite3"),
        "JWT_REDIS_TEST_URL": f"redis://127.0.0.1:{free_port()}/0",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_child_that_was_forked_while_a_thread_held_the_locks_answers(tmp_path: Path) -> None:
    assert run_alone(FORK, tmp_path) == ["session_ended", "0"]


def test_the_journal_is_read_and_written_outside_of_the_transaction_that_the_caller_is_in(tmp_path: Path) -> None:
    seen, within, after, pending, rows = run_alone(SNAPSHOT, tmp_path)
    # The transaction itself sees what there was when it began.
    assert seen == "0"
    assert [within, after, pending] == ["session_ended"] * 3
    # What an error reports is undone with the request; that a token was used twice is not.
    assert rows == "1"


def test_whoever_is_renamed_signs_in_again_where_tokens_bear_the_name(alice: Any, bob: Any) -> None:
    with override_settings(SIMPLE_JWT={**settings.SIMPLE_JWT, "USER_ID_FIELD": "username"}):
        # Simple JWT's own classes have read the setting when they were imported.
        token = RefreshToken.for_user(alice)
        token.payload["user_id"] = "alice"
        access, bobs = token.access_token, Pair(bob)
        alice.email = "other@example.com"
        alice.save()
        assert reason(access) is None
        alice.username = "alicia"
        alice.is_active = False
        alice.save()
    assert [reason(access), reason(bobs.access)] == ["session_ended", None]
