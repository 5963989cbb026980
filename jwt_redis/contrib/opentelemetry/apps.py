"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from jwt_redis import observers
from jwt_redis.contrib.extras import needed


class OpenTelemetryConfig(AppConfig):
    """Traces from now on."""

    name = "jwt_redis.contrib.opentelemetry"
    # The last part alone may be somebody else's.
    label = "jwt_redis_opentelemetry"
    verbose_name = _("Traces of sessions")

    def ready(self) -> None:
        """Imported here: only now is it wanted."""
        with needed(self.name, "opentelemetry", "opentelemetry"):
            from jwt_redis.contrib.opentelemetry.tracing import observer
        observers.install(observer)
