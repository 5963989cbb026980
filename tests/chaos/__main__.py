"""``python -m tests.chaos``: run the scenarios, and print a line of the table for each."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")

from tests.chaos.guards import BREAKER, GUARDS, run_without, share
from tests.chaos.report import PAGE, line, page
from tests.chaos.scenarios import RUNS, find
from tests.chaos.world import SEED, Result, prepare, run


def _say(text: str) -> None:
    print(text, end="", flush=True)  # noqa: T201


def _show(result: Result) -> None:
    _say(line(result))
    for problem in result.problems:
        _say(f"    NOT AS IT SHOULD BE: {problem}\n")
    for note in result.notes:
        _say(f"    {note}\n")


def main() -> int:
    """The exit status: 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break things, and count.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(sorted({s.name for s, _ in RUNS})))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    if options.write and options.names:
        parser.error("--write is for all of them")
    # A server that is killed leaves its folder; one that is stopped does not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    _say(f"seed {options.seed}\n")
    wanted = [find(name) for name in options.names]
    runs = [(scenario, strategy) for scenario, strategy in RUNS if not wanted or scenario in wanted]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        database = prepare(Path(folder))
        results = []
        for scenario, strategy in runs:
            results.append(run(scenario, strategy, database, seed=options.seed))
            _show(results[-1])
        is_well = not any(result.problems for result in results)
        if not wanted:
            guards = [(guard, run_without(guard, database, seed=options.seed)) for guard in GUARDS]
            for guard, result in guards:
                _say(f"without {guard.name}: {len(result.wrong)} accepted after\n")
                is_well = is_well and bool(result.wrong)
            breaker = next(share(r.counts) for r in results if r.scenario.name == BREAKER.scenario)
            without = share(run_without(BREAKER, database, seed=options.seed).counts)
            _say(f"{breaker:.1%} of the requests met a dead address, without the breaker {without:.1%}\n")
            if options.write:
                PAGE.write_text(page(results, guards, (breaker, without), options.seed))
    _say(f"{time.monotonic() - began:.0f} s\n")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
