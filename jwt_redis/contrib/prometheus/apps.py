"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from jwt_redis import observers
from jwt_redis.contrib.extras import needed


class PrometheusConfig(AppConfig):
    """Counts from now on."""

    name = "jwt_redis.contrib.prometheus"
    # The last part alone may be somebody else's.
    label = "jwt_redis_prometheus"
    verbose_name = _("Metrics of sessions")

    def ready(self) -> None:
        """Imported here: it registers the metrics."""
        with needed(self.name, "prometheus_client", "prometheus"):
            from jwt_redis.contrib.prometheus.metrics import observer
        observers.install(observer)
