"""The test project's URLs, and the page of the metrics."""

from __future__ import annotations

from django.urls import include, path

from tests.urls import urlpatterns as _urlpatterns

urlpatterns = [*_urlpatterns, path("internal/", include("jwt_redis.contrib.prometheus.urls"))]
