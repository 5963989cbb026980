"""The story of the demo over HTTP: two browsers, one user, and every way in which a session ends."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1"
)
_SECONDS = 20
# The servers are on this machine: a proxy in the environment is not for them.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    """Keeps a pair of tokens, as a page would."""

    def __init__(self, base: str, user_agent: str) -> None:
        self.base = base
        self.user_agent = user_agent
        self.access = self.refresh = ""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, token: bool = True) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        headers = {"User-Agent": self.user_agent, "Content-Type": "application/json"}
        if token and self.access:
            headers["Authorization"] = f"Bearer {self.access}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/api/{path}", data, headers, method=method)  # noqa: S310
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        except OSError as error:
            raise CommandError(f"{self.base} does not answer ({error}). Is the demo running? `make demo`") from error
        try:
            return status, json.loads(text or b"null")
        except ValueError as error:
            raise CommandError(
                f"{method} {path}: {status}, and no JSON. Is {self.base} the demo? {text[:200]!r}"
            ) from error

    def keep(self, answer: tuple[int, Any]) -> tuple[int, Any]:
        """Keep the tokens of an answer that has some."""
        if answer[0] == 200:
            self.access, self.refresh = answer[1]["access"], answer[1]["refresh"]
        return answer

    def sign_in(self, username: str, password: str) -> tuple[int, Any]:
        credentials = {"username": username, "password": password}
        return self.keep(self.ask("POST", "auth/token/", credentials, token=False))

    def use(self, refresh: str) -> tuple[int, Any]:
        """Send a refresh token; what comes back is not kept."""
        return self.ask("POST", "auth/token/refresh/", {"refresh": refresh}, token=False)

    @property
    def sid(self) -> str:
        return str(self.ask("GET", "me/")[1].get("sid"))


class Command(BaseCommand):
    help = "Walk through the demo over HTTP. Exit status 1 at the first step that is not as it should be."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", help="Where the demo runs; by default where it was started from this folder.")
        parser.add_argument("--username", default="bob", help="Whose sessions: they all end (default: bob).")
        parser.add_argument("--password", help="If it is no longer the one of the start.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.steps = 0
        self.username = options["username"]
        self.password = options["password"] or settings.DEMO_USERS.get(self.username, "")
        base = (options["url"] or _address()).rstrip("/")
        first, second = Browser(base, FIREFOX), Browser(base, SAFARI)
        self.stdout.write(f"{self.username} on {base}: a Firefox and an iPhone.\n")
        self._two_devices(first, second)
        self._rotation(first)
        self._reuse(first, second)
        self._other_device(first, second)
        self._new_password(first, second)
        self._everywhere(first, second)
        self.stdout.write(self.style.SUCCESS(f"\nAll {self.steps} steps were as they should be."))

    def _two_devices(self, first: Browser, second: Browser) -> None:
        self._chapter("Signed in twice")
        self._sign_in("Firefox signs in", first)
        self._sign_in("the iPhone signs in", second)
        status, devices = first.ask("GET", "auth/sessions/")
        self._step("Firefox lists the devices: both are there, itself marked", status, 200)
        current = {one["sid"]: one["current"] for one in devices}
        self._step("  Firefox is this device", current.get(first.sid), True)
        self._step("  the iPhone is another", current.get(second.sid), False)
        status, note = first.ask("POST", "notes/", {"text": "Written by the walk"})
        self._step("Firefox writes a note", status, 201)
        status, _ = second.ask("DELETE", f"notes/{note['id']}/")
        self._step("the iPhone deletes it", status, 204)
        self._step("a plain Django view knows the user too", second.ask("GET", "plain/")[0], 200)

    def _rotation(self, first: Browser) -> None:
        self._chapter("Refresh tokens are used once")
        used = first.refresh
        status, _ = first.keep(first.use(used))
        self._step("Firefox refreshes: a new pair", status, 200)
        self._step("  the refresh token is another", first.refresh != used, True)
        status, again = first.use(used)
        self._step("the same token again, as when an answer was lost", status, 200)
        self._step("  gives the same successor", again.get("refresh") == first.refresh, True)

    def _reuse(self, first: Browser, second: Browser) -> None:
        self._chapter("A stolen copy")
        stolen = first.refresh
        for count in ("once", "twice"):
            self._step(f"Firefox refreshes {count}", first.keep(first.use(first.refresh))[0], 200)
        self._refused("somebody sends a copy of the old refresh token", second.use(stolen), "session_ended")
        self._refused("Firefox' session is over, thief or not", first.ask("GET", "me/"), "session_ended")
        self._refused("  its newest refresh token with it", first.use(first.refresh), "session_ended")
        self._step("the iPhone was not concerned", second.ask("GET", "me/")[0], 200)

    def _other_device(self, first: Browser, second: Browser) -> None:
        self._chapter("That device")
        self._sign_in("Firefox signs in again", first)
        status, _ = first.ask("DELETE", f"auth/sessions/{second.sid}/")
        self._step("Firefox signs the iPhone out", status, 204)
        self._refused("the iPhone's access token, though not expired", second.ask("GET", "me/"), "session_ended")
        self._refused("  in a plain Django view too", second.ask("GET", "plain/"), "session_ended")
        self._refused("  and its refresh token", second.use(second.refresh), "session_ended")

    def _new_password(self, first: Browser, second: Browser) -> None:
        self._chapter("Another password")
        self._sign_in("the iPhone signs in again", second)
        new = f"walk {secrets.token_urlsafe(12)}"
        old_access = first.access
        self._step("Firefox changes the password", self._change(first, self.password, new), 200)
        try:
            self._step("  and stays in, with new tokens", first.ask("GET", "me/")[0], 200)
            self._refused("the iPhone is out", second.ask("GET", "me/"), "session_ended")
            new_access, first.access = first.access, old_access
            self._refused("Firefox' own older tokens are, too", first.ask("GET", "me/"), "session_ended")
            first.access = new_access
        finally:
            # Whatever went wrong, the account shall be as it was.
            changed_back = self._change(first, new, self.password)
        self._step("Firefox changes it back", changed_back, 200)

    def _everywhere(self, first: Browser, second: Browser) -> None:
        self._chapter("Everywhere")
        self._sign_in("the iPhone signs in once more", second)
        status, answer = second.ask("POST", "auth/logout/all/", {})
        self._step("the iPhone signs out everywhere", status, 200)
        self._step("  which ended both sessions, at the least", answer.get("sessions_ended", 0) >= 2, True)
        self._refused("Firefox is out", first.ask("GET", "me/"), "session_ended")
        self._refused("the iPhone is out", second.ask("GET", "me/"), "session_ended")

    def _change(self, browser: Browser, old: str, new: str) -> int:
        passwords = {"old_password": old, "new_password": new}
        return browser.keep(browser.ask("POST", "password/", passwords))[0]

    def _sign_in(self, title: str, browser: Browser) -> None:
        status, answer = browser.sign_in(self.username, self.password)
        self._step(title, status, 200, hint=f"{answer} Was the password changed? There is --password.")

    def _refused(self, title: str, answer: tuple[int, Any], reason: str) -> None:
        status, body = answer
        self._step(title, f"{status} {(body or {}).get('reason')}", f"401 {reason}")

    def _chapter(self, title: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(title))

    def _step(self, title: str, found: object, wanted: object, *, hint: str = "") -> None:
        self.steps += 1
        is_good = found == wanted
        mark = self.style.SUCCESS("ok") if is_good else self.style.ERROR("NOT AS EXPECTED")
        said = {True: "yes", False: "no"}.get(found, found) if isinstance(found, bool) else found
        self.stdout.write(f"{self.steps:3}  {title:<58} {said!s:<26} {mark}")
        if not is_good:
            raise CommandError(f"Step {self.steps}: expected was {wanted}. {hint}".strip())


def _address() -> str:
    # demo.py writes it while it runs: it may have had to take another port.
    try:
        return (settings.VAR / "address").read_text().strip()
    except OSError as error:
        raise CommandError("No demo runs here. Start it with `make demo`, or name one with --url.") from error
