"""What several signing keys cost: requests whose token names its key, beside those of a project with one key."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.test import override_settings
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.followers import near_store
from benchmarks.peers.calls import Client
from benchmarks.peers.setups import Setup, wait_until_near
from benchmarks.reports import Report, compared
from benchmarks.rounds import Case, interleave
from benchmarks.samples import sign_in
from jwt_redis import near_cache
from jwt_redis.authentication import JWTStatelessUserAuthentication

__all__ = ["run"]

_CALLS = 100
_WARM_UP = 30
_ONE = "one key, HS256"
_ALGORITHMS = ("HS256", "RS256", "ES256")
# How a request is answered, and what JWT_REDIS has for that.
_WAYS: dict[str, dict[str, Any]] = {
    "from memory": {},
    "by Redis": {"NEAR_CACHE": None},
    "from memory, each signature verified": {"TOKEN_MEMO_SIZE": 0},
}


class _View(APIView):
    authentication_classes = (JWTStatelessUserAuthentication,)
    permission_classes = ()
    renderer_classes = (JSONRenderer,)

    def get(self, request: Any) -> Response:
        return Response({"authenticated": request.user is not None})


def run(is_quick: bool) -> Report:
    """Each project's requests in each way, side by side."""
    with near_store(lease=1.0), override_settings(ROOT_URLCONF="benchmarks.peers.urls", MIDDLEWARE=[]):
        times = interleave(_cases(), rounds=5 if is_quick else 100, seconds=10 if is_quick else 120)
    lines = [
        compared(f"checked {way}: three keys by name, {alg} ÷ {_ONE}", times, f"{alg} {way}", f"{_ONE} {way}")
        for way in _WAYS
        for alg in _ALGORITHMS
    ]
    note = (
        "Whole requests, stateless, without middleware. Three keys by name: `KEYS` has one of each algorithm, and the"
        " one that is named signs. One key: without `KEYS`, Simple JWT's own."
    )
    return Report("Several signing keys", lines, note)


def _pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _projects() -> dict[str, dict[str, Any]]:
    """What ``JWT_REDIS`` has in each."""
    keys = {
        "HS256": secrets.token_urlsafe(48),
        "RS256": _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "ES256": _pem(ec.generate_private_key(ec.SECP256R1())),
    }
    named = {f"2026-{alg}": {"alg": alg, "key": key} for alg, key in keys.items()}
    made = {alg: {"KEYS": {"keys": named, "signing": f"2026-{alg}"}} for alg in _ALGORITHMS}
    return {_ONE: {}, **made}


def _cases() -> Sequence[Case]:
    client = Client()
    client.show(_View.as_view())
    base = settings.JWT_REDIS
    cases = []
    for name, keys in _projects().items():
        for way, more in _WAYS.items():
            setup = Setup({}, {**base, **keys, **more})
            setup.enter()
            header = f"Bearer {sign_in(1).access_token}"
            prepare = partial(_prepare, setup, client, header)
            cases.append(Case(f"{name} {way}", partial(_ask, client, header, _CALLS), prepare, calls=_CALLS))
    return cases


def _ask(client: Client, header: str, calls: int) -> None:
    for _ in range(calls):
        client.get(header)


def _prepare(setup: Setup, client: Client, header: str) -> None:
    setup.enter()
    if setup.is_near:
        wait_until_near(lambda: client.get(header))
    _ask(client, header, _WARM_UP)
    status, body = client.get(header)
    # A comparison that is not one shall not look like one.
    assert (status, near_cache.is_fresh()) == (200, setup.is_near), body
