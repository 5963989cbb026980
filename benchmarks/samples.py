"""Sessions by the million, each like one that the product has opened.

Opening a million for real would take minutes, so one is opened, and what Redis holds of it is varied: what differs
between two sessions is random and as long as it was, everything else is the sample's.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.test import RequestFactory

from benchmarks.stores import connect, use
from jwt_redis import keys, sessions
from jwt_redis.devices import Device
from jwt_redis.testing.servers import RedisServer

__all__ = ["Commands", "SessionMaker", "sids_of", "sign_in", "verify"]

# As a client takes them: the name, then the arguments.
Commands = Iterator[tuple[str | int, ...]]

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5"
    " Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
# No user of a filled store: those are 1, 2, 3 and so on.
_SAMPLE_USER = 0
_BATCH = 2_000


def sign_in(user: int) -> Any:
    """Open a session for real, on a device. The refresh token."""
    # Unsaved: nothing but the id and the password is looked at, and a row would only slow the preparation.
    person = get_user_model()(pk=user, username=f"user{user}", password="pbkdf2_sha256$1$salt$hash")
    return sessions.open_session(person, RequestFactory().get("/", HTTP_USER_AGENT=_BROWSERS[0]))


def sids_of(server: RedisServer, users: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Each user with the ids of the user's sessions, read past the product."""
    with connect(server) as store:
        for first in range(0, len(users), _BATCH):
            some = users[first : first + _BATCH]
            pipeline: Any = store.pipeline(transaction=False)
            for user in some:
                pipeline.hkeys(keys.user_key(str(user)))
            for user, fields in zip(some, pipeline.execute(), strict=True):
                yield user, [field.removeprefix(keys.SESSION) for field in fields]


def verify(server: RedisServer, user: int, count: int) -> None:
    """Prove that the product takes a user's sessions that were written in bulk for its own.

    :raises AssertionError: when it does not.
    """
    use(server)
    found = sessions.list_sessions(str(user))
    assert len(found) == count, f"{len(found)} sessions of user {user} are listed, not {count}"


class SessionMaker:
    """Makes the commands that write sessions. The same ``seed`` makes the same sessions."""

    def __init__(self, server: RedisServer, *, seed: int = 1) -> None:
        self._random = random.Random(seed)
        use(server)
        sign_in(_SAMPLE_USER)
        user_key, devices_key = keys.user_key(str(_SAMPLE_USER)), keys.devices_key(str(_SAMPLE_USER))
        with connect(server) as store:
            ((field, self._record),) = store.hgetall(user_key).items()
            self._life = int(store.ttl(user_key))
            store.delete(user_key, devices_key)
        self._sid_length = len(field.removeprefix(keys.SESSION))

    def opened(self, users: int, each: int) -> Commands:
        """Sessions of the users 1, 2, 3 and so on, as they are after a sign-in."""
        return self._written(users, each, is_old=False)

    def refreshed(self, users: int, each: int) -> Commands:
        """The same as they are after hours or weeks of use: the numbers in them have grown longer."""
        return self._written(users, each, is_old=True)

    def devices(self, server: RedisServer, users: int) -> Commands:
        """A device for each session that the server holds, in the second hash."""
        for user, sids in sids_of(server, range(1, users + 1)):
            key = keys.devices_key(str(user))
            fields: list[str] = []
            for sid in sids:
                fields += (keys.DEVICE + sid, self._device())
            yield ("HSET", key, *fields)
            yield ("EXPIREAT", key, self._expiry())

    def sid(self) -> str:
        """A session id as the product makes them; not by :mod:`secrets`, so that a run can be repeated."""
        return self._text(self._sid_length)

    def _written(self, users: int, each: int, *, is_old: bool) -> Commands:
        for user in range(1, users + 1):
            key = keys.user_key(str(user))
            fields: list[str] = []
            for _ in range(each):
                fields += (keys.SESSION + self.sid(), self._value(is_old))
            yield ("HSET", key, *fields)
            yield ("EXPIREAT", key, self._expiry())

    def _value(self, is_old: bool) -> str:
        rotation, opened, used, expires, ends, nonce, fingerprint = self._record.split(".")
        if is_old:
            # Refreshed for the last time within the life of the refresh token that it then got.
            life, longest = int(expires), int(ends)
            used_s = self._random.randrange(3600, longest - life)
            opened = str(int(opened) - 1000 * (used_s + self._random.randrange(life)))
            rotation, used, expires = (
                str(self._random.randint(1, used_s // 3600)),
                str(1000 * used_s),
                str(used_s + life),
            )
        return ".".join((rotation, opened, used, expires, ends, self._text(len(nonce)), self._text(len(fingerprint))))

    def _device(self) -> str:
        address = ".".join(str(self._random.randrange(1, 255)) for _ in range(4))
        return Device(self._random.choice(_BROWSERS), address).dump()

    def _expiry(self) -> int:
        return int(time.time()) + self._life

    def _text(self, length: int) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(length)).decode()[:length]
