"""Places in the status lists, and the lists."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from jwt_redis import keys
from jwt_redis.conf import config, leeway_seconds, longest_access_lifetime
from jwt_redis.store.commands.command import MARGIN, Command, load_script, on_user
from jwt_redis.store.commands.replies import read_names

# Places that are drawn at once. With half of a list free, all are taken once in 65 536 times.
_LOTS = 16


@dataclass(frozen=True, slots=True)
class ListRead:
    """A status list, by Redis' clock of now: signed at ``signed_ms``, or its bits, None where it is withdrawn.

    ``refused_keys``: with which it must not be signed, as of the same moment.
    """

    now_ms: int
    signed: str | None
    signed_ms: int
    bits: bytes | None
    refused_keys: frozenset[str]


def take_place(former: str, seconds: int) -> Command[str]:
    """A place in the status lists, ``LIST.INDEX``, that nobody else has or will have: for a session that may last so
    many ``seconds``. ``former``: the one it has, and keeps where that list is not withdrawn; "" for none."""
    wanted = config().status_list
    if wanted is None:
        raise ValueError("STATUS_LIST is None")
    size = wanted.size
    # By lot: a place says nothing of when, and of how many there are. Half of them stay free, so that one of these is.
    lots = [secrets.randbelow(size) for _ in range(_LOTS)]
    kept = seconds + int(longest_access_lifetime()) + int(leeway_seconds()) + MARGIN
    return Command(
        keys=(keys.marker_key(), keys.status_key()),
        args=(former, kept, size, size // 2, secrets.token_urlsafe(6), *lots),
        parse=str,
        script=load_script("take_place", False),
        names_store=True,
    )


def set_place(user: str, sid: str, *, former: str, place: str) -> Command[str]:
    """A live session stands there from now on, if it still stands at ``former``, or nowhere by now. Where it stands; ""
    if it is over."""
    return on_user("set_place", user, (sid, former, place), lambda reply: str(reply[0]))


def read_list(name: str, good_for_ms: int) -> Command[ListRead]:
    """A status list as it was signed last, or what is to be signed now: a signed one is ``good_for_ms``."""

    def parse(reply: Any) -> ListRead:
        now_ms, text, what, refused, *bits = reply
        signed_ms, _, signed = text.split("|", 2) if text else ("0", "", "")
        return ListRead(
            int(now_ms),
            signed or None,
            int(signed_ms),
            bytes.fromhex(bits[0]) if what == "bits" else None,
            read_names(refused),
        )

    return Command(
        keys=(keys.marker_key(), keys.status_list_key(name)),
        args=(name.partition(".")[0], good_for_ms),
        parse=parse,
        script=load_script("read_list", False),
        names_store=True,
    )


def keep_list(
    name: str, token: str, *, kid: str, signed_ms: int, is_withdrawn: bool, milliseconds: int
) -> Command[bool]:
    """Let others serve what was signed of the state at ``signed_ms``, for so long (SET), unless the key ``kid``, by
    which it is signed, is refused by then."""
    key = keys.status_list_key(name) + (":withdrawn" if is_withdrawn else ":signed")
    return Command((key,), ("SET", key, f"{signed_ms}|{kid}|{token}", "PX", milliseconds), bool)
