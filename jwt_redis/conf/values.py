"""What several settings are made of. Each takes a value as it was given, and answers with it as it is kept.

:raises ValueError: saying what is needed, where it is none of that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.utils.module_loading import import_string


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty string is needed")
    return value


def choice(*names: str) -> Callable[[object], Any]:
    def parse(value: object) -> str:
        if value not in names:
            raise ValueError("it is one of " + ", ".join(repr(name) for name in names))
        return str(value)

    return parse


def names(*possible: str) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)) or not value:
            raise ValueError("a list of names is needed")
        if unknown := [name for name in value if name not in possible]:
            raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in possible))
        return tuple(value)

    return parse


def texts(value: object) -> tuple[str, ...]:
    """One string, or a list of them."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)):
        raise ValueError("a string or a list of strings is needed")
    return tuple(text(one) for one in found)


def seconds(value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError("a number of seconds, zero or more, or a timedelta is needed")
    return float(value)


def lifetime(value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or value < timedelta(seconds=1):
        raise ValueError("None or a timedelta of at least a second is needed")
    return value


def duration(value: object) -> timedelta:
    found = lifetime(value)
    if found is None or found > timedelta(days=3650):
        raise ValueError("a timedelta of at least a second, and of at most ten years, is needed")
    return found


def count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("None or a whole number, one or more, is needed")
    return value


def whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number, zero or more, is needed")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False is needed")
    return value


def path(value: object) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError("a path is needed")
    return str(os.fspath(value))


def callable_or_path(value: object) -> Callable[..., Any] | None:
    if value is None or callable(value):
        return value
    if not isinstance(value, str):
        raise ValueError("None, a callable, or the dotted path of one is needed")
    try:
        found = import_string(value)
    except ImportError as error:
        raise ValueError(str(error)) from error
    if not callable(found):
        raise ValueError(f"{value} is not callable")
    return found  # type: ignore[no-any-return]


def class_or_path(value: object) -> type[Any] | None:
    found = callable_or_path(value)
    if found is not None and not isinstance(found, type):
        raise ValueError("a class is needed")
    return found


def optional(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    """None, or what ``parse`` makes of it."""
    return lambda value: None if value is None else parse(value)


def parts(value: object, parsers: Mapping[str, Callable[[object], Any]], example: str) -> dict[str, Any]:
    """A dict within the dict, each of its keys parsed."""
    if not isinstance(value, Mapping):
        raise ValueError(f"None, or a dict such as {example}, is needed")
    if unknown := [key for key in value if key not in parsers]:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in parsers))
    parsed: dict[str, Any] = {}
    for name, given in value.items():
        try:
            parsed[name] = parsers[name](given)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return parsed
