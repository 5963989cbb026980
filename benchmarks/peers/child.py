"""``python -m benchmarks.peers.child JOB ROUNDS SECONDS [--quick]``: measures one thing, and prints it as JSON."""

from __future__ import annotations

import gc
import json
import logging
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import django
from django.conf import settings

from jwt_redis.testing.servers import RedisServer

_JOBS = {"requests", "endpoints", "headers"}
_SHOWN = ("Django", "djangorestframework", "djangorestframework-simplejwt", "django-rest-knox", "django-allauth")


def main() -> None:
    job, rounds, seconds, *size = sys.argv[1:]
    assert job in _JOBS, job
    django.setup()
    logging.disable(logging.WARNING)
    from benchmarks.peers.accounts import Accounts
    from benchmarks.peers.calls import Client

    # The parent's server: this process only has to know where it is.
    port = int(settings.REDIS_URL.rpartition(":")[2].partition("/")[0])
    accounts = Accounts(RedisServer(Path("/nonexistent"), port=port), 100 if size else 5_000)
    # The collector, which runs before each case, need not look at what stays.
    gc.collect()
    gc.freeze()
    found = import_module(f"benchmarks.peers.{job}").run(accounts, Client(), int(rounds), float(seconds))
    json.dump({**found, "versions": {name: version(name) for name in _SHOWN}}, sys.stdout)


if __name__ == "__main__":
    main()
