"""What the tests of djoser and dj-rest-auth share: a device that talks HTTP, tokens that are no good, a page's code."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import jwt
import requests

from jwt_redis.testing.servers import RedisServer
from tests.settings import SECRET_KEY
from tests.support.server import ROOT, http_server

ALICE, BOB = "correct horse", "battery staple"


class Site:
    """A project that is served, its Redis, and its mails."""

    def __init__(self, base: str, redis: RedisServer, mails: Path) -> None:
        self.base = base
        self.redis = redis
        self.mails = mails

    def device(self, agent: str = "Firefox") -> Device:
        """A new one."""
        return Device(self, agent)

    def last_mail(self) -> str:
        """The text of the mail that was written last. Django may put two of one second into one file."""
        newest = max(self.mails.iterdir(), key=lambda path: path.stat().st_mtime_ns).read_bytes()
        *_, last = (mail for mail in newest.split(b"-" * 79 + b"\n") if mail.strip())
        text = message_from_bytes(last, policy=policy.default).get_body(("plain",))
        assert text is not None
        return str(text.get_content())


@contextmanager
def site(settings: str, folder: Path) -> Iterator[Site]:
    """Serve the project of a settings module, with a Redis of its own that a test may stop."""
    mails = folder / "mails"
    mails.mkdir()
    with (
        RedisServer(options={"appendonly": "yes"}) as redis,
        http_server(
            folder,
            workers=1,
            threads=4,
            settings=settings,
            more=("--graceful-timeout", "0"),
            JWT_REDIS_TEST_URL=redis.url,
            JWT_REDIS_TEST_MAILS=str(mails),
        ) as base,
    ):
        yield Site(base, redis, mails)


class Device:
    """A client with cookies of its own, as a browser has them."""

    def __init__(self, site: Site, agent: str) -> None:
        self.site = site
        self.http = requests.Session()
        self.http.headers["User-Agent"] = agent

    def call(
        self, method: str, path: str, json: Any = None, *, bearer: str | None = None, **kwargs: Any
    ) -> requests.Response:
        """A request that must not be answered with a crash."""
        headers = kwargs.pop("headers", {}) | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        response = self.http.request(method, self.site.base + path, json=json, headers=headers, timeout=20, **kwargs)
        for cookie in self.http.cookies:
            cookie.secure = False  # as if it were HTTPS
        assert response.status_code < 500 or response.status_code == 503, response.text
        return response

    @property
    def csrf(self) -> dict[str, str]:
        """The header that a page adds to what it sends."""
        return {"X-CSRFToken": self.http.cookies.get("csrftoken", "")}

    def set_cookie(self, name: str, value: str, path: str = "/") -> None:
        """In the place of the server's own."""
        self.http.cookies.set(name, value, path=path, domain="127.0.0.1")

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("POST", path, json, **kwargs)


def at_once(count: int, work: Any) -> list[Any]:
    """The same from several threads."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def signed(key: str = SECRET_KEY, **changes: Any) -> str:
    """A refresh token with a good signature and whatever else; a claim that is None is left out."""
    now = int(time.time())
    payload = {"token_type": "refresh", "exp": now + 3600, "iat": now, "jti": "j1", "user_id": "1"} | changes
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, key, algorithm="HS256")


def no_good() -> dict[str, Any]:
    """Refresh tokens, each wrong in its own way."""
    return {
        "junk": "x.y.z",
        "not ascii": "ключ",
        "of another secret": signed("another secret that is long enough for HS256"),
        "unsigned": jwt.encode({"token_type": "refresh", "exp": 2**31, "jti": "j", "user_id": "1"}, None, "none"),
        "expired": signed(exp=1),
        "an access token": signed(token_type="access"),
        "without a jti": signed(jti=None),
        "without a user": signed(user_id=None),
        "an id that is a list": signed(user_id=[1]),
        "an id that is empty": signed(user_id=""),
    }


def no_session() -> dict[str, Any]:
    """Refresh tokens that are well made, of sessions that never were."""
    return {
        "from before the adoption": signed(),
        "a session that never was": signed(sid="A" * 22, rotation=0),
        "an id that is no number": signed(user_id="abc"),
        "an id that is no row": signed(user_id="4711", sid="A" * 22, rotation=0),
        "an id beyond any integer": signed(user_id="9" * 400),
        "an id with braces": signed(user_id="{1}", sid="A" * 22, rotation=0),
    }


def blocks_of(page: str) -> list[str]:
    """The Python blocks of a page of the documentation."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)


def source_of(module: str) -> str:
    """The text of a module of the projects."""
    return (ROOT / "tests/projects" / f"{module}.py").read_text()
