"""Very many checks, while sessions end, tokens fall out of the memo and the key changes: no verdict is wrong."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.oracle.world import World, prepare, start, world
from tests.support.topology import PATIENT

LEASE = 0.5
# Bytes. One reference (8 bytes) that is kept of each check would be more, with so many of them in each process.
GROWTH = 16 * 2**20
TOKENS = 400
MEMO = 64


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("many"))


def check(
    made: World, total: int, processes: int, sabotage: tuple[str, ...] = ()
) -> tuple[list[str], Counter[str], list[int]]:
    """What was wrong, the totals, and by how much each process has grown."""
    threads = 2
    options = {
        "board": str(made.folder / "board"),
        "tokens": str(made.folder / "tokens"),
        "threads": threads,
        "count": total // processes // threads,
        "sabotage": sabotage,
    }
    running = [
        start("tests.oracle.many", json.dumps(options), env=made.worker_env, log=log, stdout=subprocess.PIPE)
        for log in (made.folder / f"many{number}.log" for number in range(processes))
    ]
    try:
        # Half of them, over the time that it takes.
        pause = 0.02 if total < 1_000_000 else 0.5
        while len(made.live()) > TOKENS // 2 and any(process.poll() is None for process in running):
            made.revoke_announced(("session", "token", "all")[len(made.revocations) % 3])
            time.sleep(pause)
        answers = [process.communicate(timeout=1800)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert all(answers), made.logs()
    wrong: list[str] = []
    totals: Counter[str] = Counter()
    growth = []
    for report in map(json.loads, answers):
        wrong += report.pop("wrong")
        growth.append(report.pop("growth"))
        totals.update(report)
    return wrong, totals, growth


@pytest.mark.parametrize(
    ("total", "processes"),
    [(200_000, 1), pytest.param(5_000_000, 2, marks=pytest.mark.slow)],
    ids=["200-thousand", "5-million"],
)
def test_no_verdict_is_wrong(
    total: int, processes: int, database: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    # Nobody is to be without an answer because the machine is busy.
    with world(database, lease=LEASE, client_options=PATIENT, TOKEN_MEMO_SIZE=MEMO) as made:
        made.open(TOKENS // 2)
        wrong, totals, growth = check(made, total, processes)
        count = len(made.revocations)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n  {request.node.name}: {dict(totals)}, {count} revocations, grown by {growth} bytes", end=""
        )
    assert wrong == []
    assert totals["checks"] == total
    assert totals["memory"] > total / 2
    assert totals["changes"] >= 4 and totals["forged"] > 100 and count > 20
    assert not totals["unavailable"]
    assert max(growth) < GROWTH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guard", "what"), [("one_memo_for_all_keys", "under another key"), ("deaf", "after it was due")]
)
def test_without_a_guard_some_are(guard: str, what: str, database: Path) -> None:
    with world(database, lease=LEASE, TOKEN_MEMO_SIZE=MEMO) as made:
        made.open(TOKENS // 2)
        wrong, _, _ = check(made, 200_000, 1, (guard,))
    assert wrong and all(what in one for one in wrong)
