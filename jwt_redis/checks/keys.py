"""The keys that tokens are signed with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from jwt_redis.conf import config, problems, simplejwt_setting
from jwt_redis.signing import backends, key_files

__all__ = ["check_keys", "check_keys_for_deployment"]


def check_keys(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The keys that tokens are signed with, where there are several."""
    if problems() or (keys := config().keys) is None:
        return []
    found: list[CheckMessage] = []
    try:
        backends.load(keys)
    except ValueError as error:
        found.append(
            Error(
                f"JWT_REDIS: KEYS: {error}.",
                hint="No token can be signed or verified. `manage.py jwt_keys create` makes the directory and a key.",
                id="jwt_redis.E020",
            )
        )
    if keys.directory is not None and (files := key_files.exposed(keys.directory)):
        found.append(
            Error(
                f"JWT_REDIS: KEYS: every user of this machine can read or write {', '.join(map(str, files))}:"
                " whoever has it signs tokens as anybody.",
                hint="chmod 600, and `manage.py jwt_keys retire KID --leaked` if somebody may have read it.",
                id="jwt_redis.E021",
            )
        )
    if keys.keys and not config().journal:
        found.append(
            Warning(
                "JWT_REDIS: KEYS: JOURNAL is False, and the keys are in the settings: once Redis is emptied, and no"
                " process runs that has heard of it, a key that was revoked verifies again.",
                hint="JOURNAL True, and `manage.py migrate jwt_redis`. Or, once a key has leaked, remove it from KEYS.",
                id="jwt_redis.W022",
            )
        )
    if simplejwt_setting("JWK_URL"):
        found.append(
            Error(
                "SIMPLE_JWT['JWK_URL'] has no effect beside JWT_REDIS['KEYS']: no key is fetched from anywhere.",
                hint="Leave one of them away.",
                id="jwt_redis.E022",
            )
        )
    return found


def check_keys_for_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Simple JWT's own key, as long as it signs or verifies."""
    if problems():
        return []
    keys = config().keys
    if keys is not None:
        try:
            if not backends.load(keys).accepts_no_kid:
                return []
        except ValueError:
            return []  # check_keys says so
    alg, key = str(simplejwt_setting("ALGORITHM")), simplejwt_setting("SIGNING_KEY")
    if not alg.startswith("HS") or not isinstance(key, (str, bytes)):
        return []
    found: list[CheckMessage] = []
    least = int(alg[2:]) // 8
    if len(key.encode() if isinstance(key, str) else key) < least:
        found.append(
            Warning(
                f"SIMPLE_JWT['SIGNING_KEY'] has fewer than the {least} bytes that {alg} needs (RFC 7518 section 3.2):"
                " it can be guessed from one token.",
                hint="JWT_REDIS['KEYS'] and `manage.py jwt_keys create`, and nobody is logged out.",
                id="jwt_redis.W020",
            )
        )
    if key == settings.SECRET_KEY:
        found.append(
            Warning(
                "SIMPLE_JWT['SIGNING_KEY'] is SECRET_KEY: whoever reads the one has the other, and changing it logs"
                " everybody out.",
                hint="JWT_REDIS['KEYS'], or at least {'secret_key_fallbacks': True} there.",
                id="jwt_redis.W021",
            )
        )
    return found
