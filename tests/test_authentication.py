"""The DRF classes and the middleware: one HMGET in one round trip, shared, and lazy."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework_simplejwt.authentication import JWTAuthentication as StockJWTAuthentication

from jwt_redis import sessions
from jwt_redis.authentication import JWTAuthentication, RevocationCheckMixin
from jwt_redis.middleware import JWTAuthenticationMiddleware
from jwt_redis.store import markers

pytestmark = pytest.mark.django_db

http = APIClient()


def bearer(token: Any) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def hmget(alice: Any, token: Any, access: Any) -> str:
    return f"HMGET jwt:{{{alice.pk}}} sid:{token['sid']} blacklist:{access['jti']} not_before"


MARKER = "HMGET jwt:{log}:marker store_id born_ms not_before revocations mending refused_keys"


@pytest.fixture
def _marker_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes from one line to the next: a marker that is due would be asked for, too."""
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)


@pytest.mark.usefixtures("_marker_lasts")
@pytest.mark.parametrize("path", ["/whoami/", "/stateless/", "/plain/", "/plain-async/", "/behind-stock/"])
def test_a_check_is_one_hmget(alice: Any, monitor: Any, path: str) -> None:
    token = sessions.open_session(alice)
    access = token.access_token
    sessions.check(access)  # reads the marker, which is good for a second
    assert markers.known() is not None
    watching = monitor()
    assert http.get(path, **bearer(access)).status_code == 200
    seen = watching.commands()
    assert [command for command in seen if command != MARKER] == [hmget(alice, token, access)]


def test_a_marker_that_is_due_comes_in_the_same_round_trip(alice: Any, monitor: Any) -> None:
    token = sessions.open_session(alice)
    access = token.access_token
    markers.reset()
    watching = monitor()
    sessions.check(access)
    seen = watching.commands()
    assert [seen[0], seen[1].split()[0], seen[1].split()[3]] == [
        hmget(alice, token, access),
        "EVALSHA",
        "jwt:{log}:marker",
    ]


@pytest.mark.usefixtures("_marker_lasts")
def test_the_blacklist_strategy_reads_the_marker_each_time(alice: Any, monitor: Any, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    token = sessions.open_session(alice)
    access = token.access_token
    sessions.check(access)
    watching = monitor()
    for _ in range(2):
        sessions.check(access)
    assert watching.commands() == [hmget(alice, token, access), MARKER] * 2


def test_queries(alice: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    for path, count in (("/whoami/", 1), ("/stateless/", 0), ("/plain/", 1), ("/untouched/", 0)):
        with CaptureQueriesContext(connection) as queries:
            assert http.get(path, **bearer(access)).status_code == 200
        assert len(queries) == count, path


def test_deleted_and_inactive_users(alice: Any, bob: Any) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REVOKE_ON": []}):
        tokens = [str(sessions.open_session(user).access_token) for user in (alice, bob)]
        alice.delete()
        bob.is_active = False
        bob.save()
    for token, code in zip(tokens, ("user_not_found", "user_inactive"), strict=True):
        answer = http.get("/whoami/", **bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        answer = Client().get("/plain-async/", **bearer(token))
        assert answer.json()["anonymous"] and answer.json()["error"]["code"] == code


def test_the_mixin_works_in_front_of_a_projects_own_class(alice: Any, rf: RequestFactory) -> None:
    class Own(StockJWTAuthentication):
        def get_user(self, validated_token: Any) -> Any:
            user = super().get_user(validated_token)
            user.seen_by_own = True
            return user

    class Checked(RevocationCheckMixin, Own):
        pass

    token = sessions.open_session(alice)
    request = rf.get("/", **bearer(token.access_token))
    user, auth = Checked().authenticate(Request(request))
    assert user == alice and user.seen_by_own and auth["sid"] == token["sid"]
    sessions.end_session(alice, token["sid"])
    with pytest.raises(Exception, match="session_ended"):
        Checked().authenticate(Request(request))


# The middleware ----------------------------------------------------------------------------------------------------


def test_a_view_that_looks_at_nothing_costs_nothing(alice: Any, monitor: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    watching = monitor()
    assert Client().get("/untouched/", **bearer(access)).status_code == 200
    assert watching.commands() == []


@pytest.mark.usefixtures("_marker_lasts")
@pytest.mark.parametrize("good", [True, False])
def test_drf_behind_the_middleware_does_not_ask_again(alice: Any, monitor: Any, rf: RequestFactory, good: bool) -> None:
    token = sessions.open_session(alice)
    access = token.access_token
    if not good:
        sessions.end_session(alice, token["sid"])
    sessions.explain(access)

    @api_view(["GET"])
    def drf(request: Request) -> Response:
        return Response({"user": request.user.pk})

    def view(request: Any) -> Any:
        assert request.user.is_authenticated is good and (request.auth is not None) is good
        assert (request.auth_error is None) is good
        response = drf(request)
        return response

    watching = monitor()
    answer: Any = JWTAuthenticationMiddleware(view)(rf.get("/", **bearer(access)))
    assert answer.status_code == (200 if good else 401)
    assert [command for command in watching.commands() if command != MARKER] == [hmget(alice, token, access)]


@pytest.mark.parametrize("path", ["/plain/", "/plain-async/"])
def test_a_refused_token_leaves_the_user_anonymous_and_says_why(alice: Any, path: str) -> None:
    token = sessions.open_session(alice)
    access = str(token.access_token)
    good = Client().get(path, **bearer(access)).json()
    assert good == {"user": str(alice.pk), "anonymous": False, "sid": token["sid"], "error": None}
    sessions.end_all_sessions(alice)
    refused = Client().get(path, **bearer(access)).json()
    assert refused["anonymous"] and refused["sid"] is None and refused["error"]["reason"] == "session_ended"
    forged = Client().get(path, **bearer("forged")).json()
    assert forged["anonymous"] and forged["error"]["code"] == "token_not_valid"


def test_djangos_own_session_user_stays_without_the_header(alice: Any) -> None:
    browser = Client()
    browser.force_login(alice)
    answer = browser.get("/plain/").json()
    assert answer == {"user": str(alice.pk), "anonymous": False, "sid": None, "error": None}
    # A token that is refused is not covered by the cookie.
    assert browser.get("/plain/", **bearer("forged")).json()["anonymous"]
    assert not browser.get("/plain-async/").json()["anonymous"]


def test_without_djangos_middleware_there_is_a_user_all_the_same(rf: RequestFactory) -> None:
    def view(request: Any) -> HttpResponse:
        assert isinstance(request.user, AnonymousUser) and request.auth is None and request.auth_error is None
        return HttpResponse()

    assert JWTAuthenticationMiddleware(view)(rf.get("/")).status_code == 200  # type: ignore[union-attr]


async def test_natively_async(transactional_db: None, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    access = str(token.access_token)
    threads = []

    async def view(request: Any) -> HttpResponse:
        found = await request.auser()
        threads.append(threading.current_thread())
        assert found == user and request.user == user and request.auth["sid"] == token["sid"]
        return HttpResponse()

    response = await JWTAuthenticationMiddleware(view)(RequestFactory().get("/", **bearer(access)))  # type: ignore[misc]
    assert response.status_code == 200 and threads == [threading.current_thread()]
    browser = AsyncClient()
    answer = await browser.get("/plain-async/", headers={"Authorization": f"Bearer {access}"})
    assert answer.json()["user"] == str(user.pk)
    await sessions.aend_session(user, token["sid"])
    answer = await browser.get("/plain-async/", headers={"Authorization": f"Bearer {access}"})
    assert answer.json()["error"]["reason"] == "session_ended"
    django_user_model.objects.all()
    from jwt_redis.store import client

    await client.aclient().aclose()


async def test_the_password_witness_over_asyncio(transactional_db: None, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol", password="one")
    token = await sessions.aopen_session(user)
    await django_user_model.objects.filter(pk=user.pk).aupdate(password="two")
    answer = await AsyncClient().get("/plain-async/", headers={"Authorization": f"Bearer {token.access_token}"})
    assert answer.json()["error"]["reason"] == "session_ended"
    assert (await sessions.aexplain(str(token))).reason == "session_ended"
    from jwt_redis.store import client

    await client.aclient().aclose()


def test_assigning_the_user_works_as_on_any_request(alice: Any, bob: Any, rf: RequestFactory) -> None:
    access = sessions.open_session(alice).access_token

    def view(request: HttpRequest) -> HttpResponse:
        request.user = bob
        assert request.user == bob
        return HttpResponse()

    JWTAuthenticationMiddleware(view)(rf.get("/", **bearer(access)))


def test_a_revocation_is_seen_by_the_very_next_request(alice: Any) -> None:
    for _ in range(20):
        token = sessions.open_session(alice)
        access = str(token.access_token)
        assert http.get("/stateless/", **bearer(access)).status_code == 200
        sessions.revoke_token(access)
        assert http.get("/stateless/", **bearer(access)).status_code == 401


def test_everything_is_refused_within_a_second(alice: Any) -> None:
    token = sessions.open_session(alice)
    assert JWTAuthentication().get_validated_token(str(token.access_token).encode())
    sessions.revoke_everything()
    # This process has heard at once.
    assert http.get("/stateless/", **bearer(token.access_token)).json()["reason"] == "all_revoked"
    time.sleep(0.005)
    assert http.get("/stateless/", **bearer(sessions.open_session(alice).access_token)).status_code == 200
