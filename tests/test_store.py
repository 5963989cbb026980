"""The scripts on a real Redis: outcomes, expiry, the log, and how small it all stays."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import override_settings

from jwt_redis import keys, recovery
from jwt_redis.records import EndedSession, Marker, SessionRecord, parse_session
from jwt_redis.store import client, commands
from jwt_redis.store.commands import Rotation
from jwt_redis.verdicts import Claims

pytestmark = pytest.mark.django_db

SID = "a" * 22
OTHER = "b" * 22
KEY = "jwt:{7}"
NOBODY_REFUSED = Marker("id", 0, 0)
DAY = 86400


def execute(command: Any) -> Any:
    return recovery.trusted(lambda: client.execute(command))


def open_(sid: str = SID, nonce: str = "nonce", lifetime: int = DAY, **kwargs: Any) -> commands.Opened:
    given = {"lifetime": lifetime, "nonce": nonce, "fingerprint": "print", "device": '{"ip":"::1"}', **kwargs}
    return execute(commands.open_session("7", sid, **given))


def rotate(presented: int = 0, nonce: str = "next", rotating: bool = True, **kwargs: Any) -> Rotation:
    claims = Claims("7", f"{SID}.{presented}", SID, exp=2**40, iat=0, auth_time=0, rotation=presented)
    given = {
        "lifetime": DAY,
        "fingerprints": ["print"],
        "device": "",
        "marker": NOBODY_REFUSED,
        "rotating": rotating,
        **kwargs,
    }
    return execute(commands.rotate(claims, nonce=nonce, **given))


@pytest.fixture(autouse=True)
def _trusted_store(_jwt_redis_emptied: None) -> None:
    recovery.establish()


@pytest.fixture
def no_grace(settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "REFRESH_GRACE": 0}


def log(store: redis.Redis) -> list[dict[str, str]]:
    return [fields for _, fields in store.xrange("jwt:{log}")]


# Opening -----------------------------------------------------------------------------------------------------------


def test_a_session_as_it_stands_in_redis(store: redis.Redis) -> None:
    record = open_().session
    text = store.hget(KEY, f"sid:{SID}")
    assert parse_session(text) == record
    assert text == f"0.{record.opened_ms}.0.{DAY}.{90 * DAY}.nonce.print"
    assert record.used_ms == record.opened_ms and record.expires_at == record.opened_ms // 1000 + DAY
    assert abs(record.opened_ms / 1000 - time.time()) < 5
    assert store.hgetall(f"{KEY}:devices") == {f"device:{SID}": '{"ip":"::1"}'}
    marker = store.hgetall("jwt:{log}:marker")
    assert marker["store_id"] and int(marker["born_ms"]) <= record.opened_ms


def test_opening_twice_with_one_nonce_is_one_opening() -> None:
    first = open_()
    time.sleep(0.005)
    assert open_() == first
    assert open_(nonce="other") != first


def test_values_stay_in_the_compact_encoding(store: redis.Redis) -> None:
    for number in range(40):
        open_(sid=f"{number:022d}", fingerprint="x" * 8, nonce="y" * 8)
    for value in store.hgetall(KEY).values():
        assert len(value) <= 64
    assert store.object("encoding", KEY) in ("listpack", "ziplist")
    # After ten thousand rotations and nearly ninety days, and while two fingerprints are kept.
    longest = f"9999.1795497895518.{89 * DAY * 1000}.{90 * DAY}.{90 * DAY}.{'y' * 8}.{'x' * 8}"
    assert len(longest) <= 64 and isinstance(parse_session(longest), SessionRecord)


def test_keys_expire_with_their_latest_field(store: redis.Redis) -> None:
    open_(lifetime=100)
    assert 150 <= store.ttl(KEY) <= 160
    open_(sid=OTHER, lifetime=1000)
    assert 1050 <= store.ttl(KEY) <= 1060
    assert 1050 <= store.ttl(f"{KEY}:devices") <= 1060
    # The tombstone is of use for as long as an access token may live: five minutes.
    execute(commands.end_sessions("7", [OTHER], reason="test"))
    assert 350 <= store.ttl(KEY) <= 360


def test_the_oldest_make_room(settings: Any, store: redis.Redis) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "MAX_SESSIONS": 3}
    sids = [f"{number:022d}" for number in range(5)]
    ended = [open_(sid=sid).ended for sid in sids if not time.sleep(0.002)]
    assert ended == [(), (), (), (sids[0],), (sids[1],)]
    assert [entry["reason"] for entry in log(store)] == ["max_sessions"] * 2


# Rotating ----------------------------------------------------------------------------------------------------------


def test_rotated(store: redis.Redis) -> None:
    opened = open_().session
    found = rotate(lifetime=2 * DAY, device='{"ip":"1.2.3.4"}')
    assert (found.outcome, found.reason, found.ended) == ("rotated", "", False)
    assert isinstance(found.session, SessionRecord)
    assert (found.session.rotation, found.session.nonce, found.session.opened_ms) == (1, "next", opened.opened_ms)
    assert abs(found.session.expires_at - (opened.opened_ms // 1000 + 2 * DAY)) <= 5
    assert store.hget(f"{KEY}:devices", f"device:{SID}") == '{"ip":"1.2.3.4"}'


def test_a_successor_never_outlives_the_session() -> None:
    opened = open_().session
    found = rotate(lifetime=1000 * DAY).session
    assert isinstance(found, SessionRecord) and found.expires_at == opened.ends_at


def test_grace_gives_the_same_state_again() -> None:
    open_()
    first = rotate()
    time.sleep(0.005)
    second = rotate(nonce="another")
    assert (second.outcome, second.session) == ("grace", first.session)
    # And again, since it counts from the rotation and moves nothing.
    assert rotate(nonce="third").session == first.session


def test_without_grace_only_the_same_nonce_is_a_resend(no_grace: None) -> None:
    open_()
    first = rotate(nonce="mine")
    assert rotate(nonce="mine") == Rotation("grace", "", first.session, False)
    found = rotate(nonce="theirs")
    assert (found.outcome, found.reason, found.ended) == ("reuse", "session_ended", True)
    assert isinstance(found.session, EndedSession) and found.session.why == "refresh_token_reused"
    assert rotate(presented=1).outcome == "gone"


def test_grace_is_over_when_it_is_over(settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "REFRESH_GRACE": 0.05}
    open_()
    rotate()
    time.sleep(0.06)
    assert rotate(nonce="late").outcome == "reuse"


def test_the_second_to_last_is_reuse_within_the_grace() -> None:
    open_()
    rotate(0, "one")
    rotate(1, "two")
    assert rotate(0, "one").outcome == "reuse"


def test_ahead_of_the_store_ends_the_session(store: redis.Redis) -> None:
    open_()
    found = rotate(presented=3)
    assert (found.outcome, found.reason, found.ended) == ("ahead", "store_lost", True)
    # An older token is not the current one again.
    assert rotate(presented=0).outcome == "gone"
    assert log(store)[0]["reason"] == "store_rolled_back"


def test_gone(settings: Any) -> None:
    assert rotate().reason == "no_session"
    open_()
    execute(commands.end_sessions("7", [SID], reason="test"))
    assert (rotate().outcome, rotate().reason) == ("gone", "session_ended")
    open_()
    execute(commands.blacklist_token("7", f"{SID}.0", int(time.time()) + 60, reason="test"))
    assert (rotate().outcome, rotate().reason) == ("gone", "token_blacklisted")


def test_gone_for_everybody_from_before() -> None:
    opened = open_().session
    at, after = opened.opened_ms, opened.opened_ms + 1
    assert rotate(marker=Marker("id", 0, at)).reason == "all_revoked"
    assert rotate(marker=Marker("id", after, 0)).reason == "store_lost"
    assert rotate(marker=Marker("id", at, at - 1)).outcome == "rotated"


def test_gone_when_it_has_run_out(store: redis.Redis) -> None:
    open_(lifetime=1)
    time.sleep(1.1)
    assert rotate().reason == "session_expired"


def test_another_password_ends_the_session(store: redis.Redis) -> None:
    open_()
    found = rotate(fingerprints=["another", "former"])
    assert (found.outcome, found.reason, found.ended) == ("gone", "session_ended", True)
    assert isinstance(found.session, EndedSession) and found.session.why == "password_changed"


def test_a_former_fingerprint_is_replaced_by_todays() -> None:
    open_()
    found = rotate(fingerprints=["today", "print"]).session
    assert isinstance(found, SessionRecord) and found.fingerprint == "today"


def test_touched_moves_no_counter_and_grants_no_grace() -> None:
    open_()
    rotate(0)
    found = rotate(1, rotating=False)
    assert found.outcome == "touched" and isinstance(found.session, SessionRecord) and found.session.rotation == 1
    assert rotate(1, rotating=False).outcome == "touched"
    # Back to rotating: the predecessor is long dead.
    assert rotate(0, "x").outcome == "reuse"


def test_a_hash_upgrade_adds_a_fingerprint_once() -> None:
    open_()
    triples = [(SID, "print", "newer"), (OTHER, "print", "newer")]
    assert [execute(commands.rebind_sessions("7", triples)) for _ in range(2)] == [1, 0]
    assert execute(commands.rebind_sessions("7", [(SID, "wrong", "evil")])) == 0
    found = rotate(fingerprints=["newer"]).session
    assert isinstance(found, SessionRecord) and "print" in found.fingerprint


# Ending ------------------------------------------------------------------------------------------------------------


def test_ending_leaves_a_tombstone_and_no_device(store: redis.Redis) -> None:
    open_()
    assert execute(commands.end_sessions("7", [SID, OTHER], reason="test")).sids == (SID,)
    assert execute(commands.end_sessions("7", [SID], reason="test")).sids == ()
    (text,) = store.hgetall(KEY).values()
    tombstone = parse_session(text)
    assert isinstance(tombstone, EndedSession) and tombstone.why == "test"
    assert abs(tombstone.until - time.time() - 300) < 5
    assert not store.exists(f"{KEY}:devices")


def test_under_the_blacklist_strategy_a_tombstone_lasts_as_long_as_any_token(settings: Any, store: redis.Redis) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    opened = open_().session
    ended = execute(commands.end_sessions("7", [SID, OTHER], reason="test", unknown_too=True))
    assert ended.sids == (SID, OTHER)
    tombstone = parse_session(store.hget(KEY, f"sid:{SID}"))
    assert isinstance(tombstone, EndedSession) and tombstone.until == opened.expires_at


def test_ending_the_others_and_all(store: redis.Redis) -> None:
    sids = [f"{number:022d}" for number in range(3)]
    for sid in sids:
        open_(sid=sid)
    assert execute(commands.end_other_sessions("7", sids[1], reason="test")).sids == (sids[0], sids[2])
    assert not store.hexists(KEY, "not_before")
    assert execute(commands.end_all_sessions("7", reason="test")).sids == (sids[1],)
    assert abs(int(store.hget(KEY, "not_before")) / 1000 - time.time()) < 5


def test_a_listed_token_is_listed_once_and_never_for_less(store: redis.Redis) -> None:
    exp = int(time.time()) + 100
    assert [execute(commands.blacklist_token("7", "jti", exp, reason="test")).added for _ in range(2)] == [True, False]
    assert store.hgetall(KEY) == {"blacklist:jti": str(exp)}
    assert 150 <= store.ttl(KEY) <= 160
    assert execute(commands.blacklist_token("7", "late", 1, reason="test")).added is False


def test_everything_only_ever_moves_forward(store: redis.Redis) -> None:
    now = execute(commands.revoke_everything(None, reason="test")).before_ms
    assert execute(commands.revoke_everything(now - 5000, reason="test")).before_ms == now
    later = execute(commands.revoke_everything(2**50, reason="test")).before_ms
    # Not beyond Redis' own present.
    assert now <= later <= now + 5000


# Pruning -----------------------------------------------------------------------------------------------------------


def test_every_write_drops_what_has_run_out(store: redis.Redis) -> None:
    long_ago = int(time.time()) - 100 * DAY
    store.hset(KEY, f"sid:{OTHER}", f"0.{long_ago * 1000}.0.10.10.n.f")
    store.hset(KEY, "sid:" + "c" * 22, f"ended.{long_ago}.test")
    store.hset(KEY, "blacklist:old", long_ago)
    store.hset(KEY, "not_before", long_ago * 1000)
    store.hset(f"{KEY}:devices", f"device:{OTHER}", "{}")
    open_()
    assert set(store.hgetall(KEY)) == {f"sid:{SID}"}
    assert set(store.hgetall(f"{KEY}:devices")) == {f"device:{SID}"}


def test_what_is_within_the_margin_stays(store: redis.Redis) -> None:
    store.hset(KEY, "blacklist:just", int(time.time()) - 30)
    open_()
    assert store.hexists(KEY, "blacklist:just")


def test_thousands_of_expired_fields_go_at_once(store: redis.Redis) -> None:
    store.hset(KEY, mapping={f"blacklist:{number}": 1 for number in range(20_000)})
    open_()
    assert store.hlen(KEY) == 1


# The log -----------------------------------------------------------------------------------------------------------


def test_each_revocation_is_in_the_log_numbered_without_gaps(store: redis.Redis) -> None:
    open_()
    open_(sid=OTHER)
    execute(commands.blacklist_token("7", "jti", int(time.time()) + 100, reason="one"))
    execute(commands.end_sessions("7", [SID], reason="two"))
    execute(commands.end_sessions("7", [SID], reason="again"))
    execute(commands.end_all_sessions("7", reason="three"))
    execute(commands.revoke_everything(None, reason="four"))
    entries = log(store)
    assert [entry["number"] for entry in entries] == ["1", "2", "3", "4", "5"]
    assert [(e["kind"], e["user"], e["id"], e["reason"]) for e in entries] == [
        ("token", "7", "jti", "one"),
        ("session", "7", SID, "two"),
        ("session", "7", OTHER, "three"),
        ("user", "7", "", "three"),
        ("all", "", "", "four"),
    ]
    assert store.hget("jwt:{log}:marker", "revocations") == "5"


def test_the_log_is_trimmed_to_the_longest_access_lifetime(store: redis.Redis) -> None:
    for number in range(500):
        store.xadd("jwt:{log}", {"number": number}, id=f"{number + 1}-0")
    open_()
    execute(commands.end_sessions("7", [SID], reason="test"))
    # Trimming works by whole nodes of a hundred entries or so.
    assert store.xlen("jwt:{log}") < 200


def test_only_names_made_in_one_place_are_written(store: redis.Redis) -> None:
    open_()
    execute(commands.end_all_sessions("7", reason="test"))
    assert set(store.scan_iter()) == {keys.user_key("7"), keys.log_key(), keys.marker_key()}


def test_another_prefix(settings: Any, store: redis.Redis) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "KEY_PREFIX": "shop-eu:"}
    store.flushall()
    open_()
    assert sorted(store.scan_iter()) == ["shop-eu:{7}", "shop-eu:{7}:devices", "shop-eu:{log}:marker"]


def as_in_cluster(store: redis.Redis, command: commands.Command[Any]) -> list[list[str]]:
    """Run a script that does not get the log, and what it wants the client to write there."""
    assert command.script is not None
    reply: Any = store.eval(command.script.text, 2, *command.keys[:2], "", *command.args)
    return [[kind, target, why] for kind, target, _, why, _ in reply[0]]


def test_where_the_log_is_elsewhere_doing_it_again_tells_it_again(store: redis.Redis) -> None:
    # The first time may have failed behind the script.
    def opening(sid: str) -> commands.Command[Any]:
        return commands.open_session("7", sid, lifetime=100, nonce="abc", fingerprint="", device="")

    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "MAX_SESSIONS": 1}):
        assert as_in_cluster(store, opening(SID)) == []
        assert as_in_cluster(store, opening(OTHER)) == [["session", SID, "max_sessions"]]
        third = "C" * 22
        told = as_in_cluster(store, opening(third))
        assert sorted(told) == sorted([["session", SID, "max_sessions"], ["session", OTHER, "max_sessions"]])
    for command, expected in (
        (commands.end_sessions("7", [third], reason="test"), ["session", third, "test"]),
        (commands.blacklist_token("7", "jti", int(time.time()) + 100, reason="test"), ["token", "jti", "test"]),
        (commands.end_all_sessions("7", reason="test", before_ms=1), ["user", "", "test"]),
    ):
        for _ in range(2):
            assert expected in as_in_cluster(store, command)
