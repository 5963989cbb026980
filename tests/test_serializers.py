"""The mixins on a project's own serializers, sliding tokens, and refreshing without rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt import serializers as stock
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt import views as stock_views

from jwt_redis import sessions
from jwt_redis.serializers import SessionObtainMixin, TokenObtainPairSerializer, TokenRefreshSerializer
from jwt_redis.tokens import RefreshToken, SlidingToken

pytestmark = pytest.mark.django_db

http = APIClient()


class Own(SessionObtainMixin, stock.TokenObtainPairSerializer):
    """As the tutorials have it: claims in get_token, and more in the answer."""

    token_class = RefreshToken

    @classmethod
    def get_token(cls, user: Any) -> Any:
        token = super().get_token(user)
        token["name"] = user.first_name
        if user.is_staff:
            token["is_staff"] = True
        return token

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {**super().validate(attrs), "hello": self.user.username}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "TOKEN_OBTAIN_SERIALIZER", f"{__name__}.Own", raising=False)
    monkeypatch.setattr(stock_views.TokenObtainPairView, "_serializer_class", f"{__name__}.Own")


def login(**extra: Any) -> Any:
    body = {"username": "alice", "password": "correct horse"}
    return http.post("/auth/token/", body, format="json", **extra).json()


def refresh(token: str) -> Any:
    return http.post("/auth/token/refresh/", {"refresh": token}, format="json")


def test_a_projects_own_serializer_opens_one_session_with_its_claims(alice: Any, own: None) -> None:
    answer = login(HTTP_USER_AGENT="a browser")
    assert answer["hello"] == "alice"
    assert RefreshToken(answer["access"], verify=False)["name"] == ""
    (session,) = sessions.list_sessions(alice)
    assert session.user_agent == "a browser"


def test_claims_are_fresh_at_the_refresh_and_a_lost_right_is_gone(alice: Any, own: None) -> None:
    alice.is_staff = True
    alice.save()
    answer = login()
    assert RefreshToken(answer["refresh"])["is_staff"] is True
    alice.is_staff, alice.first_name = False, "Alice"
    alice.save()
    answer = refresh(answer["refresh"]).json()
    for token in answer.values():
        payload = RefreshToken(token, verify=False).payload
        assert payload["name"] == "Alice" and "is_staff" not in payload and payload["sid"]
    assert refresh(answer["refresh"]).status_code == 200
    assert len(sessions.list_sessions(alice)) == 1


def test_carried_claims_live_on(alice: Any, own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    token = RefreshToken.for_user(alice)
    token["device_id"] = "d1"
    token["other"] = "x"
    monkeypatch.setattr(TokenRefreshSerializer, "carried_claims", ("device_id", "absent"))
    payload = RefreshToken(refresh(str(token)).json()["refresh"]).payload
    assert payload["device_id"] == "d1" and "other" not in payload and "absent" not in payload


def test_without_a_get_token_of_its_own_all_claims_live_on(alice: Any) -> None:
    token = RefreshToken.for_user(alice)
    token["device_id"] = "d1"
    answer = refresh(str(token)).json()
    assert RefreshToken(answer["refresh"])["device_id"] == "d1"
    assert RefreshToken(answer["access"], verify=False)["device_id"] == "d1"


def test_open_session_uses_the_projects_serializer(alice: Any, own: None) -> None:
    assert sessions.open_session(alice)["name"] == ""


def test_open_session_says_when_the_serializer_is_simple_jwts_own(alice: Any, monkeypatch: Any) -> None:
    path = "rest_framework_simplejwt.serializers.TokenObtainPairSerializer"
    monkeypatch.setattr(simplejwt.api_settings, "TOKEN_OBTAIN_SERIALIZER", path, raising=False)
    with pytest.raises(Exception, match="makes tokens without a session"):
        sessions.open_session(alice)


@pytest.mark.parametrize("is_wanted", [False, True])
def test_last_login_is_written_once_and_where_simple_jwt_is_told_so(
    alice: Any, monkeypatch: Any, is_wanted: bool, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "UPDATE_LAST_LOGIN", is_wanted, raising=False)
    # A process that meets the store for the first time asks the journal for it.
    sessions.list_sessions(alice)
    with django_assert_num_queries(2 if is_wanted else 1):
        login()
    alice.refresh_from_db()
    assert (alice.last_login is not None) == is_wanted


def test_djangos_own_login_writes_it_as_ever(alice: Any, client: Any) -> None:
    client.force_login(alice)
    alice.refresh_from_db()
    assert alice.last_login is not None


def test_without_a_request_there_is_no_device(alice: Any) -> None:
    serializer = TokenObtainPairSerializer(data={"username": "alice", "password": "correct horse"})
    assert serializer.is_valid()
    (session,) = sessions.list_sessions(alice)
    assert (session.ip, session.user_agent) == ("", "")


# ROTATE_REFRESH_TOKENS = False -------------------------------------------------------------------------------------


def test_without_rotation_the_token_stays_and_the_session_is_checked(alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "ROTATE_REFRESH_TOKENS", False, raising=False)
    token = login()["refresh"]
    for _ in range(3):
        answer = refresh(token)
        assert answer.status_code == 200 and set(answer.json()) == {"access"}
        assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}").status_code == 200
    (session,) = sessions.list_sessions(alice)
    assert session.last_refreshed_at > session.created_at
    sessions.end_all_sessions(alice)
    assert refresh(token).json()["reason"] == "session_ended"


# Sliding tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sliding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken,), raising=False)
    path = "jwt_redis.serializers.TokenObtainSlidingSerializer"
    monkeypatch.setattr(stock_views.TokenObtainSlidingView, "_serializer_class", path)
    path = "jwt_redis.serializers.TokenRefreshSlidingSerializer"
    monkeypatch.setattr(stock_views.TokenRefreshSlidingView, "_serializer_class", path)


def slide(token: str) -> Any:
    return http.post("/auth/sliding/refresh/", {"token": token}, format="json")


def test_a_sliding_token_lives_and_dies_with_its_session(alice: Any, sliding: None, store: Any) -> None:
    body = {"username": "alice", "password": "correct horse"}
    token = http.post("/auth/sliding/", body, format="json").json()["token"]
    header = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    assert http.get("/whoami/", **header).status_code == 200
    # For as long as it may be refreshed: a day.
    assert abs(store.ttl(f"jwt:{{{alice.pk}}}") - 86460) <= 30
    renewed = slide(token).json()["token"]
    old, new = SlidingToken(token), SlidingToken(renewed)
    assert (new["jti"], new["sid"], new["refresh_exp"]) == (old["jti"], old["sid"], old["refresh_exp"])
    assert sessions.revoke_token(renewed)
    for each in (token, renewed):
        assert http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {each}").json()["reason"] == "session_ended"
        assert slide(each).json()["reason"] == "session_ended"
        assert http.post("/auth/token/verify/", {"token": each}, format="json").status_code == 400


def test_a_sliding_token_past_its_refresh_time_or_user(alice: Any, sliding: None) -> None:
    token = SlidingToken.for_user(alice)
    token.set_exp("refresh_exp", lifetime=timedelta(seconds=-1))
    assert slide(str(token)).status_code == 401
    token = SlidingToken.for_user(alice)
    text = str(token)
    type(alice).objects.all().delete()
    assert slide(text).json() == {"detail": "No active account found for the given token."}
    for broken in ("abc", "a.b.c"):
        assert slide(broken).json()["code"] == "token_not_valid"


# Duck typing -------------------------------------------------------------------------------------------------------


def test_simple_jwts_own_methods_do_what_they_say(alice: Any) -> None:
    token = RefreshToken.for_user(alice)
    assert token.outstand() is None
    str(token)
    token.check_blacklist()
    assert token.blacklist() is True and token.blacklist() is False
    with pytest.raises(Exception, match="blacklisted") as caught:
        token.check_blacklist()
    assert caught.value.reason == "session_ended"  # type: ignore[attr-defined]
