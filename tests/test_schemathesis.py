"""schemathesis makes requests out of the schema, good ones and bad ones, and sends them to a real server.

No answer is a 5xx, each has a status, a type, headers and a body that the schema knows, and what asks for a token is
not to be had without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from django.test import override_settings
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from jwt_redis.testing.servers import RedisServer
from tests.support.openapi import schema_of
from tests.support.server import http_server

CREDENTIALS = {"username": "alice", "password": "correct horse"}

# A name that is blank is refused with 400, and drf-spectacular's schema of a CharField does not tell.
UNTOLD = [positive_data_acceptance]


def _load() -> Any:
    # The schema's own view is drf-spectacular's.
    return schemathesis.openapi.from_dict(schema_of()).include(path_regex="^/auth/")


schema = _load()
with override_settings(JWT_REDIS={"ALIAS": "sessions", "COOKIE": {"secure": False}}):
    schema_with_cookies = _load()


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[str]:
    with (
        RedisServer() as server,
        http_server(
            folder, workers=1, settings="tests.projects.schema_settings", JWT_REDIS_TEST_URL=server.url, **environment
        ) as base,
    ):
        yield base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("api")) as base:
        yield base


@pytest.fixture(scope="module")
def base_with_cookies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("cookies"), JWT_REDIS_TEST_COOKIES="1") as base:
        yield base


def examples(number: int) -> Any:
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def anonymous(case: Any, base: str) -> None:
    case.call_and_validate(base_url=base, excluded_checks=UNTOLD)


def signed_in(case: Any, base: str) -> None:
    """With a new token each time: some of what is asked for ends the session."""
    headers = {"Authorization": f"Bearer {sign_in(base)['access']}"}
    # A form without a field that is known is none, and then it is the token that is meant.
    untold = UNTOLD if case.media_type == "application/json" else [*UNTOLD, negative_data_rejection]
    case.call_and_validate(base_url=base, excluded_checks=untold, headers=headers)


def in_a_browser(case: Any, base: str) -> None:
    """With the cookies of a new session, and the CSRF token that goes with them."""
    browser = requests.Session()
    token = browser.get(f"{base}/auth/csrf/", timeout=10).json()["csrf_token"]
    headers = {"X-CSRFToken": token}
    signed_in = browser.post(f"{base}/auth/token/", json=CREDENTIALS, headers=headers, timeout=10).json()
    headers = {"X-CSRFToken": signed_in["csrf_token"]}
    cookies = browser.cookies.get_dict()
    # It takes the header away to see whether anybody minds, and the cookies are still there.
    untold = [*UNTOLD, ignored_auth]
    if case.media_type != "application/json":
        untold.append(negative_data_rejection)
    case.call_and_validate(base_url=base, excluded_checks=untold, headers=headers, cookies=cookies)


def with_real_values(case: Any, base: str) -> None:
    """What schemathesis cannot guess: a name and a password, a token. The rest of the request is as it made it."""
    real: dict[str, Any] = {}
    # It tries other methods, too, and types that the body is not of.
    if isinstance(case.body, dict) and case.method == "POST" and not case.headers:
        sliding = "sliding" in case.operation.path
        tokens = sign_in(base, "sliding" if sliding else "token")
        known = {**CREDENTIALS, "refresh": tokens.get("refresh"), "token": tokens.get("token", tokens.get("access"))}
        real = {name: known[name] for name in case.body if name in known}
        case.body.update(real)
    response = case.call(base_url=base)
    # What it made in violation of the schema may be right now.
    case.validate_response(response, excluded_checks=[*UNTOLD, negative_data_rejection])
    if set(real) >= {"username", "password"} or set(real) & {"refresh", "token"}:
        assert response.status_code == 200, response.text


def sign_in(base: str, kind: str = "token") -> Any:
    response = requests.post(f"{base}/auth/{kind}/", json=CREDENTIALS, timeout=10)
    assert response.status_code == 200
    return response.json()


@schema.parametrize()
@examples(3)
def test_signed_in(case: Any, base: str) -> None:
    signed_in(case, base)


@pytest.mark.slow
@schema_with_cookies.parametrize()
@examples(25)
def test_anonymous_where_there_are_cookies(case: Any, base_with_cookies: str) -> None:
    anonymous(case, base_with_cookies)


@schema_with_cookies.parametrize()
@examples(3)
def test_in_a_browser(case: Any, base_with_cookies: str) -> None:
    in_a_browser(case, base_with_cookies)


@pytest.mark.slow
@schema.parametrize()
@examples(25)
def test_anonymous_at_length(case: Any, base: str) -> None:
    anonymous(case, base)


@pytest.mark.slow
@schema.parametrize()
@examples(25)
def test_signed_in_at_length(case: Any, base: str) -> None:
    signed_in(case, base)


@pytest.mark.slow
@schema.parametrize()
@examples(25)
def test_with_real_values_at_length(case: Any, base: str) -> None:
    with_real_values(case, base)


@pytest.mark.slow
@schema_with_cookies.parametrize()
@examples(25)
def test_in_a_browser_at_length(case: Any, base_with_cookies: str) -> None:
    in_a_browser(case, base_with_cookies)
