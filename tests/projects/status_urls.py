"""The test project's URLs, and where its status lists are."""

from __future__ import annotations

from django.urls import include, path

from tests import urls

urlpatterns = [*urls.urlpatterns, path("status/", include("jwt_redis.status_urls"))]
