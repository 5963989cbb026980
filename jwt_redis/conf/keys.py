"""``JWT_REDIS["KEYS"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from jwt_redis.conf import values


class Keys(NamedTuple):
    """Where the keys that tokens are signed with come from: a ``directory``, or ``keys`` and ``signing``."""

    # The directory that `jwt_keys` looks after. It says which keys there are and which one signs.
    directory: str | None = None
    # In place of a directory: keys by kid, each a dict with 'alg' and one of 'file', 'key' and 'load'.
    keys: Mapping[str, Mapping[str, Any]] = {}
    # Which of these signs. None: Simple JWT's own key, without a kid.
    signing: str | None = None
    # Whether tokens without a kid are verified by Simple JWT's own key.
    without_kid: bool = True
    # Whether SECRET_KEY_FALLBACKS verify such tokens too, where SIGNING_KEY is SECRET_KEY.
    secret_key_fallbacks: bool = False
    # For how long others may keep a copy of the published keys.
    max_age: timedelta = timedelta(minutes=5)

    def __repr__(self) -> str:
        """Without the material: whoever reports an error shows what the variables were."""
        return f"Keys(directory={self.directory!r}, keys={[*self.keys]!r}, signing={self.signing!r})"


def _needed(value: Callable[..., Any] | None) -> Callable[..., Any]:
    if value is None:
        raise ValueError("a callable, or the dotted path of one, is needed")
    return value


_KEY_PARTS: dict[str, Callable[[object], Any]] = {
    "alg": values.text,
    "key": lambda value: value if isinstance(value, (bytes, Mapping)) else values.text(value),
    "file": values.path,
    "load": lambda value: _needed(values.callable_or_path(value)),
}


def _named_keys(value: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict of keys by their kid is needed")
    found = {}
    for kid, facts in value.items():
        if not isinstance(kid, str):
            raise ValueError(f"{kid!r} is no kid")
        try:
            parsed = values.parts(facts, _KEY_PARTS, "{'alg': 'ES256', 'file': '/etc/keys/2026.pem'}")
        except ValueError as error:
            raise ValueError(f"{kid}: {error}") from error
        if "alg" not in parsed or len(parsed) != 2:
            raise ValueError(f"{kid}: 'alg' and one of 'key', 'file', 'load' are needed")
        found[kid] = parsed
    return found


def parse_keys(value: object) -> Keys | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "directory": values.optional(values.path),
        "keys": _named_keys,
        "signing": values.optional(values.text),
        "without_kid": values.flag,
        "secret_key_fallbacks": values.flag,
        "max_age": values.duration,
    }
    made = Keys(**values.parts(value, parsers, "{'directory': '/etc/myproject/jwt-keys'}"))
    if made.directory is not None and (made.keys or made.signing is not None):
        raise ValueError("directory: the directory says which keys there are; 'keys' and 'signing' go without it")
    if made.signing is not None and made.signing not in made.keys:
        raise ValueError(f"signing: there is no key {made.signing!r} in 'keys'")
    if made.directory is None and made.signing is None and not made.without_kid:
        raise ValueError("without_kid: False needs a key that signs, and no token would be accepted")
    return made
