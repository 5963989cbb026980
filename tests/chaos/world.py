"""One scenario from its beginning to its end: servers, workers, load, fault, recovery, and the count."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from jwt_redis.testing.servers import RedisServer
from tests.chaos.load import Load
from tests.chaos.oracle import NO_ANSWER, Wrong
from tests.support.server import ROOT, http_server
from tests.support.topology import Cluster, settings_for
from tests.support.waiting import wait_for

WHITELIST, BLACKLIST = "whitelist", "blacklist"
BOTH = (WHITELIST, BLACKLIST)
SEED = 20240229
_SETTINGS = "tests.chaos.settings"

# Seconds of load before the fault, and after the recovery.
BEFORE = 0.9
AFTER = 0.4
# Revocations without which nothing can be told.
ENOUGH = 10


@dataclass
class World:
    """What a scenario's fault has at hand."""

    place: Any
    load: Load
    folder: Path
    strategy: str
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def server(self) -> RedisServer:
        """The only Redis, where there is one."""
        server: RedisServer = getattr(self.place, "server", self.place)
        return server

    def store(self) -> redis.Redis:
        """A client that looks at it from outside."""
        return self.server.client(socket_timeout=5)

    def until_more_is_revoked(self, count: int, since: int = 0) -> None:
        """However slow the machine is. ``since``: beyond so many."""
        wait_for(lambda: self.revoked() >= since + count, f"{count} revocations", 60)

    def revoked(self) -> int:
        """How many revocations were acknowledged."""
        return sum(self.load.oracle.acknowledged.values())

    def workers(self) -> set[int]:
        """The process ids of those that answer."""
        found: Counter[str] = Counter()
        for _ in range(200):
            found[self.load.send("GET", "untouched/").worker] += 1
            if all(count >= 4 for count in found.values()) and len(found) > 1:
                break
        return {int(pid) for pid in found if pid}


@dataclass(frozen=True)
class Scenario:
    """``fault`` breaks something while the load runs, and answers when it was over, by ``time.monotonic()``.

    ``keeps``: the store loses no session, so that nobody may be signed out. ``refuses``: under these strategies it is
    503 for everybody until the end. ``drops``: requests may go without an answer. ``sets``: for each set of workers its
    environment, or what makes it of the place.
    """

    name: str
    title: str
    fault: Callable[[World], float]
    strategies: tuple[str, ...] = (WHITELIST,)
    place: Callable[[], contextlib.AbstractContextManager[Any]] = RedisServer
    point: Callable[[Any], dict[str, Any]] = lambda place: settings_for(place)
    keeps: bool = False
    refuses: tuple[str, ...] = ()
    drops: bool = False
    sets: tuple[Mapping[str, str] | Callable[[Any], Mapping[str, str]], ...] = ({},)
    jwt_redis: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """A line of the table."""

    scenario: Scenario
    strategy: str
    acknowledged: Counter[str]
    wrong: list[Wrong]
    bounded: list[Wrong]
    lost: int
    opened: int
    statuses: Counter[int]
    unexpected: Counter[str]
    check_seconds: float | None
    revoke_seconds: float | None
    seconds: float
    notes: list[str]
    counts: Counter[str]

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = []
        if self.wrong:
            worst = max(self.wrong, key=lambda wrong: wrong.seconds_after)
            kinds = Counter(f"{wrong.what} after {wrong.how}" for wrong in self.wrong)
            found.append(f"{len(self.wrong)} accepted after their revocation: {dict(kinds)}, such as {worst}")
        if self.unexpected:
            found.append(f"unexpected answers: {dict(self.unexpected)}")
        if self.statuses[NO_ANSWER] and not self.scenario.drops:
            found.append(f"{self.statuses[NO_ANSWER]} requests without an answer")
        if self.scenario.keeps and self.lost:
            found.append(f"{self.lost} of {self.opened} sessions were lost needlessly")
        if self.strategy in self.scenario.refuses and set(self.statuses) != {503}:
            found.append(f"not 503 throughout: {dict(self.statuses)}")
        if sum(self.acknowledged.values()) < ENOUGH and self.strategy not in self.scenario.refuses:
            found.append(f"only {sum(self.acknowledged.values())} revocations: too few to tell anything")
        if self.strategy not in self.scenario.refuses:
            slow = [s for s in (self.check_seconds, self.revoke_seconds) if s is None or s > 10]
            if slow:
                found.append(f"not back within 10 s: {self.check_seconds}, {self.revoke_seconds}")
        return found


def prepare(folder: Path) -> Path:
    """A database with the users in it, to be copied for each scenario."""
    path = folder / "db.sqlite3"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": _SETTINGS, "JWT_REDIS_TEST_DB": str(path)}
    code = (
        "import django; django.setup(); from django.core.management import call_command;"
        "call_command('migrate', verbosity=0);"
        "from tests.chaos.world import make_users; make_users()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=env, check=True)
    return path


def make_users() -> None:
    """Those of the load."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password

    from tests.chaos.load import PASSWORD, user_names

    user_model: Any = get_user_model()
    password = make_password(PASSWORD)
    user_model.objects.bulk_create([user_model(username=name, password=password) for name in user_names()])


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield path
    finally:
        if not os.environ.get("CHAOS_KEEP"):
            shutil.rmtree(path, ignore_errors=True)
        else:
            print(f"kept: {path}", file=sys.stderr)  # noqa: T201


def _environment(scenario: Scenario, place: Any, strategy: str, sabotage: Sequence[str]) -> dict[str, str]:
    made = scenario.point(place)
    jwt_redis = {**made["JWT_REDIS"], "STRATEGY": strategy, **scenario.jwt_redis}
    env = {"CHAOS_JWT_REDIS": json.dumps(jwt_redis), "CHAOS_SABOTAGE": ",".join(sabotage)}
    if "CACHES" in made:
        env["CHAOS_ALIAS"] = json.dumps(made["CACHES"]["sessions"])
        location = made["CACHES"]["sessions"]["LOCATION"]
        env["JWT_REDIS_TEST_URL"] = location if isinstance(location, str) else location[0]
    if isinstance(place, Cluster):
        env |= place.environment
    return env


def run(scenario: Scenario, strategy: str, database: Path, *, seed: int = SEED, sabotage: Sequence[str] = ()) -> Result:
    """Run it. ``database``: from :func:`prepare`. ``sabotage``: what to take out of all workers first."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_folder())
        place = stack.enter_context(scenario.place())
        env = _environment(scenario, place, strategy, sabotage)

        def start_workers(more: Mapping[str, str]) -> str:
            own = dict(more)
            own["CHAOS_SABOTAGE"] = ",".join(filter(None, (env["CHAOS_SABOTAGE"], more.get("CHAOS_SABOTAGE"))))
            count = int(own.pop("WORKERS", "2"))
            logs = Path(tempfile.mkdtemp(dir=folder))
            # One database for all sets.
            (logs / "db.sqlite3").symlink_to(folder / "db.sqlite3")
            server = http_server(
                logs,
                workers=count,
                threads=6,
                settings=_SETTINGS,
                prepared=database,
                more=("--preload", "--graceful-timeout", "1", "--worker-tmp-dir", str(logs)),
                **{**env, **own, "JWT_REDIS_TEST_DB": str(folder / "db.sqlite3")},
            )
            return stack.enter_context(server)

        shutil.copy(database, folder / "db.sqlite3")
        load = Load([start_workers(own(place) if callable(own) else own) for own in scenario.sets], seed)
        world = World(place, load, folder, strategy)
        load.fill()
        load.start()
        try:
            refused = strategy in scenario.refuses
            time.sleep(BEFORE)
            if not refused:
                world.until_more_is_revoked(ENOUGH)
            over_at = scenario.fault(world)
            storm = load.storm()
            check_seconds, revoke_seconds = (None, None) if refused else load.recover(over_at)
            if not refused:
                load.wait_until_all_answer()
            load.oracle.whole_at = time.monotonic()
            storm.join()
            time.sleep(AFTER)
        finally:
            load.stop()
        load.sweep()
        oracle = load.oracle
        return Result(
            scenario,
            strategy,
            oracle.acknowledged,
            oracle.wrong,
            oracle.bounded,
            len(oracle.lost),
            oracle.opened,
            oracle.statuses,
            oracle.unexpected,
            check_seconds,
            revoke_seconds,
            time.monotonic() - began,
            world.notes,
            world.counts,
        )
