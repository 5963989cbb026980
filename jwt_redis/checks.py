"""``manage.py check``: what would break a promise. Only ``--deploy`` asks Redis."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlparse

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.urls import Resolver404, get_script_prefix, resolve
from django.utils.module_loading import import_string

from jwt_redis import backends, journal, key_files, stock_blacklist
from jwt_redis.conf import Cookie, StatusList, config, problems, simplejwt_setting
from jwt_redis.cookie_paths import out_of_reach, refresh_path
from jwt_redis.exceptions import NoSigningKey, RevocationUnavailable
from jwt_redis.store.connections import server_location
from jwt_redis.store.outside import server_info

__all__ = [
    "OLDEST_REDIS",
    "check_deployment",
    "check_journal",
    "check_keys",
    "check_keys_for_deployment",
    "check_settings",
    "is_loopback",
    "neighbours",
    "register",
    "version_of",
]

OLDEST_REDIS = (6, 2)
_HINT_SETTINGS = "SIMPLE_JWT = {**jwt_redis.simplejwt_settings(), ...}"


def register() -> None:
    """Register the checks."""
    checks.register(check_settings, Tags.security)
    checks.register(check_keys, Tags.security)
    checks.register(check_journal, Tags.database)
    checks.register(check_deployment, Tags.security, deploy=True)
    checks.register(check_keys_for_deployment, Tags.security, deploy=True)


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
        found += _check_alias(config().alias)
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
        found += _check_status_list(published)
    cookie = config().cookie
    return found if cookie is None else found + _check_cookie(cookie)


def _signs_with_a_secret() -> bool:
    if config().keys is None:
        return str(simplejwt_setting("ALGORITHM")).startswith("HS")
    try:
        return backends.signs_with()[0].startswith("HS")
    except (ImproperlyConfigured, NoSigningKey):
        # Nothing is signed, then; E020 and jwt_doctor say so.
        return False


def _check_status_list(published: StatusList) -> list[CheckMessage]:
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


def _leads_to_list(path: str) -> bool:
    prefix = get_script_prefix()
    try:
        found = resolve("/" + path.removeprefix(prefix) + "x" if path.startswith(prefix) else path + "x")
    except Resolver404:
        return False
    return "jwt_redis_status" in found.app_names


def _check_cookie(cookie: Cookie) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not cookie.secure and not settings.DEBUG:
        found.append(
            Warning(
                "JWT_REDIS: COOKIE: secure is False: tokens are sent in the clear to whoever makes a browser ask over"
                " http.",
                hint="secure True, and TLS; False is for local development.",
                id="jwt_redis.W004",
            )
        )
    if not cookie.csrf:
        found.append(
            Warning(
                "JWT_REDIS: COOKIE: csrf is False: other sites can act for a user who is signed in.",
                hint="csrf True. Clients without cookies have the header, or views with uses_cookies=False.",
                id="jwt_redis.W005",
            )
        )
    if getattr(settings, "ROOT_URLCONF", None):
        found += _check_reach(cookie)
    return found


def _check_reach(cookie: Cookie) -> list[CheckMessage]:
    missed = out_of_reach(cookie)
    if missed is None:
        what = "no URL leads to a view that takes the refresh cookie: nobody can refresh."
        hint = 'path("auth/", include("jwt_redis.urls")), or views from jwt_redis.views in place of Simple JWT\'s own.'
    elif missed:
        what = f"browsers do not send the refresh cookie, whose path is {refresh_path(cookie)}, to {', '.join(missed)}."
        hint = "refresh_path None, or one that all of these URLs begin with."
    else:
        return []
    return [Warning(f"JWT_REDIS: COOKIE: {what}", hint=hint, id="jwt_redis.W006")]


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


def _check_alias(alias: str) -> list[CheckMessage]:
    try:
        _, options = server_location(alias)
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="Give sessions an alias with BACKEND 'django_redis.cache.RedisCache'.",
                id="jwt_redis.E004",
            )
        ]
    found: list[CheckMessage] = []
    if options.get("IGNORE_EXCEPTIONS", getattr(settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False)):
        found.append(
            Error(
                f"CACHES[{alias!r}] ignores exceptions: to whoever uses it, a Redis that is down holds no revocations.",
                hint="Give sessions an alias of their own, without IGNORE_EXCEPTIONS.",
                id="jwt_redis.E005",
            )
        )
    if others := neighbours(alias):
        found.append(
            Warning(
                f"CACHES[{alias!r}] shares its Redis database with {', '.join(map(repr, others))}:"
                " cache.clear() there is FLUSHDB, and signs everybody out.",
                hint="Give sessions a database of their own, or better a server.",
                id="jwt_redis.W002",
            )
        )
    return found


def neighbours(alias: str) -> list[str]:
    """The other caches in the same Redis database.

    :raises ImproperlyConfigured: when the alias is none of a django-redis cache.
    """
    url, options = server_location(alias)
    return sorted(name for name in settings.CACHES if name != alias and _same_database(url, options, name))


def _same_database(url: str, options: dict[str, Any], other: str) -> bool:
    params: Any = settings.CACHES[other]
    location = params.get("LOCATION", "")
    locations = location.split(",") if isinstance(location, str) else location
    other_db = params.get("OPTIONS", {}).get("CONNECTION_POOL_KWARGS", {}).get("db")
    here = _database(url, options.get("CONNECTION_POOL_KWARGS", {}).get("db"))
    return any(_database(str(one), other_db) == here for one in locations if "://" in str(one))


def _database(url: str, db: int | None) -> tuple[str, int, str]:
    parsed = urlparse(url)
    path = parsed.path.strip("/")
    query = dict(part.split("=", 1) for part in parsed.query.split("&") if "=" in part)
    if parsed.scheme == "unix":
        return (parsed.path, 0, query.get("db", str(db or 0)))
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}.get(parsed.hostname or "", parsed.hostname or "")
    return (host, parsed.port or 6379, query.get("db") or path or str(db or 0))


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
    if simplejwt_setting("JWK_URL"):
        found.append(
            Error(
                "SIMPLE_JWT['JWK_URL'] has no effect beside JWT_REDIS['KEYS']: no key is fetched from anywhere.",
                hint="Leave one of them away.",
                id="jwt_redis.E022",
            )
        )
    return found


# With --database, and with --deploy ------------------------------------------------------------------------------


def check_journal(app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Is the journal there?

    A warning only: `manage.py migrate` runs this check before it makes the table, and stops at an error.
    """
    if problems() or not journal.is_on() or journal.database() not in (databases or ()):
        return []
    if (what := _journal_fault()) is None:
        return []
    return [Warning(what, hint=_HINT_JOURNAL, id="jwt_redis.W104")]


_HINT_JOURNAL = "manage.py migrate jwt_redis"


def _journal_fault() -> str | None:
    try:
        if journal.has_table():
            return None
    except DatabaseError as error:
        return f"The database of the journal does not answer, and no revocation succeeds without it: {error}."
    return f"The journal's table is missing from the database {journal.database()!r}: no revocation succeeds."


# With --deploy ---------------------------------------------------------------------------------------------------


def check_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """What the live servers tell."""
    if problems():
        return []
    observing = [
        Warning(
            "OBSERVE is on: nothing is enforced, and a revoked token works as long as it has not expired.",
            hint="OBSERVE False, once the log of refusal_observed says nothing that you did not expect.",
            id="jwt_redis.W106",
        )
    ]
    fault = _journal_fault() if journal.is_on() else None
    found: list[CheckMessage] = [] if fault is None else [Error(fault, hint=_HINT_JOURNAL, id="jwt_redis.E106")]
    return found + (observing if config().observe else []) + _check_redis()


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


def _check_redis() -> list[CheckMessage]:
    try:
        info = server_info()
    except ImproperlyConfigured:
        return []  # check_settings says so
    except RevocationUnavailable as error:
        return [
            Error(
                f"The Redis behind JWT_REDIS cannot be reached: {error.__cause__}.",
                hint="Start it, or correct LOCATION, user and password of the alias.",
                id="jwt_redis.E101",
            )
        ]
    asked: Sequence[Callable[[dict[str, Any]], CheckMessage | None]] = (
        _check_version,
        _check_role,
        _check_eviction,
        _check_persistence,
        _check_replicas,
    )
    found = [message for check in asked if (message := check(info)) is not None]
    return found if config().client_factory else found + _check_connection()


def version_of(info: dict[str, Any]) -> tuple[int, ...]:
    """Major and minor, from INFO."""
    return tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())


def _check_version(info: dict[str, Any]) -> CheckMessage | None:
    if version_of(info) >= OLDEST_REDIS:
        return None
    return Error(
        f"Redis is {info.get('redis_version')}, and 6.2 is the oldest that will do.",
        hint="The revocation log needs XADD MINID.",
        id="jwt_redis.E102",
    )


def _check_role(info: dict[str, Any]) -> CheckMessage | None:
    if info.get("role", "master") == "master":
        return None
    return Error(
        "The Redis behind JWT_REDIS is a replica, which may not know of a revocation yet: every request is answered"
        " with 503.",
        hint="Name the primary first in LOCATION.",
        id="jwt_redis.E103",
    )


def _check_eviction(info: dict[str, Any]) -> CheckMessage | None:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        return None
    if config().accepts_by_absence:
        which = (
            "under the blacklist strategy" if config().strategy == "blacklist" else "while legacy tokens are adopted"
        )
        return Error(
            f"Redis evicts ({policy}): {which} a revoked token that is evicted would work again, so every request is"
            " answered with 503.",
            hint="maxmemory-policy noeviction, or STRATEGY 'whitelist' with LEGACY_TOKENS 'refuse'.",
            id="jwt_redis.E104",
        )
    return Error(
        f"Redis evicts ({policy}): under memory pressure users are signed out.",
        hint="maxmemory-policy noeviction, on a server that no cache shares.",
        id="jwt_redis.E105",
    )


def _check_persistence(info: dict[str, Any]) -> CheckMessage | None:
    if int(info.get("aof_enabled", 0)):
        return None
    if config().journal:
        lost = "a crash loses sessions, whose users have to sign in again. Revocations are in the journal."
    else:
        lost = "a crash loses sessions and revocations, and without a journal what was revoked may work again."
    return Warning(
        f"Redis does not write an append-only file: {lost}",
        hint="appendonly yes.",
        id="jwt_redis.W103",
    )


def _check_replicas(info: dict[str, Any]) -> CheckMessage | None:
    waiting, connected = config().wait_replicas, int(info.get("connected_slaves", 0))
    if waiting is None or connected >= waiting.replicas:
        return None
    return Warning(
        f"WAIT_REPLICAS asks for {waiting.replicas} replicas, and {connected} are connected: each revocation is"
        " answered with 503.",
        hint="Start the replicas, or lower WAIT_REPLICAS.",
        id="jwt_redis.W105",
    )


def _check_connection() -> list[CheckMessage]:
    url, options = server_location()
    parsed = urlparse(url)
    found: list[CheckMessage] = []
    pool_kwargs = options.get("CONNECTION_POOL_KWARGS", {})
    if not (parsed.password or options.get("PASSWORD") or pool_kwargs.get("password")) and parsed.scheme != "unix":
        found.append(
            Warning(
                "Redis is used without a password: whoever reaches it can sign in as anybody's session.",
                hint="requirepass or an ACL user, and PASSWORD in the alias' OPTIONS.",
                id="jwt_redis.W101",
            )
        )
    if parsed.scheme == "redis" and not is_loopback(parsed.hostname or "") and not pool_kwargs.get("ssl"):
        found.append(
            Warning(
                f"Redis on {parsed.hostname} is used without TLS.",
                hint="A rediss:// URL.",
                id="jwt_redis.W102",
            )
        )
    return found


def is_loopback(host: str) -> bool:
    """Does nobody but this very machine hear what is sent there?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
