"""Tokens of another process: they are good here, and refused here as soon as they are revoked there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jwt_redis import sessions

pytestmark = pytest.mark.django_db

ISSUER = """
import json, sys
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from jwt_redis import sessions
call_command("migrate", verbosity=0)
user, _ = get_user_model().objects.get_or_create(username="alice")
what, token = sys.argv[1:]
if what == "open":
    refresh = sessions.open_session(user)
    print(json.dumps([refresh["sid"], str(refresh), str(refresh.access_token)]))
else:
    print(json.dumps([sessions.revoke_token(token) if what == "revoke" else sessions.explain(token).reason]))
"""


def issuer(folder: Path, what: str, token: str = "") -> list[Any]:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.shapes.projects.rs256",
        "JWT_REDIS_TEST_DB": str(folder / "db.sqlite3"),
    }
    command = [sys.executable, "-W", "error", "-c", ISSUER, what, token]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def ask(token: str, url: str = "/stateless/") -> Any:
    return Client().get(url, headers={"Authorization": f"Bearer {token}"})


def test_what_is_revoked_there_is_refused_here(tmp_path: Path) -> None:
    _sid, refresh, access = issuer(tmp_path, "open")
    assert ask(access).status_code == 200
    # There is no such user here.
    assert ask(access, "/whoami/").json()["code"] == "user_not_found"
    assert issuer(tmp_path, "revoke", refresh) == [True]
    assert ask(access).json()["reason"] == "session_ended"


def test_what_is_revoked_here_is_refused_there(tmp_path: Path) -> None:
    sid, refresh, access = issuer(tmp_path, "open")
    assert sessions.end_session("1", sid)
    assert ask(access).status_code == 401
    assert issuer(tmp_path, "explain", refresh) == ["session_ended"]
