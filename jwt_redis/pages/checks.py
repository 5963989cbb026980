"""``manage.py check``: what would keep a sign-in notice from being sent, or make the sign-in wait for it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.urls import NoReverseMatch, reverse

from jwt_redis.conf import config, problems
from jwt_redis.notices import send_mail

__all__ = ["check_notices", "register"]

_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def register() -> None:
    """Register the checks."""
    checks.register(check_notices, Tags.security)


def check_notices(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Where ``SIGN_IN_NOTICE`` is on."""
    if problems() or (notice := config().sign_in_notice) is None or notice.send is None:
        return []
    found: list[CheckMessage] = []
    if getattr(settings, "ROOT_URLCONF", None):
        try:
            reverse("jwt_redis_pages:devices")
        except NoReverseMatch:
            found.append(
                Error(
                    "JWT_REDIS: SIGN_IN_NOTICE is on, and no URL leads to the page behind its link: nobody is told.",
                    hint='path("auth/devices/", include("jwt_redis.pages.urls"))',
                    id="jwt_redis.E008",
                )
            )
    if notice.send is send_mail and settings.EMAIL_BACKEND == _SMTP and settings.EMAIL_TIMEOUT is None:
        found.append(
            Warning(
                "JWT_REDIS: SIGN_IN_NOTICE is on, and EMAIL_TIMEOUT is not set: a mail server that hangs keeps users"
                " from signing in.",
                hint="EMAIL_TIMEOUT = 5, or a 'send' of your own that hands the notice to a queue.",
                id="jwt_redis.W007",
            )
        )
    return found
