"""``python -m tests.support.webhook_revoker FIRST LAST FILE``: revokes, and writes a line for each acknowledged one."""

from __future__ import annotations

import os
import random
import sys
from contextlib import nullcontext
from pathlib import Path

import django


def main() -> None:
    """One after the other, each of another user, of one kind or the other."""
    django.setup()
    from django.db import transaction

    from jwt_redis import sessions

    first, last, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with path.open("a") as file:
        for number in range(first, last):
            user = f"user-{number}"
            with transaction.atomic() if random.random() < 0.3 else nullcontext():
                if random.random() < 0.5:
                    sessions.end_all_sessions(user)
                else:
                    sessions.end_session(user, f"sid{number:021}")
            file.write(f"{user}\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main()
