"""The journal says by whom: over HTTP it is the user who asked."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from jwt_redis import journal, sessions
from jwt_redis.models import Revocation

pytestmark = pytest.mark.django_db


def bearer(token: Any) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token.access_token}")
    return client


@pytest.mark.parametrize(
    "how", ["logout with a refresh token", "logout by the header", "others", "all", "one of the list", "a single token"]
)
def test_who_signs_out_is_written_down(alice: Any, how: str) -> None:
    token, other = sessions.open_session(alice), sessions.open_session(alice)
    client = bearer(token)
    if how == "logout with a refresh token":
        response = APIClient().post("/auth/logout/", {"refresh": str(token)}, format="json")
    elif how == "logout by the header":
        response = client.post("/auth/logout/")
    elif how == "others":
        response = client.post("/auth/logout/others/")
    elif how == "all":
        response = client.post("/auth/logout/all/")
    elif how == "one of the list":
        response = client.delete(f"/auth/sessions/{other['sid']}/")
    else:
        access = token.access_token
        del access.payload["sid"]
        response = APIClient().post("/auth/logout/", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert response.status_code in (200, 204)
    rows = Revocation.objects.exclude(kind="store")
    assert {row.actor for row in rows} == {str(alice.pk)}, how


def test_what_nobody_asked_for_has_no_actor(alice: Any) -> None:
    alice.set_password("another")
    alice.save()
    assert [row.actor for row in journal.history(str(alice.pk))] == [""]
    with journal.acting_as("x" * 500):
        sessions.end_all_sessions(alice)
    assert journal.history(str(alice.pk))[0].actor == "x" * 150
