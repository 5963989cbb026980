"""A process that checks tokens very often and judges each verdict itself: ``python -m tests.oracle.many OPTIONS``.

As a request would: the text goes through the authentication class. Meanwhile the signing key changes, to and fro.
"""

from __future__ import annotations

import collections
import json
import random
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jwt

# Of all checks, those of a token that was refused long ago, and so is asked of Redis each time.
_STALE = 0.005
# Those of one that the other key has signed.
_FORGED = 0.02
# Those of any token, in place of one of the few that are in everyday use: they push one another out of the memo.
_RARE = 0.1
_OTHER_KEY = "another key, which is long enough for HS256 to be content with it as well"


class _Key:
    """The backend's key, which changes. ``version`` is odd while it does."""

    def __init__(self) -> None:
        from rest_framework_simplejwt.state import token_backend

        self._backend: Any = token_backend
        self._keys = (token_backend.signing_key, _OTHER_KEY)
        self.version = 0

    @property
    def current(self) -> int:
        """Which of both is in force, of an even version."""
        return self.version // 2 % 2

    def change(self) -> None:
        """To the other one."""
        self.version += 1
        text = self._keys[(self.version + 1) // 2 % 2]
        # At once, what was prepared from it too.
        vars(self._backend).update(signing_key=text, prepared_signing_key=self._backend._prepare_key(text))
        self.version += 1

    def sign(self, raw: str) -> tuple[str, str]:
        """A token by each key."""
        payload = jwt.decode(raw, options={"verify_signature": False})
        first, other = (jwt.encode(payload, key, algorithm=self._backend.algorithm) for key in self._keys)
        return first, other


def _check_many(board: Any, tokens: list[tuple[str, str]], key: _Key, count: int, seed: int, found: Any) -> None:
    from rest_framework_simplejwt.exceptions import InvalidToken

    from jwt_redis.authentication import JWTStatelessUserAuthentication
    from jwt_redis.exceptions import RevocationUnavailable

    rng = random.Random(seed)
    validate = JWTStatelessUserAuthentication().get_validated_token
    monotonic, chance = time.monotonic, rng.random
    counts: collections.Counter[str] = collections.Counter()
    for number in range(count):
        at = int(chance() * (len(tokens) if number % 10 == 0 else len(tokens) * _RARE))
        if board.is_begun(at) and chance() > _STALE:
            while board.is_begun(at):
                at = (at + 1) % len(tokens)
        version = key.version
        # Of that version, whatever is in force a moment later.
        current = version // 2 % 2
        which = current if chance() > _FORGED else 1 - current
        began = monotonic()
        try:
            token = validate(tokens[at][which].encode())
        except InvalidToken:
            accepted = False
            counts["refused"] += 1
        except RevocationUnavailable:
            counts["unavailable"] += 1
            continue
        else:
            accepted = True
            counts["memory"] += token.verdict.from_memory
        if accepted and began > board.due(at):
            found["wrong"].append(f"token {at}: accepted {began - board.due(at):.3f} s after it was due")
        if version != key.version or version % 2:
            continue
        if accepted and which != current:
            found["wrong"].append(f"token {at}: accepted under another key than its own")
        if not accepted and which == current and not board.is_begun(at):
            found["wrong"].append(f"token {at}: refused, and nothing was wrong with it")
        if which != current:
            counts["forged"] += 1
    with found["lock"]:
        found["counts"].update(counts)


def _change_keys(key: _Key, stop: threading.Event) -> None:
    while not stop.wait(0.5 if key.current == 0 else 0.05):
        key.change()
    if key.current:
        key.change()


def _memory() -> int:
    """What of it is in use now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """``count`` checks in each of ``threads`` threads, without the guards in ``sabotage``; prints what was found."""
    import django

    django.setup()

    from tests.oracle import sabotage
    from tests.oracle.board import Board

    options = json.loads(sys.argv[1])
    for name in options["sabotage"]:
        getattr(sabotage, name)()
    board, key = Board(Path(options["board"])), _Key()
    tokens = [key.sign(raw) for raw in Path(options["tokens"]).read_text().split()]
    stop = threading.Event()
    changing = threading.Thread(target=_change_keys, args=(key, stop))
    changing.start()
    found: dict[str, Any] = {"wrong": [], "counts": collections.Counter(), "lock": threading.Lock()}

    def run(count: int) -> None:
        threads = [
            threading.Thread(target=_check_many, args=(board, tokens, key, count, seed, found))
            for seed in range(options["threads"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # By then it has all it needs: every token was seen, each connection made.
    run(options["count"] // 10)
    before = _memory()
    run(options["count"] - options["count"] // 10)
    growth = _memory() - before
    stop.set()
    changing.join()
    print(  # noqa: T201
        json.dumps(
            {
                "checks": options["count"] * options["threads"],
                "wrong": found["wrong"][:20],
                "growth": growth,
                "changes": key.version // 2,
                **found["counts"],
            }
        )
    )


if __name__ == "__main__":
    main()
