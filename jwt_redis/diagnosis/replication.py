"""A server's replicas: are there as many as a revocation waits for, and do they keep up?"""

from __future__ import annotations

from collections.abc import Iterator

from jwt_redis.conf import config
from jwt_redis.diagnosis.findings import Finding, notice, ok, problem, warning
from jwt_redis.diagnosis.nodes import Node, Unanswered
from jwt_redis.diagnosis.sizes import counted

__all__ = ["check_isolation", "check_replicas"]

# Seconds since a replica was last heard of, and bytes that it lacks, from which on it does not keep up.
_SECONDS = 10
_BYTES = 1 << 20


def check_replicas(node: Node) -> Iterator[Finding]:
    """How many, and how far behind?"""
    replicas = _replicas(node)
    online = [replica for replica in replicas if replica.get("state") == "online"]
    waiting = config().wait_replicas
    if waiting and len(online) < waiting.replicas:
        yield problem(
            "replicas",
            f"{counted(len(online), 'replica')} connected, and WAIT_REPLICAS asks for {waiting.replicas}: each"
            " revocation is answered with 503.",
            "Start the replicas, or lower WAIT_REPLICAS.",
        )
    elif not replicas:
        yield ok("replicas", "No replicas.")
    else:
        yield from _lag(node, replicas)
    if online and not waiting:
        lost = "A replica that takes over may lack the last revocations"
        if config().journal:
            yield ok("failover", f"{lost}; the journal applies them again.")
        else:
            yield warning("failover", f"{lost}, and they work again.", "JOURNAL = True, or WAIT_REPLICAS = 1.")


def _replicas(node: Node) -> list[dict[str, object]]:
    found = (node.info.get(f"slave{number}") for number in range(node.number("connected_slaves")))
    return [replica for replica in found if isinstance(replica, dict)]


def _lag(node: Node, replicas: list[dict[str, object]]) -> Iterator[Finding]:
    written = node.number("master_repl_offset")
    said, is_late = [], False
    for replica in replicas:
        # Of one that is still copying it has no meaning.
        behind = max(0, written - int(str(replica.get("offset", 0))))
        seconds = max(0, int(str(replica.get("lag", 0))))
        state = str(replica.get("state"))
        is_late = is_late or state != "online" or seconds >= _SECONDS or behind >= _BYTES
        said.append(f"{replica.get('ip')}:{replica.get('port')} {state}, {behind} bytes and {seconds} s behind")
    found = f"{counted(len(replicas), 'replica')}: {'; '.join(said)}."
    if is_late:
        yield warning("replicas", found, "Look for a slow link or an overloaded replica.")
    else:
        yield ok("replicas", found)


def check_isolation(node: Node) -> Iterator[Finding]:
    """A primary that lost its replicas to another one should know that it is none any more."""
    try:
        wanted = int(node.setting("min-replicas-to-write"))
    except Unanswered as why:
        # INFO tells how many are good only where the setting is in force.
        if "min_slaves_good_slaves" not in node.info:
            if _replicas(node):
                yield notice("min_replicas", f"min-replicas-to-write cannot be asked ({why}).")
            return
        yield ok("min_replicas", "min-replicas-to-write is set.")
        return
    good = node.number("min_slaves_good_slaves")
    if wanted and good < wanted:
        yield problem(
            "min_replicas",
            f"min-replicas-to-write is {wanted}, and {good} replicas are good: Redis refuses every write.",
            "Start the replicas.",
        )
    elif wanted:
        yield ok("min_replicas", f"min-replicas-to-write {wanted}; {good} replicas are good.")
    elif _replicas(node):
        yield warning(
            "min_replicas",
            "min-replicas-to-write is 0: a primary that is cut off, while a replica takes over, goes on answering, and"
            " does not know what is revoked elsewhere.",
            "min-replicas-to-write 1 and min-replicas-max-lag 10, where there are enough replicas.",
        )
