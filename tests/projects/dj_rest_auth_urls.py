"""dj-rest-auth's URLs on tokens of this package."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model, user_logged_in
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

# Who has signed in, in this process.
_signed_in: list[str] = []


def _note(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    _signed_in.append(f"{user} from {request.META['HTTP_USER_AGENT']}")


user_logged_in.connect(_note)


def signed_in(request: HttpRequest) -> JsonResponse:
    has_last_login = get_user_model().objects.filter(username="alice", last_login__isnull=False).exists()
    return JsonResponse({"signed_in": _signed_in, "has_last_login": has_last_login})


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [path("untouched/", untouched), path("signed-in/", signed_in)]

# From here on as docs/how-to/dj-rest-auth.md has it.

urlpatterns += [
    path("auth/", include("jwt_redis.contrib.dj_rest_auth.urls")),
]
