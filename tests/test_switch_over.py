"""From Simple JWT and back, live: a project of its own, real servers, requests all the while."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port

STOCK = """
from datetime import timedelta

SECRET_KEY = "the shop's own key, which is long enough for HS256 to be content"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3", "OPTIONS": {"timeout": 20}}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "UNAUTHENTICATED_USER": None,
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=3),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
}
"""
# The five lines of docs/how-to/from-simplejwt.md.
SWITCHED = """
import os

import jwt_redis
from shop.settings import *

INSTALLED_APPS += ["jwt_redis"]
CACHES["sessions"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["SHOP_REDIS"]}
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = ["jwt_redis.authentication.JWTAuthentication"]
SIMPLE_JWT |= jwt_redis.simplejwt_settings()
JWT_REDIS = {"ALIAS": "sessions", "LEGACY_TOKENS": "adopt"}
"""
OBSERVING = SWITCHED + 'JWT_REDIS["OBSERVE"] = True\n'
# The app is removed once its list was imported.
ENFORCED = SWITCHED + 'INSTALLED_APPS.remove("rest_framework_simplejwt.token_blacklist")\n'
URLS = """
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views


class Me(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": request.user.pk})


urlpatterns = [
    path("token/", views.TokenObtainPairView.as_view()),
    path("token/refresh/", views.TokenRefreshView.as_view()),
    path("token/verify/", views.TokenVerifyView.as_view()),
    path("token/blacklist/", views.TokenBlacklistView.as_view()),
    path("me/", Me.as_view()),
]
"""
USERS = 8


class Shop:
    """The project, and how it is run: two instances of two workers each, as behind a balancer."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        (folder / "shop").mkdir()
        modules = {"settings": STOCK, "switched": SWITCHED, "observing": OBSERVING, "enforced": ENFORCED, "urls": URLS}
        for name, text in {"__init__": "", **modules}.items():
            (folder / "shop" / f"{name}.py").write_text(text)
        self.ports = [free_port(), free_port()]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.redis_url = redis_url

    def environment(self, settings: str) -> dict[str, str]:
        root = str(Path(__file__).parent.parent)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder), root]),
            "DJANGO_SETTINGS_MODULE": f"shop.{settings}",
            "SHOP_REDIS": self.redis_url,
        }

    def manage(self, settings: str, *args: str, ok: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "django", *args],
            cwd=self.folder,
            env=self.environment(settings),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout if ok else done.stderr

    def script(self, settings: str, code: str) -> str:
        # What Django imports by itself it names on its output.
        return self.manage(settings, "shell", "--verbosity", "0", "-c", code)

    def start(self, instance: int, settings: str) -> None:
        port = self.ports[instance]
        with (self.folder / f"server-{instance}.log").open("ab") as log:
            self.processes[instance] = subprocess.Popen(
                [
                    *(sys.executable, "-W", "ignore", "-m", "gunicorn", "django.core.wsgi:get_wsgi_application()"),
                    *("-b", f"127.0.0.1:{port}", "-w", "2", "-k", "gthread", "--threads", "4", "--preload"),
                ],
                cwd=self.folder,
                env=self.environment(settings),
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{port}/me/", timeout=5)
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / f"server-{instance}.log").read_text()[-3000:])

    def stop(self, instance: int) -> None:
        process = self.processes.pop(instance)
        process.terminate()
        process.wait(20)

    def restart(self, instance: int, settings: str) -> None:
        self.stop(instance)
        self.start(instance, settings)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Any instance that is there."""
        deadline = time.monotonic() + 20
        while True:
            try:
                url = f"http://127.0.0.1:{random.choice(self.ports)}/{path}"
                return requests.request(method, url, timeout=20, **kwargs)
            except requests.ConnectionError:
                # Restarting: the balancer asks another.
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def login(self, name: str) -> dict[str, str]:
        answer = self.call("POST", "token/", json={"username": name, "password": "pw"})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with RedisServer() as server:
        made = Shop(tmp_path, server.url)
        made.manage("settings", "migrate", "--verbosity", "0")
        people = "from django.contrib.auth.models import User\n"
        people += f"for n in range({USERS}): User.objects.create_user(f'user{{n}}', password='pw')"
        made.script("settings", people)
        try:
            yield made
        finally:
            for instance in list(made.processes):
                made.stop(instance)


class Load:
    """Users who never notice anything, one who leaves now and then, and a thief who tries what was blacklisted."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.stopping, self.nobody_leaves = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.blacklisted: list[str] = []
        self.sids: set[str] = set()
        self.tokens: dict[str, dict[str, str]] = {}
        work = [(self.live, f"user{n}") for n in range(USERS - 2)]
        work += [(self.leave, f"user{USERS - 2}"), (self.steal, "")]
        self.threads = [threading.Thread(target=self.run, args=one) for one in work]

    def run(self, work: Any, name: str) -> None:
        try:
            work(name)
        except Exception as error:  # noqa: BLE001 - it is told by the main thread
            self.wrong.append(f"{name}: {error!r}")

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def live(self, name: str) -> None:
        tokens = self.tokens[name]
        while not self.stopping.wait(0.1):
            answer = self.shop.call("GET", "me/", headers={"Authorization": f"Bearer {tokens['access']}"})
            self.counts[f"me {answer.status_code}"] += 1
            if answer.status_code == 401:
                assert "expired" in answer.text, f"an access token was refused: {answer.text}"
                answer = self.shop.call("POST", "token/refresh/", json={"refresh": tokens["refresh"]})
                assert answer.status_code == 200, f"signed out: {answer.status_code} {answer.text[:500]}"
                self.counts["refresh"] += 1
                tokens.update(answer.json())
                sid = jwt.decode(tokens["refresh"], options={"verify_signature": False}).get("sid")
                self.sids |= {sid} if sid else set()
            else:
                assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"

    def leave(self, name: str) -> None:
        while not self.stopping.wait(0.3):
            if self.nobody_leaves.is_set():
                continue
            refresh = self.shop.login(name)["refresh"]
            answer = self.shop.call("POST", "token/blacklist/", json={"refresh": refresh})
            assert answer.status_code == 200, answer.text
            self.counts["left"] += 1
            self.blacklisted.append(refresh)

    def steal(self, _: str) -> None:
        while not self.stopping.wait(0.05):
            token = random.choice(self.blacklisted)
            answer = self.shop.call("POST", "token/refresh/", json={"refresh": token})
            assert answer.status_code == 401, f"a blacklisted token works: {answer.text}"
            answer = self.shop.call("POST", "token/verify/", json={"token": token})
            assert answer.status_code in (400, 401), f"a blacklisted token is good: {answer.text}"
            self.counts["stolen"] += 1

    def pause(self, seconds: float) -> None:
        self.stopping.wait(seconds)
        assert not self.wrong, self.wrong


@pytest.mark.slow
def test_a_project_is_switched_over_under_load_and_back(shop: Shop) -> None:
    for instance in (0, 1):
        shop.start(instance, "settings")
    load = Load(shop)
    load.tokens = {f"user{n}": shop.login(f"user{n}") for n in range(USERS)}
    gone = load.tokens[f"user{USERS - 1}"]["refresh"]
    assert shop.call("POST", "token/blacklist/", json={"refresh": gone}).status_code == 200
    load.blacklisted.append(gone)
    load.start()
    try:
        load.pause(4)
        assert not load.sids
        shop.manage("switched", "migrate", "jwt_redis", "--verbosity", "0")
        # One after the other: for a while there are workers of both kinds.
        shop.restart(0, "observing")
        load.pause(4)
        shop.restart(1, "observing")
        load.pause(2)
        shop.restart(0, "switched")
        shop.restart(1, "switched")
        load.pause(4)
        assert len(load.sids) >= USERS - 2
        # From here on the app's table will not be written.
        load.nobody_leaves.set()
        load.pause(1)
        facts = json.loads(shop.manage("switched", "jwt_import_blacklist", "--json"))
        assert facts["is_done"] and facts["imported"] + facts["known"] >= len(load.blacklisted)
        # Without the app: what it had is in Redis and in the journal.
        shop.restart(0, "enforced")
        shop.restart(1, "enforced")
        load.pause(4)
        # Back again: no new settings, but the old ones.
        shop.restart(0, "switched")
        shop.restart(1, "switched")
        load.nobody_leaves.clear()
        load.pause(1)
        shop.restart(0, "settings")
        load.pause(4)
        shop.restart(1, "settings")
        load.pause(4)
    finally:
        load.stop()
    assert not load.wrong, load.wrong
    assert load.counts["refresh"] > USERS and load.counts["stolen"] > 20 and load.counts["left"] > 10, load.counts
