"""The demo as a child process, and Chromium in front of it: each person has a browser of their own."""

from __future__ import annotations

import contextlib
import email
import email.policy
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from jwt_redis.testing.servers import die_with_parent, free_port
from tests.browser.looking import Looker
from tests.browser.people import Person
from tests.support.server import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROJECT = ROOT / "example_project"
PASSWORD = "a password for tests"
# Of the devices that have no browser: https://www.rfc-editor.org/rfc/rfc5737
ADDRESS = "198.51.100.7"
_USERS = 60
_SECONDS = 60
# What would lead the demo to other servers, files or settings than its own.
_OTHERS = ("REDIS_URL", "JWT_REDIS_TEST_URL", "DJANGO_SETTINGS_MODULE", "DEMO_VAR", "PORT")


class Demo:
    """A demo that runs. ``users``: names that nobody has signed in as yet. ``redis_url``: of its own Redis."""

    def __init__(self, base: str, environment: dict[str, str], printed: str) -> None:
        self.base = base
        self.redis_url = re.search(r"redis://\S+", printed)[0]  # type: ignore[index]
        # A file a message.
        self._mail = Path(environment["DEMO_VAR"]) / "mail"
        self._environment = environment
        self.users = iter([f"person{number}" for number in range(_USERS)])

    def shell(self, code: str) -> str:
        """What ``manage.py shell`` prints for it."""
        command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code]
        done = subprocess.run(
            command, cwd=PROJECT, env=self._environment, capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def html_of_mail(self, name: str) -> str:
        """The HTML of the last message to somebody."""
        for path in sorted(self._mail.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True):
            message = email.message_from_bytes(path.read_bytes(), EmailMessage, policy=email.policy.default)
            if message["To"] == f"{name}@example.com" and (body := message.get_body(("html",))) is not None:
                return str(body.get_content())
        raise AssertionError(f"There is no mail to {name}.")


@contextlib.contextmanager
def run_demo(folder: Path, *, users: int = _USERS, language: str = "en-us") -> Iterator[Demo]:
    """A demo that writes into ``folder`` alone, with so many ``users`` beside alice and bob."""
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    environment = {**kept, "DEMO_VAR": str(folder / "var"), "PORT": str(free_port()), "DEMO_LANGUAGE": language}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "demo.py")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait_for(folder / "var" / "address", process, log)
        running = Demo(f"http://127.0.0.1:{environment['PORT']}", environment, log.read_text())
        if users:
            # One hash for all of them: it is made to take long.
            running.shell(
                "from django.contrib.auth.hashers import make_password\n"
                "from django.contrib.auth.models import User\n"
                f"password = make_password({PASSWORD!r})\n"
                "User.objects.bulk_create(User(username=f'person{number}', email=f'person{number}@example.com',"
                f" password=password) for number in range({users}))\n"
            )
        yield running
    finally:
        process.terminate()
        process.wait(_SECONDS)
    assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The one that all tests share, each with a user of its own."""
    with run_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


def _wait_for(address: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    # Its last words before it is used.
    while not address.exists() or "What happens" not in log.read_text(errors="replace"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# Of the package and not of the session: while Playwright runs, so does its event loop, which other tests would meet.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: make browser installs it")
    path = _chromium()
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or name one in CHROMIUM")
    from playwright.sync_api import sync_playwright

    # Its sandbox is not for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*arguments, "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def person(demo: Demo, chromium: Browser) -> Iterator[Callable[..., Person]]:
    """Makes a person with a browser of their own: cookies, user agent; in front of another demo by its ``base``.

    Afterwards nothing may have gone wrong in it."""
    people: list[Person] = []

    def make(*, base: str = "", **options: Any) -> Person:
        people.append(Person(chromium, base or demo.base, **options))
        return people[-1]

    yield make
    for one in people:
        one.close()
    assert [error for one in people for error in one.errors] == []


@pytest.fixture
def user(demo: Demo) -> str:
    """Somebody whom no other test knows. The password is ``PASSWORD``."""
    return next(demo.users)


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def has_scripts(request: pytest.FixtureRequest) -> bool:
    """Whether the browsers run JavaScript."""
    return bool(request.param)


@pytest.fixture
def looker(person: Callable[..., Person]) -> Iterator[Callable[..., Looker]]:
    """Makes somebody who looks at pages; in the end nothing may be wrong with them."""
    lookers = []

    def make(**options: Any) -> Looker:
        lookers.append(Looker(person(reduced_motion="reduce", **options)))
        return lookers[-1]

    yield make
    found = [problem for one in lookers for problem in one.found]
    assert not found, "\n".join(found)


def sign_in_elsewhere(demo: Demo, agent: str, name: str, password: str) -> dict[str, str]:
    """A device that has no browser here. Its header."""
    with requests.Session() as session:
        # A proxy in the environment is not for loopback.
        session.trust_env = False
        session.headers["User-Agent"] = agent
        credentials = {"username": name, "password": password}
        answer = session.post(f"{demo.base}/api/auth/token/", json=credentials, timeout=30)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access']}"}


def sign_out_everywhere(demo: Demo, header: dict[str, str]) -> None:
    """All devices of whose header it is."""
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(f"{demo.base}/api/auth/logout/all/", headers=header, timeout=30).status_code == 200


_MANY = """
from django.contrib.auth.models import User
from django.test import RequestFactory
from jwt_redis import sessions
user = User.objects.get(username={name!r})
for agent in {agents!r}:
    request = RequestFactory(REMOTE_ADDR={address!r}).get("/", headers={{"user-agent": agent}})
    print(sessions.open_session(user, request)["sid"])
"""


def sign_in_many(demo: Demo, name: str, agents: list[str]) -> list[str]:
    """On a device for each user agent, and quicker than by the form. The ids of the sessions."""
    return demo.shell(_MANY.format(name=name, agents=agents, address=ADDRESS)).split()
