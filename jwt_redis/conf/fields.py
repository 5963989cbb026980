"""Each setting: its default, what parses it, and what the reference says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from jwt_redis.conf import values
from jwt_redis.conf.cookie import Cookie, parse_cookie
from jwt_redis.conf.keys import Keys, parse_keys
from jwt_redis.conf.legacy_tokens import LegacyTokens, parse_legacy_tokens
from jwt_redis.conf.near_cache import NearCache, parse_near_cache
from jwt_redis.conf.oauth import OAuth, parse_oauth
from jwt_redis.conf.openid_providers import OpenIDProvider, parse_openid_providers
from jwt_redis.conf.pages import Pages, parse_pages
from jwt_redis.conf.sign_in_notice import SignInNotice, parse_sign_in_notice
from jwt_redis.conf.status_list import StatusList, parse_status_list
from jwt_redis.conf.wait_replicas import WaitReplicas, parse_wait_replicas
from jwt_redis.conf.webhooks import Webhooks, parse_webhooks

Strategy = Literal["whitelist", "blacklist"]
FailurePolicy = Literal["deny", "allow"]

REVOKE_ON = ("password_changed", "deactivated", "deleted", "groups_changed", "permissions_changed")


def _prefix(value: object) -> str:
    text = values.text(value)
    if any(c in "{}*?[]\\" or not c.isprintable() or c.isspace() for c in text):
        raise ValueError("braces, spaces and the wildcards * ? [ ] \\ have a meaning in Redis and cannot be part of it")
    return text


def _events(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError("a list of names is needed")
    unknown = [name for name in value if name not in REVOKE_ON]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in REVOKE_ON))
    return frozenset(value)


def _setting(default: object, parse: Callable[[object], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One validated ``JWT_REDIS``. Each field is the setting of the same name in capitals."""

    alias: str = _setting("default", values.text, "The CACHES alias, a django-redis one, whose Redis holds the state.")
    client_factory: Callable[..., Any] | None = _setting(
        None,
        values.callable_or_path,
        "It makes the client in place of ALIAS: called with asynchronous=False for a redis.Redis (or RedisCluster),"
        " with asynchronous=True for its redis.asyncio twin.",
    )
    key_prefix: str = _setting("jwt:", _prefix, "What every key in Redis begins with.")
    strategy: Strategy = _setting(
        "whitelist",
        values.choice("whitelist", "blacklist"),
        "'whitelist': a token is good while its session is in Redis. 'blacklist': until it is listed there.",
    )
    refresh_grace: float = _setting(
        10.0,
        values.seconds,
        "Seconds in which the immediate predecessor of a refresh token may come again and gets the same successor.",
    )
    session_max_age: timedelta | None = _setting(
        None,
        values.lifetime,
        "The age at which a session ends however often it is refreshed. None: 90 days, or the first refresh token's"
        " own lifetime where that is longer.",
    )
    max_sessions: int | None = _setting(
        100, values.count, "How many sessions a user may have; one more ends the oldest. None: no limit."
    )
    legacy_tokens: LegacyTokens | None = _setting(
        "refuse",
        parse_legacy_tokens,
        "What becomes of tokens without a session. 'refuse'; 'adopt': those that Simple JWT issued before live until"
        " they expire, and a refresh token gets a session when it is used. {'adopt': an aware datetime}: only those"
        " that were issued before that moment.",
    )
    observe: bool = _setting(
        False,
        values.flag,
        "Nothing is refused that Simple JWT would have let pass: what would be is logged, counted and signalled. What"
        " is revoked is written down, and not enforced.",
    )
    on_redis_failure: FailurePolicy = _setting(
        "deny",
        values.choice("deny", "allow"),
        "'deny': 503 while Redis cannot be asked. 'allow': a token with a good signature passes, logged each time.",
    )
    journal: bool = _setting(
        True,
        values.flag,
        "Record each revocation in the database too, from where it is applied again when Redis has lost it.",
    )
    wait_replicas: WaitReplicas | None = _setting(
        0,
        parse_wait_replicas,
        "How many replicas must confirm a revocation (WAIT) before it counts. A pair adds the seconds to wait for them,"
        " 0.1 otherwise. Too few is a 503.",
    )
    near_cache: NearCache | None = _setting(
        None,
        parse_near_cache,
        "A process answers from its own copy of the revocation log, for no longer than 'lease'. None: every check asks"
        " Redis.",
    )
    status_list: StatusList | None = _setting(
        None,
        parse_status_list,
        "A dict with 'uri', under which jwt_redis.status_urls is reached: tokens say where their status is published,"
        " for services that cannot ask Redis. Also 'ttl', in seconds, and 'size'. None: nothing is published.",
    )
    token_memo_size: int = _setting(
        2048, values.whole_number, "Of how many tokens a process remembers that the signature was good. 0: of none."
    )
    revoke_on: frozenset[str] = _setting(
        frozenset({"password_changed", "deactivated", "deleted"}),
        _events,
        "Which changes of a user end all of the user's sessions: " + ", ".join(map(repr, REVOKE_ON)) + ".",
    )
    client_ip: Callable[..., Any] | None = _setting(
        "jwt_redis.devices.remote_addr",
        values.callable_or_path,
        "It takes the request and answers with the IP to show. None: no IP is kept.",
    )
    cookie: Cookie | None = _setting(
        None,
        parse_cookie,
        "Empty for the defaults: tokens travel in HttpOnly cookies, with CSRF enforced. None: in headers only.",
    )
    location: Callable[..., Any] | None = _setting(
        None,
        values.callable_or_path,
        "It takes an IP and answers with where that is, in words, or None. For the list of devices.",
    )
    pages: Pages = _setting(None, parse_pages, "Of the pages in jwt_redis.pages.urls.")
    sign_in_notice: SignInNotice | None = _setting(
        None,
        parse_sign_in_notice,
        "Users are told by e-mail of a sign-in from a new device. None: they are not.",
    )
    oauth: OAuth = _setting(
        None,
        parse_oauth,
        "Who may ask the endpoints in jwt_redis.oauth.urls to revoke and introspect, and how.",
    )
    openid_providers: Mapping[str, OpenIDProvider] = _setting(
        None,
        parse_openid_providers,
        "By issuer, dicts with 'client_id' and 'jwks_uri' or 'jwks': whose logout tokens end sessions here.",
    )
    keys: Keys | None = _setting(
        None,
        parse_keys,
        "A dict with 'directory', or with 'keys' and 'signing': several signing keys by kid. None: Simple JWT's own.",
    )
    webhooks: Webhooks | None = _setting(
        None,
        parse_webhooks,
        "The receivers of jwt_redis.contrib.webhooks are told of each revocation. None: they are not.",
    )

    @property
    def accepts_by_absence(self) -> bool:
        """Is there a token that is good because Redis has nothing against it? Then nothing may be lost there."""
        return self.strategy == "blacklist" or self.legacy_tokens is not None
