"""What the settings alone tell."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from jwt_redis import stock_blacklist
from jwt_redis.checks.alias import check_alias
from jwt_redis.checks.cookies import check_cookie
from jwt_redis.checks.status_lists import check_status_list
from jwt_redis.conf import config, problems, simplejwt_setting

__all__ = ["check_settings"]

_HINT_SETTINGS = "SIMPLE_JWT = {**jwt_redis.simplejwt_settings(), ...}"


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """What the settings alone tell."""
    wrong = problems()
    found: list[CheckMessage] = [
        Error(f"JWT_REDIS: {key}: {reason}.", id="jwt_redis.E001" if is_unknown else "jwt_redis.E002")
        for key, reason, is_unknown in wrong
    ]
    if simplejwt_setting("JTI_CLAIM") is None:
        found.append(
            Error(
                "SIMPLE_JWT['JTI_CLAIM'] is None: a token without an id cannot be revoked.",
                hint="Leave it at 'jti'.",
                id="jwt_redis.E003",
            )
        )
    found += _check_wiring()
    if stock_blacklist.APP in settings.INSTALLED_APPS:
        found.append(
            Warning(
                "rest_framework_simplejwt.token_blacklist is still installed: each refresh asks its table too.",
                hint="`manage.py jwt_import_blacklist`, then remove it from INSTALLED_APPS.",
                id="jwt_redis.W001",
            )
        )
    if wrong:
        return found
    if config().client_factory is None:
        found += check_alias(config().alias)
    if config().strategy == "blacklist" and not config().journal:
        found.append(
            Warning(
                "JOURNAL is False under the blacklist strategy: where Redis loses some revocations, by an older"
                " snapshot or a replica that lagged, tokens that were revoked work again.",
                hint="JOURNAL True, and `manage.py migrate jwt_redis`.",
                id="jwt_redis.W003",
            )
        )
    if config().legacy_tokens is not None and not config().journal:
        found.append(
            Error(
                "JOURNAL is False, and LEGACY_TOKENS is 'adopt': without a journal nobody knows what Redis may have"
                " lost of revocations, so tokens from before this Redis are refused.",
                hint="JOURNAL True, and `manage.py migrate jwt_redis`.",
                id="jwt_redis.E009",
            )
        )
    if (published := config().status_list) is not None:
        found += check_status_list(published)
    cookie = config().cookie
    return found if cookie is None else found + check_cookie(cookie)


def _check_wiring() -> list[CheckMessage]:
    """Simple JWT's own classes know nothing of Redis: one that is left in place lets revoked tokens through."""
    from jwt_redis import serializers, tokens

    expected: dict[str, tuple[type, ...]] = {
        "AUTH_TOKEN_CLASSES": (tokens.AccessToken, tokens.SlidingToken),
        "TOKEN_OBTAIN_SERIALIZER": (serializers.SessionObtainMixin,),
        "TOKEN_REFRESH_SERIALIZER": (serializers.SessionRefreshMixin,),
        "TOKEN_VERIFY_SERIALIZER": (serializers.SessionVerifyMixin,),
        "TOKEN_BLACKLIST_SERIALIZER": (serializers.SessionBlacklistMixin,),
        "SLIDING_TOKEN_OBTAIN_SERIALIZER": (serializers.SessionObtainMixin,),
        "SLIDING_TOKEN_REFRESH_SERIALIZER": (serializers.SessionRefreshSlidingMixin,),
    }
    found: list[CheckMessage] = []
    for name, wanted in expected.items():
        value = simplejwt_setting(name)
        classes = value if isinstance(value, (list, tuple)) else [value]
        for cls in classes:
            try:
                loaded = import_string(cls) if isinstance(cls, str) else cls
            except ImportError as error:
                message, hint = f"SIMPLE_JWT[{name!r}] cannot be imported: {error}.", None
            else:
                if issubclass(loaded, wanted):
                    continue
                path = f"{loaded.__module__}.{loaded.__qualname__}"
                message = f"SIMPLE_JWT[{name!r}]: {path} knows nothing of revocation."
                hint = (
                    f"{_HINT_SETTINGS}, or put {wanted[0].__module__}.{wanted[0].__qualname__} in front of its bases."
                )
            found.append(Error(message, hint=hint, id="jwt_redis.E006"))
    return found
