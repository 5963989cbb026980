"""Two of everything at once: real threads against a real server with several worker processes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
import requests

from jwt_redis import sessions
from tests.support.every_worker import until_all_write
from tests.support.server import http_server

WORKERS = 3


@pytest.fixture(scope="module")
def served(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("http")
    with http_server(folder, workers=WORKERS, settings="tests.projects.racing_settings") as url:
        yield url


@pytest.fixture
def base(served: str) -> str:
    until_all_write(served, WORKERS)
    return served


_local = threading.local()
# Whether to do as a 503 says, and come again: where a process looks after the store anew now and then, whoever has
# waited half a second for it is told so.
comes_again = False


def call(method: str, url: str, **kwargs: Any) -> requests.Response:
    if not hasattr(_local, "http"):
        _local.http = requests.Session()
    deadline = time.monotonic() + 20
    while True:
        response: requests.Response = _local.http.request(method, url, timeout=20, **kwargs)
        if response.status_code != 503 or not comes_again or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert response.status_code < 500, response.text
    return response


def login(base: str, name: str = "alice", password: str = "correct horse") -> dict[str, str]:
    response = call("POST", f"{base}/auth/token/", json={"username": name, "password": password})
    assert response.status_code == 200, response.text
    tokens: dict[str, str] = response.json()
    return tokens


def refresh(base: str, token: str) -> requests.Response:
    return call("POST", f"{base}/auth/token/refresh/", json={"refresh": token})


def is_let_in(base: str, access: str) -> bool:
    return call("GET", f"{base}/stateless/", headers={"Authorization": f"Bearer {access}"}).status_code == 200


def claims(token: str) -> dict[str, Any]:
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def at_once(count: int, work: Callable[..., Any]) -> list[Any]:
    barrier = threading.Barrier(count)

    def start(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_64_refreshes_of_one_token_make_one_successor(base: str, store: redis.Redis) -> None:
    for _ in range(3):
        tokens = login(base)
        answers = at_once(64, lambda _, token=tokens["refresh"]: refresh(base, token))
        assert Counter(answer.status_code for answer in answers) == {200: 64}
        successors = {answer.json()["refresh"] for answer in answers}
        assert {claims(token)["jti"] for token in successors} == {f"{claims(tokens['refresh'])['sid']}.1"}
        # Rotated once, and 63 times in grace: one rotation more would have moved the counter on.
        sid = claims(tokens["refresh"])["sid"]
        assert store.hget("jwt:{1}", f"sid:{sid}").startswith("1.")
        assert all(is_let_in(base, answer.json()["access"]) for answer in answers[:5])
        assert refresh(base, successors.pop()).status_code == 200


def test_refresh_against_revoke_leaves_no_survivor(base: str) -> None:
    survivors = []
    for number in range(300):
        tokens = login(base)
        header = {"Authorization": f"Bearer {tokens['access']}"}
        ways: list[Callable[[], requests.Response]] = [
            lambda t=tokens: call("POST", f"{base}/auth/logout/", json={"refresh": t["refresh"]}),
            lambda h=header: call("POST", f"{base}/auth/logout/all/", headers=h),
            lambda h=header: call(
                "DELETE", f"{base}/auth/sessions/{claims(h['Authorization'][7:])['sid']}/", headers=h
            ),
        ]
        revoke = ways[number % 3]
        refreshed, revoked = at_once(2, lambda n, t=tokens, r=revoke: r() if n else refresh(base, t["refresh"]))
        assert revoked.status_code in (200, 204)
        alive = [tokens, refreshed.json()] if refreshed.status_code == 200 else [tokens]
        survivors += [pair for pair in alive if is_let_in(base, pair["access"])]
        survivors += [pair for pair in alive if refresh(base, pair["refresh"]).status_code == 200]
    assert survivors == []


def test_a_second_to_last_token_within_the_grace_is_reuse(base: str) -> None:
    first = login(base)
    second = refresh(base, first["refresh"]).json()
    third = refresh(base, second["refresh"]).json()
    answer = refresh(base, first["refresh"])
    assert answer.status_code == 401 and answer.json()["reason"] == "session_ended"
    assert not is_let_in(base, third["access"])
    assert refresh(base, third["refresh"]).status_code == 401


def test_chains_of_refreshes_side_by_side_never_lose_a_session(base: str) -> None:
    """Two tabs each, over and over: the immediate predecessor is in grace whoever comes first."""

    def tabs(_: int) -> int:
        tokens = login(base)
        for _ in range(10):
            with ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(lambda t: refresh(base, t), [tokens["refresh"]] * 2))
            assert [answer.status_code for answer in answers] == [200, 200]
            tokens = answers[0].json()
        return claims(tokens["refresh"])["rotation"]

    assert at_once(4, tabs) == [10] * 4


def test_logins_at_once_never_exceed_max_sessions(base: str, store: redis.Redis) -> None:
    with ThreadPoolExecutor(16) as pool:
        pairs = list(pool.map(lambda _: login(base, "bob", "battery staple"), range(120)))
    values = store.hvals("jwt:{2}")
    assert sum(not value.startswith("ended.") for value in values) == 100
    alive = [is_let_in(base, pair["access"]) for pair in pairs]
    assert alive.count(True) == 100


@pytest.mark.django_db
def test_once_everything_is_revoked_no_process_exchanges_a_token(base: str) -> None:
    several = [login(base)["refresh"] for _ in range(16)]
    # Every worker has its copy of the marker.
    several = at_once(16, lambda number: refresh(base, several[number]).json()["refresh"])
    sessions.revoke_everything()
    answers = at_once(16, lambda number: refresh(base, several[number]).json())
    assert [answer.get("reason") for answer in answers] == ["all_revoked"] * 16


@pytest.mark.django_db
def test_revoke_everything_reaches_every_process_within_a_second(base: str) -> None:
    tokens = login(base)
    # Every worker has its copy of the marker.
    at_once(16, lambda _: is_let_in(base, tokens["access"]))
    sessions.revoke_everything()
    time.sleep(1.05)
    assert at_once(32, lambda _: is_let_in(base, tokens["access"])) == [False] * 32
    assert refresh(base, tokens["refresh"]).json()["reason"] == "all_revoked"
    assert is_let_in(base, login(base)["access"])


def test_one_user_of_two_signs_out_and_the_other_stays(base: str) -> None:
    pairs = [login(base), login(base, "bob", "battery staple")]
    assert all(is_let_in(base, pair["access"]) for pair in pairs)
    call("POST", f"{base}/auth/logout/all/", headers={"Authorization": f"Bearer {pairs[0]['access']}"})
    assert [is_let_in(base, pair["access"]) for pair in pairs] == [False, True]
