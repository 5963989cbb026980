"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class JWTRedisConfig(AppConfig):
    """Connects the receivers and registers the checks."""

    name = "jwt_redis"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Sessions")

    def ready(self) -> None:
        """Imported here: both need the app registry."""
        from jwt_redis import checks, last_login, receivers

        checks.register()
        receivers.connect()
        last_login.connect()
