"""Which deliveries are due, who sends them, and what becomes of each."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet

from jwt_redis import journal, observers
from jwt_redis.contrib.webhooks.models import Delivery, Receiver, random_id
from jwt_redis.contrib.webhooks.outbox import deliveries, waiting
from jwt_redis.contrib.webhooks.places import settings_in_force
from jwt_redis.contrib.webhooks.pushing import Answer, Parcel, printable, push_all
from jwt_redis.contrib.webhooks.tokens import claims_of, sign
from jwt_redis.observers import Observer

__all__ = ["Tally", "deliver"]

logger = logging.getLogger(__name__)

# How many at once go to one receiver; a single one where the last did not arrive. And in all, as each is a connection.
_AT_ONCE = 16
_IN_ALL = 256
# For how long nobody else takes up what somebody is at: so many time limits, and seconds for the database. Whoever
# takes longer, as over a name's lookup, may have sent what another one sends too.
_LIMITS, _MARGIN = 3, timedelta(seconds=5)
# After so many failures in a row it was away, and gets what waits as soon as it is back.
_AWAY = 3


@dataclass(slots=True)
class Tally:
    """How many arrived, will be tried again, were given up."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All that were tried."""
        return self.delivered + self.failed + self.dead


def deliver() -> Tally:
    """One round: some of what is due, to all receivers at the same time. As many processes as one likes may do so.

    What is sent and not marked, because the process died, is sent once more when its lease has run out.
    """
    taken = _take()
    tally = Tally()
    if not taken:
        return tally
    parcels: list[tuple[Delivery, Parcel]] = []
    answered: list[tuple[Delivery, Answer]] = []
    for delivery in taken:
        try:
            parcels.append((delivery, Parcel(delivery.receiver.url, sign(claims_of(delivery)))))
        except Exception as error:
            # user_subject is the project's.
            logger.exception(
                "No token could be made for the delivery %s.",
                delivery.jti,
                extra={**_facts(delivery), "event": "webhook_failed"},
            )
            said = printable(f"{type(error).__name__}: {error}")
            answered.append((delivery, Answer("failed", said, is_ours=True)))
    answers = push_all([parcel for _delivery, parcel in parcels])
    answered += [(delivery, answer) for (delivery, _parcel), answer in zip(parcels, answers, strict=True)]
    _note(answered, tally)
    return tally


def _take() -> list[Delivery]:
    now = journal.now()
    all_receivers = Receiver.objects.using(journal.database())
    receivers = list(all_receivers.filter(Q(held_until=None) | Q(held_until__lte=now)))
    # Where not all can be served in one round, nobody is the last each time.
    random.shuffle(receivers)
    taken: list[Delivery] = []
    for receiver in receivers:
        if (room := _IN_ALL - len(taken)) <= 0:
            break
        taken += _take_for(receiver, now, room)
    return taken


def _take_for(receiver: Receiver, now: datetime, most: int) -> list[Delivery]:
    lease = random_id()
    until = now + timedelta(seconds=_LIMITS * settings_in_force().timeout) + _MARGIN
    # The oldest due: not the oldest, which may be one that the receiver will never take.
    due = _free(now).filter(receiver=receiver, due_at__lte=now).order_by("due_at", "pk")
    if not receiver.is_enabled:
        # That it was disabled, and nothing else.
        due = due.filter(kind=Delivery.Kind.STREAM)
    room = min(most, 1 if receiver.failures else _AT_ONCE)
    skips = connections[journal.database()].features.has_select_for_update_skip_locked
    # Elsewhere no transaction: SQLite refuses one that has read to write, if another one wrote meanwhile.
    with transaction.atomic(using=journal.database()) if skips else nullcontext():
        pks = list((due.select_for_update(skip_locked=True) if skips else due).values_list("pk", flat=True)[:room])
        # Asked again: another process may have been faster.
        if not pks or not _free(now).filter(pk__in=pks).update(lease=lease, leased_until=until):
            return []
    return list(deliveries().filter(pk__in=pks, lease=lease).select_related("receiver").order_by("pk"))


def _free(now: datetime) -> QuerySet[Delivery]:
    return waiting().filter(Q(leased_until=None) | Q(leased_until__lte=now))


def _note(answered: list[tuple[Delivery, Answer]], tally: Tally) -> None:
    now = journal.now()
    by_receiver: dict[int, list[Answer]] = defaultdict(list)
    with transaction.atomic(using=journal.database()):
        for delivery, answer in answered:
            if not answer.is_ours:
                by_receiver[delivery.receiver_id].append(answer)
            outcome = _note_one(delivery, answer, now)
            setattr(tally, outcome, getattr(tally, outcome) + 1)
        receivers = {delivery.receiver_id: delivery.receiver for delivery, _answer in answered}
        for pk, answers in by_receiver.items():
            _note_receiver(receivers[pk], answers, now)


def _note_one(delivery: Delivery, answer: Answer, now: datetime) -> str:
    own = deliveries().filter(pk=delivery.pk, delivered_at=None)
    tried = {"attempts": F("attempts") + 1, "lease": "", "leased_until": None, "said": answer.said}
    if answer.outcome == "accepted":
        # Whoever has the lease by now: it has arrived.
        own.update(**tried, delivered_at=now, dead_at=None)
        return _told("delivered", delivery, answer)
    own = own.filter(lease=delivery.lease)
    too_old = now - delivery.waiting_since > settings_in_force().give_up_after
    if answer.outcome == "rejected" or too_old:
        own.update(**tried, dead_at=now)
        return _told("dead", delivery, answer)
    own.update(**tried, due_at=now + _pause(delivery.attempts, answer.retry_after))
    return _told("failed", delivery, answer)


def _note_receiver(receiver: Receiver, answers: list[Answer], now: datetime) -> None:
    own = Receiver.objects.using(journal.database()).filter(pk=receiver.pk)
    asked = max(answer.retry_after for answer in answers)
    if any(answer.outcome != "failed" for answer in answers):
        # It is there. It may have had enough for now all the same.
        until = now + timedelta(seconds=min(asked, settings_in_force().longest_delay)) if asked else None
        if receiver.failures or until is not None:
            own.update(failures=0, held_until=until)
        if receiver.failures >= _AWAY:
            waiting().filter(receiver=receiver, due_at__gt=now).update(due_at=now)
        return
    own.update(failures=F("failures") + 1, held_until=now + _pause(receiver.failures, asked))


def _pause(failures: int, at_least: float) -> timedelta:
    """How long after one more failure than that."""
    settings = settings_in_force()
    doubled = min(settings.first_delay * 2 ** min(failures, 40), settings.longest_delay)
    # By chance, so that what failed together does not come together.
    return timedelta(seconds=max(doubled * random.uniform(0.5, 1.0), min(at_least, settings.longest_delay)))  # noqa: S311


def _facts(delivery: Delivery) -> dict[str, str]:
    return {"jwt_jti": delivery.jti, "jwt_receiver": delivery.receiver.name}


def _told(outcome: str, delivery: Delivery, answer: Answer) -> str:
    if observers.installed:
        observers.tell(Observer.happened, "webhook_tried", {"outcome": outcome})
    level = {"delivered": logging.INFO, "failed": logging.WARNING, "dead": logging.ERROR}[outcome]
    logger.log(
        level,
        "Webhook %s to %s: %s. %s",
        delivery.jti,
        delivery.receiver.name,
        outcome,
        answer.said,
        extra={**_facts(delivery), "event": f"webhook_{outcome}"},
    )
    return outcome
