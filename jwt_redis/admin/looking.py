"""Sessions for the pages: of users that are known, one by its id, and by a look through the store."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jwt_redis import keys
from jwt_redis.devices import Device, describe
from jwt_redis.keys import UserTag
from jwt_redis.operations import Done, Operation, UseCase, run
from jwt_redis.records import EndedSession, SessionRecord, parse_session
from jwt_redis.sessions import Session
from jwt_redis.sessions.listing import live_sessions
from jwt_redis.store.outside import Question
from jwt_redis.verdicts import is_sid

__all__ = [
    "Row",
    "address_of",
    "by_address",
    "by_sid",
    "every_user",
    "pk_of",
    "read_pk",
    "rows_of",
]

# Users whose hashes are read in one round trip.
_MANY = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A live session as a page shows it."""

    tag: UserTag
    session: Session

    @property
    def pk(self) -> str:
        """What the admin calls it."""
        return pk_of(self.session.sid, self.tag)

    @property
    def device(self) -> str:
        """ "Firefox on Linux"; never the raw user agent, which may say anything, nor the label in its place: whoever
        holds a session may name it after another device of its owner."""
        return describe(self.session.user_agent)


def pk_of(sid: str, tag: str) -> str:
    """A session and its user as one id."""
    return f"{sid}:{tag}"


def read_pk(pk: str) -> tuple[str, str]:
    """The session and its user's tag, which :func:`jwt_redis.admin.people.tag_of` looks at; both "" if it is no id."""
    sid, _colon, tag = pk.partition(":")
    return (sid, tag) if is_sid(sid) and tag else ("", "")


def rows_of(tags: Iterable[UserTag]) -> dict[UserTag, list[Row]]:
    """The live sessions of each of these users, those used last first. A round trip for some hundred users.

    :raises RevocationUnavailable: when Redis cannot be asked.
    """
    users = list(dict.fromkeys(tags))
    found: dict[UserTag, list[Row]] = {}
    for first in range(0, len(users), _MANY):
        some = users[first : first + _MANY]
        lists = run(lambda some=some: _several(some), UseCase("list_sessions"))  # type: ignore[misc]
        found |= {tag: [Row(tag, session) for session in each] for tag, each in zip(some, lists, strict=True)}
    return found


def _several(tags: Sequence[UserTag]) -> Operation[list[list[Session]]]:
    """What :func:`~jwt_redis.sessions.list_sessions` asks for one user, for several, and the marker once."""
    each = [live_sessions(tag) for tag in tags]
    pairs = [operation.commands[:2] for operation in each]
    marker = each[0].commands[2]

    def finish(*replies: Any) -> Done[list[list[Session]]]:
        *states, seen = replies
        lists = []
        for number, operation in enumerate(each):
            done: Any = operation.finish(states[2 * number], states[2 * number + 1], seen)
            lists.append([session for _, session in done.value.values()])
        return Done(lists)

    return Operation((*(command for pair in pairs for command in pair), marker), finish)


# A look through the store: what is asked of each key ----------------------------------------------------------------


def _tag_in(key: str) -> UserTag:
    return UserTag(key.removesuffix(":devices").rpartition("{")[2].rstrip("}"))


def _user_key(key: str) -> bool:
    return keys.user_key_of(key) == key


def every_user() -> Question[UserTag]:
    """Each user: of the key's name alone, but that a hash is behind it is made sure of."""

    def read(key: str, kind: Any) -> Iterator[UserTag]:
        if kind == "hash":
            yield _tag_in(key)

    return Question(lambda key: ("TYPE", key) if _user_key(key) else None, read)


def by_sid(sid: str) -> Question[tuple[UserTag, SessionRecord | EndedSession]]:
    """Who has, or had until a while ago, the session of this id?"""

    def read(key: str, text: Any) -> Iterator[tuple[UserTag, SessionRecord | EndedSession]]:
        if text and (record := parse_session(text)) is not None:
            yield _tag_in(key), record

    return Question(lambda key: ("HGET", key, keys.SESSION + sid) if _user_key(key) else None, read)


def address_of(text: str) -> str | None:
    """An IP address as :mod:`jwt_redis.devices` keeps it; None if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def by_address(address: str) -> Question[tuple[UserTag, str]]:
    """The users and ids of the sessions that were used from this address last."""

    def ask(key: str) -> tuple[str, ...] | None:
        is_devices = key.endswith(":devices") and keys.user_key_of(key) is not None
        return ("HGETALL", key) if is_devices else None

    def read(key: str, reply: Any) -> Iterator[tuple[UserTag, str]]:
        texts = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        for field, text in texts.items():
            # Most are not: the text is looked at before it is taken apart.
            if field.startswith(keys.DEVICE) and address in text and Device.load(text).ip == address:
                yield _tag_in(key), field.removeprefix(keys.DEVICE)

    return Question(ask, read)
