"""A pytest plugin for a run of Simple JWT's own tests: this package's classes stand where they look for Simple JWT's.

It is loaded by name in the process that runs them, where ``tests`` is their package and not this one.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import redis
from django.conf import LazySettings, settings

REDIS_URL = os.environ["JWT_REDIS_TEST_URL"]
STRATEGY = os.environ["JWT_REDIS_TEST_STRATEGY"]

# Modules of Simple JWT whose classes have a counterpart of the same name here.
_PARTS = ("authentication", "serializers", "tokens")
# Where each token is made for a user, and the class itself is changed.
_OF_USERS = ("tests.test_integration",)
# A test reloads one of these to see it imported under other circumstances.
_RELOADED = ("authentication", "models", "serializers", "tokens", "token_blacklist.__init__", "__init__")


def _configure(self: LazySettings, **theirs: Any) -> None:
    """Their settings, and what somebody who adopts this package adds."""
    import jwt_redis

    theirs["INSTALLED_APPS"] = (*theirs["INSTALLED_APPS"], "jwt_redis")
    theirs["SIMPLE_JWT"] = {**jwt_redis.simplejwt_settings(), **theirs["SIMPLE_JWT"]}
    # The machine may be busy.
    patience = {"SOCKET_TIMEOUT": 5.0, "SOCKET_CONNECT_TIMEOUT": 5.0}
    backend = "django_redis.cache.RedisCache"
    theirs["CACHES"] = {"default": {"BACKEND": backend, "LOCATION": REDIS_URL, "OPTIONS": patience}}
    theirs["JWT_REDIS"] = {"STRATEGY": STRATEGY}
    _stock_configure(self, **theirs)


_stock_configure = LazySettings.configure
LazySettings.configure = _configure  # type: ignore[method-assign, assignment]


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Their conftest has set Django up; their test modules are not imported yet."""
    assert settings.configured
    _substitute_views()
    _substitute_overridden_settings()


def _substitute_views() -> None:
    """Their URLs take ready-made view functions from Simple JWT's module."""
    ours: Any = importlib.import_module("jwt_redis.views")
    stock: Any = importlib.import_module("rest_framework_simplejwt.views")
    for name, view in vars(stock).copy().items():
        if (cls := getattr(view, "cls", None)) is not None:
            setattr(stock, name, getattr(ours, cls.__name__).as_view())


def _substitute_overridden_settings() -> None:
    """They name classes by their paths."""
    utils: Any = importlib.import_module("tests.utils")
    stock = utils.override_api_settings

    def override(**overridden: Any) -> Any:
        if classes := overridden.get("AUTH_TOKEN_CLASSES"):
            paths = tuple(path.replace("rest_framework_simplejwt.", "jwt_redis.") for path in classes)
            overridden["AUTH_TOKEN_CLASSES"] = paths
        return stock(**overridden)

    utils.override_api_settings = override


def pytest_collection_finish() -> None:
    """All of their modules are imported: the names in them are ours from here on."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tests.") and module is not None:
            counterparts = dict(_counterparts(bare=name not in _OF_USERS))
            for attribute, value in list(vars(module).items()):
                # By identity: not everything there can be hashed.
                if (ours := counterparts.get(id(value))) is not None:
                    setattr(module, attribute, ours)
            if hasattr(module, "reload"):
                module.reload = _reload_stock
    views: Any = importlib.import_module("tests.views")
    views.TestView.authentication_classes = (importlib.import_module("jwt_redis.authentication").JWTAuthentication,)


def _counterparts(*, bare: bool) -> Iterator[tuple[int, Any]]:
    for part in _PARTS:
        stock = importlib.import_module(f"rest_framework_simplejwt.{part}")
        ours: Any = importlib.import_module(f"jwt_redis.{part}")
        yield id(stock), ours
        somebodys = _of_somebody(ours) if bare and part == "tokens" else {}
        for name in ours.__all__:
            if hasattr(stock, name):
                counterpart = somebodys.get(name, getattr(ours, name))
                yield id(getattr(stock, name)), counterpart
                # Where they have taken it from the settings.
                yield id(getattr(ours, name)), counterpart


def _of_somebody(ours: Any) -> dict[str, type]:
    """Most of their tests make a token of nobody, for brevity. Here each one is of a user, and in a session."""

    def somebodys(stock: Any, issued: Callable[[], Any]) -> Any:
        class Somebodys(stock):  # type: ignore[misc]
            def __init__(self, token: Any = None, verify: bool = True) -> None:
                super().__init__(token, verify)
                if token is None:
                    made = issued()
                    self.payload = {**made.payload, **self.payload}
                    self.payload["jti"] = made.payload["jti"]
                    for name in ("fingerprint", "registered"):
                        if name in vars(made):
                            setattr(self, name, getattr(made, name))

        Somebodys.__name__ = stock.__name__
        return Somebodys

    def issue(cls: Any) -> Any:
        token = cls.for_user(_somebody())
        # It is in Redis before they take its claims away.
        str(token)
        return token

    classes = {
        "AccessToken": somebodys(ours.AccessToken, lambda: issue(ours.RefreshToken).access_token),
        "RefreshToken": somebodys(ours.RefreshToken, lambda: issue(ours.RefreshToken)),
        "SlidingToken": somebodys(ours.SlidingToken, lambda: issue(ours.SlidingToken)),
    }
    classes["RefreshToken"].access_token_class = classes["AccessToken"]
    return classes


def _somebody() -> Any:
    from django.contrib.auth import get_user_model

    user, _ = get_user_model().objects.get_or_create(username="somebody")
    return user


def _reload_stock(module: ModuleType) -> ModuleType:
    """What they reload is Simple JWT's module, also where the name leads to ours."""
    return importlib.reload(sys.modules[module.__name__.replace("jwt_redis.", "rest_framework_simplejwt.")])


@pytest.fixture(autouse=True)
def _modules_as_they_were() -> Iterator[None]:
    """A module that was reloaded has other classes in it, which ours are no subclasses of."""
    modules = [sys.modules.get(f"rest_framework_simplejwt.{name}") for name in _RELOADED]
    before = [(module, vars(module).copy()) for module in modules if module is not None]
    yield
    for module, names in before:
        vars(module).clear()
        vars(module).update(names)


@pytest.fixture(autouse=True)
def _empty_store() -> None:
    from jwt_redis.store import client, gate, markers

    with redis.Redis.from_url(REDIS_URL) as connection:
        connection.flushall()
    markers.reset()
    client.reset()
    gate.reset()
