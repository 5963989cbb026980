"""What frozen clocks do to tokens, and what they do not do to Redis: as docs/how-to/test-your-project.md has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from freezegun import freeze_time

from jwt_redis import sessions
from jwt_redis.testing import assert_live, assert_revoked, auth_headers, login, override_jwt_settings

TRAVELS = [
    pytest.param(lambda to: time_machine.travel(to, tick=True), id="time-machine"),
    pytest.param(lambda to: freeze_time(to, tick=True), id="freezegun"),
]


def ahead(**by: Any) -> datetime:
    return datetime.now(UTC) + timedelta(**by)


@pytest.mark.parametrize("travel", TRAVELS)
def test_a_token_s_own_time_follows_the_frozen_clock(travel: Any, alice: Any) -> None:
    headers = auth_headers(alice)
    assert Client().get("/whoami/", headers=headers).status_code == 200
    with travel(ahead(minutes=6)):
        answer = Client().get("/whoami/", headers=headers)
        assert answer.json()["messages"][0]["message"] == "Token is expired"


@pytest.mark.parametrize("travel", TRAVELS)
def test_so_does_the_end_of_a_session(travel: Any, alice: Any) -> None:
    with override_jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(days=3)):
        made = login(Client(), alice)
        token = sessions.explain(made.refresh)
        assert token.allowed
        with travel(ahead(days=1, minutes=1)):
            assert sessions.list_sessions(alice) == []


@pytest.mark.parametrize("travel", TRAVELS)
def test_redis_own_clock_does_not_the_grace_of_a_rotation_stays(travel: Any, alice: Any) -> None:
    made = login(Client(), alice)
    first = Client().post("/auth/token/refresh/", {"refresh": made.refresh})
    assert first.status_code == 200
    with travel(ahead(minutes=1)):
        # A minute is more than the grace, but for Redis no time has passed.
        assert Client().post("/auth/token/refresh/", {"refresh": made.refresh}).status_code == 200
    with override_jwt_settings(REFRESH_GRACE=0):
        assert Client().post("/auth/token/refresh/", {"refresh": made.refresh}).status_code == 401
    assert_revoked(first.json()["access"], "session_ended")


@pytest.mark.parametrize("travel", TRAVELS)
def test_a_session_that_is_opened_in_a_frozen_past_is_good_there(travel: Any, alice: Any) -> None:
    with travel(datetime(2024, 2, 29, tzinfo=UTC)):
        headers = auth_headers(alice)
        assert Client().get("/whoami/", headers=headers).status_code == 200
        assert_live(headers["Authorization"].removeprefix("Bearer "))
