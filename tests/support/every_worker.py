"""Something of every worker process of a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import requests

from tests.support.process_header import PROCESS
from tests.support.waiting import wait_for


def until_all_write(base: str, workers: int) -> None:
    """To a Redis that was emptied. One process mends it; the others are 503 when that takes half a second.

    Each has to have written: for a check, what a process knew of the marker is good for a second.
    """

    def sign_in(_: int) -> str | None:
        credentials = {"username": "bob", "password": "battery staple"}
        answer = requests.post(f"{base}/auth/token/", credentials, timeout=20)
        return answer.headers[PROCESS] if answer.status_code == 200 else None

    wrote: set[str | None] = set()

    def did_all() -> bool:
        # However many requests a worker gets of so many at once.
        with ThreadPoolExecutor(24) as pool:
            wrote.update(pool.map(sign_in, range(24)))
        return len(wrote - {None}) == workers

    wait_for(did_all, "every worker lets bob in")
