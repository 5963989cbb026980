"""``path("internal/", include("jwt_redis.contrib.prometheus.urls"))``, where only the Prometheus server gets."""

from __future__ import annotations

from django.urls import path

from jwt_redis.contrib.prometheus.views import metrics

app_name = "jwt_redis_prometheus"

urlpatterns = [path("metrics/", metrics, name="metrics")]
