"""What a command is, and what those on one user's state have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

from jwt_redis import keys
from jwt_redis.conf import config, leeway_seconds, longest_access_lifetime, longest_lifetime, longest_session

T = TypeVar("T")

# Seconds past its end for which a field is kept, so that no clock difference or rounding loses one too early.
MARGIN = 60


class Script:
    """A Lua script by its name: the text, put behind the part that the scripts on one user's state share."""

    def __init__(self, name: str, *, on_user: bool) -> None:
        self.name = name
        folder = resources.files("jwt_redis.store") / "lua"
        own = (folder / f"{name}.lua").read_text()
        self.text = (folder / "common.lua").read_text() + own if on_user else own
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def load_script(name: str, on_user: bool) -> Script:
    return Script(name, on_user=on_user)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One command: ``args[0]`` is its name, or, with a script, the first argument after the keys."""

    keys: tuple[str, ...]
    args: tuple[str | int | float, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    # The user whose revocations the reply begins with; None where there can be none.
    logs_for: str | None = None
    # The script is to run on the store that is trusted and on no other: the client puts its id before ``args``.
    names_store: bool = False
    # A primary has to answer, and which of two is the right one is for Sentinel to say.
    proves_primary: bool = False
    # It revokes: the replicas of WAIT_REPLICAS have to confirm it.
    is_revocation: bool = False
    # In Cluster, where the script does not see the marker: the name of a signing key, and what the command comes to
    # where that key is refused. Nothing is run then.
    if_key_refused: tuple[str, T] | None = None
    # There too: the same command by the moment (ms) up to which everything is revoked, as the marker has it now.
    by_moment: Callable[[int], Command[T]] | None = None


def policy() -> tuple[str | int | float, ...]:
    """The arguments that common.lua reads before a script's own."""
    keep = int(leeway_seconds()) + MARGIN
    access = int(longest_access_lifetime())
    # Tokens from before there were sessions may have been given longer lives than are given now.
    longest = int(longest_lifetime() if config().legacy_tokens is None else longest_session())
    lasting = config().accepts_by_absence
    return (keep, access + keep, longest, access, int(lasting))


def on_user(name: str, user: str, args: Sequence[str | int | float], parse: Callable[[Any], T]) -> Command[T]:
    return Command(
        keys=(keys.user_key(user), keys.devices_key(user), keys.log_key(), keys.marker_key()),
        args=(*policy(), *args),
        # The first element holds the revocations, for the client.
        parse=lambda reply: parse(reply[1:]),
        script=load_script(name, True),
        logs_for=user,
        names_store=True,
    )


def revocation_on_user(
    name: str, user: str, args: Sequence[str | int | float], parse: Callable[[Any], T]
) -> Command[T]:
    return replace(on_user(name, user, args, parse), is_revocation=True, proves_primary=True)
