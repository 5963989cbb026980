"""``settings.JWT_REDIS`` as it is now, checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from jwt_redis.conf.fields import Config

_FIELDS = {f.name.upper(): f for f in fields(Config)}


class Problem(NamedTuple):
    """One thing that is wrong with ``settings.JWT_REDIS``."""

    key: str
    reason: str
    is_unknown: bool = False


def _parse(raw: object) -> tuple[dict[str, Any], list[Problem]]:
    """The values that are right, and for each that is not its key and what is wrong."""
    if not isinstance(raw, Mapping):
        return {}, [Problem("JWT_REDIS", "a dict is needed")]
    values: dict[str, Any] = {}
    wrong: list[Problem] = []
    for key in raw:
        if key not in _FIELDS:
            wrong.append(Problem(str(key), "there is no such key", is_unknown=True))
    for name, f in _FIELDS.items():
        try:
            values[f.name] = f.metadata["parse"](raw.get(name, f.default))
        except ValueError as error:
            wrong.append(Problem(name, str(error)))
    return values, wrong


def problems() -> list[Problem]:
    """What is wrong with ``settings.JWT_REDIS``. Empty when all is well."""
    return _parse(getattr(settings, "JWT_REDIS", {}))[1]


_NO_SETTING: dict[str, Any] = {}
_cached: tuple[object, Config] | None = None
# Past LazyObject's, which is written in Python and takes as long as all the rest. What it finds is what Django's
# settings have kept for themselves, and drop when they are overridden.
_kept = object.__getattribute__


def config() -> Config:
    """The settings in force.

    :raises ImproperlyConfigured: naming each key that is unknown or of the wrong kind.
    """
    global _cached
    try:
        raw = _kept(settings, "JWT_REDIS")
    except AttributeError:
        raw = getattr(settings, "JWT_REDIS", _NO_SETTING)
    cached = _cached
    # By identity: override_settings puts another dict in its place.
    if cached is not None and cached[0] is raw:
        return cached[1]
    values, wrong = _parse(raw)
    if wrong:
        raise ImproperlyConfigured("JWT_REDIS: " + "; ".join(f"{key}: {reason}" for key, reason, _ in wrong) + ".")
    made = Config(**values)
    _cached = (raw, made)
    return made
