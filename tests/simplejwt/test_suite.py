"""Simple JWT's own tests with this package's classes: what differs is known, and has a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from jwt_redis.testing.servers import RedisServer
from tests.simplejwt.differences import expected, listing

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "simplejwt-suite.md"
STRATEGIES: Final = ("whitelist", "blacklist")
NAME: Final = "djangorestframework-simplejwt"
# Their key is a short one, and PyJWT says so. All other warnings are errors, with our classes.
WARNINGS: Final = ("-W", "error", "-W", "ignore::jwt.warnings.InsecureKeyLengthWarning")


def _fetch(folder: Path) -> Path:
    """The tests of the Simple JWT that is installed, out of its source distribution: it has no tests installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", NAME]
    try:
        if find_spec("pip") is None:
            raise OSError("there is no pip here")
        done = subprocess.run(
            [*command, f"{NAME}=={version(NAME)}"], cwd=folder, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise OSError(done.stderr.strip().rpartition("\n")[2])
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"Simple JWT's source distribution cannot be fetched: {error}"
        if os.environ.get("JWT_REDIS_MUST_FETCH"):
            pytest.fail(reason)
        pytest.skip(reason)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = folder.glob("*/tests")
    # The tests alone: beside them lies another copy of the package.
    shutil.move(unpacked, folder / "tests")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def _run(suite: Path, strategy: str | None) -> dict[str, str]:
    """What became of each case. No strategy: with Simple JWT's own classes."""
    outcomes = suite / f"{strategy}.json"
    plugins = ["outcomes", *(["substitution"] if strategy else [])]
    arguments = [part for plugin in plugins for part in ("-p", plugin)]
    with RedisServer() as server:
        environment = {
            **os.environ,
            "JWT_REDIS_TEST_OUTCOMES": str(outcomes),
            "JWT_REDIS_TEST_STRATEGY": strategy or "",
            "JWT_REDIS_TEST_URL": server.url,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider"),
                *("-p", "pytest_django.plugin", *arguments, *(WARNINGS if strategy else ()), "--tb=short", "tests"),
            ],
            cwd=suite,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    # 1: some have failed. Anything else: it did not come so far.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    print(done.stdout)  # noqa: T201
    found: dict[str, str] = json.loads(outcomes.read_text())
    return found


@pytest.mark.slow
def test_simple_jwts_own_tests_come_out_the_same_but_for_what_is_listed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    suite = _fetch(tmp_path_factory.mktemp("simplejwt"))
    stock = _run(suite, None)
    assert len(stock) > 150
    # Some fail with Simple JWT's own classes too, under a PyJWT that is newer than they are.
    assert {case for case, outcome in stock.items() if outcome == "failed"} <= {
        case for case in stock if case.startswith("tests/test_backends.py")
    }
    for strategy in STRATEGIES:
        ours = _run(suite, strategy)
        assert ours.keys() == stock.keys()
        assert {case for case in ours if ours[case] != stock[case]} == expected(), strategy
    assert f"{len(expected())} of {len(stock)}" in PAGE.read_text()


def test_the_page_lists_the_differences() -> None:
    assert listing() in PAGE.read_text()
