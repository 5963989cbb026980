"""HasLiveSession, LoggedInWithin, IsSessionOwner."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import IsAuthenticated
from rest_framework.test import APIClient
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.tokens import AccessToken as StockAccessToken

from jwt_redis import sessions
from jwt_redis.exceptions import InsufficientAuthentication
from jwt_redis.permissions import HasLiveSession, IsSessionOwner, LoggedInWithin
from jwt_redis.tokens import RefreshToken

pytestmark = pytest.mark.django_db

http = APIClient()


def bearer(token: Any) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def asking(user: Any = None, auth: Any = None) -> Any:
    return SimpleNamespace(user=user or AnonymousUser(), auth=auth)


def test_a_live_session_behind_another_authentication_class(alice: Any) -> None:
    token = sessions.open_session(alice)
    access = str(token.access_token)
    assert http.get("/behind-stock/", **bearer(access)).status_code == 200
    sessions.end_session(alice, token["sid"])
    answer = http.get("/behind-stock/", **bearer(access))
    assert (answer.status_code, answer.json()["reason"]) == (401, "session_ended")


def test_no_token_and_no_session_are_no_live_session(alice: Any, settings: Any) -> None:
    for auth in (None, "text", object()):
        assert HasLiveSession().has_permission(asking(alice, auth), None) is False
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    sessions.open_session(alice)
    foreign = StockAccessToken.for_user(alice)
    foreign["iat"] += 2
    # The blacklist lets it pass, but there is no session.
    assert HasLiveSession().has_permission(asking(alice, foreign), None) is False


def test_a_foreign_token_without_an_id_is_a_clean_refusal(alice: Any) -> None:
    token = StockAccessToken.for_user(alice)
    del token["jti"]
    with pytest.raises(Exception, match="Token has no id") as caught:
        HasLiveSession().has_permission(asking(alice, token), None)
    assert caught.value.status_code == 401  # type: ignore[attr-defined]


def test_a_recent_sign_in_is_asked_for_by_the_rfc_9470_challenge(alice: Any) -> None:
    token = sessions.open_session(alice)
    assert http.get("/fresh/", **bearer(token.access_token)).status_code == 200
    token.payload["auth_time"] -= 301
    answer = http.get("/fresh/", **bearer(token.access_token))
    assert answer.status_code == 401 and answer.json()["code"] == "insufficient_user_authentication"
    challenge = answer["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"') and 'max_age="300"' in challenge


def test_refreshing_does_not_make_the_sign_in_recent(alice: Any) -> None:
    token = RefreshToken.for_user(alice)
    token.payload["auth_time"] -= 301
    pair = http.post("/auth/token/refresh/", {"refresh": str(token)}, format="json").json()
    assert http.get("/fresh/", **bearer(pair["access"])).status_code == 401


@pytest.mark.parametrize("auth_time", [None, "now", float("nan"), [], 0])
def test_without_a_usable_auth_time_it_was_not_recent(alice: Any, auth_time: Any) -> None:
    token = RefreshToken.for_user(alice)
    token.payload["auth_time"] = auth_time
    with pytest.raises(InsufficientAuthentication):
        LoggedInWithin(5)().has_permission(asking(alice, token), None)  # type: ignore[arg-type]


def test_another_way_of_signing_in_is_not_known_to_be_recent(alice: Any) -> None:
    with pytest.raises(InsufficientAuthentication):
        LoggedInWithin(5)().has_permission(asking(alice), None)  # type: ignore[arg-type]
    with pytest.raises(NotAuthenticated):
        LoggedInWithin(5)().has_permission(asking(), None)  # type: ignore[arg-type]


def test_it_combines_like_any_permission(alice: Any) -> None:
    token = sessions.open_session(alice).access_token
    both = (IsAuthenticated & LoggedInWithin(0.5))()
    assert both.has_permission(asking(alice, token), None)
    token.payload["auth_time"] = int(time.time()) - 31
    with pytest.raises(InsufficientAuthentication):
        both.has_permission(asking(alice, token), None)


@pytest.mark.parametrize("minutes", [0, -1, None, "5", True])
def test_bad_minutes_are_named(minutes: Any) -> None:
    with pytest.raises(ValueError, match="minutes"):
        LoggedInWithin(minutes)


def test_the_owner_of_a_session(alice: Any, bob: Any) -> None:
    token = sessions.open_session(alice)
    (session,) = sessions.list_sessions(alice)
    allows = IsSessionOwner().has_object_permission
    assert allows(asking(alice), None, session)
    assert allows(asking(TokenUser(token.access_token)), None, session)
    assert not allows(asking(bob), None, session)
    assert not allows(asking(), None, session)
    assert not allows(asking(alice), None, object())
    assert allows(asking(alice), None, SimpleNamespace(user=alice))
