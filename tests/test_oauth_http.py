"""Over HTTP, with libraries that are not ours: Authlib and oauthlib as clients, idpyoidc as an OpenID provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session as RequestsOAuth2Session

from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port
from tests.projects.oauth_settings import ISSUER, OTHER_SECRET, PRIVATE_JWK, SECRET
from tests.support.every_worker import until_all_write
from tests.support.openid_provider import CLIENT_ID
from tests.support.server import ROOT, http_server

WORKERS = 2


class Site(NamedTuple):
    url: str
    provider: str

    def sign_in(self) -> dict[str, str]:
        body = {"username": "alice", "password": "correct horse"}
        found: dict[str, str] = requests.post(f"{self.url}/auth/token/", json=body, timeout=10).json()
        return found

    def status(self, access: str) -> int:
        headers = {"Authorization": f"Bearer {access}"}
        return requests.get(f"{self.url}/stateless/", headers=headers, timeout=10).status_code


@pytest.fixture(scope="module", params=["wsgi", pytest.param("asgi", marks=pytest.mark.slow)])
def site(request: Any, redis_server: RedisServer, tmp_path_factory: Any) -> Iterator[Site]:
    """Ours and the provider, each with processes of its own."""
    folder: Path = tmp_path_factory.mktemp("oauth")
    port = free_port()
    provider = f"http://127.0.0.1:{port}"
    known = {provider: {"client_id": CLIENT_ID, "jwks_uri": f"{provider}/jwks"}}
    with http_server(
        folder,
        workers=WORKERS,
        settings="tests.projects.oauth_settings",
        asgi=request.param == "asgi",
        JWT_REDIS_TEST_PROVIDERS=json.dumps(known),
    ) as url:
        log = (folder / "provider.log").open("wb")
        command = [sys.executable, "-W", "ignore", "-m", "tests.support.openid_provider", str(port), url]
        # It writes its keys into the folder that it is in.
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, preexec_fn=die_with_parent
        )
        try:
            _wait(f"{provider}/jwks", process)
            yield Site(url, provider)
        finally:
            process.terminate()
            process.wait(10)
            log.close()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(url, timeout=2)
            return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError("The provider did not start.")


# OAuth clients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_introspects_and_revokes(site: Site, method: str) -> None:
    tokens, others = site.sign_in(), site.sign_in()
    client = OAuth2Session(
        "api", OTHER_SECRET, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
    )
    introspecting, revoking = f"{site.url}/oauth/introspect/", f"{site.url}/oauth/revoke/"

    def told(token: str) -> Any:
        return client.introspect_token(introspecting, token=token, token_type_hint="access_token").json()

    assert told(tokens["access"])["active"] is True
    answer = client.revoke_token(revoking, token=tokens["refresh"], token_type_hint="refresh_token")
    assert answer.status_code == 200
    assert told(tokens["access"]) == told(tokens["refresh"]) == {"active": False}
    assert (site.status(tokens["access"]), site.status(others["access"])) == (401, 200)
    assert client.revoke_token(revoking, token=others["access"], token_type_hint="refresh_token").status_code == 200
    assert site.status(others["access"]) == 401
    assert told(others["refresh"])["active"] is True


def test_authlib_signs_who_it_is(site: Site) -> None:
    client = OAuth2Session("signs", ECKey.import_key(PRIVATE_JWK), token_endpoint_auth_method="private_key_jwt")
    client.register_client_auth_method(PrivateKeyJWT(ISSUER, alg="ES256", headers={"kid": "one"}))
    tokens = site.sign_in()
    url = f"{site.url}/oauth/introspect/"
    for _ in range(2):
        assert client.introspect_token(url, token=tokens["access"]).json()["active"] is True


def test_oauthlib_prepares_what_is_understood(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    tokens = site.sign_in()
    client = BackendApplicationClient("app")
    bearer = {"access_token": tokens["access"], "token_type": "Bearer"}
    with RequestsOAuth2Session(client=client, token=bearer) as session:
        assert session.get(f"{site.url}/stateless/").status_code == 200
    url, headers, body = client.prepare_token_revocation_request(
        f"{site.url}/oauth/revoke/", tokens["refresh"], token_type_hint="refresh_token", client_id="app"
    )
    assert requests.post(url, body, headers=headers, timeout=10).status_code == 200
    assert site.status(tokens["access"]) == 401


def test_many_revoke_one_token_at_once(site: Site) -> None:
    until_all_write(site.url, WORKERS)
    tokens = site.sign_in()

    def revoke(_: int) -> int:
        form = {"token": tokens["refresh"]}
        answer = requests.post(f"{site.url}/oauth/revoke/", form, auth=("api", SECRET.encode()), timeout=10)
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(revoke, range(16))) == {200}
    assert site.status(tokens["access"]) == 401


def test_the_metadata_leads_to_the_endpoints(site: Site) -> None:
    found = requests.get(f"{site.url}/.well-known/oauth-authorization-server/tenant", timeout=10).json()
    path = urlsplit(found["revocation_endpoint"]).path
    form = {"token": "x", "client_id": "app"}
    assert requests.post(site.url + path, form, timeout=10).status_code == 200


# An OpenID provider ------------------------------------------------------------------------------------------------


class Browser:
    """Somebody who signs in at the provider, and comes back."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = requests.Session()

    def sign_in(self) -> dict[str, str]:
        asked = {
            "client_id": CLIENT_ID,
            "redirect_uri": f"{self.site.url}/openid/callback/",
            "scope": "openid",
            "state": "a state of at least 8 characters",
            "nonce": f"nonce {time.time_ns()}",
            "response_type": "code",
        }
        answer = self.http.get(f"{self.site.provider}/authorization", params=asked, timeout=10)
        assert answer.status_code == 200, answer.text[-2000:]
        found: dict[str, str] = answer.json()
        return found

    def sign_out(self, id_token: str) -> None:
        """At the provider alone: whom that concerns is told by it."""
        hint = {"id_token_hint": id_token}
        answer = self.http.get(f"{self.site.provider}/session", params=hint, timeout=10)
        assert answer.status_code == 200, answer.text[-2000:]


def test_who_signs_out_at_the_provider_is_signed_out_here(site: Site) -> None:
    browser, other = Browser(site), Browser(site)
    tokens, others, with_password = browser.sign_in(), other.sign_in(), site.sign_in()
    assert [site.status(one["access"]) for one in (tokens, others, with_password)] == [200, 200, 200]
    browser.sign_out(tokens["id_token"])
    assert [site.status(one["access"]) for one in (tokens, others, with_password)] == [401, 200, 200]
    refused = requests.post(f"{site.url}/auth/token/refresh/", json={"refresh": tokens["refresh"]}, timeout=10)
    assert (refused.status_code, refused.json()["reason"]) == (401, "session_ended")
    again = Browser(site).sign_in()
    assert site.status(again["access"]) == 200
