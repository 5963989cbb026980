"""The pages, the devices, the API and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from notes import staff

urlpatterns = [
    path("", include("notes.urls")),
    path("devices/", include("jwt_redis.pages.urls")),
    # For a page's own scripts: the same cookies, JSON.
    path("auth/", include("jwt_redis.urls")),
    # One sign-in for all of it: staff come to the admin with the session that they have on the pages.
    path("admin/login/", staff.sign_in),
    path("admin/logout/", staff.sign_out),
    path("admin/password_change/", RedirectView.as_view(pattern_name="password")),
    path("admin/", admin.site.urls),
    # The admin's pages name no icon.
    path("favicon.ico", RedirectView.as_view(url="/static/notes/icon.svg")),
]
