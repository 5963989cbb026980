"""A project that uses Simple JWT, and the same with this package: real files, real processes, a database of its own."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
# The five lines of docs/how-to/from-simplejwt.md, and patience with a machine that runs tests.
SWITCHED = """
import os

import jwt_redis
from shop.settings import *

INSTALLED_APPS += ["jwt_redis"]
CACHES["sessions"] = {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": os.environ["SHOP_REDIS"],
    "OPTIONS": {"SOCKET_TIMEOUT": 5.0, "SOCKET_CONNECT_TIMEOUT": 5.0},
}
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

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder = folder
        (folder / "shop").mkdir()
        modules = {"settings": STOCK, "switched": SWITCHED, "observing": OBSERVING, "enforced": ENFORCED, "urls": URLS}
        for name, text in {"__init__": "", **modules}.items():
            (folder / "shop" / f"{name}.py").write_text(text)
        self.ports = [free_port(), free_port()]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.redis = redis

    def environment(self, settings: str) -> dict[str, str]:
        root = str(Path(__file__).parent.parent.parent)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder), root]),
            "DJANGO_SETTINGS_MODULE": f"shop.{settings}",
            "SHOP_REDIS": self.redis.url,
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


@contextlib.contextmanager
def a_shop(folder: Path) -> Iterator[Shop]:
    """With its database, its users ``user0`` to ``user7``, password ``pw``, and a Redis of its own."""
    with RedisServer() as server:
        made = Shop(folder, server)
        made.manage("settings", "migrate", "--verbosity", "0")
        people = "from django.contrib.auth.models import User\n"
        people += f"for n in range({USERS}): User.objects.create_user(f'user{{n}}', password='pw')"
        made.script("settings", people)
        try:
            yield made
        finally:
            for instance in list(made.processes):
                made.stop(instance)
