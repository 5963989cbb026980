"""Which of our sessions was opened with which of an OpenID provider's, and which of that one's are over: in the
database, where a Redis that is down or was emptied cannot take it along. A logout token names the provider's.

A sign-in and a logout may meet in any order, and within a transaction neither sees the other before it has committed.
So each writes first what the other looks for, and looks after its own commit: whoever is the second finds the first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

from django.db import IntegrityError, connections, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from jwt_redis import journal
from jwt_redis.conf import leeway_seconds, longest_session
from jwt_redis.keys import UserTag, user_tag
from jwt_redis.models import ProviderLogout, ProviderSession
from jwt_redis.store.commands import MARGIN

__all__ = [
    "Link",
    "ProviderClaims",
    "expired",
    "find",
    "has_tables",
    "look",
    "note_logout",
    "read_id_token",
    "remember",
]

# A hundred years: a project's own lifetime may lie beyond the calendar.
_LONGEST = 36500 * 86400.0
# For so long an ID token from before a logout may still be on its way to us. A day is long for one to live, and whoever
# verified it has looked at its exp.
_LOGOUTS_KEPT = timedelta(days=2)


class ProviderClaims(NamedTuple):
    """What an ID token says of the provider's session. ``issued_at``: its ``iat``, whole seconds, if it has one."""

    issuer: str
    subject: str
    sid: str | None
    issued_at: int | None


def read_id_token(claims: Any) -> ProviderClaims:
    """``iss``, ``sub``, ``sid`` and ``iat`` of an ID token's claims (OpenID Connect Core section 2).

    :raises ValueError: naming the one that is missing, or is not what it should be.
    """
    if not isinstance(claims, Mapping):
        raise ValueError(f"id_token: the claims of a verified ID token are needed, a dict, not {type(claims).__name__}")
    for name in ("iss", "sub", "sid"):
        value = claims.get(name)
        if name == "sid" and value is None:
            continue
        if not isinstance(value, str) or not value:
            raise ValueError(f"id_token: its {name!r} is {'missing' if value is None else 'no string'}")
    issued_at = claims.get("iat")
    if issued_at is not None and not _is_moment(issued_at):
        raise ValueError("id_token: its 'iat' is no number of seconds")
    return ProviderClaims(
        claims["iss"], claims["sub"], claims.get("sid"), None if issued_at is None else int(issued_at)
    )


def _is_moment(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**53


def _digest(issuer: str, kind: str, value: str | None) -> str:
    if value is None:
        return ""
    # The length of each part keeps two of them from being read as two others.
    text = f"{kind}:{len(issuer)}:{issuer}:{value}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Link:
    """A session of ours and one of a provider's, when we began to note that they belong together.

    ``earlier``: logouts that were known by then, and were issued before its ID token: they mean sessions before it.
    ``was_over``: another one was known, which means this one.
    """

    issuer: str
    by_sid: str
    by_sub: str
    earlier: frozenset[int]
    was_over: bool

    def is_over(self) -> bool:
        """Has the provider ended it, before or since? To be asked after the row's commit."""
        return any(pk not in self.earlier for pk, _, _ in _logouts(self.by_sid, self.by_sub))


def look(of_provider: ProviderClaims) -> Link:
    """What is known of the provider's session now.

    By the provider's clock alone: an ID token that it has issued after a logout is of a session that it has since
    opened, or kept. In the same second, nobody knows. Where the ID token has no ``iat``, a logout of the same ``sid``
    counts, and one that does not name it is taken for earlier, or nobody could sign in any more.
    """
    by_sid = _digest(of_provider.issuer, "sid", of_provider.sid)
    by_sub = _digest(of_provider.issuer, "sub", of_provider.subject)
    moment = of_provider.issued_at
    known = _logouts(by_sid, by_sub)
    if moment is None:
        earlier = frozenset(pk for pk, named, _ in known if not by_sid or named != by_sid)
    else:
        earlier = frozenset(pk for pk, _, issued_at in known if issued_at < moment)
    return Link(of_provider.issuer, by_sid, by_sub, earlier, len(earlier) < len(known))


def _logouts(by_sid: str, by_sub: str) -> list[tuple[int, str, int]]:
    """Those that mean a session, each with its ``by_sid`` and ``issued_at``. :func:`find`, from the other side."""
    wanted = Q(by_sid="", by_sub=by_sub) | Q(by_sid=by_sid, by_sub__in=("", by_sub))
    if not by_sid:
        wanted = Q(by_sub=by_sub)
    rows = ProviderLogout.objects.using(journal.database())
    return list(rows.filter(wanted).values_list("id", "by_sid", "issued_at"))


def remember(user: str, sid: str, link: Link, exp: float) -> None:
    """Our session ``sid`` of ``user`` was opened with that one. ``exp``: of its refresh token, seconds of the epoch."""
    # It is refreshed for no longer than that.
    seconds = max(longest_session(), exp - time.time()) + leeway_seconds() + MARGIN
    facts = {
        "by_sid": link.by_sid,
        "by_sub": link.by_sub,
        "user": user_tag(user),
        "until": timezone.now() + timedelta(seconds=min(seconds, _LONGEST)),
    }
    rows = ProviderSession.objects.using(journal.database())
    try:
        # Not update_or_create: where it finds nothing, MySQL locks the gap, and two sign-ins wait for each other.
        with transaction.atomic(using=journal.database()):
            rows.create(sid=sid, **facts)
    except IntegrityError:
        if not rows.filter(sid=sid).update(**facts):
            raise


def note_logout(issuer: str, *, subject: str | None, provider_sid: str | None, issued_at: float) -> None:
    """The provider says that these are over. ``issued_at``: when it said so, seconds of the epoch by its clock.

    :raises ValueError: naming what is not right.
    """
    for name, value in (("issuer", issuer), ("sid", provider_sid), ("subject", subject)):
        if value is not None and not (isinstance(value, str) and value):
            raise ValueError(f"{name}: a string is needed, and not an empty one")
    if provider_sid is None and subject is None:
        raise ValueError("sid, subject: one of the two is needed")
    if not _is_moment(issued_at):
        raise ValueError("issued_at: a number of seconds is needed")
    ProviderLogout.objects.using(journal.database()).create(
        by_sid=_digest(issuer, "sid", provider_sid),
        by_sub=_digest(issuer, "sub", subject),
        issued_at=int(issued_at),
        until=timezone.now() + _LOGOUTS_KEPT,
    )


def find(issuer: str, *, subject: str | None, provider_sid: str | None) -> list[tuple[str, str]]:
    """Our sessions, each with its user, that a logout means. To be asked after the commit of :func:`note_logout`.

    With a ``sid`` those of that one, and those of the subject that were opened without one: they may be of it.
    """
    wanted = Q()
    if provider_sid is not None:
        wanted = Q(by_sid=_digest(issuer, "sid", provider_sid))
        if subject is not None:
            wanted |= Q(by_sid="")
    if subject is not None:
        wanted &= Q(by_sub=_digest(issuer, "sub", subject))
    rows = ProviderSession.objects.using(journal.database())
    return [(_user(tag), sid) for tag, sid in rows.filter(wanted).order_by("id").values_list("user", "sid")]


def _user(tag: str) -> str:
    # A long id is known by its digest alone.
    return UserTag(tag) if tag.startswith("~") else unquote(tag, errors="surrogatepass")


def expired() -> tuple[QuerySet[Model], ...]:
    """Of each table the rows that are of no use any more."""
    # Time zones (USE_TZ=False) may differ.
    moment = timezone.now() - timedelta(days=1)
    return tuple(model._base_manager.using(journal.database()).filter(until__lte=moment) for model in _MODELS)


def has_tables() -> bool:
    """Was ``manage.py migrate`` run?"""
    connection = connections[journal.database()]
    with connection.cursor() as cursor:
        there = connection.introspection.table_names(cursor)
    return all(model._meta.db_table in there for model in _MODELS)


_MODELS: Iterable[type[Model]] = (ProviderSession, ProviderLogout)
