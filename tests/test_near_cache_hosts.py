"""The near cache under the servers that people run: it answers in each worker, keeps its bound, and ends with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port
from tests.oracle.world import ROOT, RevokerProcess, environment, prepare, set_back_birth
from tests.support.topology import PATIENT
from tests.support.waiting import wait_for

LEASE = 1.0
# So often each process has to answer before it is believed to do so always.
TIMES = 5
# Seconds from SIGTERM to the end. It is below two on a machine that has nothing else to do.
ENDS = 12.0


class Site:
    """A store and a revoker, and the environment of a host that leads to them."""

    def __init__(self, server: RedisServer, folder: Path, database: Path) -> None:
        self.server = server
        self.folder = folder
        shutil.copy(database, folder / "db.sqlite3")
        self.revoker = RevokerProcess(environment(server, folder / "db.sqlite3"), folder / "revoker.log")
        self.env = environment(server, folder / "db.sqlite3", options=PATIENT, NEAR_CACHE={"lease": LEASE})
        self.session = self.open()
        set_back_birth(server)
        self.env["ORACLE_TOKEN"] = self.session["access"]

    def open(self) -> dict[str, str]:
        opened: dict[str, str] = self.revoker("open", user=1, count=1)[0]
        return opened

    def revoke(self) -> float:
        """The session, and when that was acknowledged."""
        session = self.session
        answer = self.revoker("revoke", kind="session", user=1, sid=session["sid"], access=session["access"])
        return float(answer["at"])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("hosts"))


@pytest.fixture
def site(tmp_path: Path, database: Path) -> Iterator[Site]:
    with RedisServer() as server:
        made = Site(server, tmp_path, database)
        with contextlib.closing(made.revoker):
            yield made


class Host:
    """A server process with its workers, on a port of its own."""

    def __init__(self, site: Site, command: Callable[[int], Sequence[str]], **environment: str) -> None:
        self.port = free_port()
        self._log = site.folder / "host.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *command(self.port)],
                cwd=ROOT,
                env={**site.env, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def said(self) -> str:
        """All of it so far."""
        return self._log.read_text(errors="replace")

    def ask(self, path: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """On a connection of its own; 0 for no answer."""
        headers = {"Connection": "close", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except OSError:
            return 0, {}

    def wait_until_up(self) -> None:
        """It answers."""

        def is_up() -> bool:
            assert self.process.poll() is None, self.said()
            return self.ask("untouched/")[0] == 200

        wait_for(is_up, f"the server answers: {self.said()}", 30)

    def end(self) -> float:
        """SIGTERM. How many seconds it took; it says nothing of an error."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(15)
        took = time.monotonic() - began
        assert "Traceback" not in self.said() and "Exception" not in self.said(), self.said()
        return took

    def kill(self) -> None:
        """All of it, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(site: Site, command: Callable[[int], Sequence[str]], **environment: str) -> Iterator[Host]:
    host = Host(site, command, **environment)
    try:
        host.wait_until_up()
        yield host
    finally:
        host.kill()


def workers_that_remember(host: Host, site: Site, path: str, workers: int) -> set[int]:
    """Ask until so many processes have answered from memory, several times each."""
    found: Counter[int] = Counter()

    def is_enough() -> bool:
        status, facts = host.ask(path, site.session["access"])
        assert status in (200, 503), (status, host.said())
        if facts.get("from_memory"):
            assert facts["follows"]
            found[facts["pid"]] += 1
        return len([pid for pid, count in found.items() if count >= TIMES]) >= workers

    wait_for(is_enough, "all workers answer from memory", 30)
    return set(found)


def assert_refused_in_time(host: Host, site: Site, path: str, workers: int) -> None:
    """By all that there are: whoever is asked a lease after the acknowledgement refuses."""
    at = site.revoke()
    refused = 0
    while refused < 20 * workers:
        asked_at = time.monotonic()
        status, facts = host.ask(path, site.session["access"])
        assert status in (200, 401, 503), host.said()
        assert status != 200 or asked_at <= at + LEASE, f"{asked_at - at:.3f} s after, by {facts}"
        if status == 401 and asked_at > at + LEASE:
            refused += 1
    # And who is good still is, and from memory again.
    site.session = site.open()
    workers_that_remember(host, site, path, workers)


def gunicorn(*options: str, application: str = "django.core.wsgi:get_wsgi_application()") -> Callable[[int], list[str]]:
    return lambda port: ["-m", "gunicorn", application, "-b", f"127.0.0.1:{port}", "-w", "2", *options]


def uvicorn(port: int) -> list[str]:
    application = ["django.core.asgi:get_asgi_application", "--factory", "--lifespan", "off"]
    return ["-m", "uvicorn", *application, "--port", str(port), "--workers", "2", "--log-level", "warning"]


HOSTS = {
    "sync": (gunicorn("-k", "sync"), "check/"),
    "preloaded": (gunicorn("-k", "sync", "--preload", application="tests.oracle.preloaded:application"), "check/"),
    "gthread": (gunicorn("-k", "gthread", "--threads", "4"), "check/"),
    "gevent": (gunicorn("-k", "gevent"), "check/"),
    "uvicorn": (uvicorn, "acheck/"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_a_server_with_two_workers(name: str, site: Site) -> None:
    command, path = HOSTS[name]
    with running(site, command) as host:
        pids = workers_that_remember(host, site, path, 2)
        assert host.process.pid not in pids
        assert_refused_in_time(host, site, path, 2)
        assert host.end() < ENDS


@pytest.mark.slow
def test_runserver_reloads(site: Site, tmp_path: Path) -> None:
    """The parent only starts the child anew: it has no thread to follow the log with."""
    urls = tmp_path / "host_urls.py"
    urls.write_text("from tests.oracle.urls import urlpatterns\n")
    environment = {
        "ORACLE_URLS": "host_urls",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    with running(site, lambda port: ["-m", "django", "runserver", f"127.0.0.1:{port}"], **environment) as host:
        (former,) = workers_that_remember(host, site, "check/", 1)
        assert former != host.process.pid
        status = Path(f"/proc/{host.process.pid}/status").read_text()
        assert "Threads:\t1\n" in status
        # Again and again, for the reloader may not have looked at it for the first time yet.
        while host.ask("untouched/")[1].get("pid") == former:
            os.utime(urls)
            time.sleep(0.2)
        wait_for(lambda: host.ask("untouched/")[1].get("pid", former) != former, "another process answers", 30)
        assert_refused_in_time(host, site, "check/", 1)
        assert host.end() < ENDS


@pytest.mark.slow
def test_uwsgi_without_threads(site: Site) -> None:
    """No thread of Python's runs between two requests: whether it follows or not, its verdicts are right."""
    if find_spec("pyuwsgi") is None:
        pytest.skip("There is no wheel of uWSGI for this system: pyuwsgi is in the group `test` on Linux only.")
    options = ["--master", "--processes", "2", "--need-app", "--die-on-term", "--disable-logging"]
    application = ["--module", "django.core.wsgi:get_wsgi_application()", "--pythonpath", str(ROOT)]

    def command(port: int) -> list[str]:
        arguments = ["--http-socket", f"127.0.0.1:{port}", *options, *application]
        return ["-c", f"import sys, pyuwsgi; sys.argv[1:] = {arguments!r}; pyuwsgi.run()"]

    with running(site, command) as host:
        for _ in range(40):
            assert host.ask("check/", site.session["access"])[0] == 200
            time.sleep(0.01)
        at = site.revoke()
        while time.monotonic() < at + 2 * LEASE:
            asked_at = time.monotonic()
            status, _ = host.ask("check/", site.session["access"])
            assert status == 401 or asked_at <= at + LEASE
        assert host.end() < ENDS


@pytest.mark.slow
def test_a_celery_worker(site: Site) -> None:
    """Prefork: tasks run in children of a process that has started everything else."""
    arguments = ["worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "warning"]
    command = ["-m", "celery", "--app", "tests.oracle.tasks", *arguments, "--without-gossip", "--without-mingle"]
    broker = site.server.url.replace("/0", "/1")
    asking = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _ASKING],
        cwd=ROOT,
        env={**site.env, "ORACLE_BROKER": broker},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    host = Host(site, lambda port: command, ORACLE_BROKER=broker)
    assert asking.stdin is not None and asking.stdout is not None

    def ask() -> list[dict[str, Any]]:
        assert asking.stdin is not None and asking.stdout is not None
        asking.stdin.write(site.session["access"] + "\n")
        asking.stdin.flush()
        answers: list[dict[str, Any]] = json.loads(asking.stdout.readline() or "[]")
        assert len(answers) == 4, host.said()
        return answers

    try:
        found: Counter[int] = Counter()

        def is_enough() -> bool:
            for answer in ask():
                assert answer["accepted"] and answer["pid"] != host.process.pid
                found[answer["pid"]] += answer["from_memory"]
            return len([pid for pid, count in found.items() if count >= TIMES]) == 2

        wait_for(is_enough, "both children answer from memory", 30)
        at = site.revoke()
        refused: Counter[int] = Counter()
        while len(refused) < 2 or min(refused.values()) < TIMES:
            asked_at = time.monotonic()
            for answer in ask():
                assert not answer["accepted"] or asked_at <= at + LEASE
                refused[answer["pid"]] += asked_at > at + LEASE
        assert host.end() < ENDS
    finally:
        host.kill()
        asking.stdin.close()
        asking.stdout.close()
        asking.wait(10)


_ASKING = """
import json, sys
from tests.oracle.tasks import check
for line in sys.stdin:
    results = [check.delay(line.strip()) for _ in range(4)]
    print(json.dumps([result.get(timeout=20) for result in results]), flush=True)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--deploy"),
        ("migrate", "--verbosity", "0"),
        ("jwt_doctor",),
        ("jwt_why", "TOKEN"),
        ("jwt_sessions", "id:1"),
        ("jwt_cleanup",),
        ("jwt_sync",),
        ("jwt_revoke", "--user", "id:1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_management_command_follows_nothing(arguments: tuple[str, ...], site: Site) -> None:
    given = [site.session["access"] if argument == "TOKEN" else argument for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _COMMAND, *given], cwd=ROOT, env=site.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("follows: False, threads: []\n"), done.stdout


_COMMAND = """
import sys, threading
import django
from django.core.management import CommandError, call_command, execute_from_command_line
django.setup()
try:
    execute_from_command_line(["manage.py", *sys.argv[1:]])
except SystemExit as error:
    assert sys.argv[1] == "jwt_doctor", error
from jwt_redis import near_cache
threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("jwt_redis")]
print(f"follows: {near_cache.is_following()}, threads: {threads}")
"""
