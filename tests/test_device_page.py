"""The page on which people see their devices and sign them out, over a real Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client, override_settings
from django.utils import translation
from rest_framework.test import APIClient

from jwt_redis import conf, sessions
from jwt_redis.devices import Device
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.models import Revocation
from jwt_redis.templatetags.jwt_redis import jwt_ago
from jwt_redis.testing.servers import free_port
from tests.projects import page_settings
from tests.support.pages import POLICY, Document, read
from tests.support.server import http_server

pytestmark = pytest.mark.django_db(transaction=True)

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.5 Mobile/15E148 Safari/604.1"
)
CHANGED = ("ROOT_URLCONF", "LOGIN_URL", "STATIC_URL", "INSTALLED_APPS", "MIDDLEWARE", "JWT_REDIS")
DEVICES = "/auth/devices/"


def page_settings_with(**more: Any) -> dict[str, Any]:
    found = {name: getattr(page_settings, name) for name in CHANGED}
    return {**found, "JWT_REDIS": {**found["JWT_REDIS"], **more}}


@pytest.fixture(autouse=True)
def _page_settings() -> Iterator[None]:
    with override_settings(**page_settings_with()):
        yield


class Browser(Client):
    """It keeps cookies, runs no script, and enforces CSRF; what it shows is checked."""

    def __init__(self, user_agent: str = FIREFOX, ip: str = "192.0.2.1") -> None:
        super().__init__(enforce_csrf_checks=True, HTTP_USER_AGENT=user_agent, HTTP_X_TEST_IP=ip)
        self.sid = ""

    def sign_in(self, name: str = "alice", password: str = "correct horse") -> Browser:
        token = self.get("/auth/csrf/").json()["csrf_token"]
        body = json.dumps({"username": name, "password": password})
        response = self.post("/auth/token/", body, content_type="application/json", headers={"X-CSRFToken": token})
        assert response.status_code == 200, response.content
        self.sid = sessions.list_sessions(sessions.explain(self.access).claims.user)[0].sid  # type: ignore[union-attr]
        return self

    @property
    def access(self) -> str:
        return self.cookies["access_token"].value

    def show(self, url: str = DEVICES, status: int = 200) -> Document:
        response = self.get(url, follow=True)
        assert response.status_code == status, response.content
        return read(response)

    def press(self, action: str, url: str = DEVICES, headers: Any = None, **fields: str) -> Any:
        """Send the form that leads to ``action``, as a browser without JavaScript does; what it leads to."""
        form = form_of(self.get(url).content.decode(), action)
        return self.post(action, {**form, **fields}, headers=headers or {})

    def press_and_look(self, action: str, **fields: str) -> Document:
        response = self.press(action, **fields)
        assert response.status_code == 302, response.content
        return self.show(response["Location"])


def form_of(html: str, action: str) -> dict[str, str]:
    """What a form sends as it is."""
    found = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', html, re.S)
    assert found, f"there is no form that leads to {action}"
    inputs = [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in re.findall(r"<input[^>]*>", found[0])]
    return {one["name"]: one.get("value", "") for one in inputs}


def out(sid: str) -> str:
    return f"{DEVICES}{sid}/sign-out/"


def naming(sid: str) -> str:
    return f"{DEVICES}{sid}/label/"


OTHERS = f"{DEVICES}sign-out-others/"
EVERYWHERE = f"{DEVICES}sign-out-all/"


def names(document: Document) -> list[str]:
    return document.texts.get("h3", [])


def put_device(store: redis.Redis, user: Any, sid: str, device: Device) -> None:
    store.hset(f"jwt:{{{user.pk}}}:devices", f"device:{sid}", device.dump())


# What is shown ----------------------------------------------------------------------------------------------------


def test_two_browsers_see_both_and_each_itself_first(alice: Any, bob: Any) -> None:
    laptop = Browser().sign_in()
    phone = Browser(IPHONE, "198.51.100.7").sign_in()
    Browser().sign_in("bob", "battery staple")
    assert names(laptop.show()) == ["Firefox on Linux This device", "Mobile Safari on iOS"]
    seen = phone.show()
    assert names(seen) == ["Mobile Safari on iOS This device", "Firefox on Linux"]
    assert seen.texts["h1"] == ["Your devices"] and "2 devices" in seen.texts["h2"]
    assert "192.0.2.1" in seen.text and "Berlin, Germany" in seen.text and "Tōkyō, Japan" in seen.text
    assert len(seen.all("span", class_="jr-icon-phone")) == len(seen.all("span", class_="jr-icon-computer")) == 1
    assert seen.text.count("Active now") == 1 and seen.text.count("Last active just now") == 1
    for attributes in seen.all("time"):
        moment = datetime.fromisoformat(str(attributes["datetime"]))
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
        assert str(moment.year) in str(attributes["title"])


def test_nothing_keeps_the_page(alice: Any) -> None:
    response = Browser().sign_in().get(DEVICES)
    assert "no-store" in response["Cache-Control"]
    assert {"Cookie", "Authorization", "HX-Request"} <= {part.strip() for part in response["Vary"].split(",")}
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin" and response["Content-Security-Policy"] == POLICY


def test_many_are_paged_and_this_one_is_on_the_first_page(alice: Any) -> None:
    browser = Browser().sign_in()
    for _ in range(45):
        sessions.open_session(alice)
    first, second, third = (browser.show(f"{DEVICES}?page={number}") for number in (1, 2, 3))
    assert [len(names(page)) for page in (first, second, third)] == [20, 20, 6]
    assert "46 devices" in third.texts["h2"] and "Page 3 of 3" in third.text
    assert len(first.all("span", class_="jr-badge")) == 1 and not third.all("span", class_="jr-badge")
    assert [link["rel"] for link in second.all("a") if "rel" in link] == ["prev", "next"]
    assert [link["rel"] for link in third.all("a") if "rel" in link] == ["prev"]
    for odd in ("0", "-1", "99", "x", "", "1e9", "٣"):
        assert names(browser.show(f"{DEVICES}?page={odd}"))
    every = [row for page in (first, second, third) for row in page.all("input", name="label")]
    assert len({row["id"] for row in every}) == 46


def test_a_button_on_the_second_page_leads_back_to_it(alice: Any) -> None:
    browser = Browser().sign_in()
    for _ in range(25):
        sessions.open_session(alice)
    sid = sessions.list_sessions(alice)[-2].sid
    response = browser.press(out(sid), url=f"{DEVICES}?page=2")
    assert response["Location"] == f"{DEVICES}?page=2"


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</h3></li>" * 20,
    "x" * 512,
    "Chrome/124.0 " * 40,
    "{{ 7|add:7 }}{% now 'Y' %}",
    "A\u202egnp.exe\u2066 Firefox/130",
    "\u200b\u200b\u200b",
    "😀" * 128,
    "‮" * 100 + "متصفح",
    "&amp;&lt;b&gt;",
    "\x00\x01\x1b[31m",
]


@pytest.mark.parametrize("agent", HOSTILE)
def test_a_hostile_user_agent_is_text_and_nobodys_name(alice: Any, store: redis.Redis, agent: str) -> None:
    browser = Browser().sign_in()
    refresh = sessions.open_session(alice)
    # Even what could not come by a request.
    put_device(store, alice, refresh["sid"], Device(agent, "203.0.113.66"))
    document = browser.show()
    assert names(document)[1] in ("Unknown browser", "Chrome", "Firefox")
    assert document.all("dd", class_="jr-agent") and not document.all("img")
    assert len(max(document.texts["dd"], key=len)) <= 256


def test_a_damaged_device_and_a_place_that_fails_are_no_hindrance(
    alice: Any, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser().sign_in()
    one, other = sessions.open_session(alice)["sid"], sessions.open_session(alice)["sid"]
    store.hset(f"jwt:{{{alice.pk}}}:devices", mapping={f"device:{one}": "{", f"label:{one}": "<b>\u202e"})
    put_device(store, alice, other, Device(FIREFOX, "203.0.113.66"))
    document = browser.show()
    assert set(names(document)[1:]) == {"<b>\u202e", "Firefox on Linux"} and "203.0.113.66" in document.text
    assert [record.event for record in caplog.records if hasattr(record, "event")].count("location_failed") == 1


def test_the_name_is_translated_and_the_page_runs_from_right_to_left(alice: Any) -> None:
    browser = Browser().sign_in()
    with translation.override("ar"):
        document = browser.show()
    assert document.all("html") == [{"lang": "ar", "dir": "rtl"}]


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-90), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=59), "59 days ago"),
        (timedelta(days=60), "2 months ago"),
        (timedelta(days=729), "24 months ago"),
        (timedelta(days=730), "2 years ago"),
    ],
)
def test_how_long_ago(ago: timedelta, words: str) -> None:
    assert jwt_ago(datetime.now(UTC) - ago) == words


# What the buttons do ----------------------------------------------------------------------------------------------


def test_one_is_signed_out_from_the_other_and_falls_out(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser(IPHONE).sign_in()
    document = here.press_and_look(out(there.sid))
    assert names(document) == ["Firefox on Linux This device"]
    assert document.texts["p"][1] == "“\u2068Mobile Safari on iOS\u2069” was signed out."
    (flash,) = document.all("p", class_="jr-flash")
    # It is read out, and the keyboard goes on from there.
    assert flash["role"] == "status" and "autofocus" in flash and flash["tabindex"] == "-1"
    assert "was signed out" not in here.show().text
    row = Revocation.objects.get(kind="session")
    assert (row.target, row.reason, row.actor) == (there.sid, "logout", str(alice.pk))
    gone = there.get(DEVICES)
    assert gone.status_code == 401 and gone["WWW-Authenticate"].startswith("Bearer")
    assert "You signed out, here or on another device." in read(gone).text
    assert [link["href"] for link in read(gone).all("a")] == ["/accounts/login/"]


def test_the_one_that_asks_is_signed_out(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    response = here.press(out(here.sid))
    assert response.status_code == 302 and response["Location"] == f"{DEVICES}signed-out/"
    assert here.cookies["access_token"].value == "" and here.cookies["refresh_token"].value == ""
    landed = here.show(response["Location"])
    assert landed.texts["h1"] == ["You are signed out"] and "This device was signed out." in landed.text
    assert here.get(DEVICES)["Location"] == f"/accounts/login/?next={DEVICES}"
    assert len(names(there.show())) == 1


def test_a_browser_that_holds_two_sessions_leaves_both(alice: Any) -> None:
    """Or else the refresh cookie would sign the user in again, on the next page."""
    here, there, elsewhere = (Browser().sign_in() for _ in range(3))
    here.cookies["refresh_token"] = there.cookies["refresh_token"].value
    here.press(out(here.sid))
    assert [session.sid for session in sessions.list_sessions(alice)] == [elsewhere.sid]
    assert here.cookies["access_token"].value == here.cookies["refresh_token"].value == ""


def test_clear_site_data_is_said_as_by_the_api(alice: Any) -> None:
    with override_settings(**page_settings_with(COOKIE={"secure": False, "clear_site_data": ["cache", "storage"]})):
        here, there = Browser().sign_in(), Browser().sign_in()
        assert "Clear-Site-Data" not in here.press(out(there.sid))
        assert here.press(out(here.sid))["Clear-Site-Data"] == '"cache", "storage"'


def test_all_others(alice: Any) -> None:
    here, there, elsewhere = (Browser().sign_in() for _ in range(3))
    assert "2 other devices were signed out." in here.press_and_look(OTHERS).text
    assert there.get(DEVICES).status_code == elsewhere.get(DEVICES).status_code == 401
    # There is nobody left to sign out, and no button for it.
    page = here.get(DEVICES).content.decode()
    assert OTHERS not in page and EVERYWHERE in page
    token = form_of(page, EVERYWHERE)
    assert here.post(OTHERS, token).status_code == 302
    assert "No other device was signed in." in here.show().text


def test_everywhere(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    response = here.press(EVERYWHERE)
    assert "All of your devices were signed out." in here.show(response["Location"]).text
    assert here.cookies["access_token"].value == "" and there.get(DEVICES).status_code == 401
    assert sessions.list_sessions(alice) == []


def test_a_device_that_is_gone_meanwhile_is_no_error(alice: Any, bob: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    theirs = Browser().sign_in("bob", "battery staple")
    form = form_of(here.get(DEVICES).content.decode(), out(there.sid))
    sessions.end_session(alice, there.sid)
    for sid in (there.sid, theirs.sid, "x" * 22, "short", "a*b" + "x" * 20, "%00" * 22):
        for action in (out(sid), naming(sid)):
            response = here.post(action, {**form, "label": "mine"})
            assert response.status_code == 302, action
            assert "That device was signed out already." in here.show().text
    assert theirs.get(DEVICES).status_code == 200 and sessions.list_sessions(bob)[0].label == ""


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("work laptop", "work laptop"),
        ("  two\n  lines\t ", "two lines"),
        ("<b>&amp;'\"", "<b>&amp;'\""),
        ("آیفون من\u200cها", "آیفون من\u200cها"),  # noqa: RUF001
        ("家里的电脑", "家里的电脑"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("e\u0301", "é"),
        ("safe\u202egnp\u2066\u0000\x1b", "safegnp"),
        ("\u200b\u200d \u2060", ""),
        ("x" * 60, "x" * 60),
    ],
)
def test_a_label_of_any_script(alice: Any, label: str, kept: str) -> None:
    browser = Browser().sign_in()
    document = browser.press_and_look(naming(browser.sid), label=label)
    assert sessions.list_sessions(alice)[0].label == kept
    (field,) = document.all("input", name="label")
    assert field["value"] == kept and field["dir"] == "auto" and field["maxlength"] == "60"
    shown = document.texts["h3"][0].removesuffix("This device").strip()
    assert shown == (" ".join(kept.split()) or "Firefox on Linux")
    # What it is remains to be seen.
    assert "Firefox on Linux" in document.text


def test_a_label_goes_as_it_came(alice: Any) -> None:
    browser = Browser().sign_in()
    assert "The name was saved." in browser.press_and_look(naming(browser.sid), label="mine").text
    assert "The name was removed." in browser.press_and_look(naming(browser.sid), label=" ").text
    assert sessions.list_sessions(alice)[0].label == ""


def test_a_label_that_is_too_long_is_refused_by_name(alice: Any) -> None:
    browser = Browser().sign_in()
    browser.press_and_look(naming(browser.sid), label="before")
    for label in ("x" * 61, "x" * 100_000, "\u0301" * 61):
        document = browser.press_and_look(naming(browser.sid), label=label)
        assert "at most 60 characters" in document.text
        assert [flash["role"] for flash in document.all("p", class_="jr-error")] == ["alert"]
    assert sessions.list_sessions(alice)[0].label == "before"


def test_the_label_ends_with_its_session(alice: Any, store: redis.Redis) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    here.press_and_look(naming(there.sid), label="theirs")
    key = f"jwt:{{{alice.pk}}}:devices"
    assert store.hget(key, f"label:{there.sid}") == "theirs" and store.ttl(key) > 0
    here.press_and_look(out(there.sid))
    assert not store.hexists(key, f"label:{there.sid}")


def test_every_button_needs_a_csrf_token(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    form = form_of(here.get(DEVICES).content.decode(), out(there.sid))
    for middleware in (page_settings.MIDDLEWARE, [m for m in page_settings.MIDDLEWARE if "Csrf" not in m]):
        with override_settings(MIDDLEWARE=middleware):
            here.handler.load_middleware()
            for action in (out(there.sid), OTHERS, EVERYWHERE, naming(there.sid)):
                assert here.post(action, {"label": "x"}).status_code == 403, action
                evil = here.post(action, form, headers={"Origin": "https://evil.example"})
                assert evil.status_code == 403, action
    assert len(sessions.list_sessions(alice)) == 2
    with override_settings(MIDDLEWARE=[m for m in page_settings.MIDDLEWARE if "Csrf" not in m]):
        here.handler.load_middleware()
        assert "was signed out." in here.press_and_look(out(there.sid)).text


def test_an_address_of_a_button_leads_to_the_list(alice: Any) -> None:
    browser = Browser().sign_in()
    for action in (out(browser.sid), OTHERS, EVERYWHERE, naming(browser.sid)):
        assert browser.get(action)["Location"] == DEVICES
    assert browser.get(f"{DEVICES}signed-out/")["Location"] == DEVICES
    assert len(sessions.list_sessions(alice)) == 1


# Who asks ---------------------------------------------------------------------------------------------------------


def test_nobody_is_led_to_where_to_sign_in(db: None) -> None:
    assert Browser().get(f"{DEVICES}?page=2")["Location"] == f"/accounts/login/?next={DEVICES}%3Fpage%3D2"
    with override_settings(**page_settings_with(PAGES={"login_url": "/enter/?by=mail"})):
        assert Browser().get(DEVICES)["Location"] == f"/enter/?by=mail&next={DEVICES}"
    token = Browser()
    form = {"csrfmiddlewaretoken": token.get("/auth/csrf/").json()["csrf_token"]}
    assert token.post(OTHERS, form)["Location"] == f"/accounts/login/?next={DEVICES}"


def test_by_the_header(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    other = sessions.open_session(alice)
    client = APIClient()
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {refresh.access_token}"}
    document = read(client.get(DEVICES, **bearer))
    assert names(document) == ["Unknown browser This device", "Unknown browser"]
    assert client.post(out(other["sid"]), **bearer).status_code == 302
    response = client.post(out(refresh["sid"]), **bearer)
    # The cookies, if there are any, are somebody else's.
    assert response["Location"].endswith("signed-out/") and "access_token" not in response.cookies
    assert sessions.list_sessions(alice) == []


def test_by_djangos_own_session_no_row_is_this_device(alice: Any) -> None:
    Browser().sign_in()
    browser = Browser()
    browser.force_login(alice)
    document = browser.show()
    assert names(document) == ["Firefox on Linux"] and EVERYWHERE not in str(document.elements)
    assert "Sign out of all devices" in document.texts["button"]
    after = browser.press_and_look(OTHERS)
    assert "1 other device was signed out." in after.text
    # Empty, and still signed in.
    assert "No devices" in after.texts["h2"] and "No device is signed in with a token" in after.text
    assert sessions.list_sessions(alice) == []


def test_an_access_token_that_has_run_out_is_refreshed_on_the_way(alice: Any) -> None:
    """A page has no script that would, and a person reads for longer than such a token lives."""
    browser = Browser().sign_in()
    before = browser.cookies["refresh_token"].value
    del browser.cookies["access_token"]
    assert names(browser.show()) == ["Firefox on Linux This device"]
    assert browser.access and browser.cookies["refresh_token"].value != before
    del browser.cookies["access_token"]
    assert "The name was saved." in browser.press_and_look(naming(browser.sid), label="mine").text
    del browser.cookies["access_token"]
    response = browser.press(out(browser.sid))
    assert response["Location"].endswith("signed-out/") and browser.cookies["refresh_token"].value == ""


def test_what_was_refreshed_is_kept_even_if_redis_fails_behind_it(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else the old token would come again, and be taken for a stolen one."""
    browser = Browser().sign_in()
    before = browser.cookies["refresh_token"].value
    del browser.cookies["access_token"]

    def fail(user: Any) -> Any:
        raise RevocationUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(sessions, "list_sessions", fail)
        assert browser.get(DEVICES).status_code == 503
    assert browser.access and browser.cookies["refresh_token"].value != before
    assert names(browser.show()) == ["Firefox on Linux This device"]


def test_a_refresh_on_the_way_needs_a_csrf_token_to_do_anything(alice: Any) -> None:
    browser = Browser().sign_in()
    del browser.cookies["access_token"]
    assert browser.post(EVERYWHERE).status_code == 403 and len(sessions.list_sessions(alice)) == 1


def test_who_was_signed_out_is_told_why(alice: Any, store: redis.Redis) -> None:
    def reason(end: Any, **settings: Any) -> str:
        browser = Browser().sign_in()
        with override_settings(**page_settings_with(**settings)):
            end(browser)
            text = browser.show(status=401).text
            # By the refresh token alone, too, when the other has run out.
            del browser.cookies["access_token"]
            assert browser.show(status=401).text == text
        return text

    def change_password(browser: Browser) -> None:
        alice.set_password("correct horse")
        alice.save()

    def replay(browser: Browser) -> None:
        stolen = browser.cookies["refresh_token"].value
        for _ in range(2):
            APIClient().post("/auth/token/refresh/", {"refresh": stolen}, format="json", HTTP_X_CSRFTOKEN="x")

    def expire(browser: Browser) -> None:
        key, field = f"jwt:{{{alice.pk}}}", f"sid:{browser.sid}"
        parts = str(store.hget(key, field)).split(".")
        # Of the refresh token's life, no second is left.
        store.hset(key, field, ".".join([*parts[:3], "0", *parts[4:]]))

    assert "not been here for a while" in reason(expire)
    assert "Your password was changed" in reason(change_password)
    assert "Somebody used an old copy" in reason(replay, REFRESH_GRACE=0)
    assert "as a precaution" in reason(lambda browser: sessions.revoke_everything())


def test_a_session_that_had_to_make_room(alice: Any) -> None:
    browser = Browser().sign_in()
    with override_settings(**page_settings_with(MAX_SESSIONS=1)):
        sessions.open_session(alice)
    assert "more devices than are possible" in browser.show(status=401).text


def test_a_redis_that_is_down_is_a_page(alice: Any) -> None:
    browser = Browser().sign_in()
    form = form_of(browser.get(DEVICES).content.decode(), EVERYWHERE)
    caches = {"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}"}}
    with override_settings(CACHES=caches):
        for response in (browser.get(DEVICES), browser.post(EVERYWHERE, form)):
            assert response.status_code == 503 and response["Retry-After"] == "1"
            assert read(response).texts["h1"] == ["Try again shortly"]
    assert browser.access and len(sessions.list_sessions(alice)) == 1


# Without messages, with htmx, within another page ------------------------------------------------------------------


@pytest.fixture
def _no_messages() -> Iterator[None]:
    apps = [app for app in page_settings.INSTALLED_APPS if app not in ("django.contrib.messages",)]
    middleware = [one for one in page_settings.MIDDLEWARE if "Message" not in one]
    processors = ["django.template.context_processors.request"]
    templates = [{**page_settings.TEMPLATES[0], "OPTIONS": {"context_processors": processors}}]
    # Django's admin, which needs messages, is not installed then.
    apps = [app for app in apps if app != "django.contrib.admin"]
    with override_settings(INSTALLED_APPS=apps, MIDDLEWARE=middleware, TEMPLATES=templates):
        yield


@pytest.mark.usefixtures("_no_messages")
def test_without_djangos_messages_a_cookie_says_it_once(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    response = here.press(out(there.sid))
    cookie = response.cookies["jwt_redis_flash"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and int(cookie["max-age"]) <= 60
    assert "was signed out." in here.show().text
    assert "was signed out." not in here.show().text
    for forged in ("x", "WyJldmlsIixmYWxzZV0:1aaaaa:xxxxxxxx"):
        here.cookies["jwt_redis_flash"] = forged
        assert not here.show().all("p", class_="jr-flash")


def test_htmx_gets_the_list_alone(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    (section,) = here.show().all("section")
    assert section["hx-boost"] == "true" and section["hx-target"] == section["hx-select"] == "#jwt-sessions"
    htmx = {"HX-Request": "true", "HX-Boosted": "true"}
    response = here.press(out(there.sid), headers=htmx)
    assert response.status_code == 302
    part = here.get(response["Location"], headers=htmx).content.decode()
    assert part.lstrip().startswith('<section id="jwt-sessions"') and "<html" not in part
    assert "was signed out." in part and "csrfmiddlewaretoken" in part and Document(part).problems == []
    restored = here.get(DEVICES, headers={**htmx, "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()
    # Where the page is to be left, htmx leaves it.
    gone = there.get(DEVICES, headers=htmx)
    assert gone.status_code == 204 and gone["HX-Redirect"] == DEVICES
    left = here.press(out(here.sid), headers=htmx)
    assert left.status_code == 204 and left["HX-Redirect"] == f"{DEVICES}signed-out/"
    assert here.cookies["access_token"].value == ""


def test_within_a_page_of_the_project(alice: Any) -> None:
    here, there = Browser().sign_in(), Browser().sign_in()
    document = here.show("/account/")
    assert document.texts["h1"] == ["My account"] and len(names(document)) == 2
    response = here.press(out(there.sid), url="/account/?page=1")
    assert response["Location"] == "/account/?page=1"
    after = here.show("/account/")
    assert len(names(after)) == 1 and len(after.all("p", class_="own-message")) == 1
    assert not after.all("p", class_="jr-flash")
    evil = here.press(naming(here.sid), url="/account/", next="https://evil.example/")
    assert evil["Location"] == DEVICES
    assert "You are not signed in." in Browser().show("/account/").text


def test_the_page_is_a_project_s_to_change(alice: Any, tmp_path: Path) -> None:
    folder = tmp_path / "jwt_redis"
    folder.mkdir()
    (folder / "base.html").write_text("<!doctype html><h1>Our shop</h1>{% block content %}{% endblock %}")
    templates = [{**page_settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    browser = Browser().sign_in()
    with override_settings(TEMPLATES=templates):
        html = browser.get(DEVICES).content.decode()
    assert "Our shop" in html and "Firefox on Linux" in html and "jwt_redis/base.html" not in html


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"page_size": 0}, "page_size: a whole number"),
        ({"page_size": True}, "page_size: a whole number"),
        ({"login_url": ""}, "login_url: a non-empty string"),
        ({"password_url": 5}, "password_url: a non-empty string"),
        ({"size": 5}, "'size' is not one of"),
        ([], "a dict such as"),
    ],
)
def test_a_wrong_setting_is_named(value: Any, words: str) -> None:
    with override_settings(JWT_REDIS={"PAGES": value}):
        (problem,) = conf.problems()
    assert problem.key == "PAGES" and words in problem.reason


# JSON gives the same facts -----------------------------------------------------------------------------------------


def test_json_has_the_place_and_sets_the_label(alice: Any, bob: Any) -> None:
    browser = Browser().sign_in()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {browser.access}")
    url = f"/auth/sessions/{browser.sid}/"
    (row,) = client.get("/auth/sessions/").json()
    assert (row["location"], row["device"], row["label"]) == ("Berlin, Germany", "Firefox on Linux", "")
    named = client.patch(url, {"label": " my\n laptop "}, format="json")
    assert named.status_code == 200 and named.json() == {**row, "label": "my laptop"}
    assert client.get("/auth/sessions/").json() == [named.json()]
    assert client.patch(url, {"label": ""}, format="json").json()["label"] == ""
    for body in ({}, {"label": None}, {"label": "x" * 61}, {"label": ["x"]}, {"label": "x" * 100_000}):
        response = client.patch(url, body, format="json")
        assert response.status_code == 400 and "label" in response.json(), body
    theirs = sessions.open_session(bob)["sid"]
    for sid in (theirs, "x" * 22, "short", "a*b" + "x" * 20):
        assert client.patch(f"/auth/sessions/{sid}/", {"label": "x"}, format="json").status_code == 404
    assert sessions.list_sessions(bob)[0].label == ""
    sessions.end_session(alice, browser.sid)
    assert client.patch(url, {"label": "x"}, format="json").status_code == 401


async def test_the_label_has_an_async_twin(alice: Any) -> None:
    refresh = await sessions.aopen_session(alice)
    assert await sessions.aset_label(alice, refresh["sid"], "mine")
    assert (await sessions.alist_sessions(alice))[0].label == "mine"
    assert not await sessions.aset_label(alice, "x" * 22, "mine")


def test_a_label_is_a_string_and_a_sid_a_sid(alice: Any) -> None:
    sid = sessions.open_session(alice)["sid"]
    with pytest.raises(ValueError, match="label: a string"):
        sessions.set_label(alice, sid, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sid"):
        sessions.set_label(alice, "?", "mine")


# Over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asgi", [False, True], ids=["gunicorn", "uvicorn"])
def test_the_two_browser_story_over_http(tmp_path: Path, asgi: bool) -> None:
    import requests

    with http_server(tmp_path, settings="tests.projects.page_settings", workers=2, asgi=asgi) as base:

        def sign_in(agent: str) -> requests.Session:
            session = requests.Session()
            session.headers["User-Agent"] = agent
            token = session.get(base + "/auth/csrf/", timeout=20).json()["csrf_token"]
            answer = session.post(
                base + "/auth/token/",
                json={"username": "alice", "password": "correct horse"},
                headers={"X-CSRFToken": token},
                timeout=20,
            )
            assert answer.status_code == 200
            return session

        laptop, phone = sign_in(FIREFOX), sign_in(IPHONE)
        page = laptop.get(base + DEVICES, timeout=20).text
        document = Document(page)
        assert document.problems == []
        assert names(document) == ["Firefox on Linux This device", "Mobile Safari on iOS"]
        _, action = re.findall(rf'action="({DEVICES}[^"]+/sign-out/)"', page)
        after = laptop.post(base + action, data=form_of(page, action), timeout=20)
        assert after.url == base + DEVICES and names(Document(after.text)) == ["Firefox on Linux This device"]
        gone = phone.get(base + DEVICES, timeout=20)
        assert gone.status_code == 401 and "You were signed out" in gone.text
        css = re.findall(r'href="(/static/[^"]+)"', page)
        assert css == ["/static/jwt_redis/pages/pages.css"]
        assert laptop.post(base + EVERYWHERE, data=form_of(after.text, EVERYWHERE), timeout=20).url == (
            base + DEVICES + "signed-out/"
        )
        assert not [cookie for cookie in laptop.cookies if cookie.name.endswith("_token")]
