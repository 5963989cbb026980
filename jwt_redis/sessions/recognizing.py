"""A user has signed in: was the user seen with this device before?"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jwt_redis.conf import config
from jwt_redis.devices import families
from jwt_redis.keys import DEVICE, user_id
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.records import SessionRecord
from jwt_redis.sessions.listing import Session, live_sessions
from jwt_redis.sessions.parts import followed_by, valid_sid
from jwt_redis.store import commands
from jwt_redis.store.commands import Remembered

__all__ = ["Recognition", "arecognize", "recognize"]

# Where SIGN_IN_NOTICE is off.
_KNOWN_FOR = timedelta(days=90)
# As much of an address as a provider's customers have in common.
_NETWORK = {4: 16, 6: 32}


@dataclass(frozen=True, slots=True)
class Recognition:
    """A session that has just begun. ``is_new``: its device is another than those seen before, and not the first."""

    session: Session
    is_new: bool


def _likeness(session: Session) -> str:
    """What two sign-ins from one device have in common: browser and system, and the network where that counts.

    Without a parser, or for an agent that it does not know, the agent without its numbers: versions change.
    """
    browser, system = families(session.user_agent)
    parts = [browser, system] if browser or system else [re.sub(r"[\d._]+", "", session.user_agent)]
    notice = config().sign_in_notice
    if notice is not None and notice.by_network:
        parts.append(_network(session.ip))
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def _network(ip: str) -> str:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, _NETWORK[address.version]), strict=False))


def _recognizing(user: str, sid: str) -> Operation[Recognition | None]:
    notice = config().sign_in_notice
    seconds = int((notice.known_for if notice is not None else _KNOWN_FOR).total_seconds())

    def compare(
        found: dict[str, tuple[SessionRecord, Session]],
    ) -> Operation[Recognition | None] | Done[Recognition | None]:
        if sid not in found:
            return Done(None)
        record, session = found[sid]
        likeness = _likeness(session)
        # Of two that begin together, one is the earlier one for both.
        earlier = [
            other
            for other_sid, (other_record, other) in found.items()
            if (other_record.opened_ms, other_sid) < (record.opened_ms, sid)
        ]

        def decide(known: Remembered) -> Done[Recognition | None]:
            is_known = known.since_ms is not None or any(_likeness(other) == likeness for other in earlier)
            is_first = not earlier and not known.others
            return Done(Recognition(session, not is_known and not is_first))

        command = commands.remember(user, DEVICE + likeness, seconds=seconds, at_ms=record.opened_ms)
        return Operation((command,), decide)

    return followed_by(live_sessions(user), compare)


def recognize(user: Any, sid: str) -> Recognition | None:
    """Is the device of this session, which has just begun, new to the user? It is known from now on.

    Known is what the user signed in with in the last 90 days (``known_for`` of ``SIGN_IN_NOTICE``), or is signed in
    with now. The first device of all is not new. None where the session is over already. Two round trips.

    :raises ValueError: when ``sid`` cannot be a session id.
    """
    key = user_id(user)
    return run(_recognizing(key, valid_sid(sid)), UseCase("recognize", key, sid))


async def arecognize(user: Any, sid: str) -> Recognition | None:
    """:func:`recognize` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(_recognizing(key, valid_sid(sid)), UseCase("recognize", key, sid))
