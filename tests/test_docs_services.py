"""docs/how-to/microservices.md: two Django projects, each in a process of its own, as the page has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jwt_redis.testing.servers import RedisServer, die_with_parent
from tests.support.blocks import ROOT, Block, blocks
from tests.support.waiting import wait_for
from tests.test_docs_blocks import exchange

PAGE = ROOT / "docs/how-to/microservices.md"

# A project that does what it is told, line by line, and answers in JSON.
SERVICE = """
import json, sys, types
from datetime import timedelta
from pathlib import Path as RealPath
import jwt_redis
from django.conf import settings
from django.urls import path

given = json.loads(sys.argv[1])
Path = lambda name: RealPath(given["files"].get(name, name))
BASE_DIR = RealPath(given["folder"])
names = {"jwt_redis": jwt_redis, "Path": Path, "BASE_DIR": BASE_DIR}
for code in given["settings"]:
    exec(code, names)
capitals = {name: value for name, value in names.items() if name.isupper()}
capitals["CACHES"]["sessions"]["LOCATION"] = given["redis"]
# The page's own is the package's limit, a quarter of a second.
capitals["CACHES"]["sessions"]["OPTIONS"] = {"SOCKET_TIMEOUT": 5.0, "SOCKET_CONNECT_TIMEOUT": 5.0}
for alias in capitals["DATABASES"].values():
    if "postgresql" in alias["ENGINE"]:
        alias.clear()
        alias.update(ENGINE="django.db.backends.sqlite3", NAME=given["accounts"])
capitals["JWT_REDIS"].update(given["more"])
if "router" in given:
    module = types.ModuleType("orders.routers")
    exec(given["router"], vars(module))
    sys.modules.update({"orders": types.ModuleType("orders"), "orders.routers": module})
capitals.setdefault("SECRET_KEY", "each has one of its own: " + given["folder"])
urls = sys.modules["service_urls"] = types.ModuleType("service_urls")
settings.configure(ROOT_URLCONF="service_urls", ALLOWED_HOSTS=["*"], USE_TZ=True, **capitals)
import django
django.setup()
from django.core.management import call_command
from django.test import Client
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from jwt_redis import sessions

class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": str(request.user.pk)})

urls.urlpatterns = [path("me/", WhoAmI.as_view())]

def sign_in():
    user, _ = User.objects.get_or_create(username="alice")
    token = sessions.open_session(user)
    return [str(user.pk), str(token["sid"]), str(token.access_token)]

def end(user, sid):
    return sessions.end_session(user, sid)

def ask(access):
    response = Client().get("/me/", headers={"Authorization": "Bearer " + access})
    return [response.status_code, response.json()]

def sign(user):
    from jwt_redis.tokens import AccessToken
    try:
        token = AccessToken()
        token["user_id"] = user
        return str(token)
    except Exception as error:
        return type(error).__name__

def migrated():
    from django.db import connections
    return {name: sorted(connections[name].introspection.table_names()) for name in connections}

call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
call_command("check", fail_level="ERROR")
print("ready", flush=True)
for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), flush=True)
"""


class Service:
    """One of them. A context manager."""

    def __init__(self, folder: Path, **given: Any) -> None:
        folder.mkdir(parents=True)
        arguments = json.dumps({"folder": str(folder), "more": {}, **given})
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVICE, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=die_with_parent,
        )

    def __enter__(self) -> Service:
        assert self._process.stdout is not None
        lines = iter(self._process.stdout.readline, "")
        assert "ready\n" in lines
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def do(self, *what: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def keys(folder: Path) -> dict[str, str]:
    """A pair for ES256, where the page has it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "jwt.key").write_bytes(private)
    (folder / "jwt.pub").write_bytes(public)
    return {"/run/secrets/jwt.key": str(folder / "jwt.key"), "/etc/jwt.pub": str(folder / "jwt.pub")}


FIRST = """
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_redis"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "sessions": {"BACKEND": "django_redis.cache.RedisCache"},
}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
JWT_REDIS = {"ALIAS": "sessions"}
"""


@pytest.mark.slow
def test_another_service_checks_tokens_and_brings_what_a_lost_redis_lacks(tmp_path: Path) -> None:
    ours, others, databases, router = (block.code for block in blocks(PAGE, "python"))
    given: dict[str, Any] = {"files": keys(tmp_path), "accounts": str(tmp_path / "first/db.sqlite3")}
    with RedisServer() as server:
        given["redis"] = server.url
        first = Service(tmp_path / "first", settings=[FIRST, ours], **given)
        with first:
            theirs = {"settings": [others, databases], "router": router, **given}
            with Service(tmp_path / "second", **theirs) as second:
                user, sid, access = first.do("sign_in")
                assert second.do("ask", access) == [200, {"user": user}]
                tables = second.do("migrated")
                assert "jwt_redis_revocation" in tables["accounts"] and "jwt_redis_revocation" not in tables["default"]
                # It has nothing to sign with.
                assert "." not in second.do("sign", user)

                first.do("end", user, sid)
                wait_for(lambda: second.do("ask", access)[0] == 401, "the lease is over")
                assert second.do("ask", access)[1]["reason"] == "session_ended"

                # A revocation behind the snapshot that Redis comes back with. Nobody but the second asks.
                user, sid, access = first.do("sign_in")
                with server.client() as client:
                    client.save()
                first.do("end", user, sid)
                server.kill()
                server.start()
                wait_for(lambda: second.do("ask", access)[0] != 503, "it is answered again")
                assert second.do("ask", access)[1]["reason"] == "session_ended"


@pytest.mark.slow
def test_without_the_journal_it_is_as_the_page_says(tmp_path: Path) -> None:
    ours, others, *_ = (block.code for block in blocks(PAGE, "python"))
    given: dict[str, Any] = {"files": keys(tmp_path), "accounts": ""}
    plain = 'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}\n'
    with RedisServer() as server:
        given["redis"] = server.url
        with Service(tmp_path / "first", settings=[FIRST, ours], **given) as first:
            user, sid, access = first.do("sign_in")
            with server.client() as client:
                client.save()
            first.do("end", user, sid)
            server.kill()
            server.start()
            without = {"settings": [others, plain], "more": {"JOURNAL": False}, **given}
            with Service(tmp_path / "second", **without) as second:
                # What was lost works there ...
                assert second.do("ask", access) == [200, {"user": user}]
                # ... until a process with the journal has looked.
                assert first.do("ask", access)[0] == 401
                wait_for(lambda: second.do("ask", access)[0] == 401, "it is told")


def test_any_other_service(alice: Any) -> None:
    page = blocks(PAGE, "http")
    with exchange(alice) as ask:
        for request, answer in zip(page[::2], page[1::2], strict=True):
            ask(request.code, answer.code)


@pytest.mark.parametrize("block", blocks(PAGE), ids=str)
def test_every_block_is_one_of_these(block: Block) -> None:
    assert block.language in ("python", "http", "sql")
