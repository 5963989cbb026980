"""``manage.py jwt_import_keys 'blacklist:jti:*'``: a blacklist of a project's own, keys in a cache, is taken over."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.management.base import CommandError, CommandParser
from django_redis import get_redis_connection

from jwt_redis.conf import longest_session
from jwt_redis.management.importing import Batch, ImportCommand
from jwt_redis.store.connections import FAILURES
from jwt_redis.takeover import Listing

_DAY = 86400


class Command(ImportCommand):
    """Read keys of a Redis cache."""

    help = (
        "Refuse the tokens whose ids are part of keys in a Redis cache, for as long as the key lives. The pattern is a"
        " key as the project's code has it, with * where the id is: cache.set('blacklist:jti:' + jti, ...) is"
        " 'blacklist:jti:*'. The cache's own prefix and version are found by themselves. Nothing is removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        super().add_arguments(parser)
        parser.add_argument("pattern", help="a key, with one * in the place of the token's id (jti)")
        parser.add_argument("--alias", default=DEFAULT_CACHE_ALIAS, help=f"of CACHES (default {DEFAULT_CACHE_ALIAS!r})")

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk through the keys (SCAN), which never holds Redis up for long."""
        self.refuse_unfit(options)
        found = _named_by(options["pattern"])
        client = _client_of(options["alias"])
        try:
            self.take(_batches(client, found, options["pattern"], options["batch"]), int(client.dbsize()), options)
        except FAILURES as error:
            raise CommandError(f"The Redis of CACHES[{options['alias']!r}] does not answer: {error}.") from error


def _named_by(pattern: str) -> re.Pattern[str]:
    """Keys, as the cache has made them: KEY_PREFIX and version in front; or as they are."""
    before, star, behind = pattern.partition("*")
    if not star or "*" in behind:
        raise CommandError(f"{pattern!r}: one * is needed, where the token's id is.")
    if not before and not behind:
        raise CommandError("'*' alone would take every key's name for a token's id.")
    return re.compile(rf"(?:.*:\d+:)?{re.escape(before)}(?P<jti>.+){re.escape(behind)}", re.DOTALL)


def _client_of(alias: str) -> Any:
    if alias not in settings.CACHES:
        raise CommandError(f"--alias: CACHES has no {alias!r}.")
    cache = caches[alias]
    # Django's own cache has no public way to its client.
    own = getattr(getattr(cache, "_cache", None), "get_client", None)
    if own is not None:
        return own(None, write=True)
    try:
        return get_redis_connection(alias, write=True)
    except (NotImplementedError, AttributeError):
        # What django-redis raises, and what another backend lacks.
        raise CommandError(f"--alias: CACHES[{alias!r}] is no Redis cache.") from None


def _batches(client: redis.Redis, named: re.Pattern[str], pattern: str, size: int) -> Iterator[Batch]:
    # Of Redis' patterns only the star is meant.
    match = "*" + re.sub(r"([\[\]?\\^])", r"\\\1", pattern)
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=match, count=size)
        # A step looks at about so many keys, whether they match or not.
        yield _batch(client, named, keys, max(size, len(keys)))
        if cursor == 0:
            return


def _batch(client: redis.Redis, named: re.Pattern[str], keys: list[Any], seen: int) -> Batch:
    found = [(key, named.fullmatch(_text(key))) for key in keys]
    ours = [(key, match["jti"]) for key, match in found if match is not None]
    pipeline = client.pipeline(transaction=False)
    for key, _ in ours:
        pipeline.pttl(key)
    now = time.time()
    listings = []
    for (_, jti), left in zip(ours, pipeline.execute() if ours else [], strict=True):
        if left == -2:
            continue  # it has expired meanwhile
        listings.append(Listing(jti, _for_ever(now) if left < 0 else int(now + left / 1000) + 1))
    return Batch(listings, seen)


def _for_ever(now: float) -> int:
    """One that never expires is of use for as long as any token can be. To the day, so that one that is found again
    is known."""
    return (int(now + longest_session()) // _DAY + 1) * _DAY


def _text(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)
