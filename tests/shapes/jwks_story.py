"""Tokens of an identity provider are good until they are listed here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from django.conf import settings
from django.test import Client

from jwt_redis import sessions
from tests.shapes.signing_keys import key_pair

pytestmark = pytest.mark.django_db


class Provider(BaseHTTPRequestHandler):
    """Serves its public key."""

    def do_GET(self) -> None:
        public = serialization.load_pem_public_key(key_pair("RS256")[1].encode())
        key = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
        body = json.dumps({"keys": [{**key, "kid": "one", "use": "sig", "alg": "RS256"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """To nobody."""


@pytest.fixture(scope="module")
def provider() -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", settings.PROVIDER_PORT), Provider) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture(autouse=True)
def _store_is_old(provider: None) -> None:
    # Whatever is older than the store, to the second, is not believed.
    sessions.list_sessions("ann")
    time.sleep(1.1)


def issue(jti: str, *, kid: str = "one", **claims: Any) -> str:
    now = int(time.time())
    payload = {"sub": "ann", "aud": "shop", "iss": "https://id.example.com", "iat": now, "exp": now + 60, "jti": jti}
    return jwt.encode({**payload, **claims}, key_pair("RS256")[0], "RS256", headers={"kid": kid})


def status(token: str) -> int:
    return int(Client().get("/stateless/", headers={"Authorization": f"Bearer {token}"}).status_code)


def test_a_token_is_good_until_it_is_listed() -> None:
    one, other = issue("one"), issue("other")
    assert [status(one), status(other)] == [200, 200]
    assert sessions.revoke_token(one)
    assert [status(one), status(other)] == [401, 200]
    assert sessions.revoke_jti("ann", "other")
    assert status(other) == 401


def test_all_of_a_users_tokens_are_refused() -> None:
    token, bobs = issue("one"), issue("two", sub="bob")
    sessions.end_all_sessions("ann")
    assert [status(token), status(bobs)] == [401, 200]
    time.sleep(1.1)
    assert status(issue("three")) == 200


@pytest.mark.parametrize(
    "claims", [{"kid": "two"}, {"aud": "others"}, {"iss": "https://elsewhere.example.com"}, {"sub": None}, {"jti": 7}]
)
def test_others_are_refused(claims: dict[str, Any]) -> None:
    assert status(issue(claims.pop("jti", "one"), **claims)) == 401
