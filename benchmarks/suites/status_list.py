"""What does publishing the status of sessions cost: Redis, whoever signs, and whoever reads?"""

from __future__ import annotations

import gzip
import random
import secrets
import statistics
import time
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import override_settings
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend

from benchmarks.reports import BYTES, Line, Report, duration
from benchmarks.samples import Commands, SessionMaker, sids_of
from benchmarks.stores import connect, memory, send, use
from jwt_redis import keys, recovery, sessions, status_list
from jwt_redis.conf import config
from jwt_redis.records import Marker
from jwt_redis.store import client, commands
from jwt_redis.store.markers import known
from jwt_redis.testing.servers import RedisServer

__all__ = ["run"]

_SESSIONS = (1_000, 100_000, 1_000_000)
_QUICK_SESSIONS = (1_000, 5_000)
# Of the sessions of a list.
_ENDED = (0.001, 0.01, 0.1, 0.5)
_SIGNATURES = 20
_USERS = 100_000
_QUICK_USERS = 2_000
_BATCH = 500


def run(is_quick: bool) -> Report:
    """Places are taken by the script that sign-ins run, many in one round trip."""
    before = state.token_backend
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    lines = [_fields(_QUICK_USERS if is_quick else _USERS)]
    # What a project that publishes lists signs with.
    state.token_backend = TokenBackend("ES256", key.decode())
    try:
        with override_settings(
            JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False, "STATUS_LIST": {"uri": "https://example.com/status/"}}
        ):
            for number in _QUICK_SESSIONS if is_quick else _SESSIONS:
                with RedisServer() as server:
                    lines += _places(server, number)
            with RedisServer() as server:
                lines += _lists(server, 3 if is_quick else _SIGNATURES)
    finally:
        state.token_backend = before
    return Report(
        "The status list",
        lines,
        "Lists of the default size, 131 072 places of which 65 536 are given. Signed with ES256; sizes are of the JWT.",
    )


def _fields(users: int) -> Line:
    """What a session says of its place takes, at two sessions a user."""
    with RedisServer() as server:
        send(server, SessionMaker(server).opened(users, 2))
        before = memory(server).used
        send(server, _with_places(server, users))
        taken = (memory(server).used - before) / (users * 2)
        with connect(server) as store:
            assert store.object("ENCODING", keys.user_key("1")) in ("listpack", "ziplist"), "not compact"
    return Line("Redis memory a session for its place, beside the session", taken, BYTES)


def _with_places(server: RedisServer, users: int) -> Commands:
    lots = random.Random(1)
    for user, sids in sids_of(server, range(1, users + 1)):
        places = (f"0123456789.{lots.randbytes(4).hex()}.{lots.randrange(2**17)}" for _ in sids)
        fields = [part for sid, place in zip(sids, places, strict=True) for part in (f"status:{sid}", place)]
        yield ("HSET", keys.user_key(str(user)), *fields)


def _born(server: RedisServer) -> None:
    use(server)
    recovery.trusted(lambda: client.execute(commands.prove_marker()))


def _places(server: RedisServer, number: int) -> Iterator[Line]:
    _born(server)
    empty = memory(server).used
    one = commands.take_place("", 3600)
    assert one.script is not None
    with connect(server) as store:
        sha = store.script_load(one.script.text)
        began = time.perf_counter()
        for first in range(0, number, _BATCH):
            pipe = store.pipeline(transaction=False)
            for _ in range(min(_BATCH, number - first)):
                made = commands.take_place("", 3600)
                pipe.evalsha(sha, 2, *made.keys, "", *made.args)
            places = pipe.execute()
        took = (time.perf_counter() - began) / number
        lists = sum(1 for key in store.scan_iter(f"{keys.status_key()}:*") if not key.endswith(":given"))
    assert status_list.is_current(places[-1], _marker())
    yield Line(
        f"Redis memory a session for the lists, {number:,} sessions",
        (memory(server).used - empty) / number,
        BYTES,
        beside=f"{lists} lists; taking a place {duration(took)}, in batches",
    )


def _marker() -> Marker:
    marker = known() or recovery.trusted(lambda: client.execute(commands.prove_marker()))
    assert marker is not None
    return marker


def _lists(server: RedisServer, signatures: int) -> Iterator[Line]:
    _born(server)
    wanted = config().status_list
    assert wanted is not None
    place = recovery.trusted(lambda: client.execute(commands.take_place("", 3600)))
    name = place.rpartition(".")[0]
    list_id = status_list.id_of(name)
    # Those places are given from which half of all can be drawn: any will do.
    given = secrets.SystemRandom().sample(range(wanted.size), wanted.size // 2)
    with connect(server) as store:
        ended = 0
        for share in _ENDED:
            upto = int(share * len(given))
            pipe = store.pipeline(transaction=False)
            for index in given[ended:upto]:
                pipe.setbit(keys.status_list_key(name), index, 1)
            pipe.execute()
            ended = upto
            times = []
            for _ in range(signatures):
                store.delete(f"{keys.status_list_key(name)}:signed")
                began = time.perf_counter()
                made = sessions.status_list_token(list_id)
                times.append(time.perf_counter() - began)
            assert made is not None
            began = time.perf_counter()
            again = sessions.status_list_token(list_id)
            kept = time.perf_counter() - began
            assert again is not None and again.token == made.token
            yield Line(
                f"a list of which {share:.1%} of the sessions were ended",
                len(made.token),
                BYTES,
                beside=f"{len(gzip.compress(made.token.encode())):,} B with gzip; made in"
                f" {duration(statistics.median(times))}, served again in {duration(kept)}",
            )
