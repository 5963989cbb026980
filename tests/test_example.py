"""The demo's own tests, as one runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT


def test_the_example_s_own_tests_pass(tmp_path: Path) -> None:
    others = ("REDIS_URL", "JWT_REDIS_TEST_URL", "JWT_REDIS_URL", "DJANGO_SETTINGS_MODULE")
    env = {name: value for name, value in os.environ.items() if name not in others}
    done = subprocess.run(
        [sys.executable, str(ROOT / "example_project/manage.py"), "test", "notes"],
        cwd=tmp_path,
        env={**env, "DEMO_VAR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "Ran 8 tests" in done.stderr, done.stderr
