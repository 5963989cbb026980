"""The packages as `make sbom` makes them: what is in them, that they are the same each time and run alone."""

from __future__ import annotations

import dataclasses
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

import jwt_redis
from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port
from tests.support.server import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".git").exists() or shutil.which("git") is None,
        reason="a release is made of what is committed, and here is no git",
    ),
]

VERSION = jwt_redis.__version__
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Of use to translators alone.
NOT_IN_THE_WHEEL = {"jwt_redis/locale/simplejwt.txt"}
# What tells that an extra is there, and is used.
EXTRAS = {
    "hiredis": "from redis.utils import HIREDIS_AVAILABLE; assert HIREDIS_AVAILABLE",
    "devices": "from jwt_redis.devices import describe; assert describe({firefox!r}) == 'Firefox on Linux'",
    "spectacular": "import jwt_redis.contrib.spectacular",
    "ninja": "from jwt_redis.contrib.ninja import AsyncJWTAuth, JWTAuth",
    "keys": "from jwt_redis.signing.keys import generate; assert generate('ES256')[0].is_asymmetric",
    "openid": "import jwt; jwt.get_algorithm_by_name('RS256')",
    "channels": "import channels.generic.websocket; from jwt_redis.contrib.channels import LiveSessionMixin",
    "webhooks": "import jwt; jwt.get_algorithm_by_name('ES256'); import jwt_redis.contrib.webhooks.pushing",
    "prometheus": "import jwt_redis.contrib.prometheus.views",
    "opentelemetry": "import jwt_redis.contrib.opentelemetry.tracing",
    "testing": "from jwt_redis.testing.servers import binary_paths as b; assert any('site-packages' in p for p in b())",
}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Release:
    """What was built, and from where."""

    tree: Path

    @property
    def wheel(self) -> Path:
        return self.tree / "dist" / f"jwt_redis-{VERSION}-py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        return self.tree / "dist" / f"jwt_redis-{VERSION}.tar.gz"

    @property
    def bom(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.tree / "build/jwt_redis.cdx.json").read_text())
        return found


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Its output. Nothing of this process' own settings and paths goes along."""
    ours = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTHONHOME", "JWT_REDIS_TEST_URL", "JWT_REDIS_TEST_DB")
    # When this is run by make, another make is none of its jobs.
    ours += ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SOURCE_DATE_EPOCH")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}"
    return done.stdout


def tracked() -> set[str]:
    """What git knows, as it is in the working tree."""
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return {name for name in names if name and (ROOT / name).exists()}


def release_from(tree: Path, target: str, **environment: str) -> Release:
    """`make TARGET` in a repository of its own that has all tracked files, and rubbish beside them."""
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    moment = {"GIT_AUTHOR_DATE": "@1790000000 +0000", "GIT_COMMITTER_DATE": "@1790000000 +0000"}
    someone = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com", "-c", "commit.gpgsign=false")
    run("git", "init", "--quiet", cwd=tree)
    # A file that .gitignore is about may have been added all the same.
    run("git", "add", "--all", "--force", cwd=tree)
    run("git", *someone, "commit", "--quiet", "--message", "All of it", cwd=tree, **moment)
    for name in ("jwt_redis/scratch.py", "notes.txt", "jwt_redis/.env", "tests/secret.pem"):
        (tree / name).write_text("of no concern to anybody else")
    # These packages are in the environment of the test.
    stamps = tree / "stamps"
    stamps.mkdir()
    (stamps / "release").touch()
    run("make", target, f"BIN={Path(sys.executable).parent}", f"STAMPS={stamps.name}", cwd=tree, **environment)
    return Release(tree)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return release_from(tmp_path_factory.mktemp("release"), "sbom")


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename for info in archive.infolist() if not info.is_dir()}


def names_in_sdist(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        names = {member.name for member in archive.getmembers() if not member.isdir()}
    top = f"jwt_redis-{VERSION}/"
    assert all(name.startswith(top) for name in names)
    return {name.removeprefix(top) for name in names}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"jwt_redis-{VERSION}.dist-info/METADATA"))


# What is in them ---------------------------------------------------------------------------------------------------


def test_the_wheel_has_the_package_and_nothing_else(release: Release) -> None:
    info = f"jwt_redis-{VERSION}.dist-info"
    own = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    package = {name for name in tracked() if name.startswith("jwt_redis/")}
    assert names_in(release.wheel) == package - NOT_IN_THE_WHEEL | own


def test_what_is_easily_forgotten_is_there(release: Release) -> None:
    """By what the code asks for, whatever git tracks."""
    names = names_in(release.wheel)
    assert "jwt_redis/py.typed" in names
    commands = (path.read_text() for path in (ROOT / "jwt_redis/store/commands").glob("*.py"))
    quoted = set(re.findall(r'"(\w+)"', "\n".join(commands)))
    scripts = {name for name in names if name.startswith("jwt_redis/store/lua/")}
    assert {Path(name).stem for name in scripts} - quoted == {"common"}
    assert len(scripts) >= 18
    catalogues = {name for name in names if name.endswith(".po")}
    assert len(catalogues) == 6
    assert {name.removesuffix("po") + "mo" for name in catalogues} <= names
    templates = set()
    for path in (ROOT / "jwt_redis").rglob("*"):
        if path.suffix in (".py", ".html", ".txt"):
            templates |= set(re.findall(r"[\"']((?:admin/)?jwt_redis/[\w/]+\.(?:html|txt))[\"']", path.read_text()))
    assert len(templates) > 15
    assert {f"jwt_redis/templates/{name}" for name in templates} <= names
    assert len({name for name in names if name.startswith("jwt_redis/static/")}) > 5
    migrations = {name for name in names if re.fullmatch(r"jwt_redis/migrations/\d{4}_\w+\.py", name)}
    assert len(migrations) >= 2


def test_what_does_not_belong_there_is_not(release: Release) -> None:
    shunned = re.compile(
        r"(^|/)(tests?|docs|benchmarks|\.git|\.venv|__pycache__|\.[a-z_]*_cache|var|node_modules)(/|$)"
        r"|\.(py[co]|pem|key|sqlite3|rdb|aof|log|orig|rej|swp|egg-info)$|(^|/)(\.env|\.coverage)"
    )
    assert [name for name in names_in(release.wheel) if shunned.search(name)] == []
    with zipfile.ZipFile(release.wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"-----BEGIN " not in content, name
            assert str(ROOT).encode() not in content and str(Path.home()).encode() + b"/" not in content, name


def test_the_sdist_has_the_repository_and_nothing_else(release: Release) -> None:
    assert names_in_sdist(release.sdist) == tracked() | {"PKG-INFO"}


# What they say of themselves ---------------------------------------------------------------------------------------


def test_metadata(release: Release) -> None:
    said = metadata(release.wheel)
    assert (said["Name"], said["Version"]) == ("jwt_redis", VERSION)
    assert said["License-Expression"] == "BSD-3-Clause"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said["Requires-Python"] == ">=3.11"
    assert said["Description-Content-Type"] == "text/markdown"
    described = said.get_payload(decode=True)
    assert isinstance(described, bytes)
    assert described.decode() == (ROOT / "README.md").read_text()
    # There is nothing to link to that exists.
    assert said.get_all("Project-URL") is None and said["Home-page"] is None
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    # PEP 639: the licence is in its own field.
    assert not [one for one in said.get_all("Classifier", []) if one.startswith("License ::")]


def test_the_extras_are_those_of_the_project(release: Release) -> None:
    said = metadata(release.wheel)
    assert set(said.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"]) == set(EXTRAS)
    requirements = [Requirement(one) for one in said.get_all("Requires-Dist", [])]
    always = {one.name for one in requirements if one.marker is None}
    assert always == {"django", "djangorestframework", "djangorestframework-simplejwt", "django-redis", "redis"}
    # Each has a lower bound: what is older was tested by nobody.
    assert [one.name for one in requirements if not any(bound.operator == ">=" for bound in one.specifier)] == []


# The same each time ------------------------------------------------------------------------------------------------


def test_the_same_commit_gives_the_same_bytes(release: Release, tmp_path: Path) -> None:
    """On another day, in another place, by somebody with other habits."""
    mask = os.umask(0o077)
    try:
        again = release_from(tmp_path / "a longer name" / "elsewhere", "dist", TZ="Asia/Kathmandu", LC_ALL="C.UTF-8")
    finally:
        os.umask(mask)
    assert again.sdist.read_bytes() == release.sdist.read_bytes()
    assert again.wheel.read_bytes() == release.wheel.read_bytes()


def test_so_does_the_sdist(release: Release, tmp_path: Path) -> None:
    with tarfile.open(release.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"jwt_redis-{VERSION}"
    run(sys.executable, "-m", "build", "--outdir", "dist", cwd=unpacked, SOURCE_DATE_EPOCH="1790000000")
    again = Release(unpacked)
    assert again.wheel.read_bytes() == release.wheel.read_bytes()
    assert again.sdist.read_bytes() == release.sdist.read_bytes()


# They run alone ----------------------------------------------------------------------------------------------------


def test_the_sdist_tests_itself(release: Release, tmp_path: Path) -> None:
    with tarfile.open(release.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"jwt_redis-{VERSION}"
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    # The path of the environment may lead to the repository: what is here comes before it.
    where = "import jwt_redis; print(jwt_redis.__file__)"
    assert run(sys.executable, "-c", where, cwd=unpacked).startswith(str(unpacked))
    assert "error" not in run(*pytest_, "--collect-only", cwd=unpacked).splitlines()[-1]
    said = run(*pytest_, *(f"tests/test_{name}.py" for name in ("conf", "project", "upgrades")), cwd=unpacked)
    assert " passed" in said.splitlines()[-1]
    assert " failed" not in said.splitlines()[-1]


@pytest.fixture(scope="module")
def alone(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and what it asks for."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    install(folder / "bin/python", str(release.wheel))
    return folder / "bin/python"


def install(python: Path, what: str) -> None:
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", what, cwd=python.parent)
    run(sys.executable, "-m", "pip", "--python", python, "check", cwd=python.parent)


@pytest.fixture(scope="module")
def site(alone: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project with the lines of the README in it."""
    folder = tmp_path_factory.mktemp("site")
    run(alone, "-m", "django", "startproject", "site_", folder, cwd=folder)
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```python\n(.*?)```", readme, re.S)
    assert block is not None
    lines = block[1].replace("redis://127.0.0.1:6379/1", f"redis://127.0.0.1:{redis_server.port}/1")
    assert str(redis_server.port) in lines
    # What the README takes for granted: a project that has a cache.
    before = "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}\n"
    with (folder / "site_/settings.py").open("a") as settings:
        settings.write(f"\n{before}{lines}")
    (included,) = re.findall(r"`(path\([^`]*jwt_redis\.urls[^`]*)`", readme)
    with (folder / "site_/urls.py").open("a") as urls:
        urls.write(f"\nfrom django.urls import include\nurlpatterns += [{included}]\n")
    return folder


def manage(alone: Path, site: Path, *arguments: str, **environment: str) -> str:
    return run(alone, "-W", "error", "manage.py", *arguments, cwd=site, **environment)


def test_a_new_project_runs_with_it(alone: Path, site: Path) -> None:
    manage(alone, site, "migrate", "--verbosity", "0")
    assert "no issues" in manage(alone, site, "check", "--fail-level", "WARNING")
    # Warnings of this Redis, which is open and keeps nothing, and of a project that was begun just now; no errors.
    assert set(re.findall(r"jwt_redis\.[EW]", manage(alone, site, "check", "--deploy"))) == {"jwt_redis.W"}
    assert "No changes" in manage(alone, site, "makemigrations", "--check", "--dry-run")
    secret = {"DJANGO_SUPERUSER_PASSWORD": "correct horse"}
    manage(alone, site, "createsuperuser", "--no-input", "--username", "alice", "--email", "a@example.com", **secret)
    with served(alone, site) as ask:
        status, pair = ask("POST", "auth/token/", {"username": "alice", "password": "correct horse"})
        assert status == 200, pair
        assert ask("GET", "auth/sessions/")[0] == 401
        status, listed = ask("GET", "auth/sessions/", bearer=pair["access"])
        assert status == 200, listed
        assert [one["current"] for one in listed] == [True]
        assert listed[0]["sid"] in manage(alone, site, "jwt_sessions", "alice")
        status, pair = ask("POST", "auth/token/refresh/", {"refresh": pair["refresh"]})
        assert status == 200, pair
        assert ask("POST", "auth/logout/", {"refresh": pair["refresh"]})[0] in (200, 204)
        status, refused = ask("GET", "auth/sessions/", bearer=pair["access"])
        assert (status, refused["reason"]) == (401, "session_ended")
    manage(alone, site, "jwt_cleanup")


class served:
    """``manage.py runserver``; what is asked comes back as status and JSON."""

    def __init__(self, alone: Path, site: Path) -> None:
        self.port = free_port()
        self.log = site / "server.log"
        arguments = [str(alone), "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTHON"))}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                arguments, cwd=site, env=kept, stdout=out, stderr=out, preexec_fn=die_with_parent
            )

    def __enter__(self) -> Callable[..., tuple[int, Any]]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ask("GET", "auth/sessions/")
            except urllib.error.URLError:
                time.sleep(0.1)
            else:
                return self.ask
        raise RuntimeError("It did not start:\n" + self.log.read_text())

    def __exit__(self, *of: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def ask(self, method: str, path: str, body: Any = None, bearer: str | None = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read() or b"null")


def test_without_extras_every_module_can_be_imported(alone: Path, site: Path) -> None:
    code = """
import importlib, json, pkgutil, django
django.setup()
import jwt_redis
missing = {}
for module in pkgutil.walk_packages(jwt_redis.__path__, "jwt_redis.", onerror=lambda name: None):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
    except django.core.exceptions.ImproperlyConfigured as error:
        missing[module.name] = str(error)
print(json.dumps([jwt_redis.__file__, missing]))
"""
    said = run(alone, "-c", code, cwd=site, DJANGO_SETTINGS_MODULE="site_.settings")
    where, missing = json.loads(said.splitlines()[-1])
    assert Path(where).is_relative_to(alone.parent.parent)
    # Adapters to what a project may have, and a kit for those who test with pytest.
    assert [name for name in missing if not name.startswith(("jwt_redis.contrib.", "jwt_redis.testing."))] == []


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_each_extra_brings_what_it_promises(
    extra: str, alone: Path, site: Path, release: Release, tmp_path: Path
) -> None:
    """In an environment on top of the one without, so that none leans on another's."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    (below,) = (alone.parent.parent / "lib").glob("python*/site-packages")
    (own,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (own / "below.pth").write_text(f"{below}\n")
    code = f"import django; django.setup(); {EXTRAS[extra].format(firefox=FIREFOX)}; print('fine')"
    settings = {"DJANGO_SETTINGS_MODULE": "site_.settings"}
    with pytest.raises(AssertionError):
        run(python, "-c", code, cwd=site, **settings)
    install(python, f"jwt_redis[{extra}] @ {release.wheel.as_uri()}")
    assert run(python, "-c", code, cwd=site, **settings).strip().endswith("fine")


# What comes along --------------------------------------------------------------------------------------------------


def test_the_bill_of_materials_is_valid_and_whole(release: Release, alone: Path) -> None:
    text = (release.tree / "build/jwt_redis.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    root = release.bom["metadata"]["component"]
    assert (root["name"], root["version"], root["type"]) == ("jwt_redis", VERSION, "library")
    assert root["licenses"][0]["license"]["id"] == "BSD-3-Clause"
    freeze = run(sys.executable, "-m", "pip", "--python", alone, "list", "--format", "json", cwd=ROOT)
    listed = next(json.loads(line) for line in freeze.splitlines() if line.startswith("["))
    plain = re.compile(r"[-_.]+")
    there = {(plain.sub("-", one["name"]).lower(), one["version"]) for one in listed}
    named = {(plain.sub("-", one["name"]).lower(), one["version"]) for one in release.bom["components"]}
    assert named == there - {("jwt-redis", VERSION)}
    assert all(one.get("purl", "").startswith("pkg:pypi/") for one in release.bom["components"])
    # Whose build it was is nobody's concern, and would differ each time.
    assert str(release.tree) not in text and "serialNumber" not in release.bom
