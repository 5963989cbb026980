"""``SIMPLE_JWT`` and ``JWT_REDIS`` overridden so that it reaches everything.

Django's ``override_settings`` does not reach what Simple JWT has copied when it was imported: its settings object is in
each of its modules under the same name, the lifetimes are attributes of the token classes, the keys are in a backend
that was made once. Here all of that becomes what it would have been, had the process started with these settings; it is
changed in its place, so that it reaches a project's modules too, and afterwards it is what it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import getattr_static, isfunction
from types import ModuleType
from typing import Any, Final, TypeVar, cast
from unittest import TestCase

from django.conf import settings
from django.test import override_settings
from django.test.utils import TestContextDecorator
from rest_framework_simplejwt import authentication, serializers, state, tokens, views
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.backends import TokenBackend

from jwt_redis.conf import Config, config

__all__ = ["override_jwt_settings"]

T = TypeVar("T", bound=type)

_GONE: Final = object()
_JWT_REDIS: Final = frozenset(name.upper() for name in Config.__dataclass_fields__)
_SIMPLE_JWT: Final = frozenset(simplejwt.DEFAULTS)
_LIFETIMES: Final = (
    (tokens.AccessToken, "ACCESS_TOKEN_LIFETIME"),
    (tokens.RefreshToken, "REFRESH_TOKEN_LIFETIME"),
    (tokens.SlidingToken, "SLIDING_TOKEN_LIFETIME"),
)
_VIEWS: Final = (
    (views.TokenObtainPairView, "TOKEN_OBTAIN_SERIALIZER"),
    (views.TokenRefreshView, "TOKEN_REFRESH_SERIALIZER"),
    (views.TokenObtainSlidingView, "SLIDING_TOKEN_OBTAIN_SERIALIZER"),
    (views.TokenRefreshSlidingView, "SLIDING_TOKEN_REFRESH_SERIALIZER"),
    (views.TokenVerifyView, "TOKEN_VERIFY_SERIALIZER"),
    (views.TokenBlacklistView, "TOKEN_BLACKLIST_SERIALIZER"),
)
# What a backend makes of its keys at first use, and keeps.
_PREPARED: Final = ("prepared_signing_key", "prepared_verifying_key")
_HERITAGE: Final = "_jwt_settings_overrides"
_ENTERED: Final = "_jwt_settings_entered"


class override_jwt_settings(TestContextDecorator):
    """Other settings for a block, a test, or all tests of a class; sync or async, one within the other.

    Unlike ``override_settings`` it changes the keys that are given and keeps the others::

        with override_jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(minutes=1), STRATEGY="blacklist"): ...

        @override_jwt_settings(SIMPLE_JWT={"LEEWAY": 30}, JWT_REDIS={"COOKIE": {}})
        class CookieTests(SessionTestCase): ...

    A class is a ``TestCase``, or one that pytest collects. Not reached are a project's own copies: a class with a
    ``lifetime`` of its own keeps it.

    :param SIMPLE_JWT: keys of that setting, also such as Simple JWT does not know.
    :param JWT_REDIS: keys of that setting.
    :param keywords: keys of the one or the other.
    :raises TypeError: when a keyword is a key of neither.
    :raises ImproperlyConfigured: when it begins, naming what is wrong in ``JWT_REDIS``. Nothing is changed then; nor is
        it when Simple JWT raises an error of its own.
    """

    def __init__(
        self, SIMPLE_JWT: Mapping[str, Any] | None = None, JWT_REDIS: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        super().__init__()
        if unknown := sorted(keywords.keys() - _SIMPLE_JWT - _JWT_REDIS):
            raise TypeError(f"override_jwt_settings: {unknown[0]!r} is a key neither of SIMPLE_JWT nor of JWT_REDIS")
        self._simplejwt = {**(SIMPLE_JWT or {}), **{key: keywords[key] for key in keywords.keys() & _SIMPLE_JWT}}
        self._jwt_redis = {**(JWT_REDIS or {}), **{key: keywords[key] for key in keywords.keys() & _JWT_REDIS}}
        # A function that is decorated may call itself.
        self._undone_by: list[ExitStack] = []

    def enable(self) -> None:
        """Begin. Whatever goes wrong, nothing stays changed."""
        changed: dict[str, Any] = {}
        if self._simplejwt:
            changed["SIMPLE_JWT"] = {**(getattr(settings, "SIMPLE_JWT", None) or {}), **self._simplejwt}
        if self._jwt_redis:
            changed["JWT_REDIS"] = {**getattr(settings, "JWT_REDIS", {}), **self._jwt_redis}
        with ExitStack() as stack:
            if "SIMPLE_JWT" in changed:
                # Simple JWT's receiver puts another object there, at the end too.
                stack.callback(setattr, simplejwt, "api_settings", simplejwt.api_settings)
                stack.enter_context(_in_place_of_simplejwts(changed["SIMPLE_JWT"]))
            stack.enter_context(override_settings(**changed))
            if "SIMPLE_JWT" in changed:
                simplejwt.api_settings = _own_settings()
            config()
            self._undone_by.append(stack.pop_all())

    def disable(self) -> None:
        """End."""
        self._undone_by.pop().close()

    def decorate_class(self, cls: T) -> T:
        """All tests of a class."""
        if issubclass(cls, TestCase):
            return cast("T", _for_all_of(cls, self))
        for name in dir(cls):
            if name.startswith("test") and isfunction(method := getattr_static(cls, name)):
                setattr(cls, name, self.decorate_callable(method))
        return cls


def _for_all_of(cls: type[TestCase], override: override_jwt_settings) -> type[TestCase]:
    # From the first class above to this one: the nearest has the last word.
    setattr(cls, _HERITAGE, (*getattr(cls, _HERITAGE, ()), override))
    original = cls.__dict__.get("setUpClass")

    def setUpClass(inner: Any) -> None:
        if _ENTERED not in vars(inner):
            setattr(inner, _ENTERED, True)
            inner.addClassCleanup(delattr, inner, _ENTERED)
            for one in getattr(inner, _HERITAGE):
                inner.enterClassContext(one)
        if original is not None:
            original.__get__(None, inner)()
        else:
            super(cls, inner).setUpClass()

    cls.setUpClass = classmethod(setUpClass)  # type: ignore[assignment]
    return cls


@contextmanager
def _in_place_of_simplejwts(given: Mapping[str, Any]) -> Iterator[None]:
    """All that Simple JWT has made of its settings becomes what it makes of ``given``."""
    make: Any = simplejwt.APISettings
    made = make(given, simplejwt.DEFAULTS, simplejwt.IMPORT_STRINGS)
    backend = TokenBackend(
        made.ALGORITHM,
        made.SIGNING_KEY,
        made.VERIFYING_KEY,
        made.AUDIENCE,
        made.ISSUER,
        made.JWK_URL,
        made.LEEWAY,
        made.JSON_ENCODER,
    )
    header_types = made.AUTH_HEADER_TYPES
    if not isinstance(header_types, (list, tuple)):
        header_types = (header_types,)
    with ExitStack() as stack:
        for known in _settings_objects():
            _set(stack, known, "__dict__", vars(made).copy())
        kept = {name: value for name, value in vars(state.token_backend).items() if name not in _PREPARED}
        _set(stack, state.token_backend, "__dict__", {**kept, **vars(backend)})
        for cls, key in _LIFETIMES:
            _set(stack, cls, "lifetime", getattr(made, key))
        for cls in _with_subclasses(tokens.RefreshToken):
            if "no_copy_claims" in vars(cls):
                names = (*cls.no_copy_claims, made.TOKEN_TYPE_CLAIM, made.JTI_CLAIM)
                _set(stack, cls, "no_copy_claims", tuple(dict.fromkeys(names)))
        for view, key in _VIEWS:
            _set(stack, view, "_serializer_class", getattr(made, key))
        for module in _importers_of("AUTH_HEADER_TYPES", authentication.AUTH_HEADER_TYPES):
            _set(stack, module, "AUTH_HEADER_TYPES", header_types)
        before = set(authentication.AUTH_HEADER_TYPE_BYTES)
        stack.callback(_fill, authentication.AUTH_HEADER_TYPE_BYTES, before)
        _fill(authentication.AUTH_HEADER_TYPE_BYTES, {name.encode("iso-8859-1") for name in header_types})
        if made.BLACKLIST_AFTER_ROTATION and not hasattr(serializers, "BlacklistedToken"):
            from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

            _set(stack, serializers, "BlacklistedToken", BlacklistedToken)
        yield


def _settings_objects() -> list[Any]:
    """Each that a module has: they differ where one was imported while settings were overridden."""
    found = (vars(module).get("api_settings") for module in _modules())
    objects = {id(one): one for one in found if isinstance(one, simplejwt.APISettings)}
    return list(objects.values())


def _own_settings() -> Any:
    """The one that Simple JWT's modules have."""
    return vars(tokens)["api_settings"]


def _importers_of(name: str, value: object) -> list[Any]:
    return [module for module in _modules() if vars(module).get(name) is value]


def _modules() -> list[ModuleType]:
    # Some put objects of another kind there, and import more when they are looked at.
    return [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]


def _with_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)


def _set(stack: ExitStack, owner: Any, name: str, value: object) -> None:
    """Set an attribute, and have the stack put back what was there."""
    before = getattr(owner, name) if name == "__dict__" else vars(owner).get(name, _GONE)
    if before is _GONE:
        stack.callback(delattr, owner, name)
    else:
        stack.callback(setattr, owner, name, before)
    setattr(owner, name, value)


def _fill(some: set[bytes], others: set[bytes]) -> None:
    # In its place: it is imported by name. Never empty, for other threads.
    some.update(others)
    some.intersection_update(others)
