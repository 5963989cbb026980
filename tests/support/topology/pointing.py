"""Settings that lead to a server, to Sentinels or to a Cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from jwt_redis.testing.servers import RedisServer
from tests.support.topology.acl import AclServer
from tests.support.topology.cluster import Cluster
from tests.support.topology.sentinel import Sentinels

__all__ = ["PATIENT", "pointed_at", "settings_for"]

_ALIAS = "sessions"
# OPTIONS for a machine that does much else.
PATIENT = {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0}

Place = RedisServer | Sentinels | Cluster


def settings_for(place: Place, *, options: dict[str, Any] | None = None, **jwt_redis: Any) -> dict[str, Any]:
    """CACHES and JWT_REDIS that lead to ``place``. ``options``: more OPTIONS of the alias; the rest: of JWT_REDIS."""
    options = dict(options or {})
    if isinstance(place, Cluster):
        return {"JWT_REDIS": {"CLIENT_FACTORY": "tests.support.topology.cluster_client", **jwt_redis}}
    if isinstance(place, Sentinels):
        alias = place.alias(**options)
    else:
        pool = {name: value for name, value in place.reach.items() if name.startswith("ssl_")}
        pool |= options.pop("CONNECTION_POOL_KWARGS", {})
        if isinstance(place, AclServer):
            options = {"USERNAME": place.user, "PASSWORD": place.password, **options}
        alias = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": place.url,
            "OPTIONS": {**options, **({"CONNECTION_POOL_KWARGS": pool} if pool else {})},
        }
    return {"CACHES": {_ALIAS: alias}, "JWT_REDIS": {"ALIAS": _ALIAS, **jwt_redis}}


@contextlib.contextmanager
def pointed_at(place: Place, *, options: dict[str, Any] | None = None, **jwt_redis: Any) -> Iterator[None]:
    """The settings lead to ``place``; see :func:`settings_for`. A single server is waited for for as long as a busy
    machine may need, and where several are, the package's own limits are part of what is looked at."""
    environment = place.environment if isinstance(place, Cluster) else {}
    options = {**(PATIENT if isinstance(place, RedisServer) else {}), **(options or {})}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with override_settings(**settings_for(place, options=options, **jwt_redis)):
            yield
