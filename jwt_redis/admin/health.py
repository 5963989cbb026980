"""What the health page says: jwt_doctor's findings, and what was counted. Each look is bounded, and kept a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from django.conf import settings
from django.core.signals import setting_changed
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from jwt_redis import journal
from jwt_redis.admin import charts
from jwt_redis.admin.charts import Bucket, Chart
from jwt_redis.diagnosis import Diagnosis, diagnose
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.models import Revocation, Sample
from jwt_redis.operations import Done, Operation, run
from jwt_redis.store import client, commands

__all__ = ["KEPT_SECONDS", "MOST_ROWS", "PERIODS", "charts_of", "diagnosis", "forget"]

T = TypeVar("T")
Kind = Revocation.Kind

#: Seconds for which what was found is shown to whoever asks next.
KEPT_SECONDS: Final = 15.0
#: Rows of the journal that are counted: the newest.
MOST_ROWS: Final = 20_000
#: By hour or by day, and how many of them.
PERIODS: Final = {"day": 24, "month": 31}
# Points on the line of samples.
_MOST_SAMPLES = 500
# "a new store" is no revocation.
_KINDS = (Kind.SESSION, Kind.OTHERS, Kind.USER, Kind.TOKEN, Kind.ALL, Kind.KEY)
_REUSED = "refresh_token_reused"


class _Kept(Generic[T]):
    """The last answer. While one thread looks, the others wait for what it finds instead of looking too."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._answer: tuple[float, T] | None = None

    def get(self, max_age: float) -> tuple[float, T]:
        """The answer, and its age in seconds."""
        with self._lock:
            now = time.monotonic()
            if self._answer is None or now - self._answer[0] > max_age:
                self._answer = (now, self._look())
            return time.monotonic() - self._answer[0], self._answer[1]

    def forget(self) -> None:
        with self._lock:
            self._answer = None


_diagnosis = _Kept(diagnose)
_charts = {name: _Kept(lambda name=name: _look(name)) for name in PERIODS}  # type: ignore[misc]


def diagnosis(*, max_age: float = KEPT_SECONDS) -> tuple[float, Diagnosis]:
    """What ``jwt_doctor`` says, at most so many seconds old; and how old it is. It samples some thousand keys."""
    return _diagnosis.get(max_age)


def charts_of(period: str, *, max_age: float = KEPT_SECONDS) -> list[Chart]:
    """What happened in the last hours (``"day"``) or days (``"month"``)."""
    return _charts[period].get(max_age)[1]


def forget(**kwargs: Any) -> None:
    """What was found under other settings says nothing."""
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES", "SIMPLE_JWT"):
        for kept in _charts.values():
            kept.forget()
        _diagnosis.forget()


setting_changed.connect(forget, dispatch_uid="jwt_redis.admin.health.forget")


def _look(period: str) -> list[Chart]:
    by_hour = period == "day"
    starts = list(_starts(by_hour, PERIODS[period]))
    try:
        with transaction.atomic(using=journal.database()):
            revocations = _revocations(starts, by_hour)
            samples = _samples(starts[0], by_hour)
    except DatabaseError as why:
        missing = format_lazy(_("The journal cannot be read: {why}"), why=str(why))
        revocations = [
            Chart("revocations", _("Revocations"), missing=missing),
            Chart("reuse", _("Reuse alarms"), missing=missing),
        ]
        samples = Chart("live", _("Live sessions"), missing=missing)
    return [samples, *revocations, _refreshes(starts, by_hour)]


def _starts(by_hour: bool, count: int) -> Iterator[datetime]:
    """When each hour or day began, by the time zone of whoever looks."""
    now = timezone.localtime() if settings.USE_TZ else datetime.now()  # noqa: DTZ005 - as the rows have it then
    this = now.replace(minute=0, second=0, microsecond=0)
    if not by_hour:
        this = this.replace(hour=0)
    for back in range(count - 1, -1, -1):
        yield this - (timedelta(hours=back) if by_hour else timedelta(days=back))


def _start_of(moment: datetime, by_hour: bool) -> datetime:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    local = local.replace(minute=0, second=0, microsecond=0)
    return local if by_hour else local.replace(hour=0)


def _revocations(starts: list[datetime], by_hour: bool) -> list[Chart]:
    since = starts[0].astimezone(UTC) if timezone.is_aware(starts[0]) else starts[0]
    found = Revocation.objects.using(journal.database()).filter(created_at__gte=since, kind__in=_KINDS)
    rows = list(found.order_by("-created_at").values_list("created_at", "kind", "reason")[: MOST_ROWS + 1])
    note: Any = ""
    if len(rows) > MOST_ROWS:
        rows.pop()
        oldest = f"{_start_of(rows[-1][0], True):%Y-%m-%d %H:%M}"
        note = format_lazy(_("Only the newest {count} were counted, since {oldest}."), count=MOST_ROWS, oldest=oldest)
        starts = [start for start in starts if start >= _start_of(rows[-1][0], by_hour)]
    kinds: Counter[tuple[datetime, str]] = Counter()
    reused: Counter[datetime] = Counter()
    for moment, kind, reason in rows:
        start = _start_of(moment, by_hour)
        kinds[start, kind] += 1
        reused[start] += reason == _REUSED
    return [
        charts.bars(
            "revocations",
            _("Revocations"),
            [kind.label for kind in _KINDS],
            [Bucket(start, tuple(kinds[start, kind] for kind in _KINDS)) for start in starts],
            note=note or ("" if journal.is_on() else _("JOURNAL is off: nothing is recorded.")),
            by_hour=by_hour,
        ),
        charts.bars(
            "reuse",
            _("Reuse alarms"),
            [_("refresh tokens that came twice")],
            [Bucket(start, (reused[start],)) for start in starts],
            note=note,
            by_hour=by_hour,
        ),
    ]


def _samples(since: datetime, by_hour: bool) -> Chart:
    title = _("Live sessions")
    since = since.astimezone(UTC) if timezone.is_aware(since) else since
    found = Sample.objects.filter(taken_at__gte=since).order_by("-taken_at")
    rows = list(found.values_list("taken_at", "sessions")[:_MOST_SAMPLES])[::-1]
    if not rows:
        missing = _(
            "Nobody has counted them in this time: each run of jwt_cleanup counts, and nothing else walks through the"
            " whole store."
        )
        return Chart("live", title, missing=missing)
    buckets = [Bucket(timezone.localtime(at) if timezone.is_aware(at) else at, (count,)) for at, count in rows]
    note = _("As counted by each run of jwt_cleanup.")
    return charts.line("live", title, _("live sessions"), buckets, note=note, by_hour=by_hour)


def _refreshes(starts: list[datetime], by_hour: bool) -> Chart:
    title = _("Refreshes")
    try:
        if client.is_cluster():
            missing = _("A cluster does not count them: the counter would be another node's than the session.")
            return Chart("refreshes", title, missing=missing)
        counted = run(Operation((commands.read_refreshes(),), Done))
    except RevocationUnavailable:
        return Chart("refreshes", title, missing=_("Redis cannot be asked right now."))
    sums: Counter[datetime] = Counter()
    for hour, count in counted.items():
        moment = datetime.fromtimestamp(hour * 3600, tz=UTC)
        if not settings.USE_TZ:
            moment = timezone.make_naive(moment, timezone.get_default_timezone())
        sums[_start_of(moment, by_hour)] += count
    buckets = [Bucket(start, (sums[start],)) for start in starts]
    return charts.bars("refreshes", title, [_("refresh tokens used")], buckets, by_hour=by_hour)
