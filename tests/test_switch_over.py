"""From Simple JWT and back, live: a project of its own, real servers, requests all the while."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.shop import USERS, Shop, a_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with a_shop(tmp_path) as made:
        yield made


class Load:
    """Users who never notice anything, one who leaves now and then, and a thief who tries what was blacklisted."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.stopping, self.nobody_leaves = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.blacklisted: list[str] = []
        self.sids: set[str] = set()
        self.tokens: dict[str, dict[str, str]] = {}
        work = [(self.live, f"user{n}") for n in range(USERS - 2)]
        work += [(self.leave, f"user{USERS - 2}"), (self.steal, "")]
        self.threads = [threading.Thread(target=self.run, args=one) for one in work]

    def run(self, work: Any, name: str) -> None:
        try:
            work(name)
        except Exception as error:  # noqa: BLE001 - it is told by the main thread
            self.wrong.append(f"{name}: {error!r}")

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def live(self, name: str) -> None:
        tokens = self.tokens[name]
        while not self.stopping.wait(0.1):
            answer = self.shop.call("GET", "me/", headers={"Authorization": f"Bearer {tokens['access']}"})
            self.counts[f"me {answer.status_code}"] += 1
            if answer.status_code == 401:
                assert "expired" in answer.text, f"an access token was refused: {answer.text}"
                answer = self.shop.call("POST", "token/refresh/", json={"refresh": tokens["refresh"]})
                assert answer.status_code == 200, f"signed out: {answer.status_code} {answer.text[:500]}"
                self.counts["refresh"] += 1
                tokens.update(answer.json())
                sid = jwt.decode(tokens["refresh"], options={"verify_signature": False}).get("sid")
                self.sids |= {sid} if sid else set()
            else:
                assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"

    def leave(self, name: str) -> None:
        while not self.stopping.wait(0.3):
            if self.nobody_leaves.is_set():
                continue
            refresh = self.shop.login(name)["refresh"]
            answer = self.shop.call("POST", "token/blacklist/", json={"refresh": refresh})
            assert answer.status_code == 200, answer.text
            self.counts["left"] += 1
            self.blacklisted.append(refresh)

    def steal(self, _: str) -> None:
        while not self.stopping.wait(0.05):
            token = random.choice(self.blacklisted)
            answer = self.shop.call("POST", "token/refresh/", json={"refresh": token})
            assert answer.status_code == 401, f"a blacklisted token works: {answer.text}"
            answer = self.shop.call("POST", "token/verify/", json={"token": token})
            assert answer.status_code in (400, 401), f"a blacklisted token is good: {answer.text}"
            self.counts["stolen"] += 1

    def pause(self, seconds: float) -> None:
        self.stopping.wait(seconds)
        assert not self.wrong, self.wrong


@pytest.mark.slow
def test_a_project_is_switched_over_under_load_and_back(shop: Shop) -> None:
    for instance in (0, 1):
        shop.start(instance, "settings")
    load = Load(shop)
    load.tokens = {f"user{n}": shop.login(f"user{n}") for n in range(USERS)}
    gone = load.tokens[f"user{USERS - 1}"]["refresh"]
    assert shop.call("POST", "token/blacklist/", json={"refresh": gone}).status_code == 200
    load.blacklisted.append(gone)
    load.start()
    try:
        load.pause(4)
        assert not load.sids
        shop.manage("switched", "migrate", "jwt_redis", "--verbosity", "0")
        # One after the other: for a while there are workers of both kinds.
        shop.restart(0, "observing")
        load.pause(4)
        shop.restart(1, "observing")
        load.pause(2)
        shop.restart(0, "switched")
        shop.restart(1, "switched")
        load.pause(4)
        assert len(load.sids) >= USERS - 2
        # From here on the app's table will not be written.
        load.nobody_leaves.set()
        load.pause(1)
        facts = json.loads(shop.manage("switched", "jwt_import_blacklist", "--json"))
        assert facts["is_done"] and facts["imported"] + facts["known"] >= len(load.blacklisted)
        # Without the app: what it had is in Redis and in the journal.
        shop.restart(0, "enforced")
        shop.restart(1, "enforced")
        load.pause(4)
        # Back again: no new settings, but the old ones.
        shop.restart(0, "switched")
        shop.restart(1, "switched")
        load.nobody_leaves.clear()
        load.pause(1)
        shop.restart(0, "settings")
        load.pause(4)
        shop.restart(1, "settings")
        load.pause(4)
    finally:
        load.stop()
    assert not load.wrong, load.wrong
    assert load.counts["refresh"] > USERS and load.counts["stolen"] > 20 and load.counts["left"] > 10, load.counts
