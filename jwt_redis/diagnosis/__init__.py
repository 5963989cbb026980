"""Does this deployment keep the promise that a revoked token never works again? Data only; others print it.

Each file looks at one side of it, as functions that yield findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from jwt_redis.checks import neighbours
from jwt_redis.conf import config, problems
from jwt_redis.diagnosis import clocks, journalled, memory, replication, rights, server, signing, store
from jwt_redis.diagnosis.findings import LEVELS, Finding, Level, notice, ok, problem, warning, worst
from jwt_redis.diagnosis.memory import Sample
from jwt_redis.diagnosis.nodes import FAILURES, Unanswered, nodes

__all__ = ["LEVELS", "Diagnosis", "Finding", "Level", "Sample", "diagnose", "register"]

_EACH_NODE = (
    server.check_version,
    server.check_role,
    server.check_memory_limit,
    server.check_persistence,
    replication.check_replicas,
    replication.check_isolation,
    server.check_connection,
    rights.check_rights,
    clocks.check_redis_clock,
)

# What else there is to look at: of apps that a project may have or not.
_more: list[Callable[[], Iterator[Finding]]] = []


def register(check: Callable[[], Iterator[Finding]]) -> None:
    """Look at this too. It asks no more than it has to, and turns what fails into a finding."""
    if check not in _more:
        _more.append(check)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found. ``sample``: the keys that were measured, None where that could not be. ``users``: for how many
    the memory was forecast."""

    findings: list[Finding]
    sample: Sample | None = None
    users: int | None = None

    @property
    def status(self) -> Level:
        """The worst of the findings' levels."""
        return worst(self.findings)


def diagnose(users: int | None = None) -> Diagnosis:
    """Look at everything. It changes nothing, and an error is a finding.

    ``users``: how many to forecast the memory for, those that are active if None.
    """
    if wrong := problems():
        found = "; ".join(f"{key}: {reason}" for key, reason, _ in wrong)
        return Diagnosis([problem("settings", f"JWT_REDIS: {found}.", "Correct the settings.")])
    findings: list[Finding] = []
    if config().observe:
        findings.append(
            warning(
                "observe",
                "OBSERVE is on: nothing is enforced, and a revoked token works as long as it has not expired.",
                'JWT_REDIS["OBSERVE"] = False.',
            )
        )
    measured: Sample | None = None
    users = _active_users() if users is None else users
    try:
        with nodes() as (client, found_nodes):
            findings.append(ok("reachable", "Redis answers."))
            for node in found_nodes:
                findings += (replace(one, server=node.name) for check in _EACH_NODE for one in check(node))
            findings += store.check_store(client, found_nodes)
            try:
                measured = memory.sample(client, found_nodes)
                findings += memory.check_memory(found_nodes, measured, users)
            except Unanswered as why:
                findings.append(notice("memory", f"The keys cannot be measured ({why})."))
    except ImproperlyConfigured as error:
        findings.append(problem("settings", str(error), "Correct CACHES or JWT_REDIS."))
    except redis.exceptions.NoPermissionError as error:
        # INFO, without which no connection is used.
        findings.append(problem("rights", f"Redis refuses: {error}.", rights.advice()))
    except FAILURES as error:
        findings.append(
            problem(
                "reachable",
                f"Redis does not answer: {error}",
                "Start it, or correct LOCATION, user and password of the alias. Until then requests are answered with"
                " 503; revocations stay pending in the journal.",
            )
        )
    findings += _shared_database()
    findings += signing.check_keys()
    findings += journalled.check_journal()
    for check in _more:
        findings += check()
    if config().journal:
        findings += clocks.check_database_clock()
    return Diagnosis(findings, measured, users)


def _active_users() -> int | None:
    try:
        return memory.active_users()
    except DatabaseError:
        return None


def _shared_database() -> Iterator[Finding]:
    if config().client_factory is not None:
        return
    try:
        others = neighbours(config().alias)
    except ImproperlyConfigured:
        return
    if others:
        yield warning(
            "shared_database",
            f"The database is that of the cache {', '.join(map(repr, others))} too: cache.clear() there is FLUSHDB.",
            "Give sessions a database of their own, or better a server.",
        )
    else:
        yield ok("shared_database", "No other cache of this project lives in the same database.")
