"""What is true of every shape: signing in, asking, refreshing, signing out, and being signed out.

    python -m pytest tests/shapes/story.py --ds tests.shapes.projects.rs256

test_shapes.py does so for each of them.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections, transaction
from django.test import AsyncClient, Client
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend

from jwt_redis import journal, keys, recovery, sessions
from jwt_redis.models import Revocation

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

User: Any = get_user_model()
NAME, PASSWORD = "alice@example.com", "correct horse"
SLIDING = "SlidingToken" in api_settings.AUTH_TOKEN_CLASSES[0].__name__
ENDED = 401


def make_user(name: str = NAME, **facts: Any) -> Any:
    user = User(**{User.USERNAME_FIELD: name, **facts})
    if User.EMAIL_FIELD != User.USERNAME_FIELD:
        setattr(user, User.EMAIL_FIELD, name)
    user.set_password(PASSWORD)
    user.save()
    return user


def claim(user: Any) -> str:
    """The user, as tokens have it."""
    return str(getattr(user, api_settings.USER_ID_FIELD))


def body_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def lasting(token: str) -> dict[str, Any]:
    """The claims that a refresh does not change."""
    # Where types have no name, Simple JWT writes them under "null".
    passing = {"exp", "iat", "rotation", "null", api_settings.JTI_CLAIM}
    return {name: value for name, value in body_of(token).items() if name not in passing}


@dataclass
class Device:
    """Somebody's client: it keeps its tokens, and answers with the status."""

    access: str
    refresh: str

    @property
    def sid(self) -> str:
        return str(body_of(self.access)["sid"])

    @property
    def header(self) -> dict[str, str]:
        return {api_settings.AUTH_HEADER_NAME: f"{api_settings.AUTH_HEADER_TYPES[0]} {self.access}"}

    def ask(self, url: str, method: str = "get", **body: Any) -> Any:
        client = Client(raise_request_exception=True, **self.header)  # type: ignore[arg-type]
        return getattr(client, method)(url, body or None, content_type="application/json")

    def status(self, url: str = "/whoami/") -> int:
        return int(self.ask(url).status_code)

    def renew(self) -> int:
        answer = renewal(self.refresh)
        if answer.status_code == 200:
            found = answer.json()
            self.access = found.get("access") or found["token"]
            self.refresh = found.get("refresh") or self.access
        return int(answer.status_code)

    def is_out(self) -> bool:
        """Nothing that it has is good for anything."""
        statuses = [self.status(), self.status("/stateless/"), renewal(self.refresh).status_code]
        assert len(set(statuses)) == 1, statuses
        assert (verification(self.access) == 200) is (statuses[0] == 200)
        return statuses[0] == ENDED


def post(url: str, **body: Any) -> Any:
    return Client().post(url, body, content_type="application/json")


def renewal(refresh: str) -> Any:
    return post("/auth/sliding/refresh/", token=refresh) if SLIDING else post("/auth/token/refresh/", refresh=refresh)


def verification(token: str) -> int:
    return int(post("/auth/token/verify/", token=token).status_code)


def sign_in(name: str = NAME, password: str = PASSWORD) -> Device:
    answer = post("/auth/sliding/" if SLIDING else "/auth/token/", **{User.USERNAME_FIELD: name, "password": password})
    assert answer.status_code == 200, answer.content
    found = answer.json()
    return Device(found.get("access") or found["token"], found.get("refresh") or found["token"])


def run(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def alice(transactional_db: None) -> Any:
    return make_user()


# Over HTTP ---------------------------------------------------------------------------------------------------------


def test_the_checks_have_nothing_to_say() -> None:
    assert run_checks(databases=list(connections)) == []


def test_who_signs_in_is_let_in_everywhere(alice: Any) -> None:
    device = sign_in()
    assert device.ask("/whoami/").json() == {"user": str(alice.pk)}
    assert device.ask("/stateless/").json() == {"user": claim(alice)}
    seen = device.ask("/plain/").json()
    assert (seen["user"], seen["sid"], seen["error"]) == (str(alice.pk), device.sid, None)
    assert verification(device.access) == 200
    claims = body_of(device.access)
    assert claims[api_settings.USER_ID_CLAIM] == claim(alice)
    assert api_settings.JTI_CLAIM in claims
    assert Client().get("/whoami/").status_code == 401
    wrong = post("/auth/token/", **{User.USERNAME_FIELD: NAME, "password": "wrong"})
    assert wrong.status_code == 401


async def test_async_views_know_the_user(alice: Any) -> None:
    from asgiref.sync import sync_to_async

    device = await sync_to_async(sign_in)()
    name = api_settings.AUTH_HEADER_NAME.removeprefix("HTTP_").replace("_", "-")
    headers = {name: device.header[api_settings.AUTH_HEADER_NAME]}
    answer = await AsyncClient().get("/plain-async/", headers=headers)
    assert answer.json()["user"] == str(alice.pk) and answer.json()["sid"] == device.sid
    assert await sessions.aend_session(alice, device.sid)
    answer = await AsyncClient().get("/plain-async/", headers=headers)
    assert answer.json()["anonymous"] and answer.json()["error"]["reason"] == "session_ended"
    device = await sync_to_async(sign_in)()
    headers = {name: device.header[api_settings.AUTH_HEADER_NAME]}
    await User.objects.filter(pk=alice.pk).aupdate(password=make_password("battery staple"))
    answer = await AsyncClient().get("/plain-async/", headers=headers)
    assert answer.json()["anonymous"] and await sessions.alist_sessions(alice) == []
    # The test's own thread for it.
    await sync_to_async(connections.close_all)()


def test_a_refresh_gives_tokens_that_work_and_an_old_one_ends_the_session(alice: Any, settings: Any) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "REFRESH_GRACE": 0}
    device = sign_in()
    first, sid, custom = device.refresh, device.sid, lasting(device.access)
    assert [device.renew(), device.renew()] == [200, 200]
    assert device.sid == sid and device.status() == 200 and lasting(device.access) == custom
    assert body_of(device.access)["exp"] <= time.time() + api_settings.ACCESS_TOKEN_LIFETIME.total_seconds() + 1
    if not SLIDING:
        assert renewal(first).status_code == 401
        assert device.is_out()


def test_who_signs_out_is_out_and_the_other_device_is_not(alice: Any) -> None:
    device, other = sign_in(), sign_in()
    assert device.ask("/auth/logout/", "post").json() == {"sessions_ended": 1}
    assert device.is_out() and not other.is_out()
    assert device.ask("/whoami/").json()["reason"] == "session_ended"
    if SLIDING:
        assert other.ask("/auth/logout/", "post").json() == {"sessions_ended": 1}
    else:
        assert post("/auth/token/blacklist/", refresh=other.refresh).status_code == 200
    assert other.is_out()


def test_sessions_are_listed_and_ended(alice: Any) -> None:
    make_user("bob@example.com")
    here, there, third, bobs = sign_in(), sign_in(), sign_in(), sign_in("bob@example.com")
    listed = here.ask("/auth/sessions/").json()
    assert {one["sid"] for one in listed} == {here.sid, there.sid, third.sid}
    assert [one["sid"] for one in listed if one["current"]] == [here.sid]
    assert here.ask(f"/auth/sessions/{there.sid}/", "delete").status_code == 204
    assert here.ask(f"/auth/sessions/{bobs.sid}/", "delete").status_code == 404
    assert there.is_out() and not third.is_out()
    assert here.ask("/auth/logout/others/", "post").json() == {"sessions_ended": 1}
    assert third.is_out() and here.ask("/auth/logout/all/", "post").json() == {"sessions_ended": 1}
    assert here.is_out() and not bobs.is_out()


def test_the_device_page(alice: Any) -> None:
    here, there = sign_in(), sign_in()
    page = here.ask("/devices/")
    assert page.status_code == 200
    assert here.sid in page.content.decode() and there.sid in page.content.decode()


def test_forged_tokens_are_refused(alice: Any) -> None:
    device = sign_in()
    claims = body_of(device.access)
    forged = [
        jwt.encode(claims, "another key that is long enough for HS256 to be content", "HS256"),
        jwt.encode(claims, None, "none"),
        device.access[:-8],
    ]
    if api_settings.VERIFYING_KEY:
        # The public key taken for a shared one.
        header = {"alg": "HS256", "typ": "JWT"}
        unsigned = ".".join(
            jwt.utils.base64url_encode(json.dumps(part, default=str).encode()).decode() for part in (header, claims)
        )
        digest = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
            unsigned.encode(), api_settings.VERIFYING_KEY.encode()
        )
        forged.append(f"{unsigned}.{jwt.utils.base64url_encode(digest).decode()}")
    for name, value in (("aud", "others"), ("iss", "https://elsewhere.example.com")):
        if name in claims:
            forged.append(_signed({**claims, name: value}))
    for token in forged:
        assert Device(token, token).is_out(), token


def test_within_the_leeway_a_token_that_has_run_out_is_good_until_it_is_revoked(alice: Any) -> None:
    device = sign_in()
    late = _signed({**body_of(device.access), "exp": int(time.time()) - 5})
    assert Device(late, late).status() == (200 if token_backend.get_leeway().total_seconds() > 5 else 401)
    assert sessions.end_session(alice, device.sid)
    assert Device(late, late).status() == 401


def test_odd_user_ids_are_nobodys(alice: Any) -> None:
    claims = body_of(sign_in().access)
    del claims["sid"]
    # Under the blacklist strategy a token without a session is let as far as to the user's row.
    settings.JWT_REDIS = {**settings.JWT_REDIS, "STRATEGY": "blacklist"}
    for odd in ("nobody", "0", "9" * 40, "a\0b", "\ud800", "x" * 5000, 7, -1, 1.5, True, None, [], {}):
        for type_ in ("access", "refresh", "sliding"):
            token = _signed({**claims, api_settings.USER_ID_CLAIM: odd}, type_)
            assert Device(token, token).status() in (401,), odd
            assert renewal(token).status_code == 401, (odd, type_)


@pytest.fixture(autouse=True)
def _settings_as_they_were() -> Any:
    before = settings.JWT_REDIS
    yield
    settings.JWT_REDIS = before


def _signed(claims: dict[str, Any], type_: str | None = None) -> str:
    """With the project's own key, what its own code would not sign."""
    if type_ is not None and api_settings.TOKEN_TYPE_CLAIM:
        claims = {**claims, api_settings.TOKEN_TYPE_CLAIM: type_}
    return jwt.encode(claims, token_backend.signing_key, token_backend.algorithm)


# The user's row ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["set_password", "in a transaction", "assigned", "update", "using"])
def test_a_new_password_signs_everybody_out(alice: Any, how: str) -> None:
    devices = [sign_in(), sign_in()]
    user, new = User.objects.get(pk=alice.pk), "battery staple"
    if how == "update":
        User.objects.filter(pk=alice.pk).update(password=make_password(new))
        # No signal says so: the row tells whoever reads it.
        assert [device.status() for device in devices] == [401, 401]
    elif how == "assigned":
        user.password = make_password(new)
        user.save()
    elif how == "in a transaction":
        with transaction.atomic(using=user._state.db):
            user.set_password(new)
            user.save()
    elif how == "using":
        user.set_password(new)
        user.save(using=_home(user), update_fields=["password"])
    else:
        user.set_password(new)
        user.save()
    assert all(device.is_out() for device in devices)
    assert sessions.list_sessions(alice) == []
    assert not sign_in(password=new).is_out()


def _home(user: Any) -> str:
    from django.db import router

    return str(router.db_for_write(type(user)))


def test_a_hash_that_is_upgraded_signs_nobody_out(alice: Any, settings: Any) -> None:
    device = sign_in()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    sign_in()
    assert User.objects.get(pk=alice.pk).password.startswith("scrypt$")
    if not api_settings.CHECK_REVOKE_TOKEN:
        # Simple JWT's own witness is of the hash, and of each access token.
        assert device.status() == 200
    assert device.renew() == 200 and device.status() == 200


def test_who_is_deactivated_or_deleted_is_out(alice: Any) -> None:
    device = sign_in()
    user = User.objects.get(pk=alice.pk)
    user.is_active = False
    user.save()
    is_told = "deactivated" in settings.JWT_REDIS.get("REVOKE_ON", ["deactivated"])
    assert device.is_out() is is_told
    user.is_active = True
    user.save()
    device = sign_in()
    user.delete()
    assert device.is_out()


def test_last_login_is_simple_jwts_business(alice: Any) -> None:
    sign_in()
    noted = User.objects.get(pk=alice.pk).last_login
    assert (noted is not None) is api_settings.UPDATE_LAST_LOGIN


# manage.py, and the admin -------------------------------------------------------------------------------------------


def test_commands_know_the_user_by_name_key_and_id(alice: Any) -> None:
    device = sign_in()
    for name in (NAME, str(alice.pk), claim(alice), f"id:{claim(alice)}"):
        found = json.loads(run("jwt_sessions", name, "--json"))
        assert [one["sid"] for one in found] == [device.sid], name
    assert "alive" in run("jwt_why", device.access)
    for name in (NAME, str(alice.pk), f"id:{claim(alice)}"):
        device, other = sign_in(), sign_in()
        run("jwt_revoke", "--user", name, "--session", device.sid)
        assert device.is_out() and not other.is_out()
        run("jwt_revoke", "--user", name)
        assert other.is_out()
    device = sign_in()
    run("jwt_revoke", "--token", device.refresh)
    assert device.is_out()
    device = sign_in()
    run("jwt_revoke", "--all", "--no-input")
    if time.time() - body_of(device.access)["auth_time"] < 1:
        time.sleep(1.1)
    assert device.is_out() and not sign_in().is_out()
    assert device.sid in run("jwt_sessions", NAME, "--history") or Revocation.objects.filter(kind="all").exists()
    run("jwt_cleanup")
    run("jwt_sync")


def test_the_admin_shows_and_ends_sessions(alice: Any) -> None:
    device, other = sign_in(), sign_in()
    chief = Client()
    chief.force_login(make_user("chief@example.com", is_staff=True, is_superuser=True))

    def page(url: str, **query: str) -> str:
        answer = chief.get(url, query)
        assert answer.status_code == 200, answer
        return str(answer.content.decode())

    base = "/admin/jwt_redis/session/"
    tag = keys.user_tag(claim(alice))
    for text in (NAME, str(alice.pk), claim(alice)):
        assert device.sid in page(base, q=text), text
    assert device.sid in page(base, user=tag)
    assert device.sid in page(f"/admin/{User._meta.app_label}/{User._meta.model_name}/{alice.pk}/change/")
    ended = {"_selected_action": f"{device.sid}:{tag}", "post": "yes", "reason": "stolen"}
    assert chief.post(f"{base}revoke/", ended).status_code == 302
    assert device.is_out() and not other.is_out()
    assert NAME in page("/admin/jwt_redis/revocation/")
    assert chief.post(f"{base}revoke-user/", {"user": tag, "post": "yes", "reason": "gone"}).status_code == 302
    assert other.is_out()
    page(f"{base}health/")


# Redis -------------------------------------------------------------------------------------------------------------


def test_what_redis_forgets_the_journal_knows(alice: Any, store: redis.Redis) -> None:
    ended, alive = sign_in(), sign_in()
    assert ended.ask("/auth/logout/", "post").status_code == 200
    assert [row.kind for row in journal.history(claim(alice))] == ["session"]
    store.flushall()
    _as_another_process()
    assert ended.is_out()
    # The whitelist knows nobody any more; the blacklist lets an access token through that was not revoked.
    is_whitelist = settings.JWT_REDIS.get("STRATEGY", "whitelist") == "whitelist"
    assert alive.status("/stateless/") == (401 if is_whitelist else alive.status("/stateless/"))
    assert not sign_in().is_out()
    assert recovery.sweep is not None and journal.pending_count() == 0


def _as_another_process() -> None:
    from jwt_redis.store import client, gate, markers

    markers.reset()
    client.reset()
    gate.reset()
