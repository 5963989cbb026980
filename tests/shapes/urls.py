"""The test project's URLs and the device page."""

from __future__ import annotations

from django.urls import include, path

from tests import urls

urlpatterns = [path("devices/", include("jwt_redis.pages.urls")), *urls.urlpatterns]
