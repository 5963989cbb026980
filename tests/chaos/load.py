"""Clients: they sign in, ask, refresh and revoke, and ask again with what was revoked."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from tests.chaos import hooks
from tests.chaos.oracle import NO_ANSWER, Answer, Oracle, RevokedToken, Session, User
from tests.support.waiting import wait_for

PASSWORD = "correct horse"
USERS = 40
# Sessions that the load keeps alive.
_WANTED = 50
_ANSWER_SECONDS = 20
_PAUSE = 0.02


def user_names() -> list[str]:
    """Those that are in the database."""
    return [f"user{number:02}" for number in range(USERS)]


class Load:
    """Threads of clients. ``bases``: the servers to ask, at random."""

    def __init__(self, bases: Sequence[str], seed: int, *, clients: int = 4, checkers: int = 3) -> None:
        self.bases = list(bases)
        self.oracle = Oracle([User(name, [PASSWORD]) for name in user_names()])
        self.rng = random.Random(seed)
        self._work: list[Callable[[random.Random], object]] = [self._client] * clients + [self._checker] * checkers
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._failed: list[BaseException] = []
        self._deactivated = 0
        #: How often a client revokes, of all it does.
        self.revoking = 0.25

    # One request --------------------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        token: str | None = None,
        *,
        base: str | None = None,
        wish: str = "",
    ) -> Answer:
        """On a connection of its own, so that any worker may get it."""
        headers = {"Connection": "close", "Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if wish:
            headers[hooks.HEADER] = wish
        # random's functions are safe for threads, and here the order does not matter.
        address = urlsplit(base or random.choice(self.bases)).netloc
        status, text, worker, is_pending = NO_ANSWER, b"", "", False
        sent_at = time.monotonic()
        with contextlib.closing(http.client.HTTPConnection(address, timeout=_ANSWER_SECONDS)) as connection:
            try:
                connection.request(method, f"/{path}", json.dumps(body) if body is not None else None, headers)
                response = connection.getresponse()
                text = response.read()
                status, worker = response.status, response.getheader(hooks.WORKER) or ""
                is_pending = response.getheader(hooks.PENDING) is not None
            except (OSError, http.client.HTTPException):
                status = NO_ANSWER
        came_at = time.monotonic()
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        body_found = found if isinstance(found, dict) else {}
        answer = Answer(status, body_found, sent_at, came_at, worker, path, is_pending)
        self.oracle.answered(f"{method} {path.split('?')[0]}", answer)
        return answer

    # What a client does -------------------------------------------------------------------------------------------

    def sign_in(self, rng: random.Random, user: User | None = None) -> Session | None:
        """A new session of anybody."""
        user = user or rng.choice([user for user in self.oracle.users if user.is_active])
        for password in reversed(list(user.passwords)):
            answer = self.send("POST", "auth/token/", {"username": user.name, "password": password})
            if answer.is_ok:
                return self.oracle.signed_in(user, answer)
            if answer.status != 401:
                return None
        return None

    def check(self, session: Session, rng: random.Random, path: str | None = None) -> Answer:
        """A request with an access token."""
        token = session.access
        if not session.is_live:
            token = rng.choice([token, token, *session.former[-3:]])
        answer = self.send("GET", path or rng.choice(("stateless/", "stateless/", "whoami/")), token=token)
        # It may have been replaced, and then revoked alone, meanwhile.
        if answer.is_ok or token == session.access:
            self.oracle.checked(session, answer)
        return answer

    def refresh(self, session: Session) -> Answer | None:
        """Unless somebody else is at it with the same token."""
        if not session.busy.acquire(blocking=False):
            return None
        try:
            answer = self.send("POST", "auth/token/refresh/", {"refresh": session.refresh})
            self.oracle.refreshed(session, answer)
            return answer
        finally:
            session.busy.release()

    def check_token(self, token: RevokedToken) -> None:
        """An access token that was revoked alone."""
        self.oracle.checked_token(token, self.send("GET", "stateless/", token=token.access))

    # Each kind of revocation --------------------------------------------------------------------------------------

    def logout(self, session: Session, *, wish: str = "") -> Answer:
        """With the refresh token, at either of the views for it."""
        path = random.choice(("auth/logout/", "auth/token/blacklist/"))
        ending = self.oracle.begin([session])
        with session.busy:
            answer = self.send("POST", path, {"refresh": session.refresh}, wish=wish)
        self.oracle.end("logout", ending, answer)
        return answer

    def delete(self, session: Session) -> Answer:
        """From the list of sessions."""
        ending = self.oracle.begin([session])
        answer = self.send("DELETE", f"auth/sessions/{session.sid}/", token=session.access)
        self.oracle.end("delete", ending, answer)
        return answer

    def logout_all(self, session: Session) -> Answer:
        """Everywhere."""
        user = session.user
        ending = self.oracle.begin(self.oracle.sessions_of(user), user)
        answer = self.send("POST", "auth/logout/all/", token=session.access)
        self.oracle.end("all", ending, answer, user)
        return answer

    def logout_others(self, session: Session) -> Answer:
        """Everywhere else."""
        user = session.user
        ending = self.oracle.begin(self.oracle.sessions_of(user, session), user)
        answer = self.send("POST", "auth/logout/others/", token=session.access)
        self.oracle.end("others", ending, answer, user)
        return answer

    def revoke_access(self, session: Session) -> Answer | None:
        """One access token alone: the session goes on with another."""
        with session.busy:
            access = session.access
            refreshed = self.send("POST", "auth/token/refresh/", {"refresh": session.refresh})
            self.oracle.refreshed(session, refreshed)
            if not refreshed.is_ok:
                return None
            session.former.remove(access)
        answer = self.send("POST", "chaos/revoke-token/", {"token": access})
        self.oracle.end_token(access, answer)
        return answer

    def change_password(self, session: Session, *, atomic: bool, wish: str = "") -> Answer:
        """By set_password() and save()."""
        user = session.user
        new = f"{PASSWORD} {random.random()}"
        user.passwords = [*user.passwords, new]
        ending = self.oracle.begin(self.oracle.sessions_of(user), user)
        body: dict[str, object] = {"username": user.name, "password": new, "atomic": atomic}
        answer = self.send("POST", "chaos/password/", body, wish=wish)
        self.oracle.end("password, atomic" if atomic else "password", ending, answer, user)
        if answer.is_ok:
            user.passwords = [new]
        return answer

    def deactivate(self, session: Session) -> Answer:
        """For good."""
        user = session.user
        user.is_active = False
        ending = self.oracle.begin(self.oracle.sessions_of(user), user)
        answer = self.send("POST", "chaos/deactivate/", {"username": user.name})
        self.oracle.end("deactivation", ending, answer, user)
        return answer

    def revoke_everything(self, within: float) -> Answer:
        """All of everybody's."""
        ending: list[Session] = []
        for user in self.oracle.users:
            ending += self.oracle.begin(self.oracle.sessions_of(user), user)
        answer = self.send("POST", "chaos/revoke-everything/")
        self.oracle.end("everything", ending, answer, within=within)
        for user in self.oracle.users:
            user.revoking -= 1
            user.revoked_at = time.monotonic()
        return answer

    def revoke(self, session: Session, rng: random.Random) -> Answer | None:
        """In any of these ways; mostly those that end one session, or there would soon be none."""
        kind = rng.choices(
            ("logout", "delete", "token", "others", "all", "password", "atomic", "deactivate"),
            (30, 20, 15, 10, 8, 6, 8, 2),
        )[0]
        if kind == "deactivate" and self._deactivated < USERS // 4:
            self._deactivated += 1
            return self.deactivate(session)
        ways: dict[str, Callable[[], Answer | None]] = {
            "logout": lambda: self.logout(session),
            "delete": lambda: self.delete(session),
            "token": lambda: self.revoke_access(session),
            "others": lambda: self.logout_others(session),
            "all": lambda: self.logout_all(session),
            "password": lambda: self.change_password(session, atomic=False),
            "atomic": lambda: self.change_password(session, atomic=True),
        }
        return ways.get(kind, ways["logout"])()

    # Threads ------------------------------------------------------------------------------------------------------

    def _client(self, rng: random.Random) -> None:
        session = self.oracle.some_live(rng)
        if session is None or len(self.oracle.live) < _WANTED / 2 or rng.random() < 0.1:
            if self.sign_in(rng) is None:
                time.sleep(_PAUSE)
            return
        what = rng.random()
        if what < self.revoking:
            answer = self.revoke(session, rng)
        elif what < self.revoking + 0.25:
            answer = self.refresh(session)
        else:
            answer = self.check(session, rng)
        if answer is not None and not answer.is_ok:
            time.sleep(_PAUSE)

    def _checker(self, rng: random.Random) -> None:
        found = self.oracle.some_revoked(rng)
        if found is None:
            time.sleep(_PAUSE)
        elif isinstance(found, RevokedToken):
            self.check_token(found)
        # A refresh token that is ahead of the store ends its session: it must not always come before the others.
        elif rng.random() < 0.2 and int.from_bytes(found.sid[:1].encode(), "big") % 2:
            self.refresh(found)
        else:
            self.check(found, rng)

    def _loop(self, work: Callable[[random.Random], object], rng: random.Random) -> None:
        try:
            while not self._stopping.is_set():
                work(rng)
        except BaseException as error:
            self._failed.append(error)
            raise

    def fill(self) -> None:
        """Sessions to begin with."""
        seeds = [self.rng.random() for _ in range(_WANTED)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda seed: self.sign_in(random.Random(seed)), seeds))

    def start(self) -> None:
        """All threads."""
        for work in self._work:
            rng = random.Random(self.rng.random())
            thread = threading.Thread(target=self._loop, args=(work, rng), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """All threads, after the request that they are at.

        :raises RuntimeError: when one of them has failed, or does not come back.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join(_ANSWER_SECONDS + 5)
        if self._failed or any(thread.is_alive() for thread in self._threads):
            raise RuntimeError("A client of the load failed.") from (self._failed[0] if self._failed else None)

    # Before and after ---------------------------------------------------------------------------------------------

    def recover(self, since: float, seconds: float = 15) -> tuple[float | None, float | None]:
        """Seconds from ``since`` to the first request that was let in, and to the first revocation; None: never."""
        rng = random.Random(self.rng.random())

        def first(attempt: Callable[[], Answer | None]) -> float | None:
            while time.monotonic() < since + seconds:
                answer = attempt()
                if answer is not None and answer.is_ok:
                    return answer.came_at - since
                time.sleep(_PAUSE)
            return None

        def check() -> Answer | None:
            session = self.oracle.some_live(rng)
            answer = self.check(session, rng, "stateless/") if session else None
            if answer is None or answer.status == 401:
                self.sign_in(rng)
            return answer

        def revoke() -> Answer | None:
            session = self.oracle.some_live(rng) or self.sign_in(rng)
            return self.logout(session) if session else None

        return first(check), first(revoke)

    def wait_until_all_answer(self) -> None:
        """Each server has asked Redis again, and so has brought it what it had left pending, however late."""
        token = next(session.access for user in self.oracle.users for session in user.sessions)
        for base in self.bases:
            wait_for(partial(self._answers, token, base), f"{base} answers", 30)

    def _answers(self, token: str, base: str) -> bool:
        return self.send("GET", "stateless/", token=token, base=base).status in (200, 401)

    def storm(self) -> threading.Thread:
        """Everybody comes back at once, the latest to be revoked among them. The thread in which they do."""
        latest, rng = self.oracle.revoked[-60:], random.Random(self.rng.random())

        def come() -> None:
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda session: self.check(session, rng, "stateless/"), reversed(latest)))

        thread = threading.Thread(target=come, daemon=True)
        thread.start()
        return thread

    def sweep(self, limit: int = 100) -> None:
        """Once more with what was revoked, and then with what should work."""
        rng = random.Random(self.rng.random())
        oracle = self.oracle
        revoked, tokens, live = list(oracle.revoked), list(oracle.tokens), list(oracle.live)
        rng.shuffle(revoked)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda s: self.check(s, rng, "stateless/"), revoked[:limit]))
            list(pool.map(self.check_token, tokens[:limit]))
            list(pool.map(self.refresh, revoked[: limit // 2]))
            list(pool.map(lambda s: self.check(s, rng), live[:limit]))
            list(pool.map(self.refresh, live[: limit // 3]))
