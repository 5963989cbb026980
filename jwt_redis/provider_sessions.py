"""Which of our sessions was opened with which of an OpenID provider's: in the database, where a Redis that is down or
was emptied cannot take it along. A logout token names the provider's.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from django.db import connections
from django.db.models import Q, QuerySet
from django.utils import timezone

from jwt_redis import journal
from jwt_redis.conf import leeway_seconds, longest_session
from jwt_redis.keys import UserTag, user_tag
from jwt_redis.models import ProviderSession
from jwt_redis.store.commands import MARGIN

__all__ = ["ProviderClaims", "expired", "has_table", "is_over", "note_over", "read_id_token", "remember"]

ProviderClaims = tuple[str, str, str | None]


def read_id_token(claims: Any) -> ProviderClaims:
    """``iss``, ``sub`` and ``sid`` of an ID token's claims (OpenID Connect Core section 2).

    :raises ValueError: naming the one that is missing or no string.
    """
    if not isinstance(claims, Mapping):
        raise ValueError(f"id_token: the claims of a verified ID token are needed, a dict, not {type(claims).__name__}")
    for name in ("iss", "sub", "sid"):
        value = claims.get(name)
        if name == "sid" and value is None:
            continue
        if not isinstance(value, str) or not value:
            raise ValueError(f"id_token: its {name!r} is {'missing' if value is None else 'no string'}")
    return claims["iss"], claims["sub"], claims.get("sid")


def _digest(issuer: str, kind: str, value: str) -> str:
    # The length of each part keeps two of them from being read as two others.
    text = f"{kind}:{len(issuer)}:{issuer}:{value}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def remember(user: str, sid: str, of_provider: ProviderClaims, exp: float) -> None:
    """Our session ``sid`` of ``user`` was opened with that one. ``exp``: of its refresh token, seconds of the epoch."""
    issuer, subject, provider_sid = of_provider
    # It is refreshed for no longer than that.
    seconds = max(longest_session(), exp - time.time()) + leeway_seconds() + MARGIN
    facts = {
        "by_sid": "" if provider_sid is None else _digest(issuer, "sid", provider_sid),
        "by_sub": _digest(issuer, "sub", subject),
        "user": user_tag(user),
        "until": timezone.now() + timedelta(seconds=min(seconds, _LONGEST)),
    }
    ProviderSession.objects.using(journal.database()).update_or_create(sid=sid, defaults=facts)


# A hundred years: a project's own lifetime may lie beyond the calendar.
_LONGEST = 36500 * 86400.0


def is_over(sid: str) -> bool:
    """Has a logout token come for the session that was opened as our ``sid``?"""
    return ProviderSession.objects.using(journal.database()).filter(sid=sid, is_over=True).exists()


def note_over(issuer: str, *, subject: str | None, provider_sid: str | None) -> list[tuple[str, str]]:
    """Our sessions, each with its user, that a logout token means; from now on they are over.

    With a ``sid`` those of that one, and those of the subject that were opened without one: they may be of it.
    """
    wanted = Q()
    if provider_sid is not None:
        wanted = Q(by_sid=_digest(issuer, "sid", provider_sid))
        if subject is not None:
            wanted |= Q(by_sid="")
    if subject is not None:
        wanted &= Q(by_sub=_digest(issuer, "sub", subject))
    if not wanted:
        raise ValueError("sid, subject: one of the two is needed")
    rows = ProviderSession.objects.using(journal.database())
    found = list(rows.filter(wanted).order_by("id").values_list("id", "user", "sid"))
    rows.filter(pk__in=[pk for pk, _, _ in found], is_over=False).update(is_over=True)
    return [(_user(tag), sid) for _, tag, sid in found]


def _user(tag: str) -> str:
    # A long id is known by its digest alone.
    return UserTag(tag) if tag.startswith("~") else unquote(tag, errors="surrogatepass")


def expired() -> QuerySet[ProviderSession]:
    """Rows whose session is certainly over."""
    return ProviderSession.objects.using(journal.database()).filter(until__lte=timezone.now() - timedelta(days=1))


def has_table() -> bool:
    """Was ``manage.py migrate`` run?"""
    connection = connections[journal.database()]
    with connection.cursor() as cursor:
        return ProviderSession._meta.db_table in connection.introspection.table_names(cursor)
