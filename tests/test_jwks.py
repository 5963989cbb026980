"""The published keys, as others read them: PyJWT's client and a Node library, over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import jwt
import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, override_settings

from jwt_redis import sessions
from jwt_redis.signing import backends
from jwt_redis.signing.keys import ALGORITHMS, generate, thumbprint
from jwt_redis.store import markers
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken
from jwt_redis.verdicts import NO_KID
from tests.test_redis_failure import pointed_at
from tests.test_signing_keys import RSA_KEY, access, keys, public_pem

pytestmark = pytest.mark.django_db(transaction=True)

PUBLIC = [alg for alg in ALGORITHMS if not alg.startswith("HS")]


class _Silent(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Served from this process, so that the settings of a test are the server's."""
    with make_server("127.0.0.1", 0, WSGIHandler(), handler_class=_Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/auth/jwks/"
        finally:
            server.shutdown()
            thread.join()


def made_of(*algorithms: str) -> dict[str, dict[str, Any]]:
    found = [generate(alg) for alg in algorithms]
    return {key.kid: {"alg": key.alg, "key": jwk} for key, jwk in found}


def read() -> Any:
    return Client().get("/auth/jwks/")


def test_there_is_none_without_the_setting() -> None:
    assert read().status_code == 404


def test_public_halves_and_nothing_else() -> None:
    made = made_of("ES256", "RS256", "EdDSA", "HS256", "HS512")
    with keys(keys=made, signing=next(iter(made))):
        response = read()
        assert (response["Content-Type"], response["Cache-Control"]) == (
            "application/jwk-set+json",
            "public, max-age=300",
        )
        found = response.json()
        assert set(found) == {"keys"}
        # A secret is not published, and neither is SECRET_KEY.
        assert [one["kid"] for one in found["keys"]] == list(made)[:3]
        for one in found["keys"]:
            assert one["use"] == "sig" and one["alg"] == made[one["kid"]]["alg"]
            private = made[one["kid"]]["key"]
            assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"} & set(one)
            assert private["d"] not in response.content.decode()
        for facts in made.values():
            if "k" in facts["key"]:
                assert facts["key"]["k"] not in response.content.decode()
        assert Client().head("/auth/jwks/").status_code == 200
        assert Client().post("/auth/jwks/").status_code == 405
        assert not response.cookies and "Vary" not in response
    with keys(keys=made, signing=list(made)[3], max_age=timedelta(seconds=7)):
        assert read()["Cache-Control"] == "public, max-age=7"


def test_a_refused_key_is_published_no_longer() -> None:
    made = made_of("ES256", "EdDSA")
    first, second = made
    with keys(keys=made, signing=first):
        sessions.revoke_key(second)
        assert [one["kid"] for one in read().json()["keys"]] == [first]
        # By a process that has just begun, and was asked nothing else yet.
        backends.refuse(frozenset())
        markers.reset()
        assert [one["kid"] for one in read().json()["keys"]] == [first]


def test_while_redis_is_away_the_keys_are_published_as_they_were_heard_of() -> None:
    made = made_of("ES256")
    with RedisServer() as server, pointed_at(server.url), keys(keys=made, signing=next(iter(made))):
        server.kill()
        assert read().json()["keys"][0]["kid"] in made


def test_simple_jwts_own_key_is_published_while_it_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    from rest_framework_simplejwt import state
    from rest_framework_simplejwt.backends import TokenBackend

    from tests.test_signing_keys import pem

    own = TokenBackend("RS256", pem(RSA_KEY), public_pem(RSA_KEY))
    monkeypatch.setattr(state, "token_backend", own)
    before = access()
    monkeypatch.setattr(backends, "_stock", backends._stock)
    made = made_of("ES256")
    with keys(keys=made, signing=next(iter(made))):
        kids = [one["kid"] for one in read().json()["keys"]]
        assert kids == [*made, thumbprint("RS256", RSA_KEY.public_key())]
        assert NO_KID not in kids
        assert AccessToken(before).payload and AccessToken(access()).payload
    with keys(keys=made, signing=next(iter(made)), without_kid=False):
        assert [one["kid"] for one in read().json()["keys"]] == list(made)
    assert state.token_backend is own


@pytest.mark.parametrize("alg", PUBLIC)
def test_pyjwts_client_verifies_our_tokens_with_them(alg: str, url: str) -> None:
    made = made_of(alg, "ES256")
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "KEYS": {"keys": made, "signing": next(iter(made))}}):
        token = access()
        key = jwt.PyJWKClient(url).get_signing_key_from_jwt(token)
        assert jwt.decode(token, key, algorithms=[alg])["user_id"] == "7"
        with pytest.raises(jwt.PyJWKClientError):
            jwt.PyJWKClient(url).get_signing_key_from_jwt(jwt.encode({}, "x" * 64, headers={"kid": "nobody"}))


PROGRAM = """
import { createRemoteJWKSet, jwtVerify } from "jose";
const [url, ...tokens] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));
for (const token of tokens) {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys);
    console.log(JSON.stringify([payload.user_id, protectedHeader.kid, protectedHeader.alg]));
  } catch (error) {
    console.log(JSON.stringify(error.code));
  }
}
"""


@pytest.fixture(scope="session")
def jose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not here")
    folder = tmp_path_factory.mktemp("jose")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    (folder / "verify.js").write_text(PROGRAM)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "jose@6"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm has not brought jose within two minutes")
    if done.returncode:
        pytest.skip(f"npm could not bring jose: {done.stderr[-300:]}")
    return folder


@pytest.mark.slow
def test_a_node_library_verifies_our_tokens_with_them(jose: Path, url: str) -> None:
    made = made_of(*PUBLIC)
    tokens = []
    for kid in made:
        with keys(keys=made, signing=kid):
            tokens.append(access())
    head, body, signature = tokens[0].split(".")
    wrong = f"{head}.{tokens[1].split('.')[1]}.{signature[:-4]}AAAA"
    assert body
    with keys(keys=made, signing=next(iter(made))):
        command = ["node", "verify.js", url, *tokens, wrong]
        done = subprocess.run(command, cwd=jose, capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[:-1] == [["7", kid, facts["alg"]] for kid, facts in made.items()]
    assert lines[-1] == "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"


@pytest.mark.django_db
def test_what_else_is_signed_names_its_key_too(alice: Any, store: Any) -> None:
    """A status list and a Security Event Token are verified by the keys that are published."""
    from jwt_redis.contrib.webhooks import tokens
    from tests.test_status_list import forget_signed

    made = made_of("ES256", "RS256")
    first, second = made
    webhooks = {"issuer": "https://example.com"}
    more = {"STATUS_LIST": {"uri": "https://example.com/status/"}, "WEBHOOKS": webhooks}
    for kid in (first, second):
        with override_settings(JWT_REDIS={**settings.JWT_REDIS, **more, "KEYS": {"keys": made, "signing": kid}}):
            published = jwt.PyJWKSet.from_dict(read().json())
            place = sessions.open_session(alice)["status"]["status_list"]["uri"].removeprefix(
                "https://example.com/status/"
            )
            forget_signed(store)
            status_list = sessions.status_list_token(place)
            assert status_list is not None
            for token in (status_list.token, tokens.sign({"iss": "https://example.com"})):
                header = jwt.get_unverified_header(token)
                assert (header["kid"], header["alg"]) == (kid, made[kid]["alg"])
                jwt.decode(token, published[kid].key, algorithms=[header["alg"]])
