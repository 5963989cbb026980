"""The durable record of revocations in the Django database.

A row is written before Redis is told, so that nothing that was acknowledged is in Redis alone. A row that Redis does
not have yet is *pending*. Here is only the table; ``recovery`` brings rows into Redis.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any, TypeVar

from django.conf import settings
from django.db import OperationalError, connections, router, transaction
from django.db.models import Case, F, Max, Min, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone

from jwt_redis import outlets
from jwt_redis.conf import config, leeway_seconds, longest_session
from jwt_redis.keys import user_tag
from jwt_redis.models import Revocation
from jwt_redis.store.commands import MARGIN, History, Written

__all__ = [
    "Entry",
    "acting_as",
    "applied",
    "begin",
    "database",
    "exp_of",
    "expired",
    "has_table",
    "highest_number",
    "history",
    "is_in_transaction",
    "is_on",
    "mark_applied",
    "mark_replayed",
    "missing_from",
    "newest_id",
    "note_birth",
    "now",
    "of_keys",
    "on_commit",
    "origin_ms",
    "outside_transaction",
    "pending",
    "pending_count",
    "refused_keys",
    "replayed_since",
    "rows",
    "seconds_since",
]

T = TypeVar("T")
Kind = Revocation.Kind
_actor: ContextVar[str] = ContextVar("jwt_redis_actor", default="")
_ACTOR_LENGTH = 150
# Seconds to wait for a transaction of our own while another one is open.
_PATIENCE = 1.0
# The year 9999, which is as far as databases and datetime go.
_LATEST = 253370764800
# Clocks and time zones (USE_TZ=False) may differ; a row too many that is applied again changes nothing.
_CLOCKS = timedelta(days=1)


def is_on() -> bool:
    """Is there a journal (``JWT_REDIS["JOURNAL"]``)?"""
    return config().journal


def database() -> str:
    """The alias of the database that it is in."""
    return router.db_for_write(Revocation)


@contextlib.contextmanager
def acting_as(actor: object) -> Iterator[None]:
    """What is revoked within was revoked by ``actor``: a user, or a text."""
    # A user id may hold what no database takes.
    printable = "".join(c if c.isprintable() else "?" for c in str(actor))
    token = _actor.set(printable[:_ACTOR_LENGTH])
    try:
        yield
    finally:
        _actor.reset(token)


@dataclass(frozen=True, slots=True)
class Entry:
    """A revocation that is about to happen. ``user`` as from :func:`jwt_redis.keys.user_id`.

    ``until``: seconds of the epoch for which it matters, where that is known. ``moment_ms``: up to which moment, by
    Redis' clock; now if None. ``key``: told by what is revoked, where doing it twice is doing it once.
    ``is_written``: the row is there already. ``is_independent``: it is no part of the transaction that is open, and
    stays when that is undone.
    """

    kind: str
    user: str = ""
    target: str = ""
    reason: str = ""
    until: int | None = None
    moment_ms: int | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    is_written: bool = False
    is_independent: bool = False

    @classmethod
    def of_session(cls, user: str, sid: str, reason: str) -> Entry:
        """One session."""
        return cls(Kind.SESSION, user, sid, reason, key=_key(Kind.SESSION, user, sid))

    @classmethod
    def of_key(cls, kid: str, reason: str) -> Entry:
        """A signing key. What a thief signs with it may be good for ever, and so is the row."""
        return cls(Kind.KEY, target=kid, reason=reason, until=_LATEST, key=_key(Kind.KEY, kid))

    @classmethod
    def of_token(cls, user: str, jti: str, exp: int, reason: str) -> Entry:
        """One token, which expires at ``exp``."""
        return cls(Kind.TOKEN, user, jti, reason, until=exp, key=_key(Kind.TOKEN, user, jti, str(exp)))

    @classmethod
    def of_adoption(cls, user: str, sid: str) -> Entry:
        """A token from before there were sessions has got one."""
        return cls(Kind.ADOPTED, user, sid, "adopted", key=_key(Kind.ADOPTED, user, sid))


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _moment(seconds: float) -> datetime:
    # A token's exp may lie beyond the calendar, or near enough to its end for a time zone to overstep it.
    moment = datetime.fromtimestamp(min(seconds, _LATEST), tz=UTC)
    # Not the current time zone, which a request may have changed.
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def begin(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Write pending rows, in the transaction that there is. Their keys."""
    longest = _moment(time.time() + longest_session() + leeway_seconds() + MARGIN)
    made = [
        Revocation(
            key=entry.key,
            kind=entry.kind,
            user=user_tag(entry.user) if entry.user else "",
            target=entry.target,
            reason=entry.reason,
            actor=_actor.get(),
            until=longest if entry.until is None else _moment(entry.until),
            moment_ms=entry.moment_ms,
        )
        for entry in entries
    ]
    # A savepoint: a table that is missing must not take the caller's transaction along.
    with transaction.atomic(using=database()):
        Revocation.objects.using(database()).bulk_create(made, ignore_conflicts=True)
        for outlet in outlets.installed:
            outlet.begun(made, [entry.user for entry in entries], database())
    return tuple(entry.key for entry in entries)


def applied(keys: Sequence[str]) -> frozenset[str]:
    """Those of the rows with these keys that Redis has."""
    found = Revocation.objects.using(database()).filter(key__in=keys).exclude(applied_at=None)
    return frozenset(found.values_list("key", flat=True))


def mark_applied(keys: Sequence[str], written: Written | None, *, is_final: bool = True) -> None:
    """Redis has them. ``is_final=False``: the transaction that they are part of is still open."""
    changes: dict[str, Any] = {"applied_at": Now()} if is_final else {}
    if written is not None:
        moment = Greatest(Coalesce(F("moment_ms"), Value(0)), Value(written.moment_ms))
        changes |= {"store_id": written.store_id, "number": written.number, "moment_ms": moment}
        if written.use_until:
            until = _moment(written.use_until + leeway_seconds() + MARGIN)
            # What the first run ended may last longer than what a second one finds.
            changes["until"] = Case(When(moment_ms=None, then=Value(until)), default=Greatest(F("until"), Value(until)))
    if changes:
        with transaction.atomic(using=database()):
            Revocation.objects.using(database()).filter(key__in=keys).update(**changes)


def mark_replayed(found: Sequence[Revocation], written: Written) -> None:
    """Rows that Redis has had before and has again, the last of them at ``written``."""
    changes = {"applied_at": Now(), "store_id": written.store_id, "number": written.number}
    Revocation.objects.using(database()).filter(pk__in=[row.pk for row in found]).update(**changes)


def is_in_transaction() -> bool:
    """Would what is written now be undone by a rollback? The transaction around a ``TestCase`` does not count."""
    blocks = transaction.get_connection(database()).atomic_blocks
    return any(not getattr(block, "_from_testcase", False) for block in blocks)


def outside_transaction(work: Callable[[], T]) -> T:
    """Do ``work`` on the journal where it sees what others have committed, and where no rollback undoes it.

    In a transaction, that is a thread with a connection of its own. Not in a ``TestCase``, of whose rows another
    connection knows nothing.
    """
    blocks = transaction.get_connection(database()).atomic_blocks
    if not blocks or any(getattr(block, "_from_testcase", False) for block in blocks):
        return work()
    answer: Future[T] = Future()
    arguments = (copy_context(), work, answer)
    Thread(target=_answer_and_close, args=arguments, name="jwt_redis-journal", daemon=True).start()
    try:
        return answer.result(_PATIENCE)
    except FutureTimeout:
        # It may be waiting for a lock that the caller's own transaction holds; it goes on when that has ended.
        raise OperationalError("the journal is locked, perhaps by the transaction that is open") from None


def _answer_and_close(context: Context, work: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(context.run(work))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
        answer.set_exception(error)
    finally:
        connections.close_all()


def on_commit(work: Callable[[], object]) -> None:
    """Have ``work`` done after the transaction, if there is one."""
    if is_in_transaction():
        transaction.on_commit(work, using=database())


def rows(keys: Sequence[str]) -> list[Revocation]:
    """Those that were begun under these keys."""
    return list(_timed().filter(key__in=keys).order_by("id"))


def pending(after: int, limit: int) -> list[Revocation]:
    """Rows that Redis does not have, oldest first, from behind the id ``after``."""
    return list(_timed().filter(applied_at=None, id__gt=after).order_by("id")[:limit])


def pending_users() -> frozenset[str]:
    """Whom the pending rows concern; "" for everybody."""
    found = Revocation.objects.using(database()).filter(applied_at=None)
    return frozenset(found.values_list("user", flat=True).distinct())


def missing_from(history: History | None, born_ms: int | None, after: int, limit: int) -> list[Revocation]:
    """Rows that are still of use and that a store may lack, from behind the id ``after``.

    ``history``: what it has; None if that is nothing. ``born_ms``: rows from before that moment that another store had
    do not matter; None if they do.
    """
    found = _timed().exclude(kind=Kind.STORE)
    if history is not None:
        has = {history.store_id: history.number, **dict(history.chapters)}
        missing = Q(applied_at=None)
        for store_id, number in has.items():
            missing |= Q(store_id=store_id, number__gt=number)
        elsewhere = ~Q(store_id__in=list(has))
        if born_ms is not None:
            elsewhere &= Q(created_at__gt=_moment(born_ms / 1000) - _CLOCKS)
        found = found.filter(missing | elsewhere)
    return list(found.filter(until__gt=timezone.now() - _CLOCKS, id__gt=after).order_by("id")[:limit])


def of_keys() -> list[Revocation]:
    """Of signing keys, whenever they were revoked."""
    return list(Revocation.objects.using(database()).filter(kind=Kind.KEY).order_by("id"))


def refused_keys() -> list[str]:
    """The names of the signing keys that were revoked."""
    return [row.target for row in of_keys()]


def newest_id() -> int:
    """The last row's; 0 where there is none."""
    newest: int | None = Revocation.objects.using(database()).aggregate(newest=Max("id"))["newest"]
    return newest or 0


def highest_number(store_id: str) -> int:
    """Behind which of a store's revocations the last row stands."""
    rows = Revocation.objects.using(database()).filter(store_id=store_id)
    return rows.aggregate(highest=Max("number"))["highest"] or 0


def exp_of(row: Revocation) -> int:
    """When a token that was revoked expires, in seconds of the epoch."""
    until = row.until
    if timezone.is_naive(until):
        # The hour that comes twice in autumn is not told apart.
        return int(timezone.make_aware(until, timezone.get_default_timezone()).timestamp()) + 3600
    return int(until.timestamp())


def note_birth(store_id: str, born_ms: int) -> None:
    """Every revocation since this moment is in the journal. Once: the first moment counts."""
    if Revocation.objects.using(database()).filter(kind=Kind.STORE).exists():
        return
    row = Revocation(
        key=_key(Kind.STORE, store_id),
        kind=Kind.STORE,
        target=store_id,
        store_id=store_id,
        moment_ms=born_ms,
        until=_moment(_LATEST),
        applied_at=timezone.now(),
    )
    Revocation.objects.using(database()).bulk_create([row], ignore_conflicts=True)


def origin_ms() -> int | None:
    """Since when the journal knows of every revocation, by Redis' clock; None if that is not known."""
    births = Revocation.objects.using(database()).filter(kind=Kind.STORE)
    moment: int | None = births.aggregate(first=Min("moment_ms"))["first"]
    return moment


def _timed() -> QuerySet[Revocation]:
    # The database's own now beside its own created_at.
    return Revocation.objects.using(database()).annotate(read_at=Now())


def seconds_since(row: Revocation) -> float:
    """How long ago a row was written when it was read, by the database's clock alone."""
    read_at: datetime = row.read_at  # type: ignore[attr-defined]
    return (read_at - row.created_at).total_seconds()


def expired() -> QuerySet[Revocation]:
    """Rows that are of no use any more."""
    return Revocation.objects.using(database()).filter(until__lte=timezone.now() - _CLOCKS).exclude(applied_at=None)


def history(user: str) -> QuerySet[Revocation]:
    """A user's rows, the newest first."""
    return Revocation.objects.using(database()).filter(user=user_tag(user)).order_by("-id")


# For commands and checks, not for requests ------------------------------------------------------------------------


def has_table() -> bool:
    """Was ``manage.py migrate`` run?"""
    connection = connections[database()]
    with connection.cursor() as cursor:
        return Revocation._meta.db_table in connection.introspection.table_names(cursor)


def now() -> datetime:
    """The database's clock."""
    # The ORM's own now needs a table to select from; of this one no row is read.
    nobody = Revocation.objects.using(database()).filter(key="")
    moment: datetime = nobody.aggregate(now=Coalesce(Max("created_at"), Now()))["now"]
    return moment


def pending_count() -> int:
    """How many rows Redis does not have."""
    return Revocation.objects.using(database()).filter(applied_at=None).count()


def replayed_since(moment: datetime) -> int:
    """How many rows from up to a moment of :func:`now` Redis was told (again) since."""
    told = Revocation.objects.using(database()).exclude(kind=Kind.STORE)
    return told.filter(created_at__lte=moment, applied_at__gte=moment).count()
