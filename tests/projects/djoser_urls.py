"""djoser's URLs, and those of this package."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import include, path


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [path("untouched/", untouched)]

# From here on as docs/how-to/djoser.md has it.

urlpatterns += [
    path("auth/", include("djoser.urls")),
    path("auth/", include("djoser.urls.jwt")),
    path("auth/", include("jwt_redis.urls")),
]
