"""A thief to play: a copy of one's own refresh token, and its use."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.generic import View
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import cookies
from jwt_redis.exceptions import RevokedToken
from jwt_redis.serializers import TokenRefreshSerializer

_SECONDS = 3600


def _key(request: Any) -> str:
    return f"stolen:{request.auth['sid']}"


def seconds_since_theft(request: Any) -> int | None:
    """How long ago the thief took a copy of this session's token. None: never."""
    stolen = cache.get(_key(request)) if request.auth is not None else None
    return None if stolen is None else int(time.time() - stolen["at"])


def _refresh(raw: str) -> dict[str, str]:
    """As ``token/refresh/`` does."""
    serializer = TokenRefreshSerializer(data={"refresh": raw})
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


class StealView(View):
    """Takes the copy, and lets the browser refresh twice: then the copy is older than two tabs could explain."""

    def get(self, request: Any) -> HttpResponse:
        """Where signing in leads back to."""
        return redirect("home")

    def post(self, request: Any) -> HttpResponse:
        found = cookies.refresh_cookies(request)
        if not request.user.is_authenticated or request.auth is None or len(found) != 1:
            return redirect("home")
        cache.set(_key(request), {"token": found[0], "at": time.time()}, _SECONDS)
        response = redirect("home")
        try:
            tokens = _refresh(_refresh(found[0])["refresh"])
        except TokenError:
            return response
        cookies.set_cookies(response, access=tokens["access"], refresh=tokens["refresh"])
        messages.success(request, "A copy was taken, and this browser has refreshed its tokens since.")
        return response


class UseView(View):
    """The thief sends the copy."""

    def get(self, request: Any) -> HttpResponse:
        return redirect("home")

    def post(self, request: Any) -> HttpResponse:
        stolen = cache.get(_key(request)) if request.user.is_authenticated and request.auth is not None else None
        if stolen is not None:
            cache.delete(_key(request))
            try:
                _refresh(stolen["token"])
            except RevokedToken as error:
                messages.warning(request, f"The thief was refused ({error.reason}), and this session is over.")
        return redirect("home")
