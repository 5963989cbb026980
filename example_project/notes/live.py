"""What a page asks every two seconds: is this device still signed in, and which others are?

With the switch on it is told the one thing at once.
"""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from django.utils.cache import add_never_cache_headers
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.contrib.sse.views import SessionEventsView
from jwt_redis.devices import describe
from notes.models import Note


def live(request: Any) -> JsonResponse:
    """Always 200: that somebody is signed out is no failure of the question."""
    if not request.user.is_authenticated:
        response = JsonResponse({"is_signed_in": False})
    else:
        devices = {
            session.sid: session.label or describe(session.user_agent) or "Unknown browser"
            for session in sessions.list_sessions(request.user)
        }
        notes = list(Note.objects.filter(user=request.user).values_list("pk", flat=True))
        response = JsonResponse({"is_signed_in": True, "devices": devices, "notes": notes})
    add_never_cache_headers(response)
    return response


class EventsView(SessionEventsView):
    """The stream, with the token that was refreshed in passing, if it was."""

    async def aget_token(self, request: Any) -> Token:
        visitor = getattr(request, "visitor", None)
        return request.auth if visitor is not None and visitor.tokens else await super().aget_token(request)
