"""What is sent to Redis for a command, one round trip after another, and what is made of the replies. No I/O.

A generator, which a sync or an async exchange drives: so nothing of it exists twice.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any, TypeVar

import redis

from jwt_redis.conf import config
from jwt_redis.exceptions import NotReplicated
from jwt_redis.store import gate
from jwt_redis.store.commands import Command, append_log, read_trust

__all__ = ["Unlogged", "Wire", "conversation", "has_script", "read_reply"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_DAMAGED = "?"

Wire = list[tuple[str | int | float, ...]]
# In Cluster: revocations that a script has made and that are not in the log yet, over a resend.
Unlogged = list[list[str]]


def conversation(
    many: tuple[Command[Any], ...], cluster: bool, store_id: str, unlogged: Unlogged
) -> Generator[Wire, list[Any], list[Any]]:
    """What to send, one round trip at a time, whatever carries it. An error reply comes back as a value.

    ``store_id``: of the store that is trusted; "" to take any.
    """
    if len(many) == 1 and many[0].script is not None:
        (command,) = many
        if cluster and store_id and command.logs_for is not None:
            # The script cannot see the marker, which is in another slot.
            asked = read_trust()
            (found,) = yield [asked.args]
            present, refused_keys, not_before_ms = read_reply(asked, found)
            if present != store_id:
                raise gate.UntrustedStore("the marker is missing, or is not the one that was trusted")
            if command.if_key_refused is not None and command.if_key_refused[0] in refused_keys:
                # What an attempt before this one has ended is to be told of all the same.
                yield from _log(command.logs_for, unlogged, store_id)
                return [command.if_key_refused[1]]
            if command.by_moment is not None:
                command = command.by_moment(not_before_ms)
        reply = yield from _run_script(command, cluster, store_id)
        if cluster and command.logs_for is not None:
            unlogged += reply[0]
            yield from _log(command.logs_for, unlogged, store_id)
        return [command.parse(reply)]
    replies = yield [_words(command, cluster, store_id) for command in many]
    results = []
    for command, reply in zip(many, replies, strict=True):
        if isinstance(reply, redis.exceptions.NoScriptError):
            (reply,) = yield [_words(command, cluster, store_id, text=True)]
        results.append(read_reply(command, reply))
    return results


def _log(user: str, unlogged: Unlogged, store_id: str) -> Generator[Wire, list[Any], None]:
    if unlogged:
        yield from _run_script(append_log(user, unlogged), True, store_id)


def _words(command: Command[Any], cluster: bool, store_id: str, *, text: bool = False) -> tuple[str | int | float, ...]:
    if command.script is None:
        return command.args
    # In Cluster a script gets only the keys of its own slot; its revocations are appended by a second one.
    keys = command.keys[:2] if cluster and command.logs_for is not None else command.keys
    name, script = ("EVAL", command.script.text) if text else ("EVALSHA", command.script.sha)
    named = (store_id,) if command.names_store else ()
    return (name, script, len(keys), *keys, *named, *command.args)


def _run_script(command: Command[Any], cluster: bool, store_id: str) -> Generator[Wire, list[Any], Any]:
    waiting = config().wait_replicas if command.is_revocation else None
    # Behind the script on the same connection: WAIT is about what its own connection has written.
    wait: Wire = [("WAIT", waiting.replicas, max(1, int(waiting.seconds * 1000)))] if waiting else []
    reply, *confirmed = yield [_words(command, cluster, store_id), *wait]
    if isinstance(reply, redis.exceptions.NoScriptError):
        reply, *confirmed = yield [_words(command, cluster, store_id, text=True), *wait]
    if isinstance(reply, redis.ResponseError) and str(reply).startswith("UNTRUSTED"):
        raise gate.UntrustedStore(str(reply))
    for one in (reply, *confirmed):
        if isinstance(one, Exception):
            raise one
    if waiting and confirmed[0] < waiting.replicas:
        logger.error(
            "A revocation reached %s of %s replicas.",
            confirmed[0],
            waiting.replicas,
            extra={"event": "revocation_not_replicated"},
        )
        raise NotReplicated(confirmed[0], waiting.replicas)
    return reply


def read_reply(command: Command[T], reply: Any) -> T:
    if isinstance(reply, redis.ResponseError) and str(reply).startswith("WRONGTYPE"):
        # Damaged by hand, it holds nothing that could be read; and what cannot be read is never "good".
        logger.error("%s in Redis is of the wrong type.", command.keys[0], extra={"event": "damaged_value"})
        reply = {} if command.args[0] == "HGETALL" else [_DAMAGED] * (len(command.args) - 2)
    if isinstance(reply, Exception):
        raise reply
    return command.parse(reply)


def has_script(wire: Wire) -> bool:
    return any(args[0] in ("EVALSHA", "EVAL") for args in wire)
