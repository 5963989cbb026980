"""Two of everything at once, for tokens from before there were sessions: real threads, several worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rest_framework_simplejwt import tokens as stock

from jwt_redis.verdicts import adopted_sid
from tests import test_races
from tests.support.every_worker import until_all_write
from tests.support.legacy import aged
from tests.support.server import http_server
from tests.test_races import WORKERS, at_once, call, claims, is_let_in, login, refresh


@pytest.fixture(scope="module")
def served(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("http")
    with http_server(folder, workers=WORKERS, settings="tests.projects.adopting_settings") as url:
        yield url


@pytest.fixture
def base(served: str, monkeypatch: pytest.MonkeyPatch) -> str:
    until_all_write(served, WORKERS)
    # While tokens from before are adopted, each process looks every ten seconds.
    monkeypatch.setattr(test_races, "comes_again", True)
    return served


def legacy(kind: Any = stock.RefreshToken) -> Any:
    """Of alice, the server's first user."""
    token = aged(kind(), 60)
    token["user_id"] = "1"
    return token


def test_many_adoptions_of_one_token_make_one_session(base: str, store: redis.Redis) -> None:
    for _ in range(3):
        token = legacy()
        answers = at_once(48, lambda _, token=token: refresh(base, str(token)))
        assert Counter(answer.status_code for answer in answers) == {200: 48}
        sid = adopted_sid(token["jti"])
        assert {claims(answer.json()["refresh"])["jti"] for answer in answers} == {f"{sid}.1"}
        assert store.hget("jwt:{1}", f"sid:{sid}").startswith("1.")


def test_no_adoption_survives_the_end_of_all_sessions(base: str, store: redis.Redis) -> None:
    """Whichever comes first."""
    adoptions = 0
    for _ in range(12):
        # Or the last round's end would refuse them all.
        store.delete("jwt:{1}")
        access, tokens = login(base)["access"], [legacy() for _ in range(4)]

        def work(number: int, access: str = access, tokens: list[Any] = tokens) -> Any:
            if number == 4:
                return call("POST", f"{base}/auth/logout/all/", headers={"Authorization": f"Bearer {access}"})
            return refresh(base, str(tokens[number]))

        *answers, ended = at_once(5, work)
        assert ended.status_code == 200
        for token, answer in zip(tokens, answers, strict=True):
            assert refresh(base, str(token)).status_code == 401
            if answer.status_code == 200:
                adoptions += 1
                assert not is_let_in(base, answer.json()["access"])
                assert refresh(base, answer.json()["refresh"]).status_code == 401
        assert not is_let_in(base, str(legacy(stock.AccessToken)))
    assert adoptions
