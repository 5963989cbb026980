"""A store, processes that check, one that revokes; and what became of each token after it was revoked."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from jwt_redis.testing.servers import RedisServer, die_with_parent
from tests.oracle.board import Board
from tests.oracle.link import Link
from tests.support.topology import Cluster, Sentinels, ask, settings_for

__all__ = ["KINDS", "Report", "Revocation", "RevokerProcess", "World", "environment", "prepare", "world"]

ROOT = Path(__file__).parent.parent.parent
SETTINGS = "tests.oracle.settings"
MARKER, LOG = "jwt:{log}:marker", "jwt:{log}"
MAX_SESSIONS = 4
#: Each of them ends what one token, or several, were good for.
KINDS = ("session", "all", "token", "others", "push-out", "reuse")
# So many answers from memory a token, in each thread, before anything is revoked.
WARM = 20
# A marker may be read from a copy that is so old: "everything" takes that long where the lease is shorter.
MARKER_AGE = 1.0
# Seconds, for what only a busy machine makes slow.
PATIENCE = 30.0


def prepare(folder: Path) -> Path:
    """A database with the journal's table, to be copied for each world."""
    path = folder / "db.sqlite3"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS, "JWT_REDIS_TEST_DB": str(path)}
    migrate = [sys.executable, "-W", "ignore", "-m", "django", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=env, check=True)
    return path


def environment(
    place: Any, database: Path, *, options: dict[str, Any] | None = None, **jwt_redis: Any
) -> dict[str, str]:
    """What leads a process to the store, with these entries of ``JWT_REDIS``. ``options``: of its alias."""
    made = settings_for(place, options=options)
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "JWT_REDIS_TEST_DB": str(database),
        "ORACLE_JWT_REDIS": json.dumps({**made["JWT_REDIS"], **jwt_redis}),
    }
    if "CACHES" in made:
        env["ORACLE_ALIAS"] = json.dumps(made["CACHES"]["sessions"])
    if isinstance(place, Cluster):
        env |= place.environment
    return env


def start(module: str, *arguments: str, env: dict[str, str], log: Path, **options: Any) -> subprocess.Popen[str]:
    """A Python process of this package, which ends with this one."""
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", module, *arguments],
            cwd=ROOT,
            env=env,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
            **options,
        )


class RevokerProcess:
    """The process of revoker.py."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self._log = log
        self._process = start("tests.oracle.revoker", env=env, log=log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, do: str, **order: Any) -> Any:
        """One order, and its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the revoker has ended: {self._log.read_text()[-3000:]}"
        return json.loads(line)

    def close(self) -> None:
        """It has nothing left to do."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        end(self._process)


def end(process: subprocess.Popen[str], seconds: float = 5) -> int:
    """Wait for it, not for ever. Its exit status."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        # With its children.
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


@dataclasses.dataclass
class Session:
    """One that was opened; ``token``: its access token's number on the board."""

    user: int
    sid: str
    access: str
    token: int
    is_live: bool = True


@dataclasses.dataclass(frozen=True)
class Revocation:
    """``at``: when it was acknowledged. ``tokens``: whom it concerns."""

    kind: str
    at: float
    tokens: tuple[int, ...]
    tries: int = 1


@dataclasses.dataclass
class Report:
    """What became of it. ``worst``: seconds from the acknowledgement to the last check that was accepted, by kind."""

    revocations: list[Revocation]
    worst: dict[str, float]
    violations: list[str]
    checks: int
    from_memory: int
    unanswered: int

    def __str__(self) -> str:
        worst = " ".join(f"{kind} {seconds * 1000:+.0f}" for kind, seconds in sorted(self.worst.items()))
        return (
            f"{len(self.revocations)} revocations, {self.checks} checks, {self.from_memory} from memory,"
            f" {self.unanswered} without an answer; last accepted, ms after: {worst}"
        )


class World:
    """Made by :func:`world`."""

    def __init__(
        self, place: Any, folder: Path, lease: float, env: dict[str, str], worker_env: dict[str, str], seed: int
    ) -> None:
        self.place = place
        self.folder = folder
        self.lease = lease
        self.rng = random.Random(seed)
        self.revoker = RevokerProcess(env, folder / "revoker.log")
        self.board = Board(folder / "board")
        self.rows: list[int] = []
        self.workers: list[subprocess.Popen[str]] = []
        self.sessions: list[Session] = []
        self.revocations: list[Revocation] = []
        self.link: Link | None = None
        # Redis itself may say that a token is good for so long as a marker is believed: one that was replaced.
        self.has_two_primaries = False
        self.worker_env = worker_env
        self._tokens = folder / "tokens"
        self._tokens.write_text("")
        self._users = 0
        self._kinds = itertools.cycle(KINDS)

    # Who is there -------------------------------------------------------------------------------------------------

    def open(self, users: int, sessions: int = 2) -> list[Session]:
        """Sessions of new users, whose tokens are checked from now on."""
        opened = []
        for _ in range(users):
            self._users += 1
            opened += self.open_more(self._users, sessions, publish=False)
        self.board.count = len(self.sessions)
        return opened

    def open_more(self, user: int, sessions: int, *, publish: bool = True) -> list[Session]:
        """Sessions of one user."""
        opened = []
        for made in self.revoker("open", user=user, count=sessions):
            opened.append(Session(user, made["sid"], made["access"], len(self.sessions)))
            self.sessions.append(opened[-1])
        with self._tokens.open("a") as file:
            file.writelines(f"{session.access}\n" for session in opened)
        if publish:
            self.board.count = len(self.sessions)
        return opened

    def start_worker(self, *, threads: int = 1, fork: int = 0, **options: Any) -> subprocess.Popen[str]:
        """``threads``: how many of its own check; ``fork``: how many of its child's. Others: as in worker.py."""
        first = len(self.rows)
        rows = list(range(first, first + threads + fork))
        self.rows += rows
        given = {"board": str(self.folder / "board"), "tokens": str(self._tokens), "rows": rows, "fork": fork}
        log = self.folder / f"worker{len(self.workers)}.log"
        worker = start("tests.oracle.worker", json.dumps({**given, **options}), env=self.worker_env, log=log)
        self.workers.append(worker)
        return worker

    def wait_until_warm(self, sessions: Sequence[Session] | None = None, seconds: float = PATIENCE) -> None:
        """Every thread has had these tokens, or all, from memory so many times."""
        numbers = [session.token for session in (self.live() if sessions is None else sessions)]
        before = {(row, n): self.board.memory(row, n) for row in self.rows for n in numbers}
        self._until(
            lambda: all(self.board.memory(row, n) >= before[row, n] + WARM for row in self.rows for n in numbers),
            "all threads answer from memory",
            seconds,
        )

    def _until(self, question: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not question():
            for worker in self.workers:
                assert worker.poll() is None, f"a worker has ended:\n{self.logs()}"
            if time.monotonic() > deadline:
                raise AssertionError(f"After {seconds} s still not: {what}.\n{self.logs()}")
            time.sleep(0.01)

    def logs(self) -> str:
        """The end of what the processes have said."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    # What happens -------------------------------------------------------------------------------------------------

    def live(self) -> list[Session]:
        """Those that nothing has ended."""
        return [session for session in self.sessions if session.is_live]

    def revoke(self, kind: str | None = None, session: Session | None = None) -> Revocation:
        """One that is chosen by lot, if it is not named."""
        kind = kind or self.rng.choice(KINDS)
        session = session or self.rng.choice(self.live())
        answer = self.revoker("revoke", kind=kind, user=session.user, sid=session.sid, access=session.access)
        concerned = self._concerned(kind, session, answer["sids"])
        if answer["void"]:
            concerned = []
        for one in concerned:
            one.is_live = False
        tokens = tuple(one.token for one in concerned)
        self.revocations.append(Revocation(kind, answer["at"], tokens, answer["tries"]))
        return self.revocations[-1]

    def revoke_announced(self, kind: str) -> None:
        """Who looks at the board knows beforehand that these tokens may be refused, and afterwards when they must."""
        session = self.rng.choice(self.live())
        for one in self._concerned(kind, session, ()):
            self.board.begin(one.token)
        revocation = self.revoke(kind, session)
        for token in revocation.tokens:
            self.board.set_due(token, revocation.at + self.bound(kind))

    def _concerned(self, kind: str, session: Session, sids: Sequence[str]) -> list[Session]:
        of_user = [one for one in self.live() if one.user == session.user]
        if kind == "everything":
            return self.live()
        if kind == "all":
            return of_user
        if kind == "others":
            return [one for one in of_user if one is not session]
        if kind == "push-out":
            return [one for one in of_user if one.sid in sids]
        return [session]

    def revoke_some(self, count: int, pause: float = 0.02) -> None:
        """One after another, each kind in turn, while there is somebody left."""
        for _ in range(count):
            if not self.live():
                return
            self.revoke(next(self._kinds))
            time.sleep(pause * self.rng.uniform(0.5, 1.5))

    def happened(self, kind: str, at: float, sessions: Sequence[Session]) -> None:
        """It counts as a revocation, although nobody was told."""
        for session in sessions:
            session.is_live = False
        self.revocations.append(Revocation(kind, at, tuple(session.token for session in sessions)))

    @contextlib.contextmanager
    def store(self) -> Iterator[redis.Redis]:
        """A client that looks from outside, past any link."""
        with contextlib.closing(self.place.client(socket_timeout=5)) as client:
            yield client

    # What became of it --------------------------------------------------------------------------------------------

    def bound(self, kind: str) -> float:
        """Seconds within which it has to be refused everywhere."""
        return max(self.lease, MARKER_AGE) if kind == "everything" or self.has_two_primaries else self.lease

    def finish(self, *, keeps: bool = True, seconds: float = PATIENCE) -> Report:
        """Wait until each token was checked after its bound, in each thread. ``keeps``: those that were never revoked
        are accepted to the end."""
        board, rows = self.board, self.rows
        due = {n: r.at + self.bound(r.kind) for r in self.revocations for n in r.tokens}
        self._until(
            lambda: all(board.began_at(row, n) > moment for row in rows for n, moment in due.items()),
            "each token was checked after its bound",
            seconds,
        )
        over_at = time.monotonic()
        kept = [session.token for session in self.live()]
        if keeps:
            self._until(
                lambda: all(board.accepted_at(row, n) > over_at for row in rows for n in kept),
                "what was not revoked is accepted",
                seconds,
            )
        board.stop()
        statuses = [end(worker, 10) for worker in self.workers]
        report = self._report()
        assert statuses == [0] * len(statuses), f"{statuses}\n{report}\n{self.logs()}"
        return report

    def _report(self) -> Report:
        worst: dict[str, float] = {}
        violations = []
        for revocation in self.revocations:
            for number in revocation.tokens:
                for row in self.rows:
                    after = self.board.accepted_at(row, number) - revocation.at
                    worst[revocation.kind] = max(worst.get(revocation.kind, float("-inf")), after)
                    if after > self.bound(revocation.kind):
                        violations.append(f"token {number} after {revocation.kind}: {after:.3f} s, thread {row}")
                    # Whatever Redis may still say: the memory has but its lease.
                    remembered = self.board.remembered_at(row, number) - revocation.at
                    if remembered > self.lease:
                        violations.append(
                            f"token {number} after {revocation.kind}: {remembered:.3f} s, thread {row}, from memory"
                        )
        cells = [(row, number) for row in self.rows for number in range(self.board.count)]
        totals: Counter[str] = Counter()
        for row, number in cells:
            totals["checks"] += self.board.checks(row, number)
            totals["memory"] += self.board.memory(row, number)
            totals["unanswered"] += self.board.unanswered(row, number)
        return Report(self.revocations, worst, violations, totals["checks"], totals["memory"], totals["unanswered"])

    def close(self) -> None:
        """Nobody is left."""
        self.board.stop()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(signal.SIGCONT)
        for worker in self.workers:
            end(worker)
        self.revoker.close()
        self.board.close()


def set_back_birth(place: Any) -> None:
    """Tokens issued within a minute of the store's birth are asked of Redis each time: it was born long ago."""
    if isinstance(place, Cluster):
        server = place.owner_of(MARKER)
    elif isinstance(place, Sentinels):
        server = place.primary()
    else:
        server = place
    assert ask(server, "HSET", MARKER, "born_ms", 1) == 0


@contextlib.contextmanager
def world(
    database: Path,
    *,
    lease: float,
    strategy: str = "whitelist",
    place: Any = None,
    options: dict[str, str] | None = None,
    linked: bool = False,
    client_options: dict[str, Any] | None = None,
    near_cache: dict[str, Any] | None = None,
    seed: int = 1,
    **jwt_redis: Any,
) -> Iterator[World]:
    """``place``: servers that run; one with ``options`` of its own if None. ``linked``: the workers, and nobody else,
    reach it through a :class:`Link`. ``client_options``: of their alias."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="oracle-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        shutil.copy(database, folder / "db.sqlite3")
        place = place or stack.enter_context(RedisServer(options=options))
        given = {"STRATEGY": strategy, "REFRESH_GRACE": 0, "MAX_SESSIONS": MAX_SESSIONS, **jwt_redis}
        env = environment(place, folder / "db.sqlite3", **given)
        cached = {"NEAR_CACHE": {"lease": lease, **(near_cache or {})}}
        worker_env = environment(place, folder / "db.sqlite3", **given, **cached)
        link = None
        if linked:
            link = Link(place.port)
            stack.callback(link.close)
        if link or client_options:
            alias = json.loads(worker_env["ORACLE_ALIAS"])
            alias["OPTIONS"] |= client_options or {}
            if link:
                alias["LOCATION"] = f"redis://127.0.0.1:{link.port}/0"
            worker_env["ORACLE_ALIAS"] = json.dumps(alias)
        made = World(place, folder, lease, env, worker_env, seed)
        made.link = link
        stack.callback(made.close)
        made.open(1)
        set_back_birth(place)
        yield made
