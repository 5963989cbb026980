"""What somebody with ill will, or with odd luck, makes of the pages, the admin and the commands' output."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings

from jwt_redis import journal, sessions
from jwt_redis.admin.revocations import RevocationAdmin, _ReasonFilter
from jwt_redis.management.base import columns, table
from jwt_redis.models import Revocation
from jwt_redis.testing.servers import RedisServer
from tests.support.pages import Document, read
from tests.support.server import ROOT
from tests.support.topology import PATIENT
from tests.test_device_page import (
    DEVICES,
    EVERYWHERE,
    FIREFOX,
    IPHONE,
    OTHERS,
    Browser,
    form_of,
    names,
    naming,
    out,
    page_settings_with,
)

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/jwt_redis/session/"
NOTICE = {"base_url": "https://shop.example"}


@pytest.fixture(autouse=True)
def _page_settings() -> Iterator[None]:
    with override_settings(**page_settings_with(SIGN_IN_NOTICE=NOTICE)):
        yield


@pytest.fixture
def staff(django_user_model: Any) -> Callable[..., Client]:
    """A member of the staff with these rights, and no others."""

    def make(*codenames: str) -> Client:
        user = django_user_model.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return make


def sign_in(user: Any, agent: str = FIREFOX, ip: str = "192.0.2.1") -> str:
    request = RequestFactory().get("/", HTTP_USER_AGENT=agent, HTTP_X_TEST_IP=ip)
    return str(sessions.open_session(user, request)["sid"])


def caches_of(server: RedisServer) -> Any:
    return {"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url, "OPTIONS": PATIENT}}


def live(user: Any) -> set[str]:
    return {session.sid for session in sessions.list_sessions(user)}


# The device page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "login",
        "no-such-pattern",
        "?page=2",
        "//evil.example/",
        "/\\evil.example/",
        "///evil.example/",
        "https://evil.example/",
        "javascript:alert(1)",
        "http://[::1",
        "\0",
        "/" + "x" * 5000,
    ],
)
def test_a_button_leads_back_to_a_path_of_this_site_or_to_the_list(alice: Any, address: str) -> None:
    browser = Browser().sign_in()
    answer = browser.press(naming(browser.sid), label="Mine", next=address)
    assert answer.status_code == 302 and answer["Location"] == DEVICES
    assert names(browser.show()) == ["Mine This device"]


def test_a_path_of_this_site_is_kept_and_cannot_break_the_header(alice: Any) -> None:
    browser = Browser().sign_in()
    answer = browser.press(naming(browser.sid), label="Mine", next="/account/?tab=1\r\nSet-Cookie: a=b")
    assert answer["Location"] == "/account/?tab=1%0D%0ASet-Cookie:%20a=b" and "a" not in answer.cookies


@pytest.mark.parametrize("page", ["9" * 5000, "-1", "0", "abc", "\0", "²", "٣", "1e3", "1.5", ""])
def test_no_page_number_is_an_error(alice: Any, page: str) -> None:
    browser = Browser().sign_in()
    assert read(browser.get(DEVICES, {"page": page})).texts["h3"] == ["Firefox on Linux This device"]
    answer = browser.press(naming(browser.sid), label="", page=page)
    assert answer.status_code == 302 and answer["Location"].startswith(DEVICES)


def test_a_thousand_pages_can_be_turned_where_numbers_have_separators(alice: Any, store: redis.Redis) -> None:
    more = page_settings_with(PAGES={"page_size": 1}, COOKIE={"secure": False})
    with override_settings(**more, USE_THOUSAND_SEPARATOR=True):
        browser = Browser().sign_in()
        key = f"jwt:{{{alice.pk}}}"
        record = store.hget(key, f"sid:{browser.sid}")
        store.hset(key, mapping={f"sid:{number:022}": record for number in range(1001)})
        document = read(browser.get(DEVICES, {"page": "1001"}))
        assert [link["href"] for link in document.all("a", rel="prev")] == ["?page=1000"]
        assert [link["href"] for link in document.all("a", rel="next")] == ["?page=1002"]
        # And a button on such a page leads back to it.
        assert {one["value"] for one in document.all("input", name="page")} == {"1001"}
        assert "Page 1,001 of 1,002" in document.text


def test_htmx_is_to_keep_no_copy_of_the_list(alice: Any) -> None:
    """https://htmx.org/attributes/hx-history/: else it keeps pages in the browser's storage, past the sign-out."""
    browser = Browser().sign_in()
    (section,) = browser.show().all("section", id="jwt-sessions")
    assert section["hx-history"] == "false"
    (section,) = browser.show("/account/").all("section", id="jwt-sessions")
    assert section["hx-history"] == "false"


@pytest.mark.parametrize("action", ["own", "others", "everywhere", "label"])
def test_a_button_that_redis_did_not_hear_does_not_say_that_nobody_was_signed_out(alice: Any, action: str) -> None:
    with RedisServer() as server, override_settings(CACHES=caches_of(server)):
        browser = Browser().sign_in()
        sign_in(alice, IPHONE)
        own = {"own": out(browser.sid), "label": naming(browser.sid)}
        url = {**own, "others": OTHERS, "everywhere": EVERYWHERE}[action]
        form = form_of(browser.get(DEVICES).content.decode(), url)
        server.kill()
        answer = browser.post(url, form)
        assert answer.status_code == 503 and answer["Retry-After"]
        text = read(answer).text
        assert "It is not certain that this was done" in text and "Nobody was signed out" not in text
        # Who only looks is told that nothing has changed.
        assert "Nobody was signed out" in read(browser.get(DEVICES)).text
        server.start()


def test_the_tag_without_the_request_says_what_is_missing(db: None) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"context_processors\.request"):
        Template("{% load jwt_redis %}{% jwt_sessions %}").render(Context({}))


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "{{ 7|add:7 }}"])
def test_hostile_names_are_text_on_every_page(alice: Any, hostile: str, staff: Any, store: redis.Redis) -> None:
    browser = Browser(agent_of(hostile)).sign_in()
    other = sign_in(alice, agent_of(hostile))
    browser.press(naming(other), label=hostile)
    said = browser.press_and_look(out(other))
    assert f"“\u2068{hostile}\u2069” was signed out." in said.text
    alice.username = hostile
    alice.save()
    browser.press(naming(browser.sid), label=hostile)
    assert hostile in browser.show().text and "14" not in names(browser.show())[0]
    seen = staff("view_session", "revoke_session", "view_revocation")
    for url in (LIST, f"{LIST}?user={alice.pk}", f"{LIST}revoke-user/?user={alice.pk}", f"{LIST}health/"):
        html = seen.get(url).content.decode()
        assert "<script>alert" not in html and "<img" not in html, url
    assert hostile in Document(seen.get(LIST).content.decode()).text


def agent_of(text: str) -> str:
    return f"{text} {FIREFOX}"


# The link in a notice ---------------------------------------------------------------------------------------------


def not_me(user: Any, sid: str) -> str:
    """The path behind the link of the last mail."""
    sign_in(user, IPHONE)
    body = str(mail.outbox[-1].body)
    return body.split("https://shop.example", 1)[1].split()[0]


def test_four_presses_at_once_end_everything_and_do_not_fail(alice: Any) -> None:
    # SQLite in memory has one writer, and threads share it.
    with override_settings(**page_settings_with(SIGN_IN_NOTICE=NOTICE, JOURNAL=False)):
        sign_in(alice)
        url = not_me(alice, "")
        statuses: list[int] = []
        gate = threading.Barrier(4)

        def press() -> None:
            gate.wait(10)
            statuses.append(Client().post(url).status_code)
            connections.close_all()

        threads = [threading.Thread(target=press) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(statuses) == 4 and set(statuses) <= {200, 410} and 200 in statuses
        assert live(alice) == set()
        # Afterwards it is used up, for all of them.
        sid = sign_in(alice)
        assert Client().post(url).status_code == 410 and live(alice) == {sid}


def test_what_looks_into_mails_ends_nothing(alice: Any) -> None:
    sign_in(alice)
    url = not_me(alice, "")
    before = live(alice)
    for method in ("get", "head", "options", "put", "delete", "patch"):
        getattr(Client(), method)(url)
    assert live(alice) == before and len(before) == 2
    assert Client().post(url).status_code == 200 and live(alice) == set()


def test_it_outlives_a_new_secret_key_that_names_the_old_one(alice: Any, settings: Any) -> None:
    sign_in(alice)
    url = not_me(alice, "")
    old = settings.SECRET_KEY
    with override_settings(SECRET_KEY="another key that is as long as the one before it was, or longer"):
        assert Client().post(url).status_code == 400 and len(live(alice)) == 2
        with override_settings(SECRET_KEY_FALLBACKS=[old]):
            assert Client().post(url).status_code == 200


def test_a_redis_that_dies_before_the_press_is_no_lie(alice: Any) -> None:
    with RedisServer() as server, override_settings(CACHES=caches_of(server)):
        sign_in(alice)
        url = not_me(alice, "")
        client = Client()
        assert client.get(url).status_code == 200
        server.kill()
        answer = client.post(url)
        assert answer.status_code == 503 and "Nobody was signed out" not in read(answer).text
        server.start()


def test_the_link_s_page_leaves_what_was_said_for_the_page_that_shows_it(alice: Any) -> None:
    sign_in(alice)
    url = not_me(alice, "")
    browser = Browser().sign_in()
    browser.press(naming(browser.sid), label="Mine")
    browser.get(url)
    assert "The name was saved." in browser.show().text


def test_a_name_cannot_add_headers_to_the_mail(alice: Any) -> None:
    alice.username = "x\r\nBcc: everybody@example.com"
    alice.save()
    sign_in(alice)
    sign_in(alice, f"{IPHONE} \r\nBcc: everybody@example.com")
    (message,) = mail.outbox
    assert message.message()["Bcc"] is None and "\n" not in message.subject
    # Nor does an address: that mail is not sent, and the sign-in has succeeded.
    alice.email = "a@example.com\nBcc: everybody@example.com"
    alice.save()
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_PORT=9, EMAIL_TIMEOUT=1):
        sid = sign_in(alice, "curl/8.0")
    assert sid in live(alice) and len(mail.outbox) == 1


# The admin --------------------------------------------------------------------------------------------------------


def test_the_journal_is_for_who_may_read_it(staff: Any, alice: Any) -> None:
    sid, other = sign_in(alice), sign_in(alice)
    with journal.acting_as("manage.py jwt_revoke (eve)"):
        sessions.end_session(alice, sid, reason="a_secret_reason")
    ended, user = f"{LIST}{sid.replace('_', '_5F')}_3A{alice.pk}/change/", f"/admin/auth/user/{alice.pk}/change/"
    client = staff("view_session", "view_user")
    for url in (f"{LIST}?user={alice.pk}", f"{LIST}?by=sid&q={sid}", f"{LIST}?by=sid&q={other}", ended, user):
        html = client.get(url).content.decode()
        assert "a_secret_reason" not in html and "eve" not in html and "What was revoked" not in html, url
        assert "and what was revoked" not in html
    # That it is over is none.
    assert "This session is over." in client.get(ended).content.decode()
    assert "This session is over." in client.get(LIST, {"by": "sid", "q": sid}).content.decode()
    get_staff(client).user_permissions.add(Permission.objects.get(codename="view_revocation"))
    for url in (f"{LIST}?user={alice.pk}", f"{LIST}?by=sid&q={sid}", ended):
        html = client.get(url).content.decode()
        assert "a_secret_reason" in html and "eve" in html, url
    assert "and what was revoked" in client.get(user).content.decode()


def get_staff(client: Client) -> Any:
    from django.contrib.auth import get_user

    request = RequestFactory().get("/")
    request.session = client.session
    return get_user(request)


@pytest.mark.parametrize("user", ["", "~x", "a b", "%41", "log}:marker"])
def test_of_what_is_no_user_nothing_is_claimed(staff: Any, alice: Any, user: str) -> None:
    sign_in(alice)
    html = staff("view_session").get(LIST, {"user": user}).content.decode()
    assert "is not the id of a user" in html and "Nobody is signed in" not in html and "not signed in" not in html


def test_a_label_does_not_stand_in_the_place_of_the_device(staff: Any, alice: Any) -> None:
    sid = sign_in(alice, IPHONE)
    sessions.set_label(alice, sid, "Firefox on Linux")
    client = staff("view_session", "view_user", "revoke_session")
    one = f"{LIST}{sid.replace('_', '_5F')}_3A{alice.pk}/change/"
    for url in (LIST, f"{LIST}?user={alice.pk}", one, f"/admin/auth/user/{alice.pk}/change/"):
        text = Document(client.get(url).content.decode()).text
        assert "Mobile Safari on iOS" in text and "“Firefox on Linux”" in text, url
    said = StringIO()
    call_command("jwt_sessions", "alice", stdout=said)
    assert "Mobile Safari on iOS “Firefox on Linux”" in said.getvalue()


def test_a_filter_by_what_no_database_holds_asks_none(staff: Any, alice: Any, rf: RequestFactory) -> None:
    sign_in(alice)
    sessions.end_all_sessions(alice)
    client = staff("view_revocation")
    for query in ({"reason": "a\0b"}, {"q": "a\0b"}, {"reason": "*"}, {"q": "[a-z]*\\"}):
        assert client.get("/admin/jwt_redis/revocation/", query).status_code == 200, query
    from django.contrib import admin

    ours = RevocationAdmin(Revocation, admin.site)
    found = _ReasonFilter(rf.get("/"), {"reason": ["a\0b"]}, Revocation, ours)
    assert found.queryset(rf.get("/"), Revocation.objects.all()).query.is_empty()


def test_staff_may_end_the_sessions_of_who_may_do_more(staff: Any, admin_user: Any) -> None:
    """On purpose: whoever answers an alarm must not wait for a superuser. Nothing is gained by it but a sign-in."""
    sign_in(admin_user)
    client = staff("view_session", "revoke_session")
    client.post(f"{LIST}revoke-user/", {"user": str(admin_user.pk), "post": "yes", "reason": "alarm"})
    assert live(admin_user) == set()
    (row,) = journal.history(str(admin_user.pk))
    assert row.actor == str(get_staff(client).pk)


@pytest.mark.parametrize("action", ["delete_selected", "revoke", "post"])
def test_a_list_does_not_carry_out_actions(staff: Any, alice: Any, action: str) -> None:
    sid = sign_in(alice)
    client = staff("view_session", "revoke_session", "view_revocation")
    posted = {"action": action, "_selected_action": f"{sid}:{alice.pk}", "post": "yes", "select_across": "1"}
    assert client.post(LIST, posted).status_code == 200
    rows = Revocation.objects.count()
    client.post("/admin/jwt_redis/revocation/", {**posted, "_selected_action": "1"})
    assert live(alice) == {sid} and Revocation.objects.count() == rows


@pytest.mark.parametrize(
    "text", ["*", "[a-z]*", "\\", "?", "%", "_", "\0", "\ufffd", "x" * 9999, "jwt:{*}", "' OR 1=1"]
)
@pytest.mark.parametrize("by", ["user", "sid", "ip"])
def test_a_search_takes_no_pattern(staff: Any, alice: Any, by: str, text: str) -> None:
    sid = sign_in(alice)
    answer = staff("view_session").get(LIST, {"by": by, "q": text})
    assert answer.status_code == 200 and sid not in answer.content.decode()


# The demo ---------------------------------------------------------------------------------------------------------


def test_a_mail_that_was_not_written_to_its_end_is_passed_over(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("mailbox", ROOT / "example_project" / "notes" / "mailbox.py")
    assert spec is not None and spec.loader is not None
    mailbox = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Where its dataclass looks for the names in its annotations.
        patch.setitem(sys.modules, "mailbox", mailbox)
        spec.loader.exec_module(mailbox)
    backend = "django.core.mail.backends.filebased.EmailBackend"
    with override_settings(EMAIL_BACKEND=backend, EMAIL_FILE_PATH=str(tmp_path)):
        mail.send_mail("<b>One</b>", "Text", "a@example.com", ["b@example.com"])
        (whole,) = tmp_path.iterdir()
        for number, cut in enumerate((0, 5, 40, whole.stat().st_size - 70)):
            (tmp_path / f"{number}.log").write_bytes(whole.read_bytes()[:cut])
        assert [one.subject for one in mailbox._mails()] == ["<b>One</b>"]


# The terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("กำ", 2), ("ที่", 1), ("हिन्दी", 5), ("\u2601\ufe0f", 1)],
)
def test_marks_take_no_column(text: str, width: int) -> None:
    assert columns(text) == width
    heads, _rule, *rows = table(("A", "B"), [(text, "|"), ("x" * 9, "|")])
    assert {columns(row.partition("|")[0]) for row in rows} == {columns(heads.partition("B")[0])} == {11}


def test_a_terminal_that_cannot_write_a_character_stops_no_command(alice: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "JWT_REDIS_TEST_DB": str(tmp_path / "db.sqlite3"),
    }

    def run(encoding: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments]
        there = {**environment, "PYTHONIOENCODING": encoding}
        return subprocess.run(command, cwd=ROOT, env=there, capture_output=True, timeout=60)

    assert run("utf-8", "migrate", "--verbosity", "0").returncode == 0
    sid = str(sessions.open_session(somebody("7x"))["sid"])
    sessions.set_label("7x", sid, "日本 “Büro”")
    shown = run("latin-1", "jwt_sessions", "id:7x")
    assert shown.returncode == 0 and sid in shown.stdout.decode("latin-1"), shown.stderr
    assert "Büro" in shown.stdout.decode("latin-1")
    told = json.loads(run("ascii", "jwt_sessions", "id:7x", "--json").stdout)
    assert told[0]["label"] == "日本 “Büro”"
    # What it advises begins with an arrow.
    doctor = run("ascii", "jwt_doctor")
    assert doctor.returncode in (0, 1, 2) and b" ok." in doctor.stdout, doctor.stderr
    assert b"Traceback" not in doctor.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "alice", "--reason", "two words"], "letters, digits and underscores"),
        (["--user", "alice", "--session", "\x1b[31mx"], "not a session id"),
        (["--user", "alice", "--jti", "\x1b"], "not a token id"),
        (["--all", "--reason", "\x1b[2J"], "letters, digits and underscores"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(alice: Any, arguments: list[str], words: str) -> None:
    for more in ([], ["--dry-run"]):
        said = StringIO()
        with pytest.raises(CommandError, match=words):
            call_command("jwt_revoke", "--no-input", *arguments, *more, stdout=said)
        assert said.getvalue() == ""


@pytest.mark.parametrize("hostile", ["a\x1b[31mb", "a\u202eb", "a\x9b2Jb", "a\rb"])
def test_the_id_of_a_user_does_not_steer_the_terminal(db: None, hostile: str) -> None:
    """Another service that signs with the same key may put anything into a token."""
    said = StringIO()
    token = sessions.open_session(somebody(hostile))
    for command in (
        ["jwt_why", str(token)],
        ["jwt_sessions", f"id:{hostile}", "--history"],
        ["jwt_revoke", "--user", f"id:{hostile}", "--dry-run"],
        ["jwt_revoke", "--user", f"id:{hostile}"],
        ["jwt_sessions", f"id:{hostile}"],
    ):
        call_command(*command, stdout=said, no_color=True)
    assert not set(said.getvalue()) & set("\x1b\u202e\x9b\r")


def somebody(claim: str) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model()(pk=claim, username="gone", password="x")
