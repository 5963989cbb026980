"""What are the microseconds of a checked request? Whole requests in this process, and the parts of one, within it."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from types import ModuleType
from typing import Any

import redis
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt import tokens as stock_tokens

from benchmarks.followers import near_store
from benchmarks.reports import Report, Table, compared, duration
from benchmarks.rounds import Case, interleave
from benchmarks.samples import sign_in
from benchmarks.stores import connect
from jwt_redis import near_cache, sessions
from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.decoding import claims_of
from jwt_redis.store import client, commands
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken

__all__ = ["run"]

_CALLS = 200
_WARM_UP = 50

Part = Callable[[], object]


class _SimpleJWT(stock.JWTStatelessUserAuthentication):
    """Simple JWT's own tokens: the settings name ours, which would lend it their memory."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        return stock_tokens.AccessToken(raw_token)  # type: ignore[arg-type]


class _Probe(BaseAuthentication):
    """Times one part where it belongs, amid a request: there the processor's caches are full of other things."""

    part: Part
    took: list[float] = []

    def authenticate(self, request: Any) -> tuple[object, object]:
        start = time.perf_counter()
        type(self).part()
        self.took.append(time.perf_counter() - start)
        return self, self


def _view(*authentication: type[BaseAuthentication]) -> Any:
    class View(APIView):
        authentication_classes = authentication
        permission_classes = ()
        renderer_classes = (JSONRenderer,)

        def get(self, request: Any) -> Response:
            return Response({"authenticated": request.user is not None})

    return View.as_view()


class _Site:
    """A project of four views and no middleware, called as a WSGI server calls it."""

    def __init__(self, token: str) -> None:
        self._handler = WSGIHandler()
        self._token = token

    @staticmethod
    def urls() -> ModuleType:
        views = {
            "open": _view(),
            "simplejwt": _view(_SimpleJWT),
            "ours": _view(JWTStatelessUserAuthentication),
            "probe": _view(_Probe),
        }
        module = ModuleType("hot_path_urls")
        # One pattern for all: Django tries one after another, and the last would take longest.
        module.urlpatterns = [path("<str:where>", lambda request, where: views[where](request))]  # type: ignore[attr-defined]
        return module

    def get(self, where: str, times: int = 1) -> None:
        for _ in range(times):
            environ = {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": f"/{where}",
                "QUERY_STRING": "",
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "HTTP_AUTHORIZATION": f"Bearer {self._token}",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(),
            }
            statuses: list[str] = []
            response = self._handler(environ, lambda status, headers, seen=statuses: seen.append(status))
            response.close()
            assert statuses == ["200 OK"], statuses


def run(is_quick: bool) -> Report:
    """Whole requests side by side, then the parts one after another."""
    with near_store(lease=1.0) as server, connect(server) as store:
        site = _Site(str(sign_in(1).access_token))
        with override_settings(ROOT_URLCONF=_Site.urls(), ALLOWED_HOSTS=["*"], MIDDLEWARE=[]):
            check = sessions.check
            try:
                times = interleave(_cases(site, server), rounds=5 if is_quick else 100, seconds=10 if is_quick else 90)
            finally:
                sessions.check = check
            rows = _parts(site, store, 100 if is_quick else 2_000)
    return Report(
        "The hot path",
        [
            compared("checked from memory ÷ not authenticated", times, "near", "open", at_most=1.2),
            compared("checked from memory ÷ Simple JWT", times, "near", "simplejwt", at_most=0.6),
            compared("checked by Redis ÷ (Simple JWT + GET)", times, "direct", "simplejwt and GET", at_most=0.85),
            compared("checked by Redis ÷ not authenticated", times, "direct", "open"),
            compared("Simple JWT ÷ not authenticated", times, "simplejwt", "open"),
        ],
        "HS256, stateless. A part's time is the median of many requests, each of which runs that part once.",
        tables=[Table(("part", "within a request"), rows)],
    )


def _cases(site: _Site, server: RedisServer) -> Sequence[Case]:
    check = sessions.check
    raw = redis.Redis(port=server.port)

    def asks(*, redis_each_time: bool) -> None:
        sessions.check = partial(check, directly=True) if redis_each_time else check
        site.get("ours", _WARM_UP)
        assert redis_each_time or near_cache.is_fresh()

    def simplejwt_and_get() -> None:
        for _ in range(_CALLS):
            site.get("simplejwt")
            raw.get("jwt:nothing")

    return [
        Case("open", partial(site.get, "open", _CALLS), partial(site.get, "open", _WARM_UP), calls=_CALLS),
        Case("simplejwt", partial(site.get, "simplejwt", _CALLS), partial(site.get, "simplejwt", _WARM_UP), _CALLS),
        Case("simplejwt and GET", simplejwt_and_get, partial(site.get, "simplejwt", _WARM_UP), calls=_CALLS),
        Case("direct", partial(site.get, "ours", _CALLS), partial(asks, redis_each_time=True), calls=_CALLS),
        Case("near", partial(site.get, "ours", _CALLS), partial(asks, redis_each_time=False), calls=_CALLS),
    ]


def _parts(site: _Site, store: redis.Redis, requests: int) -> list[tuple[str, str]]:
    raw = site._token.encode()
    token = AccessToken(raw)
    claims = claims_of(token)
    command = commands.read_state(claims)
    found = {raw: token}
    authenticator = JWTStatelessUserAuthentication()
    pooled = redis.Redis(port=store.connection_pool.connection_kwargs["port"])
    parts: dict[str, Part] = {
        "nothing: the clock itself": lambda: None,
        "SHA-256 of the token and a look into a dict": lambda: found.get(sha256(raw).digest()),
        "`AccessToken(raw)`, remembered": lambda: AccessToken(raw),
        "the same by Simple JWT": lambda: stock_tokens.AccessToken(raw),
        "its claims, remembered": lambda: claims_of(token),
        "the near cache's answer": lambda: near_cache.vouches_for(claims),
        "an authentication object": JWTStatelessUserAuthentication,
        "`get_validated_token`, from memory": lambda: authenticator.get_validated_token(raw),
        "`get_user`, stateless": lambda: authenticator.get_user(token),
        "`sessions.check`, by Redis": lambda: sessions.check(token, directly=True),
        "its `HMGET`, sent and read": lambda: client.execute(command),
        "`redis.Redis.hmget` of the same": lambda: pooled.hmget(command.keys[0], *command.args[2:]),
        "`redis.Redis.get`": lambda: pooled.get("jwt:nothing"),
    }
    rows = []
    for name, part in parts.items():
        _Probe.part, _Probe.took = staticmethod(part), []
        site.get("probe", requests)
        rows.append((name, duration(statistics.median(_Probe.took))))
    return rows
