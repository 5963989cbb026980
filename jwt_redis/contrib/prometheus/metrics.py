"""The metrics, in prometheus_client's default registry: whatever serves that, serves these.

Plain metrics, and no collector: so they are right under ``PROMETHEUS_MULTIPROC_DIR`` too, where each process writes
into files and whoever is scraped adds them up. Each label has few values, all of them known here; none is a user's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from jwt_redis import verdicts
from jwt_redis.observers import MEMORY, REDIS, UNCHECKED, Observer

__all__ = ["METRICS", "PrometheusObserver", "observer"]

# Seconds. The first is less than a round trip on the same machine, the last more than any time limit of ours.
BUCKETS: Final = (
    *(10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6),
    *(1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0),
)
# Seconds after which a breaker that nothing was heard of counts as closed. One that is used is heard of each half a
# second; this is one of a node that a cluster has replaced.
FORGOTTEN: Final = 30.0

CHECKS: Final = Counter(
    "jwt_redis_checks_total", "Checks of a token, by verdict and by where it came from", ["verdict", "source"]
)
CHECK_SECONDS: Final = Histogram(
    "jwt_redis_check_seconds", "How long a check took that Redis has answered", buckets=BUCKETS
)
REFRESHES: Final = Counter("jwt_redis_refreshes_total", "Refresh tokens that were used, by outcome", ["outcome"])
STARTED: Final = Counter("jwt_redis_sessions_started_total", "Sessions that were started")
REVOCATIONS: Final = Counter("jwt_redis_revocations_total", "Revocations, by what was revoked", ["kind"])
APPLIED_LATE: Final = Counter(
    "jwt_redis_revocations_applied_late_total", "Revocations that Redis could not be told of at first"
)
UNAVAILABLE: Final = Counter(
    "jwt_redis_unavailable_total", "Calls that Redis could not be asked for, by use case", ["use_case"]
)
OBSERVED: Final = Counter(
    "jwt_redis_refusals_observed_total", "What OBSERVE let through that would have been refused, by reason", ["reason"]
)
BREAKER_OPEN: Final = Gauge(
    "jwt_redis_breaker_open", "Servers that did not answer this process when last asked", multiprocess_mode="livesum"
)
# Not the moment of the last answer: a process that has no near cache yet would stand there with 1970.
LAG: Final = Gauge(
    "jwt_redis_near_cache_lag_seconds",
    "How old what the near cache knew had become when it last asked for more",
    multiprocess_mode="livemax",
)
LAPSES: Final = Counter("jwt_redis_lease_lapses_total", "How often the near cache could not answer any more")
MEMO_LOOKUPS: Final = Counter(
    "jwt_redis_memo_lookups_total", "Tokens that were looked for among those verified before", ["result"]
)
STORES: Final = Counter(
    "jwt_redis_stores_established_total", "Redis stores that were mended or begun, by how they were found", ["found"]
)
WEBHOOKS: Final = Counter(
    "jwt_redis_webhooks_total", "Attempts to deliver a webhook, by what became of them", ["outcome"]
)

METRICS: Final = (
    *(CHECKS, CHECK_SECONDS, REFRESHES, STARTED, REVOCATIONS, APPLIED_LATE, UNAVAILABLE),
    *(BREAKER_OPEN, LAG, LAPSES, MEMO_LOOKUPS, STORES, OBSERVED, WEBHOOKS),
)

_KINDS: Final = {
    "session_ended": "session",
    "user_revoked": "user",
    "token_revoked": "token",
    "everything_revoked": "everything",
    "key_revoked": "key",
}
_REASONS: Final = (
    verdicts.TOKEN_BLACKLISTED,
    verdicts.SESSION_ENDED,
    verdicts.SESSION_EXPIRED,
    verdicts.USER_REVOKED,
    verdicts.ALL_REVOKED,
    verdicts.NO_SESSION,
    verdicts.STORE_LOST,
    verdicts.KEY_REVOKED,
)


@cache
def _checks(verdict: str, source: str) -> Counter:
    # Looking for it in the metric takes a lock, and longer than counting.
    return CHECKS.labels(verdict, source)


@cache
def _lookups(is_hit: bool) -> Counter:
    return MEMO_LOOKUPS.labels("hit" if is_hit else "miss")


class PrometheusObserver(Observer):
    """Counts."""

    def __init__(self) -> None:
        # By node, when it was last heard that it does not answer.
        self._open: dict[str, float] = {}
        # Those that are alarms when they come are there before, as 0: an increase needs something to start from.
        for source in (MEMORY, REDIS, UNCHECKED):
            _checks("allowed", source)
        for reason in _REASONS:
            _checks(reason, REDIS)
        _checks("unavailable", UNCHECKED)
        for outcome in ("rotated", "touched", "grace", "reuse", "ahead", "gone"):
            REFRESHES.labels(outcome)
        for kind in _KINDS.values():
            REVOCATIONS.labels(kind)
        for found in ("behind", "astray", "lost"):
            STORES.labels(found)
        for outcome in ("delivered", "failed", "dead"):
            WEBHOOKS.labels(outcome)
        for is_hit in (True, False):
            _lookups(is_hit)

    def checked(self, verdict: str, source: str, seconds: float | None) -> None:
        """One check. From memory it takes less than the smallest bucket, and is not timed."""
        _checks(verdict, source).inc()
        if source == REDIS and seconds is not None:
            CHECK_SECONDS.observe(seconds)
        if self._open:
            self._count_breakers()

    def happened(self, event: str, facts: Mapping[str, Any]) -> None:
        """What there is a metric for."""
        if kind := _KINDS.get(event):
            REVOCATIONS.labels(kind).inc()
        elif event == "session_started":
            STARTED.inc()
        elif event == "revocation_unavailable":
            UNAVAILABLE.labels(facts["use_case"]).inc()
        elif event == "refusal_observed":
            OBSERVED.labels(facts["reason"]).inc()
        elif event == "revocation_applied":
            APPLIED_LATE.inc()
        elif event == "store_established":
            STORES.labels(facts["found"]).inc()
        elif event == "webhook_tried":
            WEBHOOKS.labels(facts["outcome"]).inc()

    def refreshed(self, outcome: str) -> None:
        """One use of a refresh token."""
        REFRESHES.labels(outcome).inc()

    def recalled(self, is_hit: bool) -> None:
        """One look into the memo."""
        _lookups(is_hit).inc()

    def breaker(self, node: str, is_open: bool) -> None:
        """A breaker of this process opened, again perhaps, or closed."""
        if is_open:
            self._open[node] = time.monotonic()
        else:
            self._open.pop(node, None)
        self._count_breakers()

    def followed(self, seconds: float) -> None:
        """One look at the log."""
        LAG.set(seconds)

    def lease_lapsed(self) -> None:
        """One lease."""
        LAPSES.inc()

    def _count_breakers(self) -> None:
        oldest = time.monotonic() - FORGOTTEN
        for node, heard in [*self._open.items()]:
            if heard < oldest:
                self._open.pop(node, None)
        BREAKER_OPEN.set(len(self._open))


observer: Final = PrometheusObserver()
