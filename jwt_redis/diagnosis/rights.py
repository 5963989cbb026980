"""What the user that we connect as may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jwt_redis import keys
from jwt_redis.diagnosis.findings import Finding, notice, ok, problem
from jwt_redis.diagnosis.nodes import Node, Unanswered

__all__ = ["advice", "check_rights", "needed"]

_RULE = "~{prefix}* +@hash +@stream +@scripting +@read +set +del +expireat +info +time +wait +select"


def _needed() -> list[tuple[str, ...]]:
    user, marker, log, lock = keys.user_key("0"), keys.marker_key(), keys.log_key(), keys.lock_key()
    return [
        ("INFO",),
        ("TIME",),
        ("EVALSHA", "0" * 40, "1", user),
        ("EVAL", "return 1", "1", user),
        ("HMGET", user, "a"),
        ("HGETALL", user),
        ("HGET", marker, "a"),
        ("HKEYS", user),
        ("HSET", user, "a", "b"),
        ("HDEL", user, "a"),
        ("HINCRBY", marker, "a", "1"),
        ("DEL", user),
        ("TYPE", user),
        ("EXPIREAT", user, "1"),
        ("SET", lock, "a", "NX", "PX", "1"),
        ("GET", lock),
        ("XADD", log, "*", "a", "b"),
        # For the near cache.
        ("XRANGE", log, "-", "+"),
        ("XREVRANGE", log, "+", "-"),
        ("XREAD", "STREAMS", log, "0"),
        ("WAIT", "1", "1"),
        # For jwt_cleanup and this very diagnosis.
        ("SCAN", "0"),
        ("DBSIZE",),
    ]


def needed() -> tuple[str, ...]:
    """The commands that this package sends, or that its scripts call."""
    return tuple(words[0] for words in _needed())


def check_rights(node: Node) -> Iterator[Finding]:
    """May it do all that is needed? Where that cannot be known, it says so."""
    try:
        user = str(node.ask(lambda client: client.acl_whoami()))
    except Unanswered as why:
        yield notice("rights", f"Which user we are cannot be asked ({why}).", advice())
        return
    try:
        refused = [words[0] for words in _needed() if not _is_allowed(node, user, words)]
    except Unanswered as why:
        yield _from_rules(node, user, str(why))
        return
    if refused:
        yield problem("rights", f"The user {user!r} may not do {', '.join(refused)}.", advice())
    else:
        yield ok("rights", f"The user {user!r} may do all that is needed.")


def advice() -> str:
    """The rule that grants what is needed."""
    return "ACL SETUSER needs at least: " + _RULE.format(prefix=keys.marker_key().partition("{")[0])


def _is_allowed(node: Node, user: str, words: tuple[str, ...]) -> bool:
    """ACL DRYRUN, since 7.0: nothing is run."""
    return str(node.ask(lambda client: client.acl_dryrun(user, *words))) in ("OK", "True")


def _from_rules(node: Node, user: str, why: str) -> Finding:
    """Before 7.0 there are only the rules, of which nobody but the server knows for certain what they amount to."""
    try:
        rules: Any = node.ask(lambda client: client.acl_getuser(user))
    except Unanswered:
        return notice("rights", f"What the user {user!r} may do cannot be asked ({why}).", advice())
    granted = " ".join((*rules.get("categories", ()), *rules.get("commands", ())))
    patterns = " ".join(rules.get("keys", ()))
    if granted == "+@all" and patterns in ("~*", "*"):
        return ok("rights", f"The user {user!r} may do everything.")
    return notice("rights", f"The user {user!r} has {granted} on the keys {patterns}; not tried out.", advice())
