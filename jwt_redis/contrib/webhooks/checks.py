"""``manage.py check``: what would keep a webhook from being written, or make it dangerous."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import router

from jwt_redis import journal
from jwt_redis.conf import config, problems
from jwt_redis.contrib.webhooks.models import Delivery, Receiver
from jwt_redis.contrib.webhooks.places import trusted
from jwt_redis.contrib.webhooks.tokens import try_to_sign
from jwt_redis.exceptions import NoSigningKey

__all__ = ["check_webhooks", "register"]


def register() -> None:
    """Register it."""
    checks.register(check_webhooks, Tags.security)


def check_webhooks(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """What the settings alone tell."""
    if problems() or (webhooks := config().webhooks) is None:
        return []
    found: list[CheckMessage] = []
    if not journal.is_on():
        found.append(
            Error(
                "JWT_REDIS: WEBHOOKS: JOURNAL is False: nothing is written, and so nothing is sent.",
                hint="JOURNAL True, and `manage.py migrate`.",
                id="jwt_redis.E090",
            )
        )
    if any(router.db_for_write(model) != journal.database() for model in (Receiver, Delivery)):
        found.append(
            Error(
                "JWT_REDIS: WEBHOOKS: a database router puts jwt_redis_webhooks and jwt_redis into different databases:"
                " what is written into both can be lost in one of them.",
                hint="The same database for both.",
                id="jwt_redis.E091",
            )
        )
    try:
        try_to_sign()
    except NoSigningKey:
        # jwt_doctor and the log say so; the deliveries wait.
        pass
    except ImproperlyConfigured as error:
        found.append(Error(f"JWT_REDIS: WEBHOOKS: {error}", id="jwt_redis.E092"))
    try:
        trusted(webhooks.ca_file)
    except OSError as error:
        found.append(Error(f"JWT_REDIS: WEBHOOKS: {error}", id="jwt_redis.E093"))
    if webhooks.allow_http and not settings.DEBUG:
        found.append(
            Warning(
                "JWT_REDIS: WEBHOOKS: allow_http is True: who reads along learns whose sessions end, and what is in the"
                " Authorization header.",
                hint="allow_http False, and TLS (RFC 8935 section 5.3).",
                id="jwt_redis.W090",
            )
        )
    return found
