"""The demo as a person runs it: demo.py as a process of its own, ended in every way, and started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port
from tests.support.server import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
PROJECT = ROOT / "example_project"
PASSWORD = "correct horse"
_SECONDS = 60
# What would lead the demo to other servers, files or settings than its own.
_OTHERS = ("REDIS_URL", "JWT_REDIS_TEST_URL", "DJANGO_SETTINGS_MODULE", "DEMO_VAR", "PORT")


class Demo:
    """One run of demo.py with its files in ``var``; what it prints goes to a file beside it."""

    def __init__(self, var: Path, *, stdin: int = subprocess.DEVNULL, **environment: str) -> None:
        self.var = var
        self.log = var.with_name(f"{var.name}-{time.monotonic_ns()}.log")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(PROJECT / "demo.py")],
                env=_environment(var, **environment),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.base = ""
        self.children: list[tuple[int, str]] = []

    def wait_until_ready(self, *, processes: tuple[str, ...] = ("redis-server|valkey-server", "uvicorn")) -> Demo:
        """Wait for the address that it prints, and note which processes it has."""
        found = _poll(lambda: self._address() or self.process.poll() is not None)
        assert found and self.process.poll() is None, self.printed
        self.base = self._address()
        self.children = _children(self.process.pid)
        commands = [_command(pid) for pid, _ in self.children]
        assert len(commands) == len(processes), commands
        assert all(any(re.search(one, command) for command in commands) for one in processes), commands
        return self

    def _address(self) -> str:
        printed = self.printed
        match = re.search(r"The demo is at +(http://\S+)/", printed)
        return match[1] if match and "What happens" in printed else ""

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, how: signal.Signals) -> int:
        """Send it the signal and wait. Its exit status."""
        self.process.send_signal(how)
        return self.process.wait(_SECONDS)

    def tidy(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid, begun in self.children:
            if _lives(pid, begun):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos that share one folder."""
    demos: list[Demo] = []

    def begin(**arguments: Any) -> Demo:
        demos.append(Demo(tmp_path / "var", **arguments))
        return demos[-1]

    yield begin
    for demo in demos:
        demo.tidy()


def test_the_walk_passes_and_what_was_done_outlives_a_restart(start: Callable[..., Demo]) -> None:
    demo = start(PORT=str(free_port())).wait_until_ready()
    walk = _walk(demo.var)
    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert "steps were as they should be" in walk.stdout
    tokens, sid = _sign_in(demo.base)
    _write(demo.base, tokens, "Still here tomorrow")

    assert demo.end(signal.SIGINT) == 0
    _assert_nothing_is_left(demo)
    assert "Traceback" not in demo.printed
    # Stopped in good order, not killed with its parent.
    assert "ready to exit" in (demo.var / "redis" / "redis.log").read_text()

    again = start(PORT=str(free_port())).wait_until_ready()
    assert _sid_after_refresh(again.base, tokens) == sid
    assert _notes(again.base, tokens) == ["Still here tomorrow"]
    assert again.end(signal.SIGINT) == 0
    _assert_nothing_is_left(again)


def test_the_pages_need_no_script_and_no_browser(start: Callable[..., Demo]) -> None:
    """The rest of them is for tests/browser."""
    base = start(PORT=str(free_port())).wait_until_ready().base
    with requests.Session() as browser:
        browser.trust_env = False
        page = browser.get(f"{base}/sign-in/", timeout=_SECONDS)
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        page = _send(browser, page, username="alice", password=PASSWORD)
        assert "Hello alice" in page.text
        cookies = {cookie.name: cookie for cookie in browser.cookies}
        assert all(cookies[name].has_nonstandard_attr("HttpOnly") for name in ("demo_access", "demo_refresh"))
        # As after a minute: the answer brings another.
        browser.cookies.clear("127.0.0.1", "/", "demo_access")
        assert "This device" in browser.get(f"{base}/devices/", timeout=_SECONDS).text
        assert "demo_access" in browser.cookies
        # Staff need no second sign-in.
        assert browser.get(f"{base}/admin/jwt_redis/session/", timeout=_SECONDS).status_code == 200
        # A script is told the same: tokens are in no body.
        assert _ask("POST", f"{base}/auth/token/", username="alice", password=PASSWORD).status_code == 403
        _ask("POST", f"{base}/api/auth/logout/all/", _sign_in(base)[0])
        out = browser.get(f"{base}/notes/", timeout=_SECONDS)
        assert out.status_code == 401
        assert "You signed out, here or on another device." in out.text


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(start: Callable[..., Demo], how: signal.Signals) -> None:
    demo = start(PORT=str(free_port())).wait_until_ready()
    assert demo.end(how) == 0
    _assert_nothing_is_left(demo)


def test_more_signals_do_not_cut_the_end_short(start: Callable[..., Demo]) -> None:
    demo = start(PORT=str(free_port())).wait_until_ready()
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        demo.process.send_signal(how)
    assert demo.process.wait(_SECONDS) == 0
    _assert_nothing_is_left(demo)


def test_a_closed_terminal_ends_it_though_no_signal_comes(start: Callable[..., Demo]) -> None:
    """As under make, which keeps the SIGHUP to itself where it leads the session."""
    ours, its = os.openpty()
    try:
        demo = start(stdin=its, PORT=str(free_port()))
    finally:
        os.close(its)
    try:
        demo.wait_until_ready()
    finally:
        os.close(ours)
    assert demo.process.wait(_SECONDS) == 0
    _assert_nothing_is_left(demo)


def test_after_a_kill_nothing_runs_on_and_nothing_is_lost(start: Callable[..., Demo]) -> None:
    demo = start(PORT=str(free_port())).wait_until_ready()
    tokens, sid = _sign_in(demo.base)
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    assert _poll(lambda: not [one for one in demo.children if _lives(*one)]), "a process was left"

    again = start(PORT=str(free_port())).wait_until_ready()
    assert _sid_after_refresh(again.base, tokens) == sid


def test_another_port_is_taken_and_said_when_8000_is_in_use(start: Callable[..., Demo]) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8000))
        except OSError:
            pass  # Somebody else's will do.
        else:
            other.listen()
        demo = start().wait_until_ready()
        assert not demo.base.endswith(":8000")
        assert f"{demo.base}/  (port 8000 is in use)" in demo.printed
        # The walk finds it there.
        walk = _walk(demo.var)
        assert walk.returncode == 0, walk.stdout + walk.stderr


def test_a_second_demo_in_the_same_folder_says_which_is_the_first(start: Callable[..., Demo]) -> None:
    first = start(PORT=str(free_port())).wait_until_ready()
    second = start(PORT=str(free_port()))
    assert second.process.wait(_SECONDS) == 1
    assert f"A demo (process {first.process.pid}) runs with {first.var} already." in second.printed
    assert "Traceback" not in second.printed
    assert _sign_in(first.base)
    # It was only asked: a third is told the same.
    third = start(PORT=str(free_port()))
    assert third.process.wait(_SECONDS) == 1
    assert f"process {first.process.pid}" in third.printed


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "127.0.0.1:6379", "redis://127.0.0.1:port/0"])
def test_a_redis_url_that_does_not_work_is_named(start: Callable[..., Demo], url: str) -> None:
    demo = start(REDIS_URL=url.format(port=free_port()), PORT=str(free_port()))
    assert demo.process.wait(_SECONDS) == 1
    assert "The Redis in REDIS_URL does not answer:" in demo.printed
    assert "Traceback" not in demo.printed
    assert not (demo.var / "redis").exists()


def test_the_redis_of_redis_url_is_used_and_its_password_not_shown(
    start: Callable[..., Demo], redis_server: RedisServer, store: redis.Redis
) -> None:
    # The server of this run has no password, so it takes any.
    url = f"redis://default:unspoken@127.0.0.1:{redis_server.port}/0"
    demo = start(REDIS_URL=url, PORT=str(free_port())).wait_until_ready(processes=("uvicorn",))
    assert "the one in REDIS_URL" in demo.printed
    assert "unspoken" not in demo.printed
    _sign_in(demo.base)
    assert store.dbsize() > 0
    assert demo.end(signal.SIGINT) == 0
    assert store.ping()


def test_the_walk_without_a_demo_says_so(tmp_path: Path) -> None:
    walk = _walk(tmp_path)
    assert walk.returncode == 1
    assert "No demo runs here. Start it with `make demo`" in walk.stderr
    # After a kill the address is still there, and nobody at it.
    (tmp_path / "address").write_text(f"http://127.0.0.1:{free_port()}")
    walk = _walk(tmp_path)
    assert walk.returncode == 1
    assert "Is the demo running? `make demo`" in walk.stderr


def _environment(var: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    return {**kept, "DEMO_VAR": str(var), **more}


def _walk(var: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "demo_walk", "--no-color"]
    return subprocess.run(
        command, cwd=PROJECT, env=_environment(var), capture_output=True, text=True, timeout=2 * _SECONDS
    )


def _ask(method: str, url: str, tokens: dict[str, str] | None = None, **body: str) -> requests.Response:
    with requests.Session() as session:
        # A proxy in the environment is not for loopback.
        session.trust_env = False
        headers = {"Authorization": f"Bearer {tokens['access']}"} if tokens else {}
        return session.request(method, url, headers=headers, json=body or None, timeout=_SECONDS)


def _send(browser: requests.Session, page: requests.Response, **fields: str) -> requests.Response:
    """Fill in a page's form."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    return browser.post(page.url, {"csrfmiddlewaretoken": token[1], **fields}, timeout=_SECONDS)


def _sign_in(base: str) -> tuple[dict[str, str], str]:
    """The tokens of a new session of alice, and its id."""
    answer = _ask("POST", f"{base}/api/auth/token/", username="alice", password=PASSWORD)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    return tokens, _ask("GET", f"{base}/api/me/", tokens).json()["sid"]


def _sid_after_refresh(base: str, tokens: dict[str, str]) -> str:
    """The session that the refresh token still is for. The new pair takes the place of the old."""
    answer = _ask("POST", f"{base}/api/auth/token/refresh/", refresh=tokens["refresh"])
    assert answer.status_code == 200, answer.text
    tokens.update(answer.json())
    return str(_ask("GET", f"{base}/api/me/", tokens).json()["sid"])


def _write(base: str, tokens: dict[str, str], text: str) -> None:
    assert _ask("POST", f"{base}/api/notes/", tokens, text=text).status_code == 201


def _notes(base: str, tokens: dict[str, str]) -> list[str]:
    return [note["text"] for note in _ask("GET", f"{base}/api/notes/", tokens).json()]


def _assert_nothing_is_left(demo: Demo) -> None:
    """It has waited for its children itself, so they are gone as soon as it is."""
    left = {pid: _command(pid) for pid, begun in demo.children if _lives(pid, begun)}
    assert not left
    assert not (demo.var / "address").exists()


def _stat(pid: int) -> list[str]:
    """What follows the command in /proc/PID/stat: state, parent, ...; nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children(parent: int) -> list[tuple[int, str]]:
    """Every process below it, with the time at which it began: an id alone may come again."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := _stat(int(entry.name))) and int(stat[1]) == parent:
            found += [(int(entry.name), stat[19]), *_children(int(entry.name))]
    return found


def _lives(pid: int, begun: str) -> bool:
    stat = _stat(pid)
    # One that has ended, and was not waited for yet by whoever inherited it, does nothing any more.
    return bool(stat) and stat[19] == begun and stat[0] not in "ZX"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def _poll(condition: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
