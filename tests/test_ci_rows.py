"""``.ci/rows.py``: what runs beside each other in ``.ci/run``, with targets of a Makefile of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT
from tests.support.waiting import wait_for

MAKEFILE = """
first:
	@echo first begins; touch first; while [ ! -e beside ]; do sleep 0.05; done; echo first ends
second:
	@ls first beside; echo second
beside:
	@while [ ! -e first ]; do sleep 0.05; done; touch beside; seq 20000; echo beside ends
bad:
	@while [ ! -s long.pid ]; do sleep 0.05; done; echo it is bad; exit 3
long:
	@sleep 1000 & echo $$! > part; echo long has begun; mv part long.pid; wait
stubborn:
	@trap '' TERM; (sleep 1000; sleep 1000) & echo $$! > part; mv part long.pid; while true; do wait; done
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def begin(folder: Path, *rows: str) -> subprocess.Popen[str]:
    (folder / "Makefile").write_text(MAKEFILE)
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, str(ROOT / ".ci/rows.py"), *rows]
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=-1
    )


def is_gone(folder: Path) -> bool:
    pid = int((folder / "long.pid").read_text())
    try:
        # One that nobody has waited for is gone all the same.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_rows_run_beside_each_other_and_say_it_whole(tmp_path: Path) -> None:
    running = begin(tmp_path, "first second", "beside")
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert "second" in said.partition("first ends")[2]
    # Nobody speaks in between.
    numbers = "\n".join(map(str, range(1, 20001)))
    assert re.search(rf"== make beside: is done, \d+ s\n{numbers}\nbeside ends\n", said)


def test_one_that_fails_ends_the_others(tmp_path: Path) -> None:
    running = begin(tmp_path, "bad second", "long second")
    said, _ = running.communicate(timeout=60)
    # That of make.
    assert running.returncode == 2, said
    assert "it is bad" in said.partition("== make bad: failed")[2]
    assert "long has begun" in said.partition("== make long: was ended")[2]
    assert "make second" not in said
    wait_for(lambda: is_gone(tmp_path), "nothing is left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all(tmp_path: Path, number: signal.Signals) -> None:
    running = begin(tmp_path, "long second", "first")
    wait_for((tmp_path / "long.pid").exists, "it has begun")
    running.send_signal(number)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 128 + number, said
    assert "make second" not in said
    wait_for(lambda: is_gone(tmp_path), "nothing is left")


@pytest.mark.slow
def test_so_does_one_that_does_not_listen(tmp_path: Path) -> None:
    running = begin(tmp_path, "stubborn", "bad")
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 2, said
    wait_for(lambda: is_gone(tmp_path), "nothing is left")
