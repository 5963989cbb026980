"""A process that checks tokens as fast as it can: ``python -m tests.oracle.worker OPTIONS``, of which see _Options."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class _Options:
    """``rows``: of the board, one for each thread that checks. ``fork``: how many of these are a child's, which is
    forked when the near cache answers. ``beside``: what else the process does. ``sabotage``: see sabotage.py.
    ``restarts``: seconds after which the near cache begins anew, again and again."""

    board: str
    tokens: str
    rows: Sequence[int]
    fork: int = 0
    beside: str = "nothing"
    sabotage: Sequence[str] = ()
    asynchronous: bool = False
    restarts: float = 0.0


class _Tokens:
    """The file of tokens, of which there may come more."""

    def __init__(self, path: Path, board: Any) -> None:
        self._path = path
        self._board = board
        self._found: list[Any] = []

    def known(self) -> list[Any]:
        """All there are by now."""
        from jwt_redis.tokens import AccessToken

        if self._board.count != len(self._found):
            lines = self._path.read_text().split()[: self._board.count]
            self._found = [AccessToken(line) for line in lines]
        return self._found


def _check_all(board: Any, row: int, tokens: _Tokens) -> None:
    from jwt_redis import sessions
    from jwt_redis.exceptions import RevocationUnavailable

    check, monotonic = sessions.check, time.monotonic
    while not board.is_over:
        for number, token in enumerate(tokens.known()):
            began = monotonic()
            try:
                verdict = check(token)
            except RevocationUnavailable:
                board.unavailable(row, number, began)
            else:
                board.checked(row, number, began, accepted=verdict.allowed, from_memory=verdict.from_memory)
        if not tokens.known():
            time.sleep(0.01)


async def _acheck_all(board: Any, row: int, tokens: _Tokens) -> None:
    from jwt_redis import sessions
    from jwt_redis.exceptions import RevocationUnavailable

    while not board.is_over:
        for number, token in enumerate(tokens.known()):
            began = time.monotonic()
            try:
                verdict = await sessions.acheck(token)
            except RevocationUnavailable:
                board.unavailable(row, number, began)
            else:
                board.checked(row, number, began, accepted=verdict.allowed, from_memory=verdict.from_memory)
        await asyncio.sleep(0)


async def _acheck_rows(board: Any, rows: Sequence[int], tokens: _Tokens) -> None:
    await asyncio.gather(*(_acheck_all(board, row, tokens) for row in rows))


# What else it does -----------------------------------------------------------------------------------------------


def _spin(board: Any) -> None:
    """Python, and nothing but."""
    number = 0
    while not board.is_over:
        for _ in range(100_000):
            number = (number * 31 + 7) % 1_000_003


def _switch(board: Any, number: int) -> None:
    """Calls that let go of the interpreter's lock for a moment, and want it back at once."""
    data = b"x" * 4096
    calls: list[Callable[[], object]] = [
        lambda: time.sleep(0),
        lambda: os.stat("/"),
        lambda: hashlib.sha256(data).digest(),
    ]
    call = calls[number % len(calls)]
    while not board.is_over:
        call()


def _beside(board: Any, what: str) -> None:
    work: list[Callable[[], None]] = []
    if what == "spinning":
        work = [lambda: _spin(board)] * 4
    elif what == "switching":
        work = [lambda number=number: _switch(board, number) for number in range(40)]  # type: ignore[misc]
    for one in work:
        threading.Thread(target=one, daemon=True).start()


def _restart(board: Any, seconds: float) -> None:
    from jwt_redis import near_cache

    while not board.is_over:
        time.sleep(seconds)
        near_cache.stop()


def main() -> None:
    """Until the board says that it is over."""
    import django

    django.setup()

    from jwt_redis import near_cache
    from tests.oracle import sabotage
    from tests.oracle.board import Board

    options = _Options(**json.loads(sys.argv[1]))
    for name in options.sabotage:
        getattr(sabotage, name)()
    board = Board(Path(options.board))
    rows, child = list(options.rows), 0
    if options.fork:
        # It must have something to inherit.
        tokens = _Tokens(Path(options.tokens), board)
        while not board.is_over and not (near_cache.is_following() and near_cache.is_fresh()):
            _check_once(tokens)
            time.sleep(0.005)
        own, childs = rows[: -options.fork], rows[-options.fork :]
        parent = os.getpid()
        child = os.fork()
        rows = own if child else childs
        if not child:
            from jwt_redis.testing.servers import die_with_parent

            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            assert not near_cache.is_following()
    if options.restarts:
        threading.Thread(target=_restart, args=(board, options.restarts), daemon=True).start()
    _beside(board, options.beside)
    if options.asynchronous:
        asyncio.run(_acheck_rows(board, rows, _Tokens(Path(options.tokens), board)))
    else:
        threads = [
            threading.Thread(target=_check_all, args=(board, row, _Tokens(Path(options.tokens), board)))
            for row in rows[1:]
        ]
        for thread in threads:
            thread.start()
        _check_all(board, rows[0], _Tokens(Path(options.tokens), board))
        for thread in threads:
            thread.join()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            print(f"the child ended with {status}", file=sys.stderr)  # noqa: T201
            sys.exit(3)


def _check_once(tokens: _Tokens) -> None:
    from jwt_redis import sessions
    from jwt_redis.exceptions import RevocationUnavailable

    for token in tokens.known()[:1]:
        try:
            sessions.check(token)
        except RevocationUnavailable:
            return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
