"""Redis dies, hangs, refuses or drops a reply: real servers, real kills."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from asgiref.sync import iscoroutinefunction
from django.test import AsyncClient, Client, override_settings
from django.utils.decorators import sync_and_async_middleware
from rest_framework.test import APIClient

from jwt_redis import sessions, signals
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.support.topology import PATIENT

pytestmark = pytest.mark.django_db


@contextlib.contextmanager
def pointed_at(url: str, **options: Any) -> Iterator[None]:
    caches = {"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}}
    with override_settings(CACHES=caches):
        yield


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server of the test's own, with the settings pointing at it."""
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        yield server


def bearer(token: Any) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def login(alice: Any) -> tuple[str, str]:
    token = sessions.open_session(alice)
    return str(token.access_token), str(token)


def assert_unavailable(response: Any) -> None:
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    body = response.json()
    assert body["code"] == "revocation_unavailable"


def wait_for(question: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_server_is_503_everywhere_and_never_401(alice: Any, own: RedisServer) -> None:
    access, refresh = login(alice)
    own.kill()
    http = APIClient()
    for path in ("/whoami/", "/stateless/", "/plain/", "/plain-async/", "/behind-stock/", "/auth/sessions/"):
        assert_unavailable(http.get(path, **bearer(access)))
    for path, body in (
        ("/auth/token/", {"username": "alice", "password": "correct horse"}),
        ("/auth/token/refresh/", {"refresh": refresh}),
        ("/auth/token/verify/", {"token": access}),
        ("/auth/token/blacklist/", {"refresh": refresh}),
        ("/auth/logout/", {"refresh": refresh}),
    ):
        assert_unavailable(http.post(path, body, format="json"))
    # What does not need Redis is not held up by it.
    assert http.get("/untouched/", **bearer(access)).status_code == 200
    assert http.get("/whoami/", **bearer("forged")).status_code == 401


def test_a_restarted_server_is_used_again_and_remembers(alice: Any, own: RedisServer) -> None:
    access, refresh = login(alice)
    ended, _ = login(alice)
    sessions.revoke_token(ended)
    http = APIClient()
    own.kill()
    assert_unavailable(http.get("/stateless/", **bearer(access)))
    own.start()
    wait_for(lambda: http.get("/stateless/", **bearer(access)).status_code == 200)
    assert http.get("/stateless/", **bearer(ended)).json()["reason"] == "token_blacklisted"
    assert http.post("/auth/token/refresh/", {"refresh": refresh}, format="json").status_code == 200


def test_pooled_connections_that_went_stale_cost_nobody_an_error(alice: Any, own: RedisServer) -> None:
    access, _ = login(alice)
    own.kill()
    own.start()
    assert APIClient().get("/stateless/", **bearer(access)).status_code == 200


def test_a_hanging_server_is_waited_for_once_and_then_left_alone(alice: Any, own: RedisServer, settings: Any) -> None:
    access, _ = login(alice)
    # With the package's own limits.
    settings.CACHES = {"sessions": {**settings.CACHES["sessions"], "OPTIONS": {}}}
    own.pause()
    try:
        began = time.monotonic()
        with pytest.raises(RevocationUnavailable):
            sessions.explain(access)
        # The limit is 0.25 s; the rest is for a busy machine.
        assert time.monotonic() - began < 10
        before = time.monotonic()
        for _ in range(200):
            with pytest.raises(RevocationUnavailable):
                sessions.explain(access)
            if time.monotonic() - before > client._breaker_of().pause:
                break
        else:
            # 200 waits would have been 50 s.
            assert time.monotonic() - before < 5
    finally:
        own.resume()
    wait_for(lambda: APIClient().get("/stateless/", **bearer(access)).status_code == 200)


def test_the_project_may_let_tokens_pass_unchecked(
    alice: Any, own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    access, refresh = login(alice)
    seen: list[dict[str, Any]] = []

    def receiver(**facts: Any) -> None:
        seen.append(facts)

    signals.check_failed_open.connect(receiver)
    own.kill()
    http = APIClient()
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "ON_REDIS_FAILURE": "allow"}), caplog.at_level("WARNING"):
        for path in ("/whoami/", "/stateless/", "/plain/"):
            assert http.get(path, **bearer(access)).status_code == 200
        assert http.get("/stateless/", **bearer("forged")).status_code == 401
        # What needs to write cannot be waved through.
        assert_unavailable(http.post("/auth/token/refresh/", {"refresh": refresh}, format="json"))
    assert len(seen) == 3 and seen[0]["user"] == str(alice.pk)
    assert sum(r.getMessage().startswith("check_failed_open") for r in caplog.records) == 3
    signals.check_failed_open.disconnect(receiver)


def test_a_single_view_may_let_tokens_pass_unchecked(alice: Any, own: RedisServer) -> None:
    access, _ = login(alice)
    own.kill()
    http = APIClient()
    assert http.get("/fail-open/", **bearer(access)).status_code == 200
    assert_unavailable(http.get("/stateless/", **bearer(access)))


def test_while_redis_answers_allow_lets_nothing_revoked_pass(alice: Any, own: RedisServer) -> None:
    access, refresh = login(alice)
    sessions.revoke_token(refresh)
    assert APIClient().get("/fail-open/", **bearer(access)).status_code == 401


# Behind a middleware that asks for the user ---------------------------------------------------------------------------


@sync_and_async_middleware
def reads_the_user(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As LoginRequiredMiddleware does, before the view is called."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: Any) -> Any:
            await request.auser()
            return await get_response(request)

        return asynchronous

    def synchronous(request: Any) -> Any:
        assert request.user
        return get_response(request)

    return synchronous


LAST = ["django.contrib.auth.middleware.LoginRequiredMiddleware", f"{__name__}.reads_the_user"]


@pytest.mark.parametrize("last", LAST)
def test_a_middleware_that_reads_the_user_is_503_too(alice: Any, own: RedisServer, settings: Any, last: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, last]
    browser = Client(raise_request_exception=False, **bearer(login(alice)[0]))
    assert browser.get("/plain/").json()["user"] == str(alice.pk)
    own.kill()
    assert_unavailable(browser.get("/plain/"))


async def test_an_async_middleware_that_reads_the_user_is_503_too(
    transactional_db: None, own: RedisServer, django_user_model: Any, settings: Any
) -> None:
    user = await django_user_model.objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    await client.aclient().aclose()
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LAST[1]]
    own.kill()
    headers = {"Authorization": f"Bearer {token.access_token}"}
    assert_unavailable(await AsyncClient(raise_request_exception=False).get("/plain-async/", headers=headers))


def test_what_was_let_through_unchecked_is_for_each_view_to_allow(alice: Any, own: RedisServer, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "ON_REDIS_FAILURE": "allow"}
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.reads_the_user"]
    browser = Client(**bearer(login(alice)[0]))
    assert browser.get("/fail-closed/").status_code == 200
    own.kill()
    assert_unavailable(browser.get("/fail-closed/"))


class Proxy:
    """Between the app and Redis; it can swallow one reply after the command has run."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.swallow: bytes | None = None
        self.swallowed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            doomed = threading.Event()
            threading.Thread(target=self._requests, args=(near, far, doomed), daemon=True).start()
            threading.Thread(target=self._replies, args=(near, far, doomed), daemon=True).start()

    def _requests(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while request := near.recv(65536):
                if self.swallow is not None and self.swallow in request:
                    self.swallow = None
                    doomed.set()
                far.sendall(request)

    def _replies(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while reply := far.recv(65536):
                if doomed.is_set():
                    self.swallowed += 1
                    break
                near.sendall(reply)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy(own: RedisServer) -> Iterator[Proxy]:
    made = Proxy(own.port)
    with pointed_at(made.url, **PATIENT):
        yield made
    made.close()


def test_a_rotation_whose_reply_was_lost_is_resent_and_is_no_reuse(alice: Any, proxy: Proxy) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        _, refresh = login(alice)
        http = APIClient()
        # Loads the script, so that what is lost is the reply to its run.
        first = http.post("/auth/token/refresh/", {"refresh": refresh}, format="json").json()["refresh"]
        proxy.swallow = b"EVALSHA"
        answer = http.post("/auth/token/refresh/", {"refresh": first}, format="json")
        assert proxy.swallowed == 1 and answer.status_code == 200
        again = http.post("/auth/token/refresh/", {"refresh": answer.json()["refresh"]}, format="json")
        assert again.status_code == 200


def test_a_login_whose_reply_was_lost_is_one_session(alice: Any, proxy: Proxy) -> None:
    login(alice)
    proxy.swallow = b"EVALSHA"
    login(alice)
    assert proxy.swallowed == 1 and len(sessions.list_sessions(alice)) == 2


def test_an_ending_whose_reply_was_lost_has_ended(alice: Any, proxy: Proxy) -> None:
    access, _ = login(alice)
    sessions.end_session(alice, "x" * 22)
    proxy.swallow = b"EVALSHA"
    sessions.end_session(alice, sessions.list_sessions(alice)[0].sid)
    assert proxy.swallowed == 1 and sessions.explain(access).reason == "session_ended"


async def test_the_same_over_asyncio(transactional_db: None, own: RedisServer, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    access = str(token.access_token)
    own.kill()
    own.start()
    assert (await sessions.aexplain(access)).allowed
    own.kill()
    with pytest.raises(RevocationUnavailable):
        await sessions.aexplain(access)
    await client.aclient().aclose()


def test_scripts_that_redis_has_forgotten_are_sent_again(alice: Any, own: RedisServer) -> None:
    login(alice)
    with redis.Redis(port=own.port) as outside:
        outside.script_flush()
    login(alice)
    assert len(sessions.list_sessions(alice)) == 2


@pytest.mark.parametrize(
    ("command", "value"),
    [("maxmemory", "1"), ("requirepass", "changed"), ("replicaof", "127.0.0.1 1")],
    ids=["out of memory", "password changed", "became a replica"],
)
def test_a_server_that_refuses_is_503_too(alice: Any, own: RedisServer, command: str, value: str) -> None:
    login(alice)
    with redis.Redis(port=own.port) as outside:
        if command == "replicaof":
            outside.execute_command("REPLICAOF", *value.split())
        else:
            outside.config_set(command, value)
    client.reset()
    response = APIClient().post("/auth/token/", {"username": "alice", "password": "correct horse"}, format="json")
    assert_unavailable(response)


def test_what_failed_is_logged_with_its_cause(alice: Any, own: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    access, _ = login(alice)
    own.kill()
    with caplog.at_level(logging.ERROR), pytest.raises(RevocationUnavailable) as caught:
        sessions.explain(access)
    assert isinstance(caught.value.__cause__, redis.ConnectionError)
    assert any(getattr(record, "event", "") == "revocation_unavailable" for record in caplog.records)
    assert access not in caplog.text
