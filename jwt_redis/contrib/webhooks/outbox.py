"""From the journal's rows to deliveries, in one transaction; and what is known of those that there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.db import connections
from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Now

from jwt_redis import journal
from jwt_redis.conf import Webhooks, config
from jwt_redis.contrib.webhooks.models import Delivery, Receiver, random_id
from jwt_redis.keys import UserTag
from jwt_redis.models import Revocation
from jwt_redis.outlets import Outlet

__all__ = [
    "Outbox",
    "dead",
    "deliveries",
    "outbox",
    "send_again",
    "send_status",
    "send_trial",
    "waiting",
    "waiting_facts",
]

# What there is an event for: none for a single token, of which CAEP does not know.
_KINDS = frozenset({Revocation.Kind.SESSION, Revocation.Kind.OTHERS, Revocation.Kind.USER, Revocation.Kind.ALL})


class Outbox(Outlet):
    """A delivery for each receiver and row."""

    label = "webhook deliveries"

    def begun(self, rows: Sequence[Revocation], users: Sequence[str], using: str) -> None:
        """Nobody is asked where nothing is to be sent."""
        if config().webhooks is None:
            return
        told = [(row, user) for row, user in zip(rows, users, strict=True) if row.kind in _KINDS]
        if not told:
            return
        receivers = list(Receiver.objects.using(using).filter(is_enabled=True).values_list("pk", flat=True))
        now = int(time.time())
        made = [
            Delivery(
                receiver_id=receiver,
                key=row.key,
                kind=row.kind,
                user=_encoded(user),
                target=row.target,
                reason=row.reason,
                initiator=_initiator(row, user),
                happened_at=now,
                before_ms=row.moment_ms,
            )
            for receiver in receivers
            for row, user in told
        ]
        if made:
            Delivery.objects.using(using).bulk_create(made, ignore_conflicts=True)

    def expired(self, using: str) -> QuerySet[Any] | None:
        """Those that arrived long ago. The dead stay until somebody deletes them."""
        connection = connections[using]
        if config().webhooks is None and Delivery._meta.db_table not in connection.introspection.table_names():
            return None
        kept = (config().webhooks or Webhooks(issuer="")).keep
        return Delivery.objects.using(using).filter(delivered_at__lt=journal.now() - kept)


outbox = Outbox()


def _encoded(user: str) -> str:
    # A tag is that already. Of a very long id it is a digest, and then all that is known.
    return user if isinstance(user, UserTag) else quote(user, errors="surrogatepass")


def _initiator(row: Revocation, user: str) -> str:
    """OpenID CAEP 1.0 section 2: ``initiating_entity``."""
    if row.actor:
        return "user" if user and row.actor == user else "admin"
    return "user" if row.reason.startswith("logout") else "system"


def deliveries() -> QuerySet[Delivery]:
    """All of them, in the journal's database."""
    return Delivery.objects.using(journal.database())


def waiting() -> QuerySet[Delivery]:
    """Those that have yet to arrive."""
    return deliveries().filter(delivered_at=None, dead_at=None)


def dead() -> QuerySet[Delivery]:
    """Those that nobody tries any more."""
    return deliveries().exclude(dead_at=None)


def waiting_facts() -> tuple[int, float]:
    """How many wait, and for how many seconds the oldest has."""
    found = waiting().aggregate(count=Count("pk"), oldest=Min("waiting_since"))
    if not found["count"]:
        return 0, 0.0
    return found["count"], (journal.now() - found["oldest"]).total_seconds()


def send_again(which: QuerySet[Delivery]) -> int:
    """Those of them that have not arrived are tried anew, by the same jti. How many that are."""
    anew = {"dead_at": None, "attempts": 0, "due_at": Now(), "waiting_since": Now()}
    pks = list(which.values_list("pk", flat=True))
    return deliveries().filter(Q(pk__in=pks), delivered_at=None).update(**anew)


def send_trial(receiver: Receiver) -> Delivery:
    """A verification event, which the receiver has to take and do nothing about."""
    return _send_of_stream(receiver, Delivery.Kind.VERIFICATION)


def send_status(receiver: Receiver) -> Delivery:
    """Tell a receiver that it was enabled or disabled (OpenID Shared Signals Framework 1.0 section 8.1.5).

    For who sets ``is_enabled``, in one transaction with that; the admin does. One that is disabled is sent this alone.
    """
    # What it was told before that, and has not heard, is true no more.
    waiting().filter(receiver=receiver, kind=Delivery.Kind.STREAM).delete()
    return _send_of_stream(receiver, Delivery.Kind.STREAM, "enabled" if receiver.is_enabled else "disabled")


def _send_of_stream(receiver: Receiver, kind: Delivery.Kind, target: str = "") -> Delivery:
    return deliveries().create(
        receiver=receiver,
        key=random_id(),
        kind=kind,
        target=target,
        initiator="admin",
        happened_at=int(time.time()),
    )
