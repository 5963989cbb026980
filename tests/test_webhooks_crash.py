"""Senders, receivers and whoever revokes are killed: each revocation that was acknowledged arrives all the same."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from benchmarks.postgres import NoPostgresError, PostgresServer
from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port
from tests.support.receiver import listening
from tests.support.server import ROOT
from tests.support.waiting import wait_for
from tests.test_webhooks import ISSUER, KEY, PEM

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("JWT_REDIS_SEED", random.randrange(10**6)))
REVOCATIONS = 400
KILLS = 14
REVOKER = "tests.support.webhook_revoker"


# It runs one piece of Python after another: to start a process for each would take longer than all that is asked.
ASKED = """
import contextlib, io, json, sys
import django
django.setup()
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(json.loads(line), {})
    print(json.dumps(said.getvalue()), flush=True)
"""


class Project:
    """A project whose parts are processes, and what they have in common."""

    def __init__(self, folder: Path, database: dict[str, Any], redis_url: str) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.projects.webhook_settings",
            "WEBHOOK_DATABASE": json.dumps(database),
            "WEBHOOK_KEY": PEM,
            "JWT_REDIS_TEST_URL": redis_url,
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: subprocess.Popen[str] | None = None

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """``python -m`` with these arguments, under a name."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        self.running[name] = process
        return process

    def kill(self, name: str) -> None:
        """As a machine that loses its power."""
        self.running[name].kill()
        self.running[name].wait()

    def run(self, code: str) -> str:
        """What a piece of Python prints."""
        if self._asked is None:
            with (self.folder / "log").open("ab") as log:
                self._asked = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-c", ASKED],
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    preexec_fn=die_with_parent,
                )
        assert self._asked.stdin is not None and self._asked.stdout is not None
        self._asked.stdin.write(json.dumps(code) + "\n")
        self._asked.stdin.flush()
        answer = self._asked.stdout.readline()
        assert answer, (self.folder / "log").read_text()[-2000:]
        said: str = json.loads(answer)
        return said.strip()

    def end(self) -> None:
        """All that runs, and who is asked."""
        for process in self.running.values():
            process.kill()
            process.wait()
        if self._asked is not None:
            # It ends when there is nothing left to read, and closes its database before.
            self._asked.communicate(timeout=20)

    def prepare(self, url: str) -> None:
        """The tables, and one receiver."""
        self.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        self.run(
            "from jwt_redis.contrib.webhooks.models import Receiver\n"
            f"Receiver.objects.create(name='partner', url={url!r}, audience='partner')"
        )

    def waiting(self) -> int:
        return int(self.run("from jwt_redis.contrib.webhooks.outbox import waiting; print(waiting().count())"))

    def revoked(self) -> list[str]:
        return self.run(
            "from jwt_redis.models import Revocation\n"
            "print(*Revocation.objects.exclude(user='').values_list('user', flat=True))"
        ).split()


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    with RedisServer() as redis:
        if request.param == "sqlite":
            database = {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(tmp_path / "db.sqlite3"),
                "OPTIONS": {"timeout": 20},
            }
            made = Project(tmp_path, database, redis.url)
            yield made
            made.end()
        else:
            try:
                server = PostgresServer().start()
            except NoPostgresError as why:
                pytest.skip(f"There is no PostgreSQL here: {why}.")
            with server:
                made = Project(tmp_path, server.new_database(), redis.url)
                yield made
                made.end()


def test_all_the_rest_in_postgresql() -> None:
    try:
        server = PostgresServer().start()
    except NoPostgresError as why:
        pytest.skip(f"There is no PostgreSQL here: {why}.")
    with server:
        environment = {**os.environ, "WEBHOOK_DATABASE": json.dumps(server.new_database()), "WEBHOOK_KEY": PEM}
        # A Redis of its own.
        del environment["JWT_REDIS_TEST_URL"]
        # Not the one that leaves a thread's connection behind, which keeps its database from being dropped.
        arguments = ["--ds=tests.projects.webhook_settings", "-q", "-k", "not async"]
        arguments += ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/test_webhooks.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-3000:]


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, KEY.public_key(), algorithms=["ES256"], audience="partner", issuer=ISSUER)


def test_two_senders_at_once_send_each_once(project: Project) -> None:
    # One that is answered too late is sent once more.
    project.environment["WEBHOOK_TIMEOUT"] = "20"
    with listening() as endpoint:
        project.prepare(endpoint.url)
        project.start("revoker", REVOKER, "0", "300", str(project.folder / "acknowledged")).wait()
        senders = [project.start(name, "django", "jwt_deliver", "--once") for name in ("one", "two", "three")]
        assert [sender.wait(60) for sender in senders] == [0, 0, 0], (project.folder / "log").read_text()
        seen = [claims(token)["jti"] for token in endpoint.tokens]
    assert len(seen) == len(set(seen)) == 300
    assert project.waiting() == 0


def test_a_sender_that_is_told_to_end_does(project: Project) -> None:
    with listening() as endpoint:
        project.prepare(endpoint.url)
        sender = project.start("sender", "django", "jwt_deliver", "--poll", "0.05")
        project.start("revoker", REVOKER, "0", "20", str(project.folder / "acknowledged")).wait()
        wait_for(lambda: len(endpoint.seen) == 20, "all have arrived")
        sender.terminate()
        assert sender.wait(20) == 0


def test_whatever_is_killed_nothing_is_missed(project: Project) -> None:
    chance = random.Random(SEED)
    port = free_port()
    kept, acknowledged = project.folder / "kept", project.folder / "acknowledged"
    acknowledged.touch()

    def receive() -> None:
        project.start("receiver", "tests.support.receiver", str(port), str(kept))

    def send(name: str) -> None:
        project.start(name, "django", "jwt_deliver", "--poll", "0.05")

    def revoke() -> None:
        # Who was killed in the middle of one knows nothing of it: it may have happened, or not.
        done = [int(line.partition("-")[2]) for line in acknowledged.read_text().split()]
        first = max(done, default=-1) + 2 if done else 0
        project.start("revoker", REVOKER, str(first), str(REVOCATIONS), str(acknowledged))

    again = {"receiver": receive, "one": lambda: send("one"), "two": lambda: send("two"), "revoker": revoke}
    project.prepare(f"http://127.0.0.1:{port}/events")
    for start in again.values():
        start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.2))
        name = chance.choice([*again])
        project.kill(name)
        time.sleep(chance.uniform(0, 0.5))
        again[name]()
    project.running["revoker"].wait(120)
    wait_for(lambda: project.waiting() == 0, "nothing waits", 90)
    said: dict[str, list[dict[str, Any]]] = {}
    for line in kept.read_text().splitlines():
        # A line that was cut off by the kill was never acknowledged.
        try:
            one = claims(line)
        except jwt.InvalidTokenError:
            continue
        said.setdefault(one["sub_id"]["user"]["sub"], []).append(one)
    told = set(acknowledged.read_text().split())
    assert len(told) > REVOCATIONS / 2, (SEED, (project.folder / "log").read_text()[-2000:])
    assert told - said.keys() == set(), SEED
    # Nor is anything in the journal of which nobody hears, of whoever was killed before it could be acknowledged.
    assert set(project.revoked()) - said.keys() == set(), SEED
    # What came more than once is the same event.
    for events in said.values():
        assert all(event == events[0] for event in events), SEED
