"""``{% load jwt_redis %}{% jwt_sessions %}``: the list of devices in a page of your own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.pages import flash
from jwt_redis.pages.base import password_url
from jwt_redis.pages.listing import context_for
from jwt_redis.pages.visitors import visitor_of

__all__ = ["jwt_ago", "jwt_sessions"]

register = template.Library()

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


@register.inclusion_tag("jwt_redis/sessions.html", takes_context=True)
def jwt_sessions(context: Any) -> dict[str, Any]:
    """The visitor's devices, with their buttons, which lead back to this page. Nothing for who is not signed in."""
    try:
        request = context["request"]
    except KeyError:
        raise ImproperlyConfigured(
            "{% jwt_sessions %} needs the request: add django.template.context_processors.request to the"
            " context_processors in TEMPLATES, and render the template with it."
        ) from None
    shown = {"request": request, "next": request.get_full_path(), "password_url": password_url(), "is_embedded": True}
    try:
        visitor = visitor_of(request, may_refresh=False)
        if visitor is None:
            return {**shown, "is_anonymous": True}
        found = context_for(visitor, request.GET.get("page"))
    except RevocationUnavailable:
        return {**shown, "is_unavailable": True}
    # Where Django's messages are installed the page shows them itself.
    flashes = [] if flash.has_messages(request) else flash.take(request)
    return {**shown, **found, "flashes": flashes}


@register.filter
def jwt_ago(moment: datetime) -> str:
    """How long ago that was, in one unit, as people say it. Clocks that differ make no future."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    if seconds < _MINUTE:
        return _("just now")
    if seconds < _HOUR:
        count = seconds // _MINUTE
        return ngettext("%(count)d minute ago", "%(count)d minutes ago", count) % {"count": count}
    if seconds < _DAY:
        count = seconds // _HOUR
        return ngettext("%(count)d hour ago", "%(count)d hours ago", count) % {"count": count}
    if seconds < 60 * _DAY:
        count = seconds // _DAY
        return ngettext("%(count)d day ago", "%(count)d days ago", count) % {"count": count}
    if seconds < 730 * _DAY:
        count = seconds // (30 * _DAY)
        return ngettext("%(count)d month ago", "%(count)d months ago", count) % {"count": count}
    count = seconds // (365 * _DAY)
    return ngettext("%(count)d year ago", "%(count)d years ago", count) % {"count": count}
