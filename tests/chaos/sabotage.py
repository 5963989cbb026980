"""What can be taken out of a worker, or put into it: by name, in ``CHAOS_SABOTAGE``."""

from __future__ import annotations

import dataclasses
import datetime as datetimes
import time
from typing import Any

from tests.chaos import hooks

# Put in ---------------------------------------------------------------------------------------------------------------


def accidents() -> None:
    """Requests can ask this worker to die at the two places that matter most."""
    from jwt_redis import operations, recovery

    execute, apply_rows = operations.execute, recovery.apply_rows

    def dying_execute(*commands: Any) -> Any:
        if hooks.wish() == "die-before-redis" and any(command.is_revocation for command in commands):
            hooks.die()
        return execute(*commands)

    def dying_apply_rows(keys: Any) -> None:
        if hooks.wish() == "die-after-commit":
            hooks.die()
        apply_rows(keys)

    operations.execute = dying_execute  # type: ignore[assignment]
    recovery.apply_rows = dying_apply_rows


def next_version() -> None:
    """Scripts of another text, and so of another SHA."""
    from jwt_redis.store import commands

    class Next(commands.Script):
        def __init__(self, name: str, *, on_user: bool) -> None:
            import hashlib

            super().__init__(name, on_user=on_user)
            self.text += "\n-- the next version\n"
            self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    commands.Script = Next  # type: ignore[misc]


def clock_ahead() -> None:
    """Five minutes, for whatever asks Python. The database's clock stays: it is another machine's."""
    _shift_clock(300)


def clock_behind() -> None:
    """The other way."""
    _shift_clock(-300)


def _shift_clock(seconds: int) -> None:
    import jwt.api_jwt
    from django.utils import timezone
    from rest_framework_simplejwt import tokens, utils

    true_time = time.time
    delta = datetimes.timedelta(seconds=seconds)

    class Shifted(datetimes.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetimes.datetime.now(tz) + delta

    time.time = lambda: true_time() + seconds
    jwt.api_jwt.datetime = Shifted  # type: ignore[misc]
    now, utcnow = timezone.now, utils.aware_utcnow
    timezone.now = lambda: now() + delta
    utils.aware_utcnow = tokens.aware_utcnow = lambda: utcnow() + delta


# Take out -------------------------------------------------------------------------------------------------------------


def no_marker() -> None:
    """What a marker says is believed, and one that is missing is no sign of anything."""
    from jwt_redis.records import Marker
    from jwt_redis.store import markers

    def seen(marker: Marker | None, asked_at: float) -> Marker:
        return marker or Marker("", 0, 0, 0)

    from jwt_redis.sessions import parts

    markers.seen = parts.markers.seen = seen
    markers.store_id = lambda: ""
    markers.is_rolled_back = lambda marker, known=None: False


def no_gate() -> None:
    """Servers are not told from one another, nor is a store ever held against the journal: either would do."""
    from jwt_redis.recovery import pending, stores
    from jwt_redis.store import gate

    stores._is_behind_journal = stores._lacks_rows = lambda link, marker: False
    pending._catch_up = lambda: None

    read = gate._read
    gate._read = lambda text: dataclasses.replace(read(text), identity="whichever")


def read_from_replica() -> None:
    """Where the alias names a replica, tokens are looked up there, as django-redis would."""
    import redis
    from django.conf import settings

    from jwt_redis.store import client
    from jwt_redis.store.connections import Line

    exchange, ask = client._exchange, Line.ask
    location = settings.CACHES["sessions"]["LOCATION"]
    replica = redis.Redis.from_url(location[1], decode_responses=True)

    def exchange_with_replica(server: Any, wire: Any) -> Any:
        if wire[0][0] == "HMGET":
            server = replica
        return exchange(server, wire)

    def ask_replica(line: Line, args: Any) -> Any:
        return replica.execute_command(*args) if args[0] == "HMGET" else ask(line, args)

    client._exchange = exchange_with_replica
    Line.ask = ask_replica  # type: ignore[method-assign]


def no_breaker() -> None:
    """A dead server is asked by everybody, each time."""
    from jwt_redis.store.breaker import Breaker

    Breaker.allows = lambda self: True  # type: ignore[method-assign]
    Breaker.is_open = lambda self: False  # type: ignore[method-assign]
