"""Each page of the admin as it looks: no session and many, a search, what is asked before something ends, no Redis."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.browser.conftest import (
    ADDRESS,
    PASSWORD,
    Demo,
    run_demo,
    sign_in_elsewhere,
    sign_in_many,
    sign_out_everywhere,
)
from tests.browser.looking import Looker
from tests.browser.people import HOSTILE, LAPTOP, PHONE

pytestmark = pytest.mark.browser

SESSIONS = "/admin/jwt_redis/session/"
JOURNAL = "/admin/jwt_redis/revocation/"
# With Django's own session there is an admin though nobody is signed in by a token, and though Redis is away.
STAFF = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get(username="alice"))
print(client.cookies["demo_django_session"].value)
"""


def user_id_of(demo: Demo, name: str) -> str:
    code = f"from django.contrib.auth.models import User; print(User.objects.get(username={name!r}).pk)"
    return demo.shell(code).strip()


def test_who_is_signed_in(looker: Callable[..., Looker], demo: Demo, user: str) -> None:
    sign_in_many(demo, "bob", [LAPTOP, PHONE])
    alice = looker()
    alice.one.sign_in("alice", "correct horse")
    alice.at("/admin/")
    alice.at(SESSIONS, "admin")
    sids = sign_in_many(demo, user, [PHONE, *HOSTILE] * 5)
    pk = user_id_of(demo, user)
    alice.at(SESSIONS)
    alice.at(f"{SESSIONS}?by=user&q={user}")
    alice.one.sees(f"{len(sids)} sessions")
    for text in ("nobody at all", ADDRESS):
        alice.at(f"{SESSIONS}?by=user&q={text}")
        alice.one.sees("No live session was found.")
    alice.at(f"{SESSIONS}?by=ip&q={ADDRESS}")
    alice.one.sees("keys were looked through.")
    alice.at(f"{SESSIONS}?by=ip&q=300.1.1.1")
    alice.one.sees("That is not an IP address.")
    alice.at(f"{SESSIONS}?by=sid&q={sids[0]}")
    alice.one.page.get_by_role("link", name=sids[0]).click()
    alice.one.sees("User agent, as the client says")
    alice.here()
    alice.at(f"{SESSIONS}?user={pk}")
    alice.at(f"/admin/auth/user/{pk}/change/")
    alice.one.sees(f"All {len(sids)} sessions")
    assert "mine" not in alice.one.page.title()


def test_what_is_asked_before_something_ends(looker: Callable[..., Looker], demo: Demo, user: str) -> None:
    sids = sign_in_many(demo, user, [PHONE, HOSTILE[0], HOSTILE[1]])
    pk = user_id_of(demo, user)
    alice = looker()
    page = alice.one.page
    alice.one.sign_in("alice", "correct horse")
    alice.one.go(f"{SESSIONS}?by=sid&q={sids[0]}")
    page.get_by_role("link", name=sids[0]).click()
    page.get_by_role("link", name="End this session").click()
    alice.one.sees_heading("End this session?")
    alice.here()
    page.get_by_label("Why").fill("lost")
    alice.one.press("Yes, end them")
    alice.one.sees("1 session was ended.")
    # An ended one, of which the journal knows.
    alice.at(f"{SESSIONS}?by=sid&q={sids[0]}")
    alice.one.sees("This session is over.")
    alice.one.go(f"{SESSIONS}?user={pk}")
    for sid in sids[1:]:
        page.get_by_label(f"Select the session {sid}").check()
    alice.one.press("End the selected sessions")
    alice.here()
    alice.at(f"{SESSIONS}revoke-user/?user={pk}")
    alice.one.press("Yes, end them")
    alice.one.sees("2 sessions were ended.")
    alice.at(f"{SESSIONS}?user={pk}")
    alice.one.sees("This user is not signed in anywhere.")
    alice.at(f"/admin/auth/user/{pk}/change/")
    alice.at(f"{SESSIONS}revoke-everything/")
    page.get_by_label("The name of this site").fill("another site")
    alice.one.press("End everybody's sessions")
    alice.one.sees("Nothing was revoked.")
    alice.here()


def test_health_and_the_journal(looker: Callable[..., Looker], demo: Demo, user: str) -> None:
    sign_in_many(demo, user, [PHONE])
    # It counts what is alive, for the chart.
    demo.shell("from django.core.management import call_command; call_command('jwt_cleanup', verbosity=0)")
    alice = looker()
    alice.one.sign_in("alice", "correct horse")
    sign_out_everywhere(demo, sign_in_elsewhere(demo, LAPTOP, user, PASSWORD))
    alice.at(f"{SESSIONS}health/?period=month&again=1")
    alice.one.page.get_by_text("The numbers").first.click()
    alice.here()
    alice.at(JOURNAL)
    alice.one.page.get_by_role("link", name=re.compile(r"a\.m\.|p\.m\.|noon|midnight")).first.click()
    alice.one.sees("logout_all")
    alice.here()


def test_nobody_is_signed_in_and_then_redis_is_gone(looker: Callable[..., Looker], tmp_path: Path) -> None:
    with run_demo(tmp_path, users=0) as demo:
        alice = looker(base=demo.base)
        alice.one.context.add_cookies(
            [{"name": "demo_django_session", "value": demo.shell(STAFF).strip(), "url": demo.base}]
        )
        alice.at(SESSIONS)
        alice.one.sees("Nobody is signed in.")
        alice.at(f"{SESSIONS}?user=1")
        alice.at(JOURNAL)
        with redis.Redis.from_url(demo.redis_url, socket_timeout=60) as client:
            # So many that a page's step does not come to their end.
            client.eval("for i = 1, 400000 do redis.call('SET', 'other:' .. i, '') end", 0)
            alice.at(f"{SESSIONS}?by=ip&q={ADDRESS}")
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
        for path in (SESSIONS, f"{SESSIONS}?user=1", f"{SESSIONS}?by=ip&q={ADDRESS}"):
            alice.at(path)
            alice.one.sees("Redis cannot be asked right now")
        for path in ("/admin/auth/user/1/change/", f"{SESSIONS}revoke-user/?user=1", f"{SESSIONS}health/"):
            alice.at(path)
