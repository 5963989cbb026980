"""Each database in a process of its own: transactions that see nothing of one another need more than one in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shapes.test_shapes import run_with
from tests.support.postgres import find_binaries, postgres_server

SETTINGS, FILE = "tests.projects.logout_races_settings", "tests/support/logout_races.py"


@pytest.mark.slow
def test_a_logout_and_a_sign_in_miss_each_other_nowhere_in_sqlite(tmp_path: Path) -> None:
    database = str(tmp_path / "db.sqlite3")
    run_with(SETTINGS, FILE, JWT_REDIS_TEST_DB=database)


@pytest.mark.slow
@pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL server here (Debian's package: postgresql)")
def test_nor_in_postgresql() -> None:
    with postgres_server() as folder:
        run_with(SETTINGS, "--create-db", "--reuse-db", FILE, JWT_REDIS_TEST_POSTGRES=folder)
