"""A provider's logout against a sign-in that is under way, each order forced. tests/test_logout_races.py runs it, each
database in turn. It is the URLconf of that too, in which each request is a transaction.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import include, path

from jwt_redis import provider_sessions, sessions
from jwt_redis.exceptions import RevokedToken
from jwt_redis.models import ProviderLogout, ProviderSession, Revocation
from jwt_redis.openid.views import BackchannelLogoutView
from tests.support.openid import ISSUER, logout_token

SUB, SID = "248289761001", "08a5019c-17e1-4977-8f42-65a12843ea02"
ID_TOKEN = {"iss": ISSUER, "sub": SUB, "sid": SID}
PATIENCE = 20.0
LOGOUTS: dict[str, dict[str, Any]] = {"both": {}, "sid": {"sub": ...}, "sub": {"sid": ...}}
each_logout = pytest.mark.parametrize("logout", LOGOUTS)
pytestmark = pytest.mark.django_db(transaction=True)


# The site ----------------------------------------------------------------------------------------------------------


class Hold:
    """A place where somebody is kept until it is let go."""

    def __init__(self) -> None:
        self.is_reached, self.is_open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.is_reached.set()
        assert self.is_open.wait(PATIENCE)


# By what the request names.
HOLDS: dict[str, Hold] = {}


def sign_in_view(request: HttpRequest) -> HttpResponse:
    """The user is back from the provider; what comes after ``open_session`` takes its time."""
    asked = json.loads(request.body)
    user = get_user_model().objects.get(username="alice")
    # A sign-in writes something else too.
    user.first_name = "Alice"
    user.save(update_fields=["first_name"])
    try:
        if asked.get("late"):
            token = sessions.open_session(user, request)
            sessions.remember_provider(user, token["sid"], asked["claims"])
        else:
            token = sessions.open_session(user, request, id_token=asked["claims"])
    except RevokedToken as error:
        return JsonResponse({"reason": error.reason}, status=401)
    if (hold := HOLDS.get(asked.get("hold"))) is not None:
        hold()
    if asked.get("fail"):
        raise ZeroDivisionError
    return JsonResponse({"refresh": str(token)})


urlpatterns = [
    path("openid/", include("jwt_redis.openid.urls")),
    path("sign-in/", sign_in_view),
]


def client() -> Client:
    # An exception of another thread's request is raised by each client that does not look away.
    return Client(raise_request_exception=False)


def sign_in(**asked: Any) -> Any:
    asked.setdefault("claims", ID_TOKEN)
    return client().post("/sign-in/", json.dumps(asked), content_type="application/json")


def log_out(raw: str | None = None, **changes: Any) -> Any:
    body = urlencode({"logout_token": raw or logout_token(**changes)})
    return client().post("/openid/backchannel-logout/", body, content_type="application/x-www-form-urlencoded")


def is_good(token: Any) -> bool:
    return sessions.explain(str(token)).allowed


def now() -> int:
    return int(time.time())


class Elsewhere(ThreadPoolExecutor):
    """Threads, each with a connection of its own, which is closed."""

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def closing() -> Any:
            try:
                return work(*args, **kwargs)
            finally:
                connections.close_all()

        return self.submit(closing)


@pytest.fixture(autouse=True)
def _nobody_comes_later(transactional_db: None) -> Iterator[None]:
    """What SQLite's one writer kept waiting is written by a thread, and not into a database that is no test's."""
    yield
    wait_until_journalled()


def wait_until_journalled() -> None:
    deadline = time.monotonic() + PATIENCE
    while any(thread.name == "jwt_redis-journal" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere(60) as threads:
        yield threads


@pytest.fixture
def hold() -> Iterator[Hold]:
    HOLDS["hold"] = made = Hold()
    yield made
    made.is_open.set()
    HOLDS.clear()


def answered_or_waiting(future: Any) -> None:
    """SQLite has one writer: there the logout waits for the sign-in, and comes after it."""
    if connection.vendor == "sqlite":
        time.sleep(0.3)
        assert not future.done()
    else:
        assert future.result(PATIENCE).status_code == 200


# The sign-in has not committed -------------------------------------------------------------------------------------


@each_logout
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("age", [-60, 0, 60, None])
def test_a_sign_in_that_has_not_committed_is_not_missed(
    alice: Any, elsewhere: Elsewhere, hold: Hold, logout: str, late: bool, age: int | None
) -> None:
    """Whatever the provider's clocks say: the sign-in had begun."""
    claims = ID_TOKEN if age is None else {**ID_TOKEN, "iat": now() - age}
    signing_in = elsewhere.do(sign_in, claims=claims, late=late, hold="hold")
    assert hold.is_reached.wait(PATIENCE)
    # The first one is not seen by a row of its own: it has none.
    assert connection.vendor == "sqlite" or not ProviderSession.objects.exists()
    logging_out = elsewhere.do(log_out, **LOGOUTS[logout])
    answered_or_waiting(logging_out)
    hold.is_open.set()
    answer = signing_in.result(PATIENCE)
    assert logging_out.result(PATIENCE).status_code == 200
    assert answer.status_code == 200
    assert not is_good(answer.json()["refresh"])
    assert sessions.list_sessions(alice) == []
    row = Revocation.objects.get()
    assert (row.reason, row.actor) == ("provider_logout", ISSUER)


@each_logout
def test_one_that_is_committed_before_is_found(alice: Any, logout: str) -> None:
    refresh = sign_in().json()["refresh"]
    assert is_good(refresh)
    assert log_out(**LOGOUTS[logout]).status_code == 200
    assert not is_good(refresh)


def test_what_the_logout_does_not_mean_stays(alice: Any, elsewhere: Elsewhere, hold: Hold) -> None:
    other = (
        {**ID_TOKEN, "sid": "another"},
        {**ID_TOKEN, "sub": "another"},
        {**ID_TOKEN, "iss": "https://another.example"},
    )
    signing_in = [elsewhere.do(sign_in, claims=claims, hold="hold") for claims in other]
    assert hold.is_reached.wait(PATIENCE)
    logging_out = elsewhere.do(log_out)
    answered_or_waiting(logging_out)
    hold.is_open.set()
    assert logging_out.result(PATIENCE).status_code == 200
    assert all(is_good(answer.result(PATIENCE).json()["refresh"]) for answer in signing_in)


def test_a_sign_in_that_is_undone_notes_nothing(alice: Any, elsewhere: Elsewhere, hold: Hold) -> None:
    signing_in = elsewhere.do(sign_in, hold="hold", fail=True)
    assert hold.is_reached.wait(PATIENCE)
    logging_out = elsewhere.do(log_out)
    answered_or_waiting(logging_out)
    hold.is_open.set()
    assert signing_in.result(PATIENCE).status_code == 500
    assert logging_out.result(PATIENCE).status_code == 200
    assert not ProviderSession.objects.exists()
    # Nor does the next one hear of it.
    assert is_good(sign_in(claims={**ID_TOKEN, "iat": now() + 1}).json()["refresh"])


def test_the_end_of_a_session_that_is_refused_outlives_its_request(alice: Any) -> None:
    """The error undoes the transaction, and not what the journal has for a Redis that forgets."""
    refresh = sessions.open_session(alice)
    claims = {**ID_TOKEN, "iat": now() - 1}
    assert log_out().status_code == 200
    with pytest.raises(RevokedToken), transaction.atomic():
        alice.save()
        sessions.remember_provider(alice, refresh["sid"], claims)
    assert not is_good(refresh)
    # SQLite's one writer was the transaction.
    wait_until_journalled()
    row = Revocation.objects.get()
    assert (row.target, row.reason, row.actor) == (refresh["sid"], "provider_logout", ISSUER)


def test_where_nobody_can_say_whether_it_is_over_it_is(alice: Any, monkeypatch: Any) -> None:
    """The database goes away between the commit and the question."""
    real = provider_sessions._logouts

    def away_after_the_commit(*args: Any) -> Any:
        if not connection.in_atomic_block:
            raise DatabaseError("away")
        return real(*args)

    monkeypatch.setattr(provider_sessions, "_logouts", away_after_the_commit)
    assert not is_good(sign_in().json()["refresh"])
    monkeypatch.undo()
    assert is_good(sign_in().json()["refresh"])


# The logout has not committed --------------------------------------------------------------------------------------


def end_in_a_transaction(hold: Hold, **named: Any) -> None:
    """As a view of a project's own may do."""
    with transaction.atomic():
        sessions.end_provider_sessions(ISSUER, **named)
        hold()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="one writer: no sign-in can come between")
@pytest.mark.parametrize("named", [{"sid": SID}, {"subject": SUB}, {"sid": SID, "subject": SUB}], ids=str)
@pytest.mark.parametrize("late", [False, True])
def test_a_logout_that_has_not_committed_misses_nobody(
    alice: Any, elsewhere: Elsewhere, hold: Hold, named: dict[str, str], late: bool
) -> None:
    ending = elsewhere.do(end_in_a_transaction, hold, **named)
    assert hold.is_reached.wait(PATIENCE)
    refresh = sign_in(late=late).json()["refresh"]
    assert is_good(refresh)
    hold.is_open.set()
    ending.result(PATIENCE)
    assert not is_good(refresh)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="one writer")
@pytest.mark.parametrize("first", ["logout", "sign-in"])
def test_of_two_transactions_the_second_to_commit_sees_the_first(
    alice: Any, elsewhere: Elsewhere, hold: Hold, first: str
) -> None:
    of_logout = Hold()
    signing_in = elsewhere.do(sign_in, hold="hold")
    assert hold.is_reached.wait(PATIENCE)
    ending = elsewhere.do(end_in_a_transaction, of_logout, sid=SID)
    assert of_logout.is_reached.wait(PATIENCE)
    order = [(of_logout, ending), (hold, signing_in)]
    for held, future in order if first == "logout" else reversed(order):
        held.is_open.set()
        future.result(PATIENCE)
    assert not is_good(signing_in.result().json()["refresh"])


def test_a_logout_that_is_undone_forbids_nothing(alice: Any) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        sessions.end_provider_sessions(ISSUER, subject=SUB, sid=SID)
        raise ZeroDivisionError
    assert not ProviderLogout.objects.exists()
    assert is_good(sign_in().json()["refresh"])


def test_a_sign_in_between_the_logouts_two_steps_is_found_or_told(
    alice: Any, elsewhere: Elsewhere, monkeypatch: Any
) -> None:
    """Whichever step is the first, a whole sign-in comes after it."""
    come: list[Any] = []

    def before(name: str) -> None:
        real = getattr(provider_sessions, name)

        def step(*args: Any, **kwargs: Any) -> Any:
            answer = real(*args, **kwargs)
            if not come:
                come.append(elsewhere.do(sign_in, claims={**ID_TOKEN, "iat": now() + 60}).result(PATIENCE))
            return answer

        monkeypatch.setattr(provider_sessions, name, step)

    before("note_logout")
    before("find")
    assert log_out().status_code == 200
    assert not is_good(come[0].json()["refresh"])


def test_its_endpoint_takes_part_in_no_transaction(alice: Any, monkeypatch: Any) -> None:
    """Or a token would be noted as used, and its logout undone."""
    seen: list[bool] = []
    real = BackchannelLogoutView.end_sessions

    def look(view: Any, token: Any) -> int:
        seen.append(connection.in_atomic_block)
        return real(view, token)

    monkeypatch.setattr(BackchannelLogoutView, "end_sessions", look)
    assert log_out().status_code == 200
    assert seen == [False]


# Many at once ------------------------------------------------------------------------------------------------------


@contextmanager
def at_once(number: int) -> Iterator[Callable[[], None]]:
    barrier = threading.Barrier(number)
    yield lambda: barrier.wait(PATIENCE) and None


def log_out_at_last(**changes: Any) -> Any:
    """As a provider does, which comes again. SQLite's one writer may be a request that waits for the journal."""
    deadline = time.monotonic() + 120
    while True:
        answer = log_out(**changes)
        is_passing = answer.status_code == 400 and answer.json()["error"] == "temporarily_unavailable"
        if not is_passing or connection.vendor != "sqlite" or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def test_a_logout_by_subject_amid_fifty_sign_ins(alice: Any, elsewhere: Elsewhere) -> None:
    iat = now() - 5

    def one(number: int) -> Any:
        start()
        time.sleep(random.random() / 4)
        return sign_in(claims={**ID_TOKEN, "sid": f"{number}", "iat": iat}, late=number % 3 == 0)

    with at_once(51) as start:
        signing_in = [elsewhere.do(one, number) for number in range(50)]
        start()
        time.sleep(0.1)
        assert log_out_at_last(sid=...).status_code == 200
        # From here on no answer may be good for anybody.
        answers = [future.result(180) for future in signing_in]
    given = [answer.json()["refresh"] for answer in answers if answer.status_code == 200]
    # SQLite's one writer is the request that is refused: the journal has to wait for it, and others for the journal.
    refused = {401, 503} if connection.vendor == "sqlite" else {401}
    assert {answer.status_code for answer in answers} <= {200} | refused
    assert not any(map(is_good, given))
    assert sessions.list_sessions(alice) == []
    # A later sign-in at the provider is let in, whether it has the old name there or a new one.
    for claims in ({**ID_TOKEN, "sid": "new"}, {**ID_TOKEN, "sid": "7"}):
        assert is_good(sign_in(claims={**claims, "iat": now() + 1}).json()["refresh"])


WORKER = """
import random, sys, time
import django
django.setup()
from django.contrib.auth import get_user_model
from django.db import transaction
from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from tests.support.logout_races import ID_TOKEN
print("ready", flush=True)
sys.stdin.readline()
user = get_user_model().objects.get(pk=sys.argv[1])
for number in range(20):
    claims = {**ID_TOKEN, "sid": f"{sys.argv[2]}.{number}", "iat": int(sys.argv[3])}
    try:
        with transaction.atomic():
            token = sessions.open_session(user, id_token=claims)
            time.sleep(random.random() / 50)
    except (RevokedToken, RevocationUnavailable):
        # The latter on a machine that is too busy: no token is given out then either.
        continue
    print(token, flush=True)
"""


def test_a_logout_by_subject_against_other_processes(alice: Any) -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.projects.logout_races_settings"}
    env["JWT_REDIS_TEST_DB"] = env["JWT_REDIS_TEST_POSTGRES_NAME"] = str(connection.settings_dict["NAME"])
    root = Path(__file__).resolve().parent.parent.parent
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(alice.pk), str(number), str(now())],
            env=env,
            cwd=root,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    tokens: list[str] = []
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        # One has committed, others are on their way.
        assert workers[0].stdout is not None
        tokens.append(workers[0].stdout.readline().strip())
        assert log_out_at_last(sid=...).status_code == 200
        for worker in workers:
            out, _ = worker.communicate(timeout=180)
            assert worker.returncode == 0
            tokens += out.split()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert not any(map(is_good, tokens))
    assert sessions.list_sessions(alice) == []
