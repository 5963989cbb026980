"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.utils.translation import pgettext_lazy


class JWTRedisConfig(AppConfig):
    """Connects the receivers and registers the checks."""

    name = "jwt_redis"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = pgettext_lazy("jwt_redis", "Sessions")

    def ready(self) -> None:
        """Imported here: both need the app registry."""
        from jwt_redis import checks, last_login, notices, receivers
        from jwt_redis.oauth import checks as checks_of_oauth
        from jwt_redis.openid import checks as checks_of_openid
        from jwt_redis.pages import checks as checks_of_pages
        from jwt_redis.signing import backends

        backends.install()
        checks.register()
        checks_of_oauth.register()
        checks_of_openid.register()
        checks_of_pages.register()
        receivers.connect()
        notices.connect()
        last_login.connect()
        if apps.is_installed("drf_spectacular"):
            # It registers itself.
            from jwt_redis.contrib import spectacular  # noqa: F401
        if apps.is_installed("dj_rest_auth"):
            from jwt_redis.contrib.dj_rest_auth import checks as checks_of_dj_rest_auth

            checks_of_dj_rest_auth.register()
