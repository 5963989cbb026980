"""The health page: what jwt_doctor says, and what was counted, from where it is kept."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import redis
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone, translation

from jwt_redis import journal, sessions
from jwt_redis.admin import charts, health
from jwt_redis.admin.charts import Bucket
from jwt_redis.journal import Entry
from jwt_redis.models import Revocation, Sample
from jwt_redis.operations import Done, Operation, run
from jwt_redis.store import commands
from jwt_redis.testing.servers import RedisServer
from tests.support.topology import PATIENT

pytestmark = pytest.mark.django_db

URL = "/admin/jwt_redis/session/health/"


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    health.forget()


def page(client: Client, **query: str) -> str:
    response = client.get(URL, query)
    assert response.status_code == 200
    return str(response.content.decode())


def chart(name: str, period: str = "day") -> Any:
    return next(one for one in health.charts_of(period, max_age=-1) if one.id == name)


def refresh(user: Any, times: int) -> str:
    """As a client does; the session's id."""
    opened = sessions.open_session(user)
    text = str(opened)
    for _ in range(times):
        answer = Client().post("/auth/token/refresh/", {"refresh": text})
        assert answer.status_code == 200, answer.content
        text = answer.json()["refresh"]
    return str(opened["sid"])


def write(count: int, ago: timedelta = timedelta(), kind: str = "session", reason: str = "logout") -> None:
    keys = journal.begin([Entry(kind, "7", reason=reason) for _ in range(count)])
    Revocation.objects.filter(key__in=keys).update(created_at=timezone.now() - ago)


def test_the_doctors_findings_are_there_the_worst_first(admin_client: Client) -> None:
    seen = page(admin_client)
    assert "Redis answers." in seen and "requirepass" in seen
    levels = re.findall(r'data-label="Level"><span class="jwt-level jwt-(\w+)', seen)
    assert levels == sorted(levels, key=["problem", "warning", "notice", "ok"].index) and "warning" in levels


def test_what_was_found_is_kept_for_a_while(admin_client: Client, store: redis.Redis) -> None:
    page(admin_client)
    store.config_resetstat()
    for _ in range(5):
        page(admin_client)
        page(admin_client, period="month")
    stats = store.info("commandstats")
    assert "cmdstat_scan" not in stats and "cmdstat_memory" not in stats
    # The button waits for no one, but that it was looked at this very second.
    time.sleep(1.05)
    page(admin_client, again="1")
    assert "cmdstat_scan" in store.info("commandstats")


def test_other_settings_are_looked_at_anew(admin_client: Client, settings: Any) -> None:
    assert "Redis answers." in page(admin_client)
    dead = {**settings.CACHES["sessions"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "sessions": dead}
    seen = page(admin_client)
    assert "Redis does not answer" in seen and "Redis cannot be asked right now" in seen


def test_revocations_are_counted_by_kind_hour_and_day(alice: Any) -> None:
    write(3)
    write(2, kind="user")
    write(1, timedelta(hours=5))
    write(4, timedelta(days=3), kind="all")
    write(7, timedelta(days=60))
    by_hour, by_day = chart("revocations"), chart("revocations", "month")
    assert (by_hour.total, by_day.total) == (6, 10)
    assert len(by_hour.buckets) == 24 and len(by_day.buckets) == 31
    assert by_hour.buckets[0].values == (3, 0, 2, 0, 0, 0) and by_hour.buckets[5].total == 1
    assert by_day.buckets[3].values == (0, 0, 0, 0, 4, 0)


def test_reuse_alarms_are_those_of_the_journal(alice: Any) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        stolen = {"refresh": str(sessions.open_session(alice))}
        assert [Client().post("/auth/token/refresh/", stolen).status_code for _ in range(2)] == [200, 401]
    assert chart("reuse").total == 1 and chart("reuse").buckets[0].total == 1


def test_of_many_rows_the_newest_are_counted(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(health, "MOST_ROWS", 50)
    write(40, timedelta(hours=2))
    write(40)
    with django_assert_max_num_queries(5):
        found = chart("revocations")
    assert found.total == 50 and "Only the newest 50" in str(found.note)
    # Nothing is drawn where nothing was counted.
    assert len(found.buckets) == 3


def test_a_look_is_by_an_index() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A table as small as this one is read whole, otherwise.
            cursor.execute("SET LOCAL enable_seqscan = off")
    rows = Revocation.objects.filter(created_at__gte=timezone.now() - timedelta(days=1)).order_by("-created_at")
    assert "jwt_redis_by_created" in rows[:10].explain()
    assert "jwt_redis_by_target" in Revocation.objects.filter(target="x").order_by("-id").explain()


def test_refreshes_are_counted_by_the_hour(alice: Any, store: redis.Redis) -> None:
    refresh(alice, 3)
    hour = int(time.time() // 3600)
    counted = run(Operation((commands.read_refreshes(),), Done))
    assert sum(counted.values()) == 3 and set(counted) <= {hour - 1, hour}
    assert chart("refreshes").total == 3 == chart("refreshes", "month").total
    assert 31 * 86400 - 3700 < store.ttl("jwt:{log}:refreshes") <= 31 * 86400


def test_old_counts_are_dropped_with_the_first_of_an_hour(alice: Any, store: redis.Redis) -> None:
    hour = int(time.time() // 3600)
    kept, old = hour - 31 * 24 + 1, hour - 31 * 24
    store.hset("jwt:{log}:refreshes", mapping={str(kept): 5, str(old): 6, str(old - 99): 7, "by hand": "x"})
    refresh(alice, 1)
    left = set(store.hkeys("jwt:{log}:refreshes"))
    assert str(kept) in left and not left & {str(old), str(old - 99), "by hand"}


@pytest.mark.parametrize("damage", ["a string", "a word"])
def test_a_damaged_count_refuses_no_refresh(alice: Any, store: redis.Redis, damage: str) -> None:
    if damage == "a string":
        store.set("jwt:{log}:refreshes", "x")
    else:
        store.hset("jwt:{log}:refreshes", str(int(time.time() // 3600)), "x")
    sid = refresh(alice, 2)
    assert [session.sid for session in sessions.list_sessions(alice)] == [sid]
    assert chart("refreshes").total == 0


def test_without_the_right_to_count_a_refresh_succeeds(alice: Any) -> None:
    with RedisServer() as server, redis.Redis(port=server.port) as outside:
        outside.execute_command(
            "ACL",
            "SETUSER",
            "app",
            "on",
            ">secret",
            "~jwt:{*}",
            "~jwt:{*}:devices",
            "~jwt:{log}:marker",
            "~jwt:{log}:lock",
            "+@all",
        )
        alias = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": server.url,
            "OPTIONS": {"USERNAME": "app", "PASSWORD": "secret", **PATIENT},
        }
        with override_settings(CACHES={"sessions": alias}):
            refresh(alice, 2)
            assert outside.exists("jwt:{log}:refreshes") == 0
            assert "Redis" in str(chart("refreshes").missing)


def test_live_sessions_are_those_that_cleanup_has_counted(alice: Any, bob: Any, admin_client: Client) -> None:
    assert "jwt_cleanup" in str(chart("live").missing)
    for user in (alice, alice, bob):
        sessions.open_session(user, RequestFactory().get("/", HTTP_USER_AGENT="curl/8"))
    ended = sessions.open_session(bob)["sid"]
    sessions.end_session(bob, ended)
    call_command("jwt_cleanup", "--dry-run", stdout=io.StringIO())
    assert not Sample.objects.exists()
    call_command("jwt_cleanup", stdout=io.StringIO())
    sample = Sample.objects.get()
    assert (sample.users, sample.sessions) == (2, 3)
    assert chart("live").buckets[0].values == (3,)
    health.forget()
    assert (
        "3 sessions of 2 users when jwt_cleanup counted"
        in admin_client.get("/admin/jwt_redis/session/").content.decode()
    )
    # Whoever has two keys is one user, also where SCAN names them in different steps.
    call_command("jwt_cleanup", "--batch", "1", stdout=io.StringIO())
    assert list(Sample.objects.values_list("users", "sessions")) == [(2, 3)] * 2
    sessions.revoke_everything()
    call_command("jwt_cleanup", stdout=io.StringIO())
    assert Sample.objects.order_by("-id")[0].sessions == 0


def test_old_samples_are_dropped(alice: Any) -> None:
    Sample.objects.create(users=1, sessions=1, taken_at=timezone.now() - timedelta(days=401))
    Sample.objects.create(users=2, sessions=2, taken_at=timezone.now() - timedelta(days=399))
    call_command("jwt_cleanup", stdout=io.StringIO())
    assert sorted(Sample.objects.values_list("users", flat=True)) == [0, 2]


@pytest.mark.django_db(transaction=True)
def test_cleanup_without_the_table_of_samples(alice: Any) -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(Sample)
    try:
        said = io.StringIO()
        call_command("jwt_cleanup", stdout=io.StringIO(), stderr=said)
        assert "was not kept" in said.getvalue()
        assert "jwt_redis_sample" in str(chart("live").missing)
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Sample)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("period", ["day", "month", "nonsense"])
def test_charts_are_svg_with_the_same_numbers_in_a_table(
    admin_client: Client, alice: Any, period: str, language: str
) -> None:
    write(3)
    write(2, timedelta(hours=1), kind="user", reason="refresh_token_reused")
    for hours in (1, 2, 30):
        Sample.objects.create(users=1, sessions=1234567, taken_at=timezone.now() - timedelta(hours=hours))
    refresh(alice, 2)
    with translation.override(language):
        response = admin_client.get(URL, {"period": period}, headers={"accept-language": language})
    seen = response.content.decode()
    drawn = re.findall(r"<svg viewBox.*?</svg>", seen, re.S)
    assert len(drawn) == 4
    for one in drawn:
        svg = ElementTree.fromstring(one)  # noqa: S314 - our own
        assert svg.get("role") == "img" and svg.get("aria-labelledby", "").startswith("chart-")
        for shape in svg.iter():
            numbers = [shape.get(name) for name in ("x", "y", "width", "height", "cx", "cy", "x1", "y1")]
            assert all(float(number) >= 0 for number in numbers if number is not None), shape.attrib
    assert seen.count("<details>") == 4
    assert "style=" not in seen and "onclick" not in seen


def test_without_use_tz(admin_client: Client, alice: Any) -> None:
    with override_settings(USE_TZ=False):
        write(2)
        Sample.objects.create(users=1, sessions=5)
        refresh(alice, 1)
        assert chart("refreshes").total == 1
        page(admin_client)
        page(admin_client, period="month")


def test_a_bar_stands_on_what_is_below_it() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    drawn = charts.bars("x", "X", ["a", "b"], [Bucket(moment, (30, 10)), Bucket(moment, (0, 0))])
    lower, upper = drawn.bars[0].parts
    assert (drawn.top, drawn.total) == (40, 40) and drawn.bars[1].parts == ()
    assert lower.y + lower.height == pytest.approx(drawn.base, abs=0.2)
    assert upper.y + upper.height == pytest.approx(lower.y, abs=0.2) and upper.y == pytest.approx(drawn.upper)
    assert lower.height == pytest.approx(3 * upper.height, abs=0.5)


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (3, 3), (5, 5), (11, 15), (99, 100), (101, 150), (1234567, 1500000)]
)
def test_the_scale_ends_at_a_round_number(highest: int, top: int) -> None:
    assert charts.bars("x", "X", ["a"], [Bucket(datetime(2026, 1, 1, tzinfo=UTC), (highest,))]).top == top


def test_dumpdata_passes_over_what_has_no_table(alice: Any) -> None:
    for more in ([], ["--all"]):
        out = io.StringIO()
        call_command("dumpdata", "jwt_redis", *more, stdout=out)
        assert '"jwt_redis.session"' not in out.getvalue()
