"""Two kinds of clients of dj-rest-auth, and whether they are signed in."""

from __future__ import annotations

from typing import Any

import requests

from tests.support.neighbours import ALICE, Site


class InHeader:
    """A client that keeps its tokens itself."""

    def __init__(self, served: Site, name: str = "alice", password: str = ALICE, agent: str = "App") -> None:
        self.device = served.device(agent)
        answer = self.sign_in(name, password)
        assert answer.status_code == 200, answer.text
        self.access, self.refresh = answer.json()["access"], answer.json()["refresh"]

    def sign_in(self, name: str, password: str) -> requests.Response:
        return self.device.post("/auth/login/", {"username": name, "password": password})

    def call(self, method: str, path: str, json: Any = None) -> requests.Response:
        return self.device.call(method, path, json, bearer=self.access)

    def use(self) -> requests.Response:
        return self.device.post("/auth/token/refresh/", {"refresh": self.refresh})

    def sign_out(self) -> requests.Response:
        return self.device.post("/auth/logout/", {"refresh": self.refresh})


class InCookie(InHeader):
    """A browser: its page sends the CSRF token, and never sees a refresh token."""

    def __init__(self, served: Site, name: str = "alice", password: str = ALICE, agent: str = "Browser") -> None:
        super().__init__(served, name, password, agent)
        assert self.refresh == ""
        self.access, self.refresh = self.cookies["access"], self.cookies["refresh"]

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.device.http.cookies.items())

    def put_back(self) -> None:
        """The cookies of the sign-in again, whatever was taken back since."""
        self.device.set_cookie("access", self.access)
        self.device.set_cookie("refresh", self.refresh, "/auth/")

    def call(self, method: str, path: str, json: Any = None) -> requests.Response:
        return self.device.call(method, path, json, headers=self.device.csrf)

    def use(self) -> requests.Response:
        return self.device.post("/auth/token/refresh/", {})

    def sign_out(self) -> requests.Response:
        return self.device.post("/auth/logout/", headers=self.device.csrf)


Client = InHeader | InCookie


def assert_alive(client: Client) -> None:
    assert client.call("GET", "/auth/user/").status_code == 200
    assert client.device.post("/auth/token/verify/", {"token": client.refresh}).status_code == 200


def assert_ended(client: Client, reason: str = "session_ended") -> None:
    """Both tokens of the sign-in are refused, wherever they come from."""
    if isinstance(client, InCookie):
        client.put_back()
    refused, unused = client.call("GET", "/auth/user/"), client.use()
    assert (refused.status_code, unused.status_code, unused.json()["reason"]) == (401, 401, reason)
    # A cookie is not refused, but passed over.
    assert refused.json().get("reason") == (reason if not isinstance(client, InCookie) else None)
    verified = client.device.post("/auth/token/verify/", {"token": client.refresh})
    assert (verified.status_code, verified.json()["reason"]) == (400, [reason])
