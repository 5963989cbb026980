"""``rows.py "TARGET ..." ["TARGET ..." ...]``: rows of make targets, beside each other.

Within a row one target comes after the other. What a target says is kept, and printed whole when it is over. The first
that fails ends the others, and so does a signal: nothing is left that runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from types import FrameType
from typing import IO

# Until then who was told to end has to have ended.
_SECONDS_TO_END = 20


class Rows:
    """``make``: the command that makes a target."""

    def __init__(self, make: list[str], out: IO[bytes]) -> None:
        self._make = make
        self._out = out
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._is_over = False
        self.status = 0

    def run(self, rows: list[list[str]]) -> int:
        """The exit status: that of the first target that failed, or 128 and the signal."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        threads = [threading.Thread(target=self._run_row, args=(row,)) for row in rows]
        for thread in threads:
            thread.start()
        for thread in threads:
            # In short steps: signals are seen in between.
            while thread.is_alive():
                thread.join(0.2)
        return self.status

    def _run_row(self, targets: list[str]) -> None:
        for target in targets:
            began = time.monotonic()
            with tempfile.TemporaryFile() as kept:
                with self._lock:
                    if self._is_over:
                        return
                    self._say(f"\n== make {target}: begins\n")
                    # A session of its own: all that it starts can be ended with it.
                    process = self._running[target] = subprocess.Popen(  # noqa: S603
                        [*self._make, target],
                        stdin=subprocess.DEVNULL,
                        stdout=kept,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                status = process.wait()
                with self._lock:
                    del self._running[target]
                    ended = "was ended, as another failed" if self._is_over else f"failed with {status}"
                    self._say(
                        f"\n== make {target}: {'is done' if not status else ended}, {time.monotonic() - began:.0f} s\n"
                    )
                    kept.seek(0)
                    while part := kept.read(2**16):
                        self._out.write(part)
                    self._out.flush()
                if status:
                    self._end(status if status > 0 else 128 - status)

    def _say(self, line: str) -> None:
        self._out.write(line.encode())
        self._out.flush()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # Not here: the lock may be held by what was interrupted.
        threading.Thread(target=self._end, args=(128 + number,)).start()

    def _end(self, status: int) -> None:
        with self._lock:
            if not self._is_over:
                self._is_over, self.status = True, status
            left = list(self._running.values())
        for process in left:
            _send(process, signal.SIGTERM)
        deadline = time.monotonic() + _SECONDS_TO_END
        for process in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # What it has left behind, too.
            _send(process, signal.SIGKILL)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(Rows(["make"], sys.stdout.buffer).run([row.split() for row in sys.argv[1:]]))
