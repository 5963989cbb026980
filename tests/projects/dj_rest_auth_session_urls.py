"""Those of dj_rest_auth_urls.py, and a view that asks Django's session."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.projects.dj_rest_auth_urls import urlpatterns


def by_session(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username()})


urlpatterns += [path("by-session/", by_session)]
