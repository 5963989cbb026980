"""The story of each shape, in a process of its own: much of what differs cannot be overridden in a running one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.postgres import find_binaries, postgres_server

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
SHAPES: Final = sorted(path.stem for path in (HERE / "projects").glob("[!_]*.py"))


def run_with(settings: str, *arguments: str, **environment: str) -> None:
    """pytest in another process, whose warnings are errors too."""
    env = {**os.environ, **environment}
    # A Redis of its own.
    for name in ("JWT_REDIS_TEST_URL", "DJANGO_SETTINGS_MODULE"):
        env.pop(name, None)
    # Schemathesis would be imported for nobody, which takes as long as Django.
    without = ("-p", "no:cacheprovider", "-p", "no:schemathesis")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *without, "--ds", settings, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_story_is_true_of(shape: str) -> None:
    run_with(f"tests.shapes.projects.{shape}", "tests/shapes/story.py")


@pytest.mark.slow
@pytest.mark.parametrize("service", ["verifier", "jwks"])
def test_a_service_that_issues_no_tokens(service: str) -> None:
    run_with(f"tests.shapes.services.{service}", f"tests/shapes/{service}_story.py")


# What has to do with the database.
ON_POSTGRES: Final = (
    "tests/shapes/story.py",
    "tests/test_admin.py",
    "tests/test_admin_health.py",
    "tests/test_admin_sessions.py",
    "tests/test_admin_users.py",
    "tests/test_commands.py",
    "tests/test_hard_cases.py",
    "tests/test_receivers.py",
    "tests/test_recovery.py",
    "tests/test_signals.py",
)


@pytest.mark.slow
@pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL server here (Debian's package: postgresql)")
def test_users_and_journal_in_postgresql() -> None:
    with postgres_server() as folder:
        # The database goes with its server: a thread of some async test may still hold a connection to it.
        arguments = ("--reuse-db", "-m", "not slow")
        run_with("tests.shapes.postgres.numbers", *arguments, *ON_POSTGRES, JWT_REDIS_TEST_POSTGRES=folder)
        story = "tests/shapes/story.py"
        run_with("tests.shapes.postgres.addresses", "--create-db", *arguments, story, JWT_REDIS_TEST_POSTGRES=folder)
