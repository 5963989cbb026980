"""For services that cannot ask Redis: a status list, of whether sessions were ended, a bit each; and what has to be
known before keys are published."""

from __future__ import annotations

import time
from dataclasses import dataclass

from jwt_redis import status_list
from jwt_redis.conf import StatusList, config
from jwt_redis.exceptions import NoSigningKey
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.records import Marker
from jwt_redis.sessions.parts import with_marker
from jwt_redis.signing import backends
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import ListRead
from jwt_redis.verdicts import NO_KID

__all__ = ["StatusListToken", "astatus_list_token", "hear_of_keys", "status_list_token"]


@dataclass(frozen=True, slots=True)
class StatusListToken:
    """A signed list. ``max_age``: seconds for which whoever passes it on may keep it."""

    token: str
    max_age: int


def _publish(list_id: str, name: str, wanted: StatusList) -> Operation[StatusListToken]:
    # For a quarter of the ttl one signature serves everybody, and for another quarter while one signs anew. By an
    # address from under a former secret key it is signed each time, as it has to repeat that.
    good_for_ms = wanted.ttl * 250 if list_id == status_list.id_of(name) else 0

    def read(found: ListRead) -> Operation[StatusListToken] | Done[StatusListToken]:
        if found.signed is not None:
            left = found.signed_ms + 2 * good_for_ms - found.now_ms
            return Done(StatusListToken(found.signed, max(0, left // 1000)))
        if not found.refused_keys <= backends.refused():
            # Heard of with the very moment: what this process knows may be a second old.
            backends.refuse(backends.refused() | found.refused_keys)
        # Not of the future, by whichever clock.
        issued_at = min(found.now_ms // 1000, int(time.time()))
        made = status_list.list_token(list_id, found.bits, issued_at, wanted)
        kid = backends.kid_in(made) or NO_KID
        if kid in found.refused_keys:
            raise NoSigningKey
        done = Done(StatusListToken(made, good_for_ms // 1000))
        # Counted from before Redis was asked: who was held up keeps nothing that is old already.
        left = 2 * good_for_ms - int((time.monotonic() - asked_at) * 1000)
        if left <= 0:
            return done
        keep = commands.keep_list(
            name, made, kid=kid, signed_ms=found.now_ms, is_withdrawn=found.bits is None, milliseconds=left
        )
        return Operation((keep,), lambda _: done, is_optional=True)

    def with_trusted(_: Marker) -> Operation[StatusListToken]:
        return Operation((commands.read_list(name, good_for_ms),), read)

    asked_at = time.monotonic()
    marker = markers.known()
    if marker is not None:
        return with_trusted(marker)
    # A server that is no primary any more must not publish.
    return Operation((commands.prove_marker(),), with_marker(with_trusted, asked_at))


def _published(list_id: str) -> tuple[str, StatusList] | None:
    wanted = config().status_list
    name = status_list.name_of(list_id) if wanted is not None else None
    return None if wanted is None or name is None else (name, wanted)


def status_list_token(list_id: str) -> StatusListToken | None:
    """The status list of that id, the end of its URI, as a signed JWT (draft-ietf-oauth-status-list-21 section 5.1).

    None where it is no list of ours, or STATUS_LIST is None. One whose sessions are not known any more, as the store
    was lost or everything was revoked, says of each that it is INVALID.

    :raises RevocationUnavailable: while Redis cannot be asked, or is not trusted.
    :raises NoSigningKey: when the key that is to sign is refused.
    """
    published = _published(list_id)
    if published is None:
        return None
    return run(lambda: _publish(list_id, *published), UseCase("status_list_token"))


async def astatus_list_token(list_id: str) -> StatusListToken | None:
    """:func:`status_list_token` over ``redis.asyncio``."""
    published = _published(list_id)
    if published is None:
        return None
    return await arun(lambda: _publish(list_id, *published), UseCase("status_list_token"))


def hear_of_keys() -> None:
    """Which keys are refused, in a process that has asked Redis nothing within the last second.

    :raises RevocationUnavailable: while Redis cannot be asked, or is not trusted.
    """
    if markers.known() is None:
        asking = with_marker(lambda _: Done(None), time.monotonic())
        run(lambda: Operation((commands.prove_marker(),), asking), UseCase("hear_of_keys"))
