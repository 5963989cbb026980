"""The test project's URLs, with the pages below auth/, where the refresh cookie is sent, and a page of its own."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path

from tests import urls


def password(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Change it here.")


def own_page(request: HttpRequest) -> HttpResponse:
    return render(request, "tests/own_page.html")


urlpatterns = [
    path("auth/devices/", include("jwt_redis.pages.urls")),
    path("accounts/login/", LoginView.as_view(template_name="tests/login.html"), name="login"),
    path("accounts/password/", password, name="password"),
    path("account/", own_page, name="own_page"),
    path("", include(urls.urlpatterns)),
]
