"""APIs of django-ninja: ``full/`` has the exception handlers, ``bare/`` has none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from ninja import NinjaAPI
from ninja.security import APIKeyHeader, HttpBasicAuth
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.contrib.ninja import AsyncJWTAuth, JWTAuth, add_exception_handlers


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        return "the machine" if key == "a machine's key" else None


class Password(HttpBasicAuth):
    def authenticate(self, request: HttpRequest, username: str, password: str) -> Any:
        return username if password == "open sesame" else None


RECENT = timedelta(minutes=5)


def facts(request: Any, user: Any) -> dict[str, Any]:
    return {"user": str(user.pk), "kind": type(user).__name__, "sid": request.auth["sid"]}


def _api(name: str) -> NinjaAPI:
    api = NinjaAPI(title=name, urls_namespace=name, version="1")

    def sync_at(url: str, auth: Any) -> None:
        def view(request: Any) -> dict[str, Any]:
            return facts(request, request.user) if isinstance(request.auth, Token) else {"auth": request.auth}

        api.api_operation(["GET", "POST"], url, auth=auth, operation_id=url.replace("/", "_"))(view)

    def async_at(url: str, auth: Any) -> None:
        async def view(request: Any) -> dict[str, Any]:
            return facts(request, await request.auser()) if isinstance(request.auth, Token) else {"auth": request.auth}

        api.api_operation(["GET", "POST"], url, auth=auth, operation_id=url.replace("/", "_"))(view)

    for at, prefix in ((sync_at, "sync"), (async_at, "async")):
        # Each kind of class before each kind of operation.
        for cls, kind in ((JWTAuth, "sync"), (AsyncJWTAuth, "async")):
            at(f"{prefix}/{kind}/row", cls())
            at(f"{prefix}/{kind}/stateless", cls(stateless=True))
            at(f"{prefix}/{kind}/open", cls(stateless=True, on_redis_failure="allow"))
            at(f"{prefix}/{kind}/recent", cls(max_age=RECENT))
            at(f"{prefix}/{kind}/several", [cls(), Key(), Password()])

    @api.get("sessions", auth=JWTAuth(stateless=True, on_redis_failure="allow"))
    def listed(request: HttpRequest) -> list[str]:
        return [session.sid for session in sessions.list_sessions(request.user)]

    return api


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


full, bare = _api("full"), _api("bare")
add_exception_handlers(full)

urlpatterns = [
    path("auth/", include("jwt_redis.urls")),
    path("full/", full.urls),
    path("bare/", bare.urls),
    path("untouched/", untouched),
]
