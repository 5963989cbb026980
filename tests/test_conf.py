"""The JWT_REDIS setting."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from jwt_redis import conf, devices


def test_defaults() -> None:
    with override_settings(JWT_REDIS={}):
        found = conf.config()
    assert (found.alias, found.strategy, found.refresh_grace, found.max_sessions) == ("default", "whitelist", 10, 100)
    assert found.client_ip is devices.remote_addr and found.on_redis_failure == "deny"


def test_it_is_read_when_it_is_needed() -> None:
    assert conf.config() is conf.config()
    with override_settings(JWT_REDIS={"MAX_SESSIONS": 5}):
        assert conf.config().max_sessions == 5
    assert conf.config().max_sessions == 100


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REFRESH_GRACE", timedelta(seconds=3)),
        ("REFRESH_GRACE", 0),
        ("SESSION_MAX_AGE", timedelta(days=1)),
        ("MAX_SESSIONS", None),
        ("REVOKE_ON", ["groups_changed"]),
        ("CLIENT_IP", None),
        ("CLIENT_IP", "jwt_redis.devices.behind_one_proxy"),
        ("CLIENT_FACTORY", dict),
        ("JOURNAL", False),
        ("WAIT_REPLICAS", 2),
        ("WAIT_REPLICAS", (1, 0.5)),
        ("NEAR_CACHE", None),
        ("NEAR_CACHE", {}),
        ("NEAR_CACHE", {"lease": 0.3}),
        ("NEAR_CACHE", {"lease": timedelta(seconds=2), "poll": 1, "max_waiting": 0, "records": 0}),
        ("TOKEN_MEMO_SIZE", 0),
    ],
)
def test_right_values(key: str, value: Any) -> None:
    with override_settings(JWT_REDIS={key: value}):
        assert conf.problems() == []
        conf.config()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ALIAS", ""),
        ("ALIAS", 1),
        ("KEY_PREFIX", "a{b"),
        ("KEY_PREFIX", "a b"),
        ("KEY_PREFIX", "a*"),
        ("STRATEGY", "greylist"),
        ("STRATEGY", None),
        ("STRATEGY", ["whitelist"]),
        ("REFRESH_GRACE", -1),
        ("REFRESH_GRACE", "10"),
        ("REFRESH_GRACE", True),
        ("REFRESH_GRACE", float("inf")),
        ("SESSION_MAX_AGE", 5),
        ("SESSION_MAX_AGE", timedelta(0)),
        ("MAX_SESSIONS", 0),
        ("MAX_SESSIONS", "5"),
        ("MAX_SESSIONS", True),
        ("LEGACY_TOKENS", "accept"),
        ("LEGACY_TOKENS", {"adopt": "2026-01-01"}),
        ("LEGACY_TOKENS", {"adopt": datetime(2026, 1, 1)}),  # noqa: DTZ001
        ("LEGACY_TOKENS", {"adopt": None, "until": None}),
        ("ON_REDIS_FAILURE", "ignore"),
        ("REVOKE_ON", "password_changed"),
        ("REVOKE_ON", ["password"]),
        ("REVOKE_ON", [[]]),
        ("CLIENT_IP", "jwt_redis.nowhere"),
        ("CLIENT_IP", "jwt_redis.devices.MAX_USER_AGENT"),
        ("CLIENT_FACTORY", 5),
        ("JOURNAL", "yes"),
        ("WAIT_REPLICAS", -1),
        ("WAIT_REPLICAS", (1, 0)),
        ("WAIT_REPLICAS", (1, 2, 3)),
        ("WAIT_REPLICAS", True),
        ("NEAR_CACHE", True),
        ("NEAR_CACHE", {"leese": 1}),
        ("NEAR_CACHE", {"lease": 0}),
        ("NEAR_CACHE", {"lease": 61}),
        ("NEAR_CACHE", {"lease": "1"}),
        ("NEAR_CACHE", {"lease": 1, "poll": 0.6}),
        ("NEAR_CACHE", {"max_waiting": -1}),
        ("NEAR_CACHE", {"records": 1.5}),
        ("TOKEN_MEMO_SIZE", -1),
        ("TOKEN_MEMO_SIZE", None),
        ("NO_SUCH_KEY", 1),
        (5, 1),
    ],
)
def test_wrong_values_are_named_by_their_key(key: Any, value: Any) -> None:
    with override_settings(JWT_REDIS={key: value}):
        (problem,) = conf.problems()
        assert problem.key == str(key) and problem.is_unknown == (key in ("NO_SUCH_KEY", 5))
        with pytest.raises(ImproperlyConfigured, match=str(key)):
            conf.config()


def test_something_that_is_no_dict() -> None:
    with override_settings(JWT_REDIS=["ALIAS"]):
        assert conf.problems()[0].reason == "a dict is needed"
