"""Where is a user signed in?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jwt_redis.devices import Device
from jwt_redis.keys import DEVICE, LABEL, user_id
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.records import EndedSession, Marker, SessionRecord
from jwt_redis.sessions.parts import marker_command, moment_of, valid_sid, with_marker
from jwt_redis.store import commands
from jwt_redis.verdicts import is_adopted

__all__ = ["Session", "ais_known", "alist_sessions", "is_known", "list_sessions", "live_sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """One login on one device. ``user`` is the user-id claim's value; the times are aware, and by Redis' clock."""

    user: str
    sid: str
    created_at: datetime
    last_refreshed_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str
    label: str


def live_sessions(user: str) -> Operation[dict[str, tuple[SessionRecord, Session]]]:
    """By session id: the record, and what is shown of it. One round trip."""
    asked_at = time.monotonic()
    read_records, read_devices = commands.read_sessions(user)

    def finish(records: dict[str, SessionRecord | EndedSession], texts: dict[str, str], marker: Marker | None) -> Any:
        def listed(marker: Marker) -> Done[dict[str, tuple[SessionRecord, Session]]]:
            found = {
                sid: (record, _session(user, sid, record, texts))
                for sid, record in records.items()
                if isinstance(record, SessionRecord) and _is_live(sid, record, marker)
            }
            return Done(dict(sorted(found.items(), key=lambda item: -item[1][0].used_ms)))

        return with_marker(listed, asked_at)(marker)

    return Operation((read_records, read_devices, marker_command()), finish)


def _is_live(sid: str, record: SessionRecord, marker: Marker) -> bool:
    began_ms = record.used_ms if is_adopted(sid) else record.opened_ms
    return record.opened_ms > marker.not_before_ms and began_ms >= marker.born_ms and record.expires_at > time.time()


def _session(user: str, sid: str, record: SessionRecord, texts: dict[str, str]) -> Session:
    device = Device.load(texts.get(DEVICE + sid))
    return Session(
        user=user,
        sid=sid,
        created_at=moment_of(record.opened_ms),
        last_refreshed_at=moment_of(record.used_ms),
        expires_at=moment_of(record.expires_at * 1000),
        ip=device.ip,
        user_agent=device.user_agent,
        label=texts.get(LABEL + sid, ""),
    )


def _is_known(user: str, sid: str) -> Operation[bool]:
    return Operation((commands.read_session(user, sid),), lambda state: Done(state.session is not None))


def is_known(user: Any, sid: str) -> bool:
    """Does the store know this session of the user, alive or ended a short while ago?

    :raises ValueError: when ``sid`` cannot be a session id.
    """
    key = user_id(user)
    return run(_is_known(key, valid_sid(sid)), UseCase("is_known", key, sid))


async def ais_known(user: Any, sid: str) -> bool:
    """:func:`is_known` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(_is_known(key, valid_sid(sid)), UseCase("is_known", key, sid))


def list_sessions(user: Any) -> list[Session]:
    """The user's live sessions, the one used last first."""
    key = user_id(user)
    return [session for _, session in run(live_sessions(key), UseCase("list_sessions", key)).values()]


async def alist_sessions(user: Any) -> list[Session]:
    """:func:`list_sessions` over ``redis.asyncio``."""
    key = user_id(user)
    return [session for _, session in (await arun(live_sessions(key), UseCase("list_sessions", key))).values()]
