"""``STATUS_LIST``: whether others can find a list, and verify it without being able to make tokens."""

from __future__ import annotations

from urllib.parse import urlparse

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, get_script_prefix, resolve

from jwt_redis.conf import StatusList, config, simplejwt_setting
from jwt_redis.exceptions import NoSigningKey
from jwt_redis.signing import backends

__all__ = ["check_status_list"]


def check_status_list(published: StatusList) -> list[CheckMessage]:
    """Where the status of tokens is published."""
    found: list[CheckMessage] = []
    if _signs_with_a_secret():
        found.append(
            Warning(
                "JWT_REDIS: STATUS_LIST: lists are signed with a shared secret: whoever is to verify one needs the key"
                " that tokens are signed with, and can make tokens with it.",
                hint="An asymmetric SIMPLE_JWT['ALGORITHM'], such as 'ES256', with its SIGNING_KEY and VERIFYING_KEY.",
                id="jwt_redis.W008",
            )
        )
    if getattr(settings, "ROOT_URLCONF", None) and not _leads_to_list(urlparse(published.uri).path):
        found.append(
            Warning(
                f"JWT_REDIS: STATUS_LIST: no URL of this project leads to a list at {published.uri}: services that look"
                " there refuse every token.",
                hint='path("status/", include("jwt_redis.status_urls")), and its address as uri. Behind a proxy that'
                " changes paths it may be right all the same.",
                id="jwt_redis.W009",
            )
        )
    return found


def _signs_with_a_secret() -> bool:
    if config().keys is None:
        return str(simplejwt_setting("ALGORITHM")).startswith("HS")
    try:
        return backends.signs_with()[0].startswith("HS")
    except (ImproperlyConfigured, NoSigningKey):
        # Nothing is signed, then; E020 and jwt_doctor say so.
        return False


def _leads_to_list(path: str) -> bool:
    prefix = get_script_prefix()
    try:
        found = resolve("/" + path.removeprefix(prefix) + "x" if path.startswith(prefix) else path + "x")
    except Resolver404:
        return False
    return "jwt_redis_status" in found.app_names
