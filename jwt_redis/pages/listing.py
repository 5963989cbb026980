"""What the list of devices shows, as values for its template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.utils.translation import gettext as _

from jwt_redis import sessions
from jwt_redis.conf import config
from jwt_redis.devices import Kind, describe, kind_of, location_of
from jwt_redis.pages.visitors import Visitor
from jwt_redis.sessions import MAX_LABEL, Session

__all__ = ["Row", "context_for", "name_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One session. ``title`` is its label or else ``device``; the user agent is text, and nobody's name."""

    session: Session
    title: str
    device: str
    kind: Kind
    location: str
    is_current: bool


def _device(session: Session) -> str:
    return describe(session.user_agent) or _("Unknown browser")


def name_of(session: Session) -> str:
    """What the session is called in a sentence."""
    return session.label or _device(session)


def _row(session: Session, visitor: Visitor, locations: dict[str, str]) -> Row:
    if session.ip not in locations:
        locations[session.ip] = location_of(session.ip)
    return Row(
        session=session,
        title=name_of(session),
        device=_device(session),
        kind=kind_of(session.user_agent),
        location=locations[session.ip],
        is_current=bool(visitor.sid) and session.sid == visitor.sid,
    )


def context_for(visitor: Visitor, page_number: Any) -> dict[str, Any]:
    """For ``jwt_redis/sessions.html``: one page of the visitor's sessions, the one that asks first.

    :raises RevocationUnavailable: when Redis cannot be asked.
    """
    # The one used last is first already, and sorting is stable.
    found = sorted(sessions.list_sessions(visitor.user), key=lambda session: session.sid != visitor.sid)
    page: Page[Session] = Paginator(found, config().pages.page_size).get_page(page_number)
    locations: dict[str, str] = {}
    has_current = any(session.sid == visitor.sid for session in found[:1])
    return {
        "rows": [_row(session, visitor, locations) for session in page],
        "page": page,
        "total": len(found),
        "others": len(found) - has_current,
        "has_current": has_current,
        "max_label": MAX_LABEL,
    }
