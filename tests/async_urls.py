"""Views that say who they take the requester for: plain async ones, and those of async DRF."""

from __future__ import annotations

import threading
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.middleware import JWTAuthenticationMiddleware


class StatelessMiddleware(JWTAuthenticationMiddleware):
    authentication_class = JWTStatelessUserAuthentication


async def whoami(request: Any) -> JsonResponse:
    user = await request.auser()
    if request.auth is None:
        return JsonResponse({"error": request.auth_error.detail if request.auth_error else None}, status=401)
    return JsonResponse({"user": user.pk, "sid": request.auth["sid"], "thread": threading.current_thread().name})


async def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [path("whoami/", whoami), path("untouched/", untouched)]
