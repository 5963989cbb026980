"""Every code block of the documentation is executed, or compared with what is really there.

Pages whose blocks make up one story have a test of their own, which goes through all of them.
"""

from __future__ import annotations

import builtins
import json
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import AppConfig
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.hashers import make_password
from django.core.management import call_command, get_commands, load_command_class
from django.template import engines
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework_simplejwt.tokens import Token

import jwt_redis
from jwt_redis import checks, conf, sessions
from jwt_redis.testing.servers import RedisServer
from tests import settings as test_settings
from tests.support.blocks import DOCS, ROOT, Block, blocks, commands, matches

# What is run as a whole, by whom.
STORIES = {
    "docs/how-to/from-knox.md": "tests/test_from_others.py",
    "docs/how-to/from-allauth.md": "tests/test_from_others.py",
    "docs/how-to/dj-rest-auth.md": "tests/test_docs_blocks.py",
    "docs/tutorial/sign-another-browser-out.md": "tests/test_tutorial.py",
    "docs/how-to/tls-and-acl.md": "tests/test_docs_servers.py",
    "docs/how-to/sentinel.md": "tests/test_docs_servers.py",
    "docs/how-to/cluster.md": "tests/test_docs_servers.py",
    "docs/how-to/microservices.md": "tests/test_docs_services.py",
    "docs/how-to/status-list.md": "tests/test_status_list.py",
}
# What is not run at all, and why. A page and how its block begins.
EXCEPTIONS = {
    ("docs/how-to/cookies.md", "let csrf;"): "it is for a browser; tests/browser and test_cookies_http.py do the same",
    (
        "docs/how-to/server-sent-events.md",
        "const source",
    ): "for a browser; tests/browser/test_live.py does the same",
    ("docs/how-to/device-page.md", "from django.contrib.gis.geoip2"): "a database of addresses, which has to be bought",
    ("docs/how-to/microservices.md", "GRANT SELECT"): "a right in PostgreSQL",
    ("docs/explanation/architecture.md", "Authorization: Bearer"): "a drawing",
    ("docs/how-to/oauth-endpoints.md", "$ curl -u billing"): "over HTTP: what test_oauth_http.py does with clients",
    ("docs/explanation/state.md", "sid:3duJKIYdPjzxtKZ5JNzzzQ"): "a drawing, of a value that test_store.py reads",
}
# Sphinx' own.
DIRECTIVES = ("{toctree}", "{eval-rst}")


def is_exception(block: Block) -> bool:
    """Is there a reason not to run it?"""
    name = str(block.page.relative_to(ROOT))
    return any(name == page and block.code.strip().startswith(begin) for page, begin in EXCEPTIONS)


def told(language: str) -> list[Any]:
    """The blocks of a language that are for this module to run; by page."""
    found = []
    for page in DOCS:
        ours = [block for block in blocks(page, language) if not is_exception(block)]
        if ours and str(page.relative_to(ROOT)) not in STORIES:
            found.append(pytest.param(ours, id=page.stem))
    return found


def test_every_block_is_somebodys_to_run() -> None:
    ours = {"python", "console", "http", "ini", "toml", "django", *DIRECTIVES}
    for page in DOCS:
        for block in blocks(page):
            in_story = str(page.relative_to(ROOT)) in STORIES
            assert in_story or is_exception(block) or block.language in ours, f"{block}: {block.language!r}"


def test_every_exception_and_every_story_is_still_there() -> None:
    found = [block for page in DOCS for block in blocks(page) if is_exception(block)]
    assert len(found) == len(EXCEPTIONS)
    for page, test in STORIES.items():
        assert (ROOT / page).exists() and (ROOT / test).exists()


# Python --------------------------------------------------------------------------------------------------------------


class _Queue:
    """A task of the reader's queue."""

    def delay(self, *arguments: Any, **more: Any) -> None:
        """Later."""


class _Rows:
    """A model of the reader's."""

    objects: Any = None

    def filter(self, **names: Any) -> Any:
        """Those."""
        return self

    def delete(self) -> None:
        """Away."""


_Rows.objects = _Rows()

# Modules of the reader's own project, and of services that this one does not need, as far as the pages name them.
READERS_MODULES: dict[str, dict[str, Any]] = {"shop": {}, "shop.tasks": {"mail_notice": _Queue()}}


def readers_project(folder: Path) -> dict[str, Any]:
    """The names that a page may take for granted: those of a settings module, of ``urls.py``, of a view."""
    return {
        "BASE_DIR": folder,
        "CACHES": {},
        "DEBUG": True,
        "DATABASES": {},
        "INSTALLED_APPS": [*test_settings.INSTALLED_APPS],
        "MIDDLEWARE": [*test_settings.MIDDLEWARE],
        "REST_FRAMEWORK": {},
        "REST_AUTH": {},
        "SIMPLE_JWT": {},
        "JWT_REDIS": {},
        "MyJWTAuthentication": type("MyJWTAuthentication", (_OurAuthentication(),), {}),
        "Path": Path,
        "PushToken": _Rows,
        "User": get_user_model(),
        "UserAdmin": UserAdmin,
        "include": include,
        "jwt_redis": jwt_redis,
        "os": __import__("os"),
        "path": path,
        "statsd": types.SimpleNamespace(incr=lambda name: None),
        "timedelta": timedelta,
        "urlpatterns": [],
    }


def _OurAuthentication() -> type:
    from jwt_redis.authentication import JWTAuthentication

    return JWTAuthentication


@contextmanager
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a page registers with Django, and with us, is taken back."""
    from jwt_redis import observers, signals

    registry = dict(admin.site._registry)
    before = observers.installed
    receivers = {name: list(one.receivers) for name, one in vars(signals).items() if hasattr(one, "receivers")}
    # A project whose user model is its own has no admin for Django's.
    admin.site._registry.pop(get_user_model(), None)
    try:
        yield
    finally:
        admin.site._registry.clear()
        admin.site._registry.update(registry)
        for one in observers.installed:
            if one not in before:
                observers.uninstall(one)
        for name, kept in receivers.items():
            getattr(signals, name).receivers = kept
            getattr(signals, name).sender_receivers_cache.clear()


def run(block: Block, names: dict[str, Any]) -> None:
    """As a module of the reader's would be."""
    # As many lines in front as there are on the page: a traceback then names the page's own.
    code = compile("\n" * block.line + block.code, str(block.page), "exec")
    builtins.exec(code, names)  # noqa: S102


def assert_settings_are_good(block: Block, names: dict[str, Any]) -> None:
    """What a block has assigned in capitals is what Django and this package take for settings."""
    given = {name: names[name] for name in re.findall(r"^([A-Z][A-Z_]+)(?:\[.+?\])? [+|]?=", block.code, re.M)}
    for app in set(given.pop("INSTALLED_APPS", ())) - {...}:
        AppConfig.create(app)
    given.pop("DATABASES", None)
    given.pop("MIDDLEWARE", None)
    if "CACHES" in given or "ALIAS" in given.get("JWT_REDIS", {}):
        given["CACHES"] = {**test_settings.CACHES, **given.get("CACHES", {})}
    if not set(given) & {"CACHES", "JWT_REDIS", "REST_FRAMEWORK", "SIMPLE_JWT"}:
        return
    with override_settings(**given):
        assert conf.problems() == [], block
        errors = [str(one) for one in checks.check_settings() if one.level >= 40 and "JTI" not in str(one)]
        # A block that says nothing of Simple JWT is one among others.
        assert errors == [] or "SIMPLE_JWT" not in given, block


@pytest.mark.parametrize("page", told("python"))
def test_python(page: list[Block], db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other, as the page has them: a later one may use what an earlier one has made."""
    monkeypatch.setenv("REDIS_PASSWORD", "a password")
    monkeypatch.setenv("BILLING_SECRET_HASH", make_password("a secret"))
    monkeypatch.setenv("WEBHOOK_KEY", "a key")
    for name, contents in READERS_MODULES.items():
        module = types.ModuleType(name)
        vars(module).update(contents, __path__=[])
        monkeypatch.setitem(sys.modules, name, module)
    names = readers_project(tmp_path) | {"__name__": "readers_project"}
    names["user"] = get_user_model().objects.create_user("alice", "alice@example.com", "correct horse")
    names |= {"sessions": sessions, "request": None, "token": sessions.open_session(names["user"])}
    names["claims"] = {"iss": "https://op.example.com/realms/shop", "sub": "248289761001", "sid": "08a5019c"}
    monkeypatch.setitem(sys.modules, "readers_project", types.ModuleType("readers_project"))
    with undone(monkeypatch):
        for block in page:
            run(block, names)
            assert_settings_are_good(block, names)


PROJECT = """
import sys, types, warnings
from tests import settings as base
from tests.support.blocks import blocks
from pathlib import Path

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sites",
                  "django.contrib.messages", "django.contrib.sessions",
                  "allauth", "allauth.account", "allauth.socialaccount"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "allauth.account.middleware.AccountMiddleware"]
REST_FRAMEWORK, CACHES, DATABASES = {}, base.CACHES, base.DATABASES
SECRET_KEY, TEMPLATES, DEFAULT_AUTO_FIELD = base.SECRET_KEY, base.TEMPLATES, base.DEFAULT_AUTO_FIELD
ROOT_URLCONF = "page_urls"
import jwt_redis
from django.conf import settings
page = blocks(Path(sys.argv[1]), "python")
capitals = [block for block in page if block.code[0].isupper()]
for block in capitals:
    exec(block.code)
settings.configure(**{name: value for name, value in list(globals().items()) if name.isupper()})
import django
django.setup()
from django.urls import include, path
urls = types.ModuleType("page_urls")
vars(urls).update(urlpatterns=[], include=include, path=path)
sys.modules["page_urls"] = urls
for block in page:
    if block not in capitals:
        exec(block.code, vars(urls))
from django.core.management import call_command
call_command("check", fail_level="WARNING")
print(len(page), "blocks")
"""


def test_dj_rest_auth() -> None:
    """Its models and views want a project of their own: settings before Django, URLs and views behind it."""
    page = ROOT / "docs/how-to/dj-rest-auth.md"
    command = [sys.executable, "-W", "ignore", "-c", PROJECT, str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{len(blocks(page))} blocks\n"), done.stdout


# Commands ------------------------------------------------------------------------------------------------------------


def assert_can_be_run(block: Block, line: str) -> None:
    """There is such a command, and it takes these arguments."""
    words = shlex.split(line, comments=True)
    if not words or words[0] == "mkdir":
        return
    if words[:4] == ["python", "-m", "pip", "install"]:
        for name in words[4:]:
            package, _, extra = name.partition("[")
            assert package == "jwt_redis", f"{block}: {line}"
            # As they are here: an environment may be older than what is declared.
            found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert not extra or extra.rstrip("]") in found, f"{block}: {line}"
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), f"{block}: {line}"
    elif words[:2] == ["python", "manage.py"]:
        parser = load_command_class(get_commands()[words[2]], words[2]).create_parser("manage.py", words[2])
        parser.parse_args(words[3:])
    elif words[:2] == ["python", "-m"]:
        module = words[2].replace(".", "/")
        assert any((ROOT / name).exists() for name in (f"{module}.py", f"{module}/__main__.py")), f"{block}: {line}"
    elif words[0] == "python":
        assert (ROOT / words[1]).exists(), f"{block}: {line}"
    else:
        assert words[0] == "redis-cli", f"{block}: what is {line!r}?"


def do(line: str, store: Any) -> str:
    """What a command prints here."""
    name, *words = shlex.split(line)
    if name == "redis-cli":
        answer = store.execute_command(*words)
        return f"(integer) {answer}\n" if isinstance(answer, int) else f"{answer}\n"
    assert words[0] == "manage.py", line
    out = StringIO()
    try:
        call_command(*words[1:], stdout=out, no_color=True)
    except SystemExit as status:
        # jwt_doctor, of a server for tests.
        assert words[1] == "jwt_doctor" and status.code in (1, 2), line
    return out.getvalue()


@pytest.mark.parametrize("page", told("console"))
def test_commands(page: list[Block], alice: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a page shows with a prompt are run, and print what it says. The others could be run."""
    from jwt_redis.keys import known_key

    # What is typed, where there is a terminal.
    monkeypatch.setattr("getpass.getpass", lambda: "correct horse")
    sessions.open_session(alice)
    sessions.end_session(alice, sessions.list_sessions(alice)[0].sid)
    sessions.open_session(alice)
    store.hset(known_key(str(alice.pk)), "device:of before", "1.2")
    for block in page:
        for command in commands(block):
            assert_can_be_run(block, command.line)
            if "$ " not in block.code:
                continue
            line = command.line.replace("jwt:{42}", f"jwt:{{{alice.pk}}}")
            printed = do(line, store)
            assert matches(printed, command.prints), f"{block}: $ {line}\nprinted:\n{printed}\nnot:\n{command.prints}"


# HTTP ----------------------------------------------------------------------------------------------------------------


@contextmanager
def exchange(user: Any) -> Iterator[Callable[[str, str], None]]:
    """Sends requests as a page has them, and compares the answers. ``ACCESS``, ``REFRESH`` and ``SID`` are those of the
    last answer that had them, ``ENDED`` is a token of a session that is over."""
    ended = sessions.open_session(user)
    known = {"ENDED": str(ended), "REFRESH": str(first := sessions.open_session(user)), "SID": first["sid"]}
    known["ACCESS"] = str(first.access_token)
    sessions.end_session(user, ended["sid"])

    def fill(text: str) -> str:
        for name, value in known.items():
            text = re.sub(rf"\b{name}\b", value, text)
        return text

    def ask(question: str, answer: str) -> None:
        head, _, body = fill(question).partition("\n\n")
        method, target, _version = head.splitlines()[0].split()
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        response = Client(raise_request_exception=False).generic(
            method, target, body, content_type=headers.pop("Content-Type", ""), headers=headers
        )
        head, _, body = answer.partition("\n\n")
        status = int(head.split()[1])
        assert response.status_code == status, (question, response.content)
        got, wanted = response.json(), json.loads(body)
        for name, value in wanted.items():
            if name in ("access", "refresh"):
                known[name.upper()] = got[name]
                payload = json.loads(_payload(got[name]))
                known["SID"] = payload["sid"]
            else:
                assert got[name] == (fill(value) if isinstance(value, str) else value), (question, got)
        # What an answer has besides is said nowhere: only one that is written out in full has to be.
        assert set(wanted) <= set(got) and (status != 200 or method == "PATCH" or set(wanted) == set(got)), got

    yield ask


def _payload(token: str | Token) -> str:
    import base64

    part = str(token).split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


@pytest.mark.parametrize("page", told("http"))
def test_http(page: list[Block], alice: Any) -> None:
    """A request, then its answer."""
    assert len(page) % 2 == 0, "each request has an answer"
    with exchange(alice) as ask:
        for request, answer in zip(page[::2], page[1::2], strict=True):
            ask(request.code, answer.code)


# redis.conf, templates -----------------------------------------------------------------------------------------------


def directives(block: Block) -> dict[str, str]:
    """Of a piece of ``redis.conf``."""
    lines = [line.strip() for line in block.code.splitlines()]
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("page", told("ini"))
def test_a_server_takes_these_directives(page: list[Block]) -> None:
    for block in page:
        wanted = directives(block)
        with RedisServer(options=wanted) as server, server.client() as client:
            for name, value in wanted.items():
                assert client.config_get(name) == {name: value}, block


@pytest.mark.parametrize("page", told("toml"))
def test_pytest_takes_these_settings(page: list[Block], tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing() -> None: ...\n")
    for block in page:
        (tmp_path / "pyproject.toml").write_text(block.code)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-config", str(tmp_path)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("page", told("django"))
def test_templates(page: list[Block], alice: Any) -> None:
    for block in page:
        assert engines["django"].from_string(block.code), block
