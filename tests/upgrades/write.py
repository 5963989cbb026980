"""Writes what a version leaves behind: in Redis, in the journal, and in the hands of its clients.

    python -m tests.upgrades.write tests/upgrades/state-1.0.json

Run it once for each version whose first digits are new, when it is released, and never again for that version: what
it printed then is what is out there. tests/test_upgrades.py reads all such files.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

# Before Django is set up.
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.upgrades.settings"

import django
import redis
from django.core.serializers.json import DjangoJSONEncoder

import jwt_redis
from jwt_redis.testing.servers import RedisServer
from tests.settings import REDIS_URL

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
# Ids that are escaped in a key, each in a way of its own.
ODD_USERS = ("log", "a{b}c", "zoë ~*", "x" * 200)
# What holds for a moment only, or for the one server that wrote it.
_FLEETING = re.compile(r".*:(lock|refreshes)")


def main(out: str) -> None:
    """Write it into the file ``out``."""
    with RedisServer(port=urlparse(REDIS_URL).port or 0) as server:
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        left = {"version": jwt_redis.__version__, **_live(), **_rows()}
        left["redis"] = _dump(server.client())
    Path(out).write_text(json.dumps(left, indent=1, ensure_ascii=False, cls=DjangoJSONEncoder) + "\n")


def _live() -> dict[str, Any]:
    """Some people's days. The tokens that they have at the end, and what is to be said of each: a reason, or None."""
    from django.contrib.auth import get_user_model
    from django.core import mail
    from django.test import Client, RequestFactory
    from rest_framework_simplejwt.models import TokenUser

    from jwt_redis import sessions
    from jwt_redis.tokens import AccessToken

    people = get_user_model().objects
    for name in ("alice", "bob", "carol", "dave"):
        people.create_user(name, f"{name}@example.com", "correct horse")
    alice, bob, _carol, dave = people.order_by("pk")
    tokens: dict[str, dict[str, Any]] = {}

    def keep(name: str, raw: object, reason: str | None, *, strategy: str = "whitelist") -> None:
        tokens[name] = {"token": str(raw), "reason": reason, "strategy": strategy}

    def post(path: str, agent: str = FIREFOX, **body: str) -> Any:
        # A phone has another address than a computer.
        http = Client(headers={"user-agent": agent}, REMOTE_ADDR="192.0.2.1" if agent == FIREFOX else "198.51.100.7")
        answer = http.post(f"/auth/{path}", body, content_type="application/json")
        assert answer.status_code == 200, answer.content
        return answer.json()

    def sign_in(name: str, agent: str = FIREFOX, path: str = "token/") -> Any:
        return post(path, agent, username=name, password="correct horse")

    def sid_of(pair: dict[str, str]) -> str:
        return str(AccessToken(pair["access"])["sid"])

    # Everything, first: what comes after it is not concerned.
    before = sign_in("dave")
    sessionless = AccessToken.for_user(dave)
    sessions.revoke_everything()
    keep("access before everything was revoked", before["access"], "all_revoked")
    # A token without a session is judged by its second.
    time.sleep(1.5)

    laptop = sign_in("alice")
    sessions.set_label(alice, sid_of(laptop), "Büro")
    keep("access of a live session", laptop["access"], None)
    keep("refresh of a live session", laptop["refresh"], None)

    first = sign_in("alice", IPHONE)
    second = post("token/refresh/", IPHONE, refresh=first["refresh"])
    keep("refresh that was used", first["refresh"], "token_blacklisted")
    keep("access from before a refresh", first["access"], None)
    keep("access after a refresh", second["access"], None)
    keep("refresh after a refresh", second["refresh"], None)

    over = sign_in("alice")
    sessions.end_session(alice, sid_of(over))
    keep("access of an ended session", over["access"], "session_ended")
    keep("refresh of an ended session", over["refresh"], "session_ended")
    keep("access of an ended session, by the blacklist", over["access"], "session_ended", strategy="blacklist")

    extra = AccessToken(laptop["access"])
    extra.set_jti()
    sessions.revoke_token(extra)
    keep("access that was revoked alone", extra, "token_blacklisted")

    others = sign_in("bob"), sign_in("bob", IPHONE)
    orphan = AccessToken.for_user(bob)
    sessions.end_other_sessions(bob, sid_of(others[1]))
    keep("access of another session than the one kept", others[0]["access"], "session_ended")
    sessions.end_all_sessions(bob)
    keep("access from before all sessions ended", others[1]["access"], "session_ended")
    keep("access without a session, from before that", orphan, "user_revoked", strategy="blacklist")
    keep("access without a session, from before everything", sessionless, "all_revoked", strategy="blacklist")
    time.sleep(1.5)
    back = sign_in("bob")
    keep("access of who came back", back["access"], None)
    keep("access without a session, of who came back", AccessToken.for_user(bob), None, strategy="blacklist")

    sliding = post("sliding/", username="carol", password="correct horse")
    keep("sliding", sliding["token"], None)

    # Of users of another service: only the id is known.
    for number, user in enumerate(ODD_USERS):
        for kind in ("revoked", "good"):
            token = AccessToken()
            token["user_id"] = user
            if kind == "revoked":
                sessions.revoke_token(token)
            reason = "token_blacklisted" if kind == "revoked" else None
            keep(f"access of odd user {number}, {kind}", token, reason, strategy="blacklist")
        opened = sessions.open_session(TokenUser({"user_id": user}), RequestFactory().get("/"))
        keep(f"session of odd user {number}", opened.access_token, None)

    (link,) = re.findall(r"https://shop.example(\S+)", str(mail.outbox[0].body))[:1]
    return {"tokens": tokens, "not_me_path": link, "alice": sid_of(laptop)}


def _rows() -> dict[str, Any]:
    """What the database has: the users, whose password hashes the sessions are bound to, and the journal."""
    from django.contrib.auth import get_user_model

    from jwt_redis.models import Revocation

    users = get_user_model().objects.order_by("pk").values("id", "username", "email", "password")
    return {"users": list(users), "journal": list(Revocation.objects.order_by("pk").values())}


def _dump(server: redis.Redis) -> dict[str, Any]:
    """Each key: its type, what it holds, and when it expires (ms of the epoch, or None)."""
    readers: dict[str, Callable[[str], Any]] = {
        "string": server.get,
        "hash": lambda key: dict(sorted(server.hgetall(key).items())),
        "stream": server.xrange,
    }
    found = {}
    for key in sorted(server.scan_iter()):
        if _FLEETING.fullmatch(key):
            continue
        seconds, micros = server.time()
        left = server.pttl(key)
        kind = server.type(key)
        expires = None if left < 0 else seconds * 1000 + micros // 1000 + left
        found[key] = {"type": kind, "holds": readers[kind](key), "expires_ms": expires}
    return found


if __name__ == "__main__":
    main(sys.argv[1])
