"""The demo's own tests, written with the test kit: ``python example_project/manage.py test notes``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from jwt_redis import sessions
from jwt_redis.testing import SessionTestCase, expired, override_jwt_settings
from notes.models import Note


class _Case(SessionTestCase):
    alice: Any
    bob: Any

    @classmethod
    def setUpTestData(cls) -> None:
        users = get_user_model()._default_manager
        cls.alice = users.create_user("alice", password="correct horse")
        cls.bob = users.create_user("bob", password="battery staple")


class PagesTests(_Case):
    """A browser, with cookies: the demo has them on, so that is what `login` uses."""

    def test_notes_are_for_who_is_signed_in(self) -> None:
        self.assertRedirects(self.client.get("/notes/"), "/sign-in/?next=/notes/", fetch_redirect_response=False)
        Note.objects.create(user=self.alice, text="buy milk")
        Note.objects.create(user=self.bob, text="sell milk")
        self.login(self.alice)
        answer = self.client.get("/notes/")
        self.assertContains(answer, "buy milk")
        self.assertNotContains(answer, "sell milk")

    def test_one_browser_signs_another_one_out(self) -> None:
        phone = Client()
        stolen = self.login(self.alice, phone)
        self.login(self.alice)
        self.assertRedirects(self.client.post(f"/devices/{stolen.sid}/sign-out/"), "/devices/")
        self.assertSessionEnded(self.alice, stolen.sid)
        self.assertRevoked(stolen.access, "session_ended")
        self.assertEqual(phone.get("/notes/").status_code, 401)

    def test_the_sign_in_form(self) -> None:
        self.client.post("/sign-in/", {"username": "alice", "password": "correct horse"})
        self.assertEqual(len(sessions.list_sessions(self.alice)), 1)


class ApiTests(_Case):
    """An app, with a header."""

    def test_a_note_is_its_writer_s(self) -> None:
        headers = self.auth_headers(self.alice)
        self.assertEqual(self.client.post("/api/notes/", {"text": "buy milk"}, headers=headers).status_code, 201)
        self.assertEqual(len(self.client.get("/api/notes/", headers=headers).json()), 1)
        self.assertEqual(self.client.get("/api/notes/", headers=self.auth_headers(self.bob)).json(), [])

    def test_another_password_signs_every_device_out_but_this_one(self) -> None:
        phone, here = Client(), Client()
        lost = self.login(self.alice, phone, transport="header")
        self.login(self.alice, here, transport="header")
        answer = here.post("/api/password/", {"old_password": "correct horse", "new_password": "tr0ub4dor&3"})
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertSessionEnded(self.alice, lost.sid, "password_changed")
        self.assertEqual(phone.get("/api/me/").json()["reason"], "session_ended")
        self.assertLive(answer.json()["access"])

    def test_a_token_whose_time_has_run_out(self) -> None:
        access = str(sessions.open_session(self.alice).access_token)
        answer = self.client.get("/api/me/", headers={"Authorization": f"Bearer {expired(access)}"})
        self.assertEqual(answer.status_code, 401)

    @override_jwt_settings(MAX_SESSIONS=1)
    def test_one_device_at_a_time(self) -> None:
        first = self.login(self.alice, transport="header")
        self.login(self.alice, transport="header")
        self.assertSessionEnded(self.alice, first.sid, "max_sessions")


class AsyncTests(_Case):
    async def test_an_async_client(self) -> None:
        await self.alogin(self.alice, transport="header")
        answer = await self.async_client.get("/api/plain/")
        self.assertEqual(answer.json(), {"username": "alice"})
