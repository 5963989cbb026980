"""Revocation (RFC 7009), introspection (RFC 7662), metadata (RFC 8414), and which client asks (RFC 6749, RFC 7523)."""

from __future__ import annotations

import base64
import hmac
import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.core.checks import Error
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from jwt.algorithms import ECAlgorithm
from rest_framework.permissions import IsAdminUser
from rest_framework.throttling import AnonRateThrottle
from rest_framework_simplejwt import state
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.conf import OAuthClient, problems
from jwt_redis.models import Revocation
from jwt_redis.oauth import clients
from jwt_redis.oauth.checks import check_oauth
from jwt_redis.oauth.protocol import MAX_BODY
from jwt_redis.oauth.views import IntrospectView, RevokeView
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer, free_port
from jwt_redis.tokens import AccessToken
from tests.projects import oauth_settings
from tests.projects.oauth_settings import ISSUER, JWT_REDIS, OAUTH, OTHER_SECRET, SECRET
from tests.support.topology import PATIENT
from tests.test_redis_failure import pointed_at

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.projects.oauth_urls")]
http = Client()


@pytest.fixture(autouse=True)
def _oauth() -> Iterator[None]:
    with override_settings(JWT_REDIS=JWT_REDIS, SIMPLE_JWT=oauth_settings.SIMPLE_JWT):
        yield


def with_oauth(**changes: Any) -> Any:
    return override_settings(JWT_REDIS={**JWT_REDIS, "OAUTH": {**OAUTH, **changes}})


def basic(client_id: str = "api", secret: str = SECRET) -> dict[str, str]:
    encoded = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {"authorization": "Basic " + base64.b64encode(encoded).decode()}


def post(path: str, form: Any, headers: dict[str, str] | None = None, **more: Any) -> Any:
    body = form if isinstance(form, (str, bytes)) else urlencode(form)
    more.setdefault("content_type", "application/x-www-form-urlencoded")
    answer = http.post(path, body, headers=basic() if headers is None else headers, **more)
    assert answer["Cache-Control"] == "no-store"
    assert answer["Pragma"] == "no-cache"
    return answer


def revoke(token: Any, headers: dict[str, str] | None = None, **form: str) -> Any:
    return post("/oauth/revoke/", {"token": str(token), **form}, headers)


def introspect(token: Any, headers: dict[str, str] | None = None, **form: str) -> Any:
    return post("/oauth/introspect/", {"token": str(token), **form}, headers)


def is_good(token: Any) -> bool:
    return sessions.explain(str(token)).allowed


def error_of(answer: Any, status: int = 400) -> str:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert set(body) <= {"error", "error_description"}
    # RFC 6749 section 5.2: no quotes, no backslash, nothing but ASCII.
    assert all(" " <= c <= "~" and c not in '"\\' for c in body.get("error_description", ""))
    return str(body["error"])


# Revocation --------------------------------------------------------------------------------------------------------


def test_a_refresh_token_that_is_revoked_ends_its_session_with_every_access_token(alice: Any) -> None:
    refresh, other = sessions.open_session(alice), sessions.open_session(alice)
    first, second = refresh.access_token, refresh.access_token
    answer = revoke(refresh, token_type_hint="refresh_token")
    assert (answer.status_code, answer.content) == (200, b"")
    assert not any(is_good(token) for token in (refresh, first, second))
    assert is_good(other)
    row = Revocation.objects.get(target=refresh["sid"])
    assert (row.reason, row.actor) == ("revoked_by_client", "client api")


def test_an_access_token_that_is_revoked_goes_alone(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    first, second = refresh.access_token, refresh.access_token
    assert revoke(first, token_type_hint="access_token").status_code == 200
    assert [is_good(token) for token in (first, second, refresh)] == [False, True, True]


@pytest.mark.parametrize("hint", ["access_token", "something_else", ""])
def test_a_hint_that_is_wrong_or_unknown_does_no_harm(alice: Any, hint: str) -> None:
    refresh = sessions.open_session(alice)
    assert revoke(refresh, token_type_hint=hint).status_code == 200
    assert not is_good(refresh)


def test_a_parameter_that_is_not_known_is_ignored(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    assert introspect(refresh.access_token, resource="x", **{"": "y"}).json()["active"] is True
    assert revoke(refresh, callback="x").status_code == 200
    assert not is_good(refresh)


def foreign_token() -> str:
    return jwt.encode({"token_type": "refresh", "jti": "x", "user_id": "1", "exp": time.time() + 60}, "k" * 32)


def expired_token(user: Any) -> str:
    token = sessions.open_session(user).access_token
    token.payload["exp"] = int(time.time()) - 60
    return str(token)


@pytest.mark.parametrize("kind", ["nonsense", "foreign", "expired", "truncated", "binary", "without_id"])
def test_a_token_that_is_not_good_is_revoked_already(alice: Any, kind: str) -> None:
    good = sessions.open_session(alice)
    token = {
        "nonsense": "nonsense",
        "foreign": foreign_token(),
        "expired": expired_token(alice),
        "truncated": str(good)[:-3],
        "binary": "\0\udcff\u2028".encode(errors="replace").decode(),
        "without_id": signed({"token_type": "refresh", "user_id": "1"}),
    }[kind]
    answer = revoke(token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert is_good(good)
    assert introspect(token).json() == {"active": False}


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_that_is_not_good_yet_never_will_be(alice: Any, claim: str) -> None:
    """For an ``iat`` it takes no more than a clock that is ahead elsewhere."""
    refresh = sessions.open_session(alice)
    for token in (refresh.access_token, refresh):
        token.payload[claim] = int(time.time()) + 30
        raw = str(token)
        assert introspect(raw).json() == {"active": False}
        assert sessions.check(token).allowed
        assert revoke(raw).status_code == 200
        assert not sessions.check(token).allowed
        with time_machine.travel(time.time() + 31, tick=True):
            assert introspect(raw).json() == {"active": False}
    assert Revocation.objects.count() == 2


EARLY_FORGERIES: dict[str, dict[str, Any]] = {
    "another's key": {"key": "k" * 32},
    "no signature": {"key": None, "algorithm": "none"},
    "another algorithm": {"algorithm": "HS512"},
    "another issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": None},
    "no user": {"user_id": None},
    "a session that cannot be one": {"sid": {"$ne": ""}},
    "it has run out": {"exp": int(time.time()) - 60},
    "an exp that is none": {"exp": "soon"},
    "an nbf that is none": {"nbf": "soon"},
    "an nbf without end": {"nbf": float("inf")},
}


@pytest.mark.parametrize("how", EARLY_FORGERIES)
def test_one_that_is_not_good_yet_and_never_was_ours_revokes_nothing(alice: Any, how: str, monkeypatch: Any) -> None:
    # Simple JWT has made it before these tests' settings.
    monkeypatch.setattr(state.token_backend, "issuer", ISSUER)
    refresh = sessions.open_session(alice)
    forgery = {"key": settings.SECRET_KEY, "algorithm": "HS256", **EARLY_FORGERIES[how]}
    key, algorithm = forgery.pop("key"), forgery.pop("algorithm")
    str(refresh)
    early = {**refresh.payload, "iss": ISSUER, "nbf": int(time.time()) + 30}
    claims = {name: value for name, value in {**early, **forgery}.items() if value is not None}
    answer = revoke(jwt.encode(claims, key, algorithm))
    assert (answer.status_code, answer.content) == (200, b"")
    assert is_good(refresh)
    assert not Revocation.objects.exists()
    # And as it is, it would.
    assert revoke(jwt.encode(early, settings.SECRET_KEY, "HS256")).status_code == 200
    assert not is_good(refresh)


@pytest.mark.parametrize("kind", [["refresh"], {}, 7, None])
def test_a_type_that_is_no_text_is_none(alice: Any, kind: Any) -> None:
    token = signed({"token_type": kind, "jti": "abc", "user_id": str(alice.pk)})
    assert introspect(token).json() == {"active": False}
    assert error_of(revoke(token)) == "unsupported_token_type"


def signed(claims: dict[str, Any]) -> str:
    token = AccessToken()
    token.payload = {"exp": int(time.time()) + 60, "iat": int(time.time()), **claims}
    return str(Token.__str__(token))


def test_revoking_again_is_no_error(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    assert [revoke(refresh).status_code for _ in range(3)] == [200, 200, 200]
    assert [revoke(refresh.access_token).status_code for _ in range(2)] == [200, 200]


def test_a_type_that_nobody_checks_is_not_said_to_be_revoked(alice: Any) -> None:
    token = signed({"token_type": "password_reset", "jti": "abc", "user_id": str(alice.pk)})
    assert error_of(revoke(token)) == "unsupported_token_type"
    assert introspect(token).json() == {"active": False}
    # Nor is it something to come in with, though its session is alive.
    sid = sessions.open_session(alice)["sid"]
    token = signed({"token_type": "password_reset", "jti": "abc", "user_id": str(alice.pk), "sid": sid})
    assert introspect(token).json() == {"active": False}
    assert not Revocation.objects.exists()


def test_a_token_of_another_client_stays(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    refresh["client_id"] = "shop"
    assert error_of(revoke(refresh)) == "invalid_grant"
    assert error_of(revoke(refresh, {}, client_id="app")) == "invalid_grant"
    assert is_good(refresh)
    assert revoke(refresh, basic("shop", "shop")).status_code == 200
    assert not is_good(refresh)


def test_a_public_client_revokes_what_it_holds(alice: Any) -> None:
    own, unnamed = sessions.open_session(alice), sessions.open_session(alice)
    own["client_id"] = "app"
    for token in (own, unnamed):
        assert revoke(token, {}, client_id="app").status_code == 200
        assert not is_good(token)


def test_a_sliding_token_is_revoked_with_its_session(alice: Any) -> None:
    from jwt_redis.tokens import SlidingToken

    token = SlidingToken.for_user(alice)
    raw = str(token)
    assert introspect(raw).json()["active"] is True
    assert revoke(raw).status_code == 200
    assert introspect(raw).json() == {"active": False}


# Introspection -----------------------------------------------------------------------------------------------------


def test_an_active_token_is_told_of_as_the_rfc_has_it(alice: Any) -> None:
    access = sessions.open_session(alice).access_token
    # Simple JWT's own backend has kept the settings of its import.
    access.payload |= {"iss": ISSUER, "client_id": "shop", "aud": ["a", "b"], "scope": ["read", "write"]}
    access["email"] = "x@y.z"
    answer = introspect(access)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == {
        "active": True,
        "iss": ISSUER,
        "sub": str(alice.pk),
        "aud": ["a", "b"],
        "exp": access["exp"],
        "iat": access["iat"],
        "jti": access["jti"],
        "client_id": "shop",
        "scope": "read write",
        "token_type": "Bearer",
    }


def test_a_refresh_token_is_no_bearer_token(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    told = introspect(refresh, token_type_hint="refresh_token").json()
    assert told["active"] is True
    assert "token_type" not in told


def test_what_was_revoked_in_whichever_way_is_inactive_and_nothing_more_is_said(alice: Any, bob: Any) -> None:
    refresh = sessions.open_session(alice)
    access = refresh.access_token
    assert introspect(access).json()["active"]
    sessions.revoke_token(access)
    assert introspect(access).json() == {"active": False}
    sessions.end_session(alice, refresh["sid"])
    assert introspect(refresh).json() == {"active": False}
    assert introspect(refresh.access_token).json() == {"active": False}
    used = sessions.open_session(bob)
    sessions.rotate(used, bob)
    assert introspect(used).json() == {"active": False}


def test_a_user_who_may_not_come_in_has_no_active_tokens(alice: Any, bob: Any, django_user_model: Any) -> None:
    of_alice, of_bob = (str(sessions.open_session(user).access_token) for user in (alice, bob))
    # Past the signals: the sessions are alive.
    django_user_model.objects.filter(pk=alice.pk).update(is_active=False)
    django_user_model.objects.filter(pk=bob.pk)._raw_delete("default")
    assert introspect(of_alice).json() == {"active": False}
    assert introspect(of_bob).json() == {"active": False}


def test_a_password_that_was_changed_past_the_signals_counts(alice: Any, django_user_model: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    alice.set_password("another one")
    django_user_model.objects.filter(pk=alice.pk).update(password=alice.password)
    assert introspect(access).json() == {"active": False}


def test_without_a_user_table_the_stateless_class_says_whose_it_is(db: None, django_user_model: Any) -> None:
    access = sessions.open_session(django_user_model(pk=987654, username="elsewhere")).access_token
    assert introspect(access).json() == {"active": False}
    with with_oauth(authentication="jwt_redis.authentication.JWTStatelessUserAuthentication"):
        told = introspect(access).json()
    assert (told["active"], told["sub"]) == (True, "987654")


def test_a_client_is_told_of_what_is_meant_for_it(alice: Any) -> None:
    for_a, for_b, for_all = (sessions.open_session(alice).access_token for _ in range(3))
    for_a["aud"], for_b["aud"] = "a", ["b"]
    narrow = basic("a+b c")
    assert introspect(for_a, narrow).json()["active"] is True
    assert introspect(for_b, narrow).json() == {"active": False}
    assert introspect(for_all, narrow).json()["active"] is True
    assert introspect(for_b).json()["active"] is True


def told_of(caller: clients.Caller, claims: Any) -> dict[str, Any] | None:
    if str(caller) == "client a+b c":
        return None
    return {"sub": "a pseudonym for " + str(caller), "active": "whatever this says"}


def test_a_project_decides_what_is_told_to_whom(alice: Any) -> None:
    access = sessions.open_session(alice).access_token
    with with_oauth(claims="tests.test_oauth.told_of"):
        assert introspect(access).json() == {"sub": "a pseudonym for client api", "active": True}
        assert introspect(access, basic("a+b c")).json() == {"active": False}


def test_a_project_that_says_inactive_in_the_rfcs_words_is_understood(alice: Any) -> None:
    access = sessions.open_session(alice).access_token
    with with_oauth(claims=lambda caller, claims: {"active": False, "sub": "alice"}):
        assert introspect(access).json() == {"active": False}


def test_a_client_that_is_no_resource_server_is_told_nothing(alice: Any) -> None:
    access = sessions.open_session(alice).access_token
    assert error_of(introspect(access, basic("shop", "shop"))) == "unauthorized_client"
    assert error_of(introspect(access, {}, client_id="app")) == "unauthorized_client"


def test_a_user_with_the_permission_may_ask_with_a_bearer_token(alice: Any, bob: Any) -> None:
    alice.is_staff = True
    alice.save()
    asked = sessions.open_session(bob).access_token
    bearers = {user: {"authorization": f"Bearer {sessions.open_session(user).access_token}"} for user in (alice, bob)}
    assert error_of(introspect(asked, bearers[alice]), 401) == "invalid_client"
    with with_oauth(bearer_permission=IsAdminUser):
        assert introspect(asked, bearers[alice]).json()["active"] is True
        refused = introspect(asked, bearers[bob])
        assert error_of(refused, 403) == "insufficient_scope"
        assert 'error="insufficient_scope"' in refused["WWW-Authenticate"]
        sessions.end_all_sessions(alice)
        refused = introspect(asked, bearers[alice])
        assert error_of(refused, 401) == "invalid_token"
        assert 'error="invalid_token"' in refused["WWW-Authenticate"]
        # It is not for revoking: there the client counts.
        assert error_of(revoke(asked, bearers[bob]), 401) == "invalid_client"


# Clients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_either_secret_will_do_while_one_is_replaced(alice: Any, secret: str) -> None:
    refresh = sessions.open_session(alice)
    assert introspect(refresh, basic("api", secret)).json()["active"] is True
    assert introspect(refresh, {}, client_id="api", client_secret=secret).json()["active"] is True


@pytest.mark.parametrize("encoded", [True, False], ids=["as the RFC has it", "raw"])
def test_a_client_that_does_not_encode_its_secret_is_understood(encoded: bool) -> None:
    text = "api:" + (quote_plus(OTHER_SECRET) if encoded else OTHER_SECRET)
    header = {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    assert introspect("x", header).json() == {"active": False}


REFUSED = {
    "wrong secret": basic("api", "wrong"),
    "empty secret": basic("api", ""),
    "unknown client": basic("nobody", SECRET),
    "empty client": basic("", ""),
    "secret of another": basic("shop", SECRET),
    "public with a secret": basic("app", ""),
    "no base64": {"authorization": "Basic %%%"},
    "no colon": {"authorization": "Basic " + base64.b64encode(b"api").decode()},
    "no utf-8": {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()},
    "no utf-8 behind percent": {"authorization": "Basic " + base64.b64encode(b"api:%ff").decode()},
    "another scheme": {"authorization": "Digest username=api"},
    "scheme alone": {"authorization": "Basic"},
    "nothing": {},
}


@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize("path", ["/oauth/revoke/", "/oauth/introspect/"])
def test_who_does_not_prove_who_it_is_is_refused(alice: Any, how: str, path: str) -> None:
    refresh = sessions.open_session(alice)
    answer = post(path, {"token": str(refresh)}, REFUSED[how])
    assert error_of(answer, 401) == "invalid_client"
    assert answer["WWW-Authenticate"] == 'Basic realm="oauth", charset="UTF-8"'
    assert is_good(refresh)


@pytest.mark.parametrize(
    "form",
    [
        {"client_id": "api"},
        {"client_id": "api", "client_secret": "wrong"},
        {"client_id": "nobody"},
        {"client_secret": SECRET},
        {"client_id": "x" * 5000, "client_secret": "y"},
        {"client_id": "a\0b", "client_secret": "y"},
    ],
)
def test_nor_is_a_body_that_proves_nothing(alice: Any, form: dict[str, str]) -> None:
    refresh = sessions.open_session(alice)
    assert error_of(revoke(refresh, {}, **form), 401) == "invalid_client"
    assert is_good(refresh)


def test_a_method_that_was_not_allowed_is_none(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    with with_oauth(methods=["client_secret_basic"]):
        assert error_of(revoke(refresh, {}, client_id="api", client_secret=SECRET), 401) == "invalid_client"
        assert error_of(revoke(refresh, {}, client_id="app"), 401) == "invalid_client"
        assert introspect(refresh).status_code == 200
    with with_oauth(methods=["client_secret_post"]):
        assert error_of(revoke(refresh), 401) == "invalid_client"


def test_two_ways_at_a_time_are_none(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    assert error_of(revoke(refresh, client_secret=SECRET)) == "invalid_request"
    assert error_of(revoke(refresh, client_assertion="x")) == "invalid_request"
    assert error_of(revoke(refresh, {}, client_secret=SECRET, client_assertion="x")) == "invalid_request"
    assert error_of(revoke(refresh, client_id="shop")) == "invalid_request"
    assert revoke(refresh, client_id="api").status_code == 200


def test_a_secret_is_hashed_once_and_forgotten_when_it_is_replaced(alice: Any, monkeypatch: Any) -> None:
    refresh = sessions.open_session(alice)
    hashed: list[str] = []
    real = clients.check_password
    monkeypatch.setattr(clients, "check_password", lambda secret, by: hashed.append(by) or real(secret, by))
    clients._good.clear()
    for _ in range(3):
        assert introspect(refresh).json()["active"] is True
    assert len(hashed) == 1
    with with_oauth(clients={"api": {"secrets": oauth_settings.hashed("new"), "introspects": True}}):
        assert error_of(introspect(refresh), 401) == "invalid_client"
        assert introspect(refresh, basic("api", "new")).json()["active"] is True


@pytest.mark.parametrize("secret", [SECRET, "a guess"])
def test_of_many_who_come_at_once_with_a_secret_one_hashes_it(secret: str, monkeypatch: Any) -> None:
    hashed: list[str] = []
    real, others = clients.check_password, threading.Semaphore(0)

    class Awaited(Future[bool]):
        def result(self, timeout: float | None = None) -> bool:
            others.release()
            return super().result(timeout)

    def slow(given: str, by: str) -> bool:
        hashed.append(given)
        # Nobody is done before all others wait for the answer.
        assert all(others.acquire(timeout=10) for _ in range(8))
        return real(given, by)

    monkeypatch.setattr(clients, "Future", Awaited)
    monkeypatch.setattr(clients, "check_password", slow)
    clients._good.clear()
    (by,) = oauth_settings.OAUTH["clients"]["api"]["secrets"][:1]

    def come() -> bool:
        if threading.current_thread() is not threads[0]:
            while not hashed:
                time.sleep(0.001)
        return clients._is_secret(secret, (by,))

    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(come())) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [secret == SECRET] * 9
    assert hashed == [secret]
    assert not clients._under_way
    # Another secret is another question, and one that was wrong is asked anew.
    monkeypatch.setattr(clients, "check_password", lambda given, by: hashed.append(given) or real(given, by))
    assert not clients._is_secret("another", (by,))
    assert clients._is_secret(secret, (by,)) is (secret == SECRET)
    assert hashed == [secret, "another", *([] if secret == SECRET else [secret])]


def test_one_who_is_stopped_while_hashing_holds_up_nobody(monkeypatch: Any) -> None:
    real, has_begun, goes_on = clients.check_password, threading.Event(), threading.Event()

    def stopped(given: str, by: str) -> bool:
        has_begun.set()
        goes_on.wait(10)
        # As by a worker that is told to go.
        monkeypatch.setattr(clients, "check_password", real)
        raise SystemExit

    monkeypatch.setattr(clients, "check_password", stopped)
    clients._good.clear()
    (by,) = oauth_settings.OAUTH["clients"]["api"]["secrets"][:1]
    answers: list[bool] = []

    def come_and_go() -> None:
        with suppress(SystemExit):
            answers.append(clients._is_secret(SECRET, (by,)))

    first = threading.Thread(target=come_and_go)
    second = threading.Thread(target=lambda: answers.append(clients._is_secret(SECRET, (by,))))
    first.start()
    assert has_begun.wait(10)
    second.start()
    time.sleep(0.05)
    goes_on.set()
    first.join(10)
    second.join(10)
    assert answers == [True]
    assert not clients._under_way


def test_a_child_does_not_wait_for_its_parents_threads(monkeypatch: Any) -> None:
    clients._good.clear()
    (by,) = oauth_settings.OAUTH["clients"]["api"]["secrets"][:1]
    real, has_begun, goes_on = clients.check_password, threading.Event(), threading.Event()
    monkeypatch.setattr(clients, "check_password", lambda *_: has_begun.set() or goes_on.wait(10))
    hashing = threading.Thread(target=clients._is_secret, args=(SECRET, (by,)))
    hashing.start()
    assert has_begun.wait(10)
    monkeypatch.setattr(clients, "check_password", real)
    with warnings.catch_warnings():
        # Python warns of forks beside threads; that is what is looked at.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(0 if clients._is_secret(SECRET, (by,)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    goes_on.set()
    hashing.join()


def find_client(client_id: str) -> Any:
    return OAuthClient(client_id, jwks={"keys": [KEY]}, introspects=True) if client_id == "signs" else None


def find_nonsense(client_id: str) -> Any:
    return {"secrets": []}


def test_clients_may_be_found_by_a_function(alice: Any) -> None:
    with with_oauth(clients="tests.test_oauth.find_client"):
        assert error_of(introspect("x"), 401) == "invalid_client"
    with with_oauth(clients=find_nonsense), pytest.raises(ImproperlyConfigured, match="OAuthClient or None"):
        introspect("x")


def test_a_client_that_proves_nothing_is_told_nothing_whatever_the_function_says(alice: Any) -> None:
    def find(client_id: str) -> OAuthClient:
        return OAuthClient(client_id, introspects=True)

    access = sessions.open_session(alice).access_token
    with with_oauth(clients=find, methods=["client_secret_basic", "none"]):
        assert error_of(introspect(access, {}, client_id="app")) == "unauthorized_client"
        assert revoke(access, {}, client_id="app").status_code == 200


# Clients that sign -------------------------------------------------------------------------------------------------

PRIVATE, OTHERS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
KEY = {**json.loads(ECAlgorithm.to_jwk(PRIVATE.public_key())), "kid": "one", "alg": "ES256", "use": "sig"}
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def assertion(
    key: Any = PRIVATE, header: dict[str, Any] | None = None, algorithm: str = "ES256", **changes: Any
) -> str:
    now = int(time.time())
    claims = {"iss": "signs", "sub": "signs", "aud": ISSUER, "exp": now + 60, "iat": now, "jti": f"j{time.time_ns()}"}
    claims |= {name: made(now) if callable(made) else made for name, made in changes.items()}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": "one"} if header is None else header)


@pytest.fixture
def signing() -> Iterator[None]:
    with with_oauth(clients=find_client):
        yield


def with_assertion(token: Any, raw: str, **form: str) -> Any:
    return introspect(token, {}, client_assertion=raw, client_assertion_type=TYPE, **form)


@pytest.mark.parametrize("audience", [ISSUER, ["x", ISSUER], "https://auth.example.com/oauth/introspect/"])
def test_a_client_may_sign_who_it_is(alice: Any, signing: None, audience: Any) -> None:
    refresh = sessions.open_session(alice)
    raw = assertion(aud=audience)
    assert with_assertion(refresh, raw, client_id="signs").json()["active"] is True
    assert error_of(with_assertion(refresh, raw), 401) == "invalid_client"


BAD_ASSERTIONS: dict[str, dict[str, Any]] = {
    "somebody else's key": {"key": OTHERS},
    "another issuer": {"iss": "somebody"},
    "another subject": {"sub": "api"},
    "no subject": {"sub": None},
    "for another server": {"aud": "https://elsewhere.example"},
    "for nobody": {"aud": None},
    "for a host that the request names": {"aud": "http://testserver/oauth/introspect/"},
    "expired": {"exp": lambda now: now - 60},
    "no end": {"exp": None},
    "an end that is no number": {"exp": "soon"},
    # Functions: the tests may come long after they were collected.
    "for ever": {"exp": lambda now: now + 10**8},
    "from the future": {"iat": lambda now: now + 1000},
    "not yet": {"nbf": lambda now: now + 1000},
    "no id": {"jti": None},
    "an unknown key": {"header": {"kid": "two"}},
    "a shared secret": {"key": "k" * 32, "algorithm": "HS256"},
    "nothing": {"key": None, "algorithm": "none"},
}


@pytest.mark.parametrize("how", BAD_ASSERTIONS)
def test_an_assertion_that_is_not_good_proves_nothing(alice: Any, signing: None, how: str) -> None:
    assert error_of(with_assertion("x", assertion(**BAD_ASSERTIONS[how])), 401) == "invalid_client"


def test_nor_does_the_public_key_taken_for_a_secret(signing: None) -> None:
    """PyJWT would not sign with it; somebody with ill will does."""
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, json.dumps(KEY).encode()):
        head, body, _ = assertion(header={"kid": "one"}).split(".")
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').decode().rstrip("=")
        signature = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
        raw = f"{head}.{body}." + base64.urlsafe_b64encode(signature).decode().rstrip("=")
        assert error_of(with_assertion("x", raw), 401) == "invalid_client"


def test_nor_does_one_that_is_malformed(signing: None) -> None:
    for raw in (
        "x",
        "a.b.c",
        assertion()[:-4],
        assertion() + "A" * 20000,
        "\u00e9.\u00e9.\u00e9",
        "e30.W10.",
        "." * 30,
    ):
        assert error_of(with_assertion("x", raw), 401) == "invalid_client"
    assert error_of(with_assertion("x", assertion(), client_id="api"), 401) == "invalid_client"
    answer = introspect("x", {}, client_assertion=assertion(), client_assertion_type="urn:other")
    assert error_of(answer) == "invalid_request"


@pytest.mark.parametrize(
    "jwks",
    [
        *({"keys": "x"}, {"keys": [1, None, []]}, {"kty": "EC"}, ["x"], "x"),
        *({"keys": [{"kty": []}]}, {"keys": [{**KEY, "x": 5}]}, {"keys": [{**KEY, "key_ops": {}}]}),
    ],
)
def test_keys_that_a_client_has_registered_may_be_anything(alice: Any, jwks: Any) -> None:
    with with_oauth(clients=lambda client_id: OAuthClient(client_id, jwks=jwks, introspects=True)):
        assert error_of(with_assertion("x", assertion()), 401) == "invalid_client"
    if isinstance(jwks, dict) and isinstance(jwks.get("keys"), list):
        # And one that is good is found beside them.
        jwks["keys"].append(KEY)
        with with_oauth(clients=lambda client_id: OAuthClient(client_id, jwks=jwks, introspects=True)):
            assert with_assertion("x", assertion()).json() == {"active": False}


def test_no_client_uses_up_the_ids_of_another_one(alice: Any) -> None:
    def find(client_id: str) -> OAuthClient:
        return OAuthClient(client_id, jwks={"keys": [KEY]}, introspects=True)

    with with_oauth(clients=find):
        for iss, jti in (("signs", "a b"), ("signs a", "b"), ("signs 1", "a b")):
            raw = assertion(iss=iss, sub=iss, jti=jti)
            assert with_assertion("x", raw).json() == {"active": False}
            assert error_of(with_assertion("x", raw), 401) == "invalid_client"


def test_of_two_uses_of_an_assertion_at_once_one_counts(alice: Any, signing: None) -> None:
    from jwt_redis.sessions.once import use_once

    assert use_once("assertion signs i", "nonce", 60), "this is about a store that is there"
    answers: list[bool] = []
    start = threading.Barrier(8)

    def use(number: int) -> None:
        start.wait()
        answers.append(use_once("assertion signs j", f"nonce {number}", 60))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]


@pytest.mark.parametrize("scheme", ["file", "data", "none"])
def test_keys_are_not_read_from_wherever_a_client_says(scheme: str, tmp_path: Path) -> None:
    keys = json.dumps({"keys": [KEY]})
    (tmp_path / "jwks").write_text(keys)
    uri = {"file": f"file://{tmp_path}/jwks", "data": f"data:application/json,{quote(keys)}", "none": "\0"}[scheme]

    def find(client_id: str) -> OAuthClient:
        return OAuthClient(client_id, jwks_uri=uri, introspects=True)

    with with_oauth(clients=find):
        assert error_of(with_assertion("x", assertion()), 503) == "temporarily_unavailable"


# What is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/oauth/revoke/", "/oauth/introspect/"])
@pytest.mark.parametrize(
    "form",
    [
        "",
        "token=",
        "token=a&token=b",
        "token=a&x=1&x=2",
        b"\xff\xfe=\xff",
        "token=" + "x" * MAX_BODY,
        "&".join(f"a{number}=1" for number in range(2000)),
    ],
    ids=["empty", "no value", "twice", "another twice", "binary", "long", "many"],
)
def test_a_request_that_is_malformed_is_said_to_be(path: str, form: Any) -> None:
    assert error_of(post(path, form)) == "invalid_request"


@pytest.mark.parametrize("path", ["/oauth/revoke/", "/oauth/introspect/"])
def test_only_a_form_that_is_posted_counts(path: str, alice: Any) -> None:
    refresh = sessions.open_session(alice)
    assert error_of(post(path, '{"token": "x"}', content_type="application/json")) == "invalid_request"
    assert error_of(post(path, "token=x", content_type="")) == "invalid_request"
    answer = http.get(path, {"token": str(refresh)}, headers=basic())
    assert error_of(answer, 405) == "invalid_request"
    assert answer["Allow"] == "POST, OPTIONS"
    assert error_of(post(f"{path}?token={refresh}", "")) == "invalid_request"
    assert error_of(post(f"{path}?token={refresh}", {"token": str(refresh)})) == "invalid_request"
    assert is_good(refresh)
    # Nor does what the client would like to have change the answer's form.
    assert post(path, {"token": "x"}, {**basic(), "accept": "text/html"}).status_code == 200
    assert post(f"{path}?format=xml", {"token": "x"}).status_code == 200
    assert post(path, "token=x", content_type="application/x-www-form-urlencoded; charset=latin-1").status_code == 200


def test_no_page_of_another_site_may_read_or_script_an_answer() -> None:
    answer = post("/oauth/introspect/?callback=x", {"token": "x"}, {**basic(), "origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer
    assert answer.json() == {"active": False}


def test_cookies_are_nobody(alice: Any) -> None:
    access = sessions.open_session(alice).access_token
    http.cookies["access_token"] = str(access)
    try:
        assert error_of(introspect(access, {}), 401) == "invalid_client"
    finally:
        http.cookies.clear()


# A Redis that is away, and a flood -------------------------------------------------------------------------------


def test_while_redis_is_away_a_client_is_told_to_come_back(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    with pointed_at(f"redis://127.0.0.1:{free_port()}/0"):
        for ask in (revoke, introspect):
            answer = ask(refresh)
            assert error_of(answer, 503) == "temporarily_unavailable"
            assert int(answer["Retry-After"]) >= 1


def test_active_is_never_a_guess(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    lenient = {**JWT_REDIS, "ON_REDIS_FAILURE": "allow"}
    with pointed_at(f"redis://127.0.0.1:{free_port()}/0"), override_settings(JWT_REDIS=lenient):
        assert introspect(refresh).status_code == 503


def test_where_refusals_are_only_observed_they_are_so_here(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    sessions.end_session(alice, refresh["sid"])
    assert introspect(refresh).json() == {"active": False}
    with override_settings(JWT_REDIS={**JWT_REDIS, "OBSERVE": True}):
        assert introspect(refresh).json()["active"] is True


def test_a_redis_that_hangs_in_the_middle_holds_nobody_up(alice: Any) -> None:
    with RedisServer() as server, pointed_at(server.url, **PATIENT):
        refresh = sessions.open_session(alice)
        assert introspect(refresh).json()["active"] is True
        server.pause()
        try:
            for ask in (introspect, revoke):
                assert error_of(ask(refresh), 503) == "temporarily_unavailable"
        finally:
            server.resume()
        # It was not acknowledged, and it is in the journal: it is done with the next answer.
        client.reset()
        assert introspect(refresh).json() == {"active": False}


class Twice(AnonRateThrottle):
    rate = "2/hour"


@pytest.mark.parametrize("view", [RevokeView, IntrospectView])
def test_guessing_is_throttled_and_the_right_guess_with_it(view: Any, monkeypatch: Any) -> None:
    from django.core.cache import cache

    cache.clear()
    monkeypatch.setattr(view, "throttle_classes", (Twice,))
    path = "/oauth/revoke/" if view is RevokeView else "/oauth/introspect/"
    for _ in range(2):
        assert error_of(post(path, {"token": "x"}, basic("api", "guess")), 401) == "invalid_client"
    answer = post(path, {"token": "x"})
    assert error_of(answer, 429) == "temporarily_unavailable"
    assert int(answer["Retry-After"]) > 0
    cache.clear()


# Metadata ----------------------------------------------------------------------------------------------------------

WELL_KNOWN = "/.well-known/oauth-authorization-server"


def test_the_metadata_is_where_the_issuers_path_puts_it() -> None:
    answer = http.get(f"{WELL_KNOWN}/tenant")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    found = answer.json()
    assert found["issuer"] == ISSUER
    assert found["revocation_endpoint"] == "https://auth.example.com/oauth/revoke/"
    assert found["introspection_endpoint"] == "https://auth.example.com/oauth/introspect/"
    assert found["revocation_endpoint_auth_methods_supported"] == list(OAUTH["methods"])
    assert "none" not in found["introspection_endpoint_auth_methods_supported"]
    assert "none" not in found["introspection_endpoint_auth_signing_alg_values_supported"]
    assert http.get(WELL_KNOWN).status_code == 404
    assert http.get(f"{WELL_KNOWN}/another").status_code == 404


def test_an_issuer_without_a_path_is_at_the_root() -> None:
    for named in ("https://auth.example.com", "https://auth.example.com/"):
        with with_oauth(issuer=named):
            assert http.get(WELL_KNOWN).json()["issuer"] == named
            assert http.get(f"{WELL_KNOWN}/tenant").status_code == 404


def test_the_host_that_a_request_names_is_not_in_it() -> None:
    assert "evil" not in http.get(f"{WELL_KNOWN}/tenant", headers={"host": "evil.example"}).content.decode()


def test_a_project_adds_what_it_has_besides() -> None:
    with with_oauth(metadata={"token_endpoint": "https://auth.example.com/token"}):
        assert http.get(f"{WELL_KNOWN}/tenant").json()["token_endpoint"] == "https://auth.example.com/token"


def test_no_member_is_an_empty_list() -> None:
    """RFC 8414 section 3.2: claims with zero elements MUST be omitted."""
    found = http.get(f"{WELL_KNOWN}/tenant").json()
    assert all(found.values())
    assert not found.keys() & {"response_types_supported", "grant_types_supported"}
    # Who has a grant says so, and who has none need not.
    with with_oauth(
        metadata={"response_types_supported": ["code"], "grant_types_supported": [], "scopes_supported": ()}
    ):
        found = http.get(f"{WELL_KNOWN}/tenant").json()
        assert found["response_types_supported"] == ["code"]
        assert not found.keys() & {"grant_types_supported", "scopes_supported"}
    # An endpoint that nobody may ask has no list of ways to do so, and without one they would be taken for the default.
    with with_oauth(methods=["none"], bearer_permission=None):
        found = http.get(f"{WELL_KNOWN}/tenant").json()
        assert found["revocation_endpoint_auth_methods_supported"] == ["none"]
        assert not [name for name in found if name.startswith("introspection_endpoint")]


def test_what_this_site_says_of_itself_is_replaced_by_nobody() -> None:
    with with_oauth(metadata={"issuer": "https://evil.example"}):
        (problem,) = problems()
        assert (problem.key, "OAUTH['issuer']" in problem.reason) == ("OAUTH", True)
        with pytest.raises(ImproperlyConfigured, match="issuer"):
            http.get(f"{WELL_KNOWN}/tenant")
    own = http.get(f"{WELL_KNOWN}/tenant").json()
    others = dict.fromkeys(own.keys() - {"issuer"}, "https://evil.example") | {
        "service_documentation": "https://x.example"
    }
    with with_oauth(metadata=others):
        assert http.get(f"{WELL_KNOWN}/tenant").json() == {**own, "service_documentation": "https://x.example"}
        (message,) = check_oauth()
        assert message.id == "jwt_redis.E042" and isinstance(message, Error)
        assert "introspection_endpoint, " in message.msg and "service_documentation" not in message.msg
        # What is not mounted here may be elsewhere.
        with override_settings(ROOT_URLCONF="tests.urls"):
            assert check_oauth() == []


@pytest.mark.parametrize(
    "named", [None, "my-site", "http://auth.example.com", "https://auth.example.com?x", "https://auth.example.com#x"]
)
def test_an_issuer_that_is_no_url_has_no_metadata_and_the_check_says_so(named: str | None) -> None:
    assert check_oauth() == []
    with override_settings(SIMPLE_JWT={**oauth_settings.SIMPLE_JWT, "ISSUER": named}):
        assert http.get(WELL_KNOWN).status_code == 404
        assert [message.id for message in check_oauth()] == ["jwt_redis.W042"]


# Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clients": {"a": {"secrets": "plain text"}}}, "make_password"),
        ({"clients": {"a": {"introspects": True}}}, "proves nothing"),
        ({"clients": {"a": {"jwks": {"keys": [{"kty": "oct", "k": "x"}]}}}}, "shared secret"),
        ({"clients": {"a": {"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}}}, "private"),
        ({"clients": {"a": {"jwks_uri": "http://elsewhere.example/jwks"}}}, "https"),
        ({"clients": {"a": {"secret": "x"}}}, "'secret' is not one of"),
        ({"clients": "no.such.module"}, "No module"),
        ({"methods": ["client_secret_jwt"]}, "'client_secret_jwt' is not one of"),
        ({"methods": "none"}, "a list"),
        ({"issuer": "http://auth.example.com"}, "https"),
        ({"bearer_permission": "tests.test_oauth.told_of"}, "a class"),
        ({"metadata": ["x"]}, "a dict"),
        ({"metadata": {"issuer": "https://auth.example.com"}}, "a key of its own"),
    ],
)
def test_a_setting_that_is_wrong_is_named(changes: dict[str, Any], reason: str) -> None:
    with with_oauth(**changes):
        (problem,) = problems()
        assert problem.key == "OAUTH"
        assert reason in problem.reason


def test_signatures_that_cannot_be_verified_are_found_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    from jwt_redis.oauth import checks
    from jwt_redis.openid.checks import check_openid
    from tests.support.openid import PROVIDERS

    monkeypatch.setattr(checks, "has_crypto", False)
    assert [message.id for message in check_oauth()] == ["jwt_redis.E041"]
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "OPENID_PROVIDERS": PROVIDERS}):
        assert "jwt_redis.E041" in [message.id for message in check_openid()]


def test_endpoints_without_clients_are_found_by_the_check() -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions"}):
        assert [message.id for message in check_oauth()] == ["jwt_redis.W041"]
        assert error_of(introspect("x"), 401) == "invalid_client"
