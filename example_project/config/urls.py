"""The page, the API and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("notes.urls")),
    path("api/auth/", include("jwt_redis.urls")),
    path("admin/", admin.site.urls),
]
