"""The Django app."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from jwt_redis.contrib.extras import needed


class WebhooksConfig(AppConfig):
    """Deliveries are written with the journal from now on, where ``WEBHOOKS`` is set."""

    name = "jwt_redis.contrib.webhooks"
    # The last part alone may be somebody else's.
    label = "jwt_redis_webhooks"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Security events")

    def ready(self) -> None:
        """Imported here: it needs the app registry."""
        with needed(self.name, "httpx", "webhooks"):
            # Only who sends needs it.
            if find_spec("httpx") is None:
                raise ModuleNotFoundError(name="httpx")
        from jwt_redis import diagnosis, outlets
        from jwt_redis.contrib.webhooks import checks
        from jwt_redis.contrib.webhooks.diagnosis import check_deliveries
        from jwt_redis.contrib.webhooks.outbox import outbox

        outlets.install(outbox)
        diagnosis.register(check_deliveries)
        checks.register()
