"""A sign-in from a new device: what is new, who is told, and what the link "this was not me" does."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import redis
from django.core import mail, signing
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import transaction
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone, translation
from rest_framework.test import APIClient

from jwt_redis import notices, sessions, signals
from jwt_redis.devices import Device, signing_in_from
from jwt_redis.models import Revocation
from jwt_redis.testing.servers import free_port
from jwt_redis.tokens import RefreshToken
from tests.projects import page_settings
from tests.support.pages import Document, read
from tests.support.server import ROOT
from tests.support.topology import acl_server, pointed_at
from tests.test_device_page import CHANGED, DEVICES, FIREFOX, IPHONE, Browser
from tests.test_topology import COMMANDS, rights

pytestmark = pytest.mark.django_db(transaction=True)

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36"
NOTICE = {"base_url": "https://shop.example"}


def settings_with(notice: Any = NOTICE, **more: Any) -> dict[str, Any]:
    found = {name: getattr(page_settings, name) for name in CHANGED}
    return {**found, "JWT_REDIS": {**found["JWT_REDIS"], "SIGN_IN_NOTICE": notice, **more}}


@pytest.fixture(autouse=True)
def _notice_settings() -> Iterator[None]:
    with override_settings(**settings_with()):
        yield


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    def receiver(sender: Any, signal: Any, **facts: Any) -> None:
        seen.append(facts)

    signals.new_device_signed_in.connect(receiver)
    yield seen
    signals.new_device_signed_in.disconnect(receiver)


def sign_in(user: Any, agent: str = FIREFOX, ip: str = "192.0.2.1") -> RefreshToken:
    request = RequestFactory().get("/", HTTP_USER_AGENT=agent, HTTP_X_TEST_IP=ip)
    return sessions.open_session(user, request)


def mails() -> int:
    return len(mail.outbox)


# What is new ------------------------------------------------------------------------------------------------------


def test_the_first_device_is_none_to_tell_of_and_the_second_is(alice: Any, heard: list[Any]) -> None:
    sign_in(alice)
    assert heard == [] and mails() == 0
    second = sign_in(alice, IPHONE, "198.51.100.7")
    assert heard == [
        {"user": str(alice.pk), "sid": second["sid"], "device": "Mobile Safari on iOS", "ip": "198.51.100.7"}
    ]
    assert mails() == 1


def test_off_by_default(alice: Any, heard: list[Any], store: redis.Redis) -> None:
    with override_settings(**settings_with(None)):
        sign_in(alice)
        sign_in(alice, IPHONE)
    assert heard == [] and mails() == 0 and not store.exists(f"jwt:{{{alice.pk}}}:known")


def test_a_device_is_known_again_after_its_session_has_ended(alice: Any, heard: list[Any], store: redis.Redis) -> None:
    for _ in range(3):
        for agent in (FIREFOX, IPHONE):
            sign_in(alice, agent)
            sessions.end_all_sessions(alice)
    assert [facts["device"] for facts in heard] == ["Mobile Safari on iOS"]
    assert 0 < store.ttl(f"jwt:{{{alice.pk}}}:known") <= timedelta(days=90).total_seconds()


def test_a_new_version_and_another_address_are_no_new_device(alice: Any, heard: list[Any]) -> None:
    sign_in(alice)
    sign_in(alice, CHROME.format("124.0.0.0"))
    assert len(heard) == 1
    sign_in(alice, CHROME.format("131.0.0.0"), "203.0.113.5")
    assert len(heard) == 1


def test_another_network_is_where_it_counts(alice: Any, heard: list[Any]) -> None:
    with override_settings(**settings_with({**NOTICE, "by_network": True})):
        for ip in ("192.0.2.1", "192.0.99.1", "2001:db8::1", "2001:db8:ffff::1", "198.51.100.7", "192.0.2.77"):
            sign_in(alice, FIREFOX, ip)
    assert [facts["ip"] for facts in heard] == ["2001:db8::1", "198.51.100.7"]


def test_who_is_signed_in_when_it_is_switched_on_is_known(alice: Any, heard: list[Any]) -> None:
    with override_settings(**settings_with(None)):
        sign_in(alice)
        sign_in(alice, IPHONE)
    sign_in(alice, FIREFOX)
    sign_in(alice, IPHONE)
    assert heard == []
    sign_in(alice, CHROME.format("124"))
    assert len(heard) == 1


def test_a_device_is_forgotten_after_a_while(alice: Any, heard: list[Any], store: redis.Redis) -> None:
    key = f"jwt:{{{alice.pk}}}:known"
    for agent in (FIREFOX, IPHONE):
        sign_in(alice, agent)
        sessions.end_all_sessions(alice)
    for field, value in store.hgetall(key).items():
        since, _ = value.split(".")
        store.hset(key, field, f"{since}.1")
    # All are forgotten, so this one is the first.
    sign_in(alice, IPHONE)
    assert len(heard) == 1 and store.hlen(key) == 1


def test_without_the_parser_an_agent_is_compared_without_its_numbers(
    alice: Any, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ua_parser", None)
    sign_in(alice)
    sign_in(alice, FIREFOX.replace("130", "131"))
    assert heard == []
    sign_in(alice, IPHONE)
    assert [facts["device"] for facts in heard] == [""]
    assert "Device: unknown" in mail.outbox[0].body


def test_of_two_at_a_time_one_is_told_of_whoever_asks_first(alice: Any, heard: list[Any]) -> None:
    with override_settings(**settings_with(None)):
        sign_in(alice, CHROME.format("124"))
        time.sleep(0.005)  # in the same millisecond it would be no earlier one
        opened = {sign_in(alice, IPHONE)["sid"] for _ in range(2)}
    found = [session for session in sessions.list_sessions(alice) if session.sid in opened]
    # In one millisecond, perhaps.
    pair = [session.sid for session in sorted(found, key=lambda session: (session.created_at, session.sid))]
    for order in (pair, pair[::-1]):
        told = {sid: sessions.recognize(alice, sid).is_new for sid in order}  # type: ignore[union-attr]
        assert told == {pair[0]: True, pair[1]: False}, order


def test_ever_other_agents_do_not_fill_the_store(alice: Any, store: redis.Redis) -> None:
    with override_settings(**settings_with({**NOTICE, "send": None}, MAX_SESSIONS=3)):
        for number in range(130):
            sign_in(alice, "app-" + "x" * number)
    assert store.hlen(f"jwt:{{{alice.pk}}}:known") == 100


def test_a_session_that_is_over_already_is_not_recognized(alice: Any) -> None:
    sid = sign_in(alice)["sid"]
    sessions.end_session(alice, sid)
    assert sessions.recognize(alice, sid) is None
    with pytest.raises(ValueError, match="sid"):
        sessions.recognize(alice, "?")


async def test_the_async_twin_and_an_async_sign_in(alice: Any, heard: list[Any]) -> None:
    await sessions.aopen_session(alice, RequestFactory().get("/", HTTP_USER_AGENT=FIREFOX))
    token = await sessions.aopen_session(alice, RequestFactory().get("/", HTTP_USER_AGENT=IPHONE))
    assert len(heard) == 1 and mails() == 1
    again = await sessions.arecognize(alice, token["sid"])
    assert again is not None and again.session.sid == token["sid"]


def test_a_damaged_memory_is_made_anew(alice: Any, store: redis.Redis, heard: list[Any]) -> None:
    key = f"jwt:{{{alice.pk}}}:known"
    store.set(key, "x")
    sign_in(alice)
    store.hset(key, mapping={"device:x": "y", "used:x": "1.", "": "1.99999999999"})
    sign_in(alice, IPHONE)
    assert len(heard) == 1 and set(store.hgetall(key)) >= {""} and store.hlen(key) == 3


# Who is told ------------------------------------------------------------------------------------------------------


def test_the_mail(alice: Any) -> None:
    sign_in(alice)
    token = sign_in(alice, IPHONE, "192.0.2.1")
    (message,) = mail.outbox
    assert message.subject == "New sign-in to shop.example with Mobile Safari on iOS"
    assert message.to == ["alice@example.com"] and message.extra_headers["Auto-Submitted"] == "auto-generated"
    html = str(message.alternatives[0][0])
    year = str(timezone.localtime(sessions.list_sessions(alice)[0].created_at).year)
    for text in (message.body, html):
        for fact in ("alice", "Mobile Safari on iOS", "Berlin, Germany", "192.0.2.1", year, "works once"):
            assert fact in text, fact
        assert re.findall(r"https://\S+?/not-me/[\w:-]+/", text) == [link()]
        assert f"https://shop.example{DEVICES}" in text
    document = Document(html)
    # A mail has its styles in itself.
    assert [problem for problem in document.problems if "policy" not in problem] == []
    assert token["sid"] not in message.body and str(token) not in message.body


def link(number: int = -1) -> str:
    found = re.search(r"https://shop\.example/\S+/not-me/\S+/", str(mail.outbox[number].body))
    assert found is not None
    return found[0]


def path(number: int = -1) -> str:
    return link(number).removeprefix("https://shop.example")


def test_names_and_agents_are_text_in_the_mail(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("<b>&'mallory", "mallory@example.com", "x")
    sign_in(user)
    with signing_in_from(RequestFactory().get("/", HTTP_USER_AGENT="\n<script>Evil</script>/1\r\nBcc: x@y")):
        str(RefreshToken.for_user(user))
    (message,) = mail.outbox
    assert "Hello <b>&'mallory," in message.body and "&lt;b&gt;&amp;&#x27;mallory" in message.alternatives[0][0]
    assert "<script" not in message.alternatives[0][0] and "\n" not in message.subject
    assert message.recipients() == ["mallory@example.com"]


def german(user: Any) -> str:
    return "de"


def test_in_the_language_of_the_request_or_of_the_user(alice: Any) -> None:
    sign_in(alice)
    before = translation.get_language()
    with translation.override("ar"):
        sign_in(alice, IPHONE)
    assert 'dir="rtl"' in mail.outbox[-1].alternatives[0][0]
    with override_settings(**settings_with({**NOTICE, "language": "tests.test_notices.german"})):
        sign_in(alice, CHROME.format("1"))
        assert 'lang="de"' in mail.outbox[-1].alternatives[0][0] and translation.get_language() == before


def test_a_user_without_an_address_and_one_who_is_gone(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    alice.email = ""
    alice.save()
    sign_in(alice)
    with caplog.at_level("INFO", "jwt_redis"):
        sign_in(alice, IPHONE)
    assert "notice_without_address" in [getattr(record, "event", "") for record in caplog.records]
    str(RefreshToken.for_user(alice))
    ghost = "987654"
    for agent in (FIREFOX, IPHONE):
        with signing_in_from(RequestFactory().get("/", HTTP_USER_AGENT=agent)):
            token = RefreshToken()
            token["user_id"] = ghost
            str(token)
    assert mails() == 0


told: list[notices.Notice] = []


def hand_over(notice: notices.Notice) -> None:
    told.append(notice)


def test_a_project_sends_it_its_own_way(alice: Any) -> None:
    told.clear()
    with override_settings(**settings_with({**NOTICE, "send": "tests.test_notices.hand_over"})):
        sign_in(alice)
        sign_in(alice, IPHONE)
    (notice,) = told
    assert mails() == 0 and notice.user == alice and notice.device == "Mobile Safari on iOS"
    assert notice.location == "Berlin, Germany" and notice.session.ip == "192.0.2.1"
    assert notice.not_me_url.startswith(f"https://shop.example{DEVICES}not-me/")
    assert timedelta(days=6) < notice.good_until - datetime.now(UTC) <= timedelta(days=7)


def test_nobody_but_the_signal(alice: Any, heard: list[Any]) -> None:
    with override_settings(**settings_with({**NOTICE, "send": None})):
        sign_in(alice)
        sign_in(alice, IPHONE)
    assert len(heard) == 1 and mails() == 0


def test_it_is_sent_after_the_transaction(alice: Any) -> None:
    sign_in(alice)
    with transaction.atomic():
        sign_in(alice, IPHONE)
        assert mails() == 0
    assert mails() == 1
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        sign_in(alice, CHROME.format("1"))
        raise ZeroDivisionError
    assert mails() == 1


class MailServer:
    """As much of SMTP (RFC 5321) as one message needs. ``refusal``: what it answers to RCPT instead."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.said: list[str] = []
        self.message = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> MailServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _talk(self) -> None:
        self._listener.settimeout(10)
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rwb") as stream:

            def answer(text: str) -> None:
                stream.write(f"{text}\r\n".encode())
                stream.flush()

            answer("220 here")
            while line := stream.readline().decode().strip():
                self.said.append(line)
                verb = line.split()[0].upper()
                if verb == "DATA":
                    answer("354 go on")
                    lines = list(iter(lambda: stream.readline().decode(), ".\r\n"))
                    self.message = "".join(lines)
                    answer("250 taken")
                elif verb == "QUIT":
                    answer("221 bye")
                    return
                elif verb == "RCPT" and self.refusal:
                    answer(self.refusal)
                else:
                    answer("250 fine")


def smtp(port: int) -> Any:
    return override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        EMAIL_TIMEOUT=5,
        DEFAULT_FROM_EMAIL="shop@shop.example",
    )


def test_over_a_mail_server(alice: Any) -> None:
    sign_in(alice)
    with MailServer() as server, smtp(server.port):
        sign_in(alice, IPHONE)
    assert "rcpt TO:<alice@example.com>" in server.said and "mail FROM:<shop@shop.example>" in server.said[1:2][0]
    assert "Subject: New sign-in to shop.example with Mobile Safari on iOS" in server.message
    assert "Auto-Submitted: auto-generated" in server.message and "multipart/alternative" in server.message


@pytest.mark.parametrize("how", ["refused", "nobody there"])
def test_a_mail_server_that_fails_harms_no_sign_in(alice: Any, how: str, caplog: pytest.LogCaptureFixture) -> None:
    Browser().sign_in()
    if how == "refused":
        with MailServer("550 no such user") as server, smtp(server.port):
            phone = Browser(IPHONE).sign_in()
        assert any(line.startswith("rcpt") for line in server.said)
    else:
        with smtp(free_port()):
            phone = Browser(IPHONE).sign_in()
    assert phone.get(DEVICES).status_code == 200
    assert [getattr(r, "event", "") for r in caplog.records].count("notice_failed") == 1


# The link ---------------------------------------------------------------------------------------------------------


def test_it_asks_and_then_ends_everything(alice: Any, bob: Any) -> None:
    mine, thief = Browser().sign_in(), Browser(IPHONE).sign_in()
    theirs = Browser().sign_in("bob", "battery staple")
    elsewhere = Client(enforce_csrf_checks=True)
    for _ in range(3):
        # A program that looks into mails, or HEAD; nothing happens.
        page = elsewhere.get(path())
        assert page.status_code == 200 and elsewhere.head(path()).status_code == 200
    assert read(page).texts["button"] == ["It was not me: sign out every device"]
    assert page["Referrer-Policy"] == "same-origin" and "no-store" in page["Cache-Control"]
    assert mine.get(DEVICES).status_code == thief.get(DEVICES).status_code == 200
    done = elsewhere.post(path())
    assert done.status_code == 200
    document = read(done)
    assert document.texts["h1"] == ["All devices were signed out"] and "2 devices were signed out" in document.text
    assert "Change your password" in [text.strip() for text in document.texts["a"]]
    assert document.all("a", href="/accounts/password/")
    assert mine.get(DEVICES).status_code == thief.get(DEVICES).status_code == 401
    assert "You said that a sign-in was not you" in thief.show(status=401).text
    assert theirs.get(DEVICES).status_code == 200
    row = Revocation.objects.get(kind="user")
    assert (row.reason, row.actor) == ("not_me", "link in a sign-in notice")


def test_it_works_once(alice: Any, store: redis.Redis) -> None:
    sign_in(alice)
    sign_in(alice, IPHONE)
    client = Client()
    assert client.post(path()).status_code == 200
    after = sign_in(alice)
    for answer in (client.get(path()), client.post(path())):
        assert answer.status_code == 410
        assert "It was used already, on" in read(answer).text
        (moment,) = read(answer).all("time")
        assert abs(datetime.now(UTC) - datetime.fromisoformat(str(moment["datetime"]))) < timedelta(minutes=5)
    assert [session.sid for session in sessions.list_sessions(alice)] == [after["sid"]]
    # Another notice's link is another one.
    sessions.end_all_sessions(alice)
    sign_in(alice, CHROME.format("1"))
    assert client.post(path()).status_code == 200 and sessions.list_sessions(alice) == []


def test_it_works_after_the_thief_has_signed_out_and_in_again(alice: Any) -> None:
    sign_in(alice)
    thief = sign_in(alice, IPHONE)
    sessions.end_session(alice, thief["sid"])
    sign_in(alice, IPHONE)
    assert mails() == 1
    assert Client().post(path()).status_code == 200 and sessions.list_sessions(alice) == []


def test_used_in_the_own_browser_it_clears_the_cookies(alice: Any, bob: Any) -> None:
    mine = Browser().sign_in()
    sign_in(alice, IPHONE)
    theirs = Browser().sign_in("bob", "battery staple")
    response = mine.post(path())
    assert response.status_code == 200 and mine.cookies["access_token"].value == ""
    sign_in(alice, CHROME.format("1"))
    assert theirs.post(path()).status_code == 200 and theirs.access
    assert theirs.get(DEVICES).status_code == 200


def test_one_that_is_too_old(alice: Any) -> None:
    sign_in(alice)
    sign_in(alice, IPHONE)
    with override_settings(**settings_with({**NOTICE, "link_lifetime": timedelta(seconds=1)})):
        threading.Event().wait(1.1)
        for answer in (Client().get(path()), Client().post(path())):
            assert answer.status_code == 410 and "It is too old." in read(answer).text
    assert len(sessions.list_sessions(alice)) == 2


def test_forged_and_foreign_ones(alice: Any) -> None:
    sign_in(alice)
    sign_in(alice, IPHONE)
    token = path().rstrip("/").rpartition("/")[2]
    who = [str(alice.pk), sessions.list_sessions(alice)[0].sid]
    with override_settings(SECRET_KEY="another key"):
        foreign = signing.dumps(who, salt="jwt_redis.notices.not_me")
    wrong = ["x", token[:-1], token + "x", token.replace(":", "", 1), foreign, signing.dumps(who), "a" * 5000]
    for one in wrong:
        for answer in (Client().get(f"{DEVICES}not-me/{one}/"), Client().post(f"{DEVICES}not-me/{one}/")):
            assert answer.status_code == 400 and read(answer).texts["h1"] == ["This link does not work"]
    assert len(sessions.list_sessions(alice)) == 2


def test_one_that_redis_did_not_hear_of_is_not_used_up(alice: Any) -> None:
    sign_in(alice)
    sign_in(alice, IPHONE)
    caches = {"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}"}}
    with override_settings(CACHES=caches):
        assert Client().post(path()).status_code == 503
    assert Client().post(path()).status_code == 200 and sessions.list_sessions(alice) == []


def test_it_outlives_the_setting(alice: Any) -> None:
    sign_in(alice)
    sign_in(alice, IPHONE)
    with override_settings(**settings_with(None)):
        assert Client().post(path()).status_code == 200
    assert sessions.list_sessions(alice) == []


def test_under_the_blacklist_strategy_what_the_store_has_lost_is_refused_too(alice: Any, store: redis.Redis) -> None:
    with override_settings(**settings_with(STRATEGY="blacklist")):
        sign_in(alice)
        access = str(sign_in(alice, IPHONE).access_token)
        assert Client().post(path()).status_code == 200
        answer = APIClient().get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {access}")
        assert answer.status_code == 401


def test_the_rights_in_the_documentation_suffice(alice: Any, heard: list[Any]) -> None:
    access = f"{rights(*COMMANDS)} ~jwt:{{*}}:known"
    assert "| `SIGN_IN_NOTICE` | `~jwt:{*}:known` |" in (ROOT / "docs/how-to/tls-and-acl.md").read_text()
    with acl_server(access) as server, pointed_at(server, SIGN_IN_NOTICE=NOTICE):
        sign_in(alice)
        sessions.set_label(alice, sign_in(alice, IPHONE)["sid"], "mine")
        assert len(heard) == 1
        assert Client().post(path()).status_code == 200 and Client().get(path()).status_code == 410


# Settings and checks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "base_url: it is missing"),
        ({"base_url": "shop.example"}, "base_url: the site's address"),
        ({"base_url": "https://shop.example?x=1"}, "base_url: the site's address"),
        ({"base_url": "https://a@shop.example"}, "base_url: the site's address"),
        ({**NOTICE, "send": "no.such.thing"}, "send: "),
        ({**NOTICE, "link_lifetime": None}, "link_lifetime: a timedelta"),
        ({**NOTICE, "known_for": timedelta(days=10_000)}, "known_for: a timedelta"),
        ({**NOTICE, "by_network": 1}, "by_network: True or False"),
        ({**NOTICE, "colour": 1}, "'colour' is not one of"),
        (True, "a dict such as"),
    ],
)
def test_a_wrong_setting_is_named(value: Any, words: str) -> None:
    from jwt_redis import conf

    with override_settings(JWT_REDIS={"SIGN_IN_NOTICE": value}):
        (problem,) = conf.problems()
    assert problem.key == "SIGN_IN_NOTICE" and words in problem.reason


def test_the_checks() -> None:
    def found() -> str:
        output = StringIO()
        try:
            call_command("check", stdout=output, stderr=output)
        except SystemCheckError as error:
            return output.getvalue() + str(error)
        return output.getvalue()

    assert "jwt_redis.E008" not in found() and "jwt_redis.W007" not in found()
    with override_settings(ROOT_URLCONF="tests.urls"):
        assert "jwt_redis.E008" in found()
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend"):
        assert "jwt_redis.W007" in found()
        with override_settings(EMAIL_TIMEOUT=5):
            assert "jwt_redis.W007" not in found()
    with override_settings(**settings_with(None, PAGES={})):
        assert "jwt_redis.E008" not in found()


def test_a_device_that_dumps_nothing_is_a_device_too(alice: Any, heard: list[Any]) -> None:
    assert Device().dump() == ""
    sessions.open_session(alice)
    sessions.open_session(alice)
    assert heard == []
    sign_in(alice)
    assert len(heard) == 1
