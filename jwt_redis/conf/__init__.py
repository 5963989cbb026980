"""The ``JWT_REDIS`` setting: read when it is needed, so that ``override_settings`` works, and checked key by key.

``fields`` declares each setting, and ``reading`` reads them. One that is a dict of its own has a file of its name.
"""

from __future__ import annotations

from jwt_redis.conf.addresses import is_issuer_url, secure_url
from jwt_redis.conf.cookie import Cookie
from jwt_redis.conf.fields import Config, FailurePolicy, Strategy
from jwt_redis.conf.jwks import ASYMMETRIC_ALGORITHMS
from jwt_redis.conf.keys import Keys
from jwt_redis.conf.legacy_tokens import LegacyTokens
from jwt_redis.conf.near_cache import NearCache
from jwt_redis.conf.oauth import OAuth, OAuthClient
from jwt_redis.conf.openid_providers import OpenIDProvider
from jwt_redis.conf.pages import Pages
from jwt_redis.conf.reading import Problem, config, problems
from jwt_redis.conf.sign_in_notice import SignInNotice
from jwt_redis.conf.simplejwt import (
    DEFAULT_MAX_AGE,
    leeway_seconds,
    longest_access_lifetime,
    longest_lifetime,
    longest_session,
    simplejwt_setting,
)
from jwt_redis.conf.status_list import StatusList
from jwt_redis.conf.wait_replicas import WaitReplicas
from jwt_redis.conf.webhooks import Webhooks

__all__ = [
    "ASYMMETRIC_ALGORITHMS",
    "DEFAULT_MAX_AGE",
    "Config",
    "Cookie",
    "FailurePolicy",
    "Keys",
    "LegacyTokens",
    "NearCache",
    "OAuth",
    "OAuthClient",
    "OpenIDProvider",
    "Pages",
    "Problem",
    "SignInNotice",
    "StatusList",
    "Strategy",
    "WaitReplicas",
    "Webhooks",
    "config",
    "is_issuer_url",
    "leeway_seconds",
    "longest_access_lifetime",
    "longest_lifetime",
    "longest_session",
    "problems",
    "secure_url",
    "simplejwt_setting",
]
