"""``manage.py jwt_keys``: what it does, what it refuses, and that it never shows a private key."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt import state

from jwt_redis import sessions
from jwt_redis.diagnosis import diagnose
from jwt_redis.management.commands import jwt_keys
from jwt_redis.models import Revocation
from jwt_redis.signing import backends, key_files
from jwt_redis.store import markers
from jwt_redis.tokens import AccessToken
from jwt_redis.verdicts import NO_KID
from tests.test_redis_failure import bearer
from tests.test_signing_keys import SECRET, TWO, header, keys

pytestmark = pytest.mark.django_db(transaction=True)

http = APIClient()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "keys"
    with keys(directory=str(path)):
        yield path


def run(*words: str) -> str:
    out = StringIO()
    call_command("jwt_keys", *words, stdout=out, no_color=True)
    return out.getvalue()


def said(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def states() -> dict[str, str]:
    return {row["kid"]: row["state"] for row in said("list")}


def looked() -> None:
    state.token_backend.source._next_look = 0.0


def test_a_rotation_from_the_first_key_to_the_last(folder: Path, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    plain = str(sessions.open_session(alice).access_token)
    first = said("create", "--alg", "HS256")["kid"]
    assert states() == {NO_KID: "signing", first: "verifying"}
    assert "kid" not in header(str(sessions.open_session(alice).access_token))
    assert said("activate", first)["state"] == "signing"
    assert states() == {NO_KID: "verifying", first: "signing"}
    looked()
    assert header(str(sessions.open_session(alice).access_token))["kid"] == first
    with pytest.raises(CommandError, match=r"signed until .* good until .* UTC"):
        run("retire", NO_KID)
    with pytest.raises(CommandError, match="activate another one first"):
        run("retire", first)
    assert http.get("/whoami/", **bearer(plain)).status_code == 200
    # After the longest lifetime, and not before.
    entry = key_files.KeyFiles(str(folder)).entries[NO_KID]
    at = jwt_keys._retirable_at(entry) or 0
    assert at == (entry.signed_until or 0) + int(settings.SIMPLE_JWT["REFRESH_TOKEN_LIFETIME"].total_seconds()) + 60
    row = next(row for row in said("list") if row["kid"] == NO_KID)
    assert row["retirable_at"] is not None
    monkeypatch.setattr(jwt_keys, "time", lambda: at - 1)
    with pytest.raises(CommandError, match="logged out"):
        run("retire", NO_KID)
    monkeypatch.setattr(jwt_keys, "time", lambda: at)
    assert said("retire", NO_KID)["state"] == "retired"
    assert states() == {NO_KID: "retired", first: "signing"}
    looked()
    assert http.get("/whoami/", **bearer(plain)).status_code == 401
    assert "retired already" in run("retire", NO_KID)
    # One that never signed may go at once.
    unused = said("create")["kid"]
    run("retire", unused)
    with pytest.raises(CommandError, match="cannot sign"):
        run("activate", unused)


def test_others_have_to_have_heard_of_a_key_before_it_signs(folder: Path) -> None:
    first = said("create")["kid"]
    # HS256 signs until now: nobody verifies by what is published.
    run("activate", first)
    second = said("create", "--alg", "EdDSA")["kid"]
    with pytest.raises(CommandError, match="--now"):
        run("activate", second)
    assert states()[first] == "signing"
    run("activate", second, "--now")
    assert states()[second] == "signing"
    assert "signs already" in run("activate", second)
    with override_settings(
        JWT_REDIS={
            **settings.JWT_REDIS,
            "KEYS": {"directory": str(folder), "max_age": timedelta(seconds=1)},
        }
    ):
        third = said("create")["kid"]
        time.sleep(1.1)
        run("activate", third)


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA", "HS256"])
def test_no_private_key_is_ever_printed(folder: Path, alg: str, caplog: pytest.LogCaptureFixture) -> None:
    printed = run("create", "--alg", alg)
    kid = printed.split()[0]
    private = json.loads((folder / f"{kid}.jwk").read_text())
    hidden = [private[name] for name in ("d", "k", "p", "q", "dp", "dq", "qi") if name in private]
    assert hidden
    for words in (["list"], ["list", "--json"], ["activate", kid, "--json"], ["retire", kid, "--leaked", "--no-input"]):
        printed += run(*words)
    for secret in hidden:
        assert secret not in printed
        assert secret not in caplog.text
        assert secret not in (folder / "keys.json").read_text()
    assert not (folder / f"{kid}.jwk").exists()


def test_a_leaked_key_is_replaced_and_refused(folder: Path, alice: Any) -> None:
    first = said("create")["kid"]
    run("activate", first)
    looked()
    mine = sessions.open_session(alice)
    token = str(mine.access_token)
    assert http.get("/whoami/", **bearer(token)).status_code == 200
    done = said("retire", first, "--leaked", "--no-input")
    assert (done["state"], done["added"]) == ("leaked", True)
    assert states() == {NO_KID: "verifying", first: "leaked", done["signing"]: "signing"}
    row = Revocation.objects.get(kind="key")
    assert row.target == first and row.applied_at is not None and row.actor.startswith("manage.py jwt_keys")
    assert http.get("/whoami/", **bearer(token)).status_code == 401
    anew = str(sessions.open_session(alice).access_token)
    assert header(anew)["kid"] == done["signing"]
    assert http.get("/whoami/", **bearer(anew)).status_code == 200
    again = said("retire", first, "--leaked", "--no-input")
    assert (again["added"], again["signing"]) == (False, None)


def test_simple_jwts_own_key_can_leak_too(folder: Path, alice: Any) -> None:
    folder.mkdir()
    token = str(sessions.open_session(alice).access_token)
    done = said("retire", NO_KID, "--leaked", "--no-input")
    assert states() == {NO_KID: "leaked", done["signing"]: "signing"}
    looked()
    assert http.get("/whoami/", **bearer(token)).status_code == 401
    assert http.get("/whoami/", **bearer(sessions.open_session(alice).access_token)).status_code == 200


def test_a_key_that_waits_to_sign_takes_a_leaked_ones_place(folder: Path) -> None:
    first = said("create")["kid"]
    run("activate", first)
    waiting = said("create", "--alg", "EdDSA")["kid"]
    assert said("retire", first, "--leaked", "--no-input")["signing"] == waiting
    assert said("retire", waiting, "--leaked", "--no-input")["signing"] not in (first, waiting, NO_KID)


def test_one_that_could_not_sign_takes_nobodys_place(folder: Path, alice: Any) -> None:
    first = said("create")["kid"]
    run("activate", first)
    token = str(sessions.open_session(alice).access_token)
    other = said("create")["kid"]
    # Another service's: only the public half is here.
    file = folder / f"{other}.jwk"
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "d"}))
    signing = said("retire", first, "--leaked", "--no-input")["signing"]
    assert signing not in (first, other)
    assert states() == {NO_KID: "verifying", first: "leaked", other: "verifying", signing: "signing"}
    assert http.get("/whoami/", **bearer(token)).status_code == 401


@pytest.mark.parametrize("journal", [True, False])
def test_nor_does_one_that_was_refused_while_the_files_could_not_be_reached(
    folder: Path, alice: Any, journal: bool
) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": journal}):
        first = said("create")["kid"]
        run("activate", first)
        waiting = said("create")["kid"]
        sessions.revoke_key(waiting)
        backends.refuse(frozenset())
        markers.reset()
        with pytest.raises(CommandError, match="leaked, and cannot sign"):
            run("activate", waiting, "--now")
        backends.refuse(frozenset())
        markers.reset()
        assert said("retire", first, "--leaked", "--no-input")["signing"] not in (first, waiting)
        looked()
        assert http.get("/whoami/", **bearer(sessions.open_session(alice).access_token)).status_code == 200


@pytest.mark.parametrize("damage", ["the list", "the directory"])
def test_a_leaked_key_is_refused_whatever_is_wrong_with_the_files(folder: Path, alice: Any, damage: str) -> None:
    first = said("create")["kid"]
    run("activate", first)
    token = str(sessions.open_session(alice).access_token)
    if damage == "the list":
        (folder / "keys.json").write_text("{")
        with pytest.raises(CommandError, match=r"Nothing was changed; --unknown refuses"):
            run("retire", first, "--leaked", "--no-input")
    else:
        folder.rename(folder.with_name("moved"))
        folder.write_text("")
    with pytest.raises(CommandError, match=r"is refused, but the directory is to be seen to: .*keys"):
        run("retire", first, "--leaked", "--no-input", "--unknown")
    assert Revocation.objects.get(kind="key").target == first
    assert http.get("/whoami/", **bearer(token)).status_code == 401


DYING = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from jwt_redis import sessions
from jwt_redis.signing import key_files
def dies(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
where, kid = sys.argv[1:]
if where == "before it is refused":
    sessions.revoke_key = dies
elif where == "before it is marked":
    key_files.Change.retire = dies
elif where == "before its file is removed":
    key_files.Path.unlink = dies
else:
    put = key_files._put
    key_files._put = lambda file, text: (put(file, text), file.suffix == ".jwk" and dies())
call_command("jwt_keys", "retire", kid, "--leaked", "--no-input")
"""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database for processes that a test starts."""
    database = tmp_path_factory.mktemp("database") / "db.sqlite3"
    django("migrate", "--verbosity", "0", JWT_REDIS_TEST_DB=str(database), JWT_REDIS_TEST_KEYS=str(database.parent))
    return database


def django(*words: str, **environment: str) -> str:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.projects.keys_settings", **environment}
    command = [sys.executable, "-W", "ignore", "-m", "django", *words]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("where", "is_first", "state", "is_refused"),
    [
        ("before it is marked", False, "verifying", True),
        pytest.param("before another one is listed", False, "signing", False, marks=pytest.mark.slow),
        pytest.param("before it is refused", False, "verifying", False, marks=pytest.mark.slow),
        pytest.param("before its file is removed", False, "leaked", True, marks=pytest.mark.slow),
        # Simple JWT's own key, and nothing else is there yet.
        pytest.param("before another one is listed", True, None, False, marks=pytest.mark.slow),
        pytest.param("before it is marked", True, "verifying", True, marks=pytest.mark.slow),
    ],
)
def test_one_who_is_killed_while_a_key_is_retired_leaves_nothing_that_another_run_does_not_mend(
    where: str, is_first: bool, state: str | None, is_refused: bool, migrated: Path, tmp_path: Path, store: redis.Redis
) -> None:
    folder, database = tmp_path / "keys", shutil.copy(migrated, tmp_path / "db.sqlite3")
    environment = {"JWT_REDIS_TEST_KEYS": str(folder), "JWT_REDIS_TEST_DB": str(database)}
    kid = NO_KID
    if not is_first:
        with key_files.changing(str(folder)) as change:
            kid = change.create("ES256", "HS256")
            change.activate(kid)
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.projects.keys_settings", **environment}
    command = [sys.executable, "-W", "ignore", "-c", DYING, where, kid]
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    left = key_files.KeyFiles(str(folder))
    assert left.entries.get(kid) is None if state is None else left.entries[kid].state == state
    assert (folder / f"{kid}.jwk").exists() is not is_first
    assert (store.hget("jwt:{log}:marker", "refused_keys") == kid) is is_refused
    # Whoever starts meanwhile is not held up by what is there.
    left.key_set()
    done = json.loads(django("jwt_keys", "retire", kid, "--leaked", "--no-input", "--json", **environment))
    assert done["added"] is not is_refused
    found = key_files.KeyFiles(str(folder))
    assert found.entries[kid].state == "leaked"
    assert state != "leaked" or found.entries[kid] == left.entries[kid]
    assert [entry.state for entry in found.entries.values()].count("signing") == 1
    assert not (folder / f"{kid}.jwk").exists()
    made = found.key_set()
    assert made.signing is not None and kid not in made.keys and made.accepts_no_kid is not is_first
    assert store.hget("jwt:{log}:marker", "refused_keys") == kid
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT target, applied_at IS NULL FROM jwt_redis_revocation").fetchall()
    assert rows == [(kid, 0)]


def test_a_name_that_was_mistyped_refuses_nothing(folder: Path) -> None:
    first = said("create")["kid"]
    for words in (["activate", "nobody"], ["retire", "nobody"], ["retire", "nobody", "--leaked", "--no-input"]):
        with pytest.raises(CommandError, match="no key 'nobody'"):
            run(*words)
    assert not Revocation.objects.exists()
    with pytest.raises(CommandError, match="kid"):
        run("retire", "a,b", "--leaked", "--no-input")
    with pytest.raises(CommandError, match="reason"):
        run("retire", first, "--leaked", "--no-input", "--reason", "a b")
    with pytest.raises(CommandError, match="--no-input"):
        run("retire", first, "--leaked", "--json")
    assert states()[first] == "verifying"
    assert said("retire", "nobody", "--leaked", "--no-input", "--unknown")["added"]


def test_without_keys_there_is_but_the_one_without_a_name(alice: Any) -> None:
    token = str(sessions.open_session(alice).access_token)
    with pytest.raises(CommandError, match=r"no key is named 'nobody'.* no-kid"):
        run("retire", "nobody", "--leaked", "--no-input")
    assert not Revocation.objects.exists()
    assert said("retire", "nobody", "--leaked", "--no-input", "--unknown")["added"]
    assert http.get("/auth/sessions/", **bearer(token)).status_code == 200
    assert said("retire", NO_KID, "--leaked", "--no-input")["added"]
    assert http.get("/auth/sessions/", **bearer(token)).status_code == 401


def test_it_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = said("create")["kid"]
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("retire", first, "--leaked")
    assert states()[first] == "verifying"
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    run("retire", first, "--leaked")
    assert states()[first] == "leaked"


def test_keys_in_the_settings_are_changed_there(alice: Any) -> None:
    with keys(keys=TWO, signing="two"):
        assert states() == {"one": "verifying", "two": "signing", NO_KID: "verifying"}
        assert SECRET not in run("list")
        for words in (["create"], ["activate", "one"], ["retire", "one"]):
            with pytest.raises(CommandError, match="in the settings"):
                run(*words)
        token = str(sessions.open_session(alice).access_token)
        assert said("retire", "two", "--leaked", "--no-input")["added"]
        assert http.get("/whoami/", **bearer(token)).status_code == 401
        assert states()["two"] == "leaked"
        found = {one.code: one for one in diagnose().findings}["keys"]
        assert found.level == "problem" and "two" in found.found


def test_without_the_setting_only_a_leak_can_be_told(alice: Any) -> None:
    for words in (["create"], ["list"]):
        with pytest.raises(CommandError, match="KEYS"):
            run(*words)
    assert said("retire", NO_KID, "--leaked", "--no-input")["added"]
    assert not sessions.check(AccessToken(str(AccessToken.for_user(alice)))).allowed


def test_what_is_wrong_with_the_directory_is_said(tmp_path: Path) -> None:
    with keys(directory=str(tmp_path / "gone" / "keys")):
        with pytest.raises(CommandError, match="No such file or directory"):
            run("create")
        with pytest.raises(CommandError, match="no such directory"):
            run("list")
    (tmp_path / "file").write_text("")
    with keys(directory=str(tmp_path / "file")), pytest.raises(CommandError, match="file"):
        run("create")
    with keys(nope=1), pytest.raises(CommandError, match="nope"):
        run("list")


def test_the_doctor_looks_at_the_keys(folder: Path) -> None:
    def found() -> tuple[str, str]:
        (one,) = [one for one in diagnose().findings if one.code == "keys"][:1]
        return one.level, one.found

    assert found()[0] == "problem"
    kid = said("create")["kid"]
    assert found() == ("ok", "no-kid signs (Simple JWT's own key); 1 key by name.")
    run("activate", kid)
    assert found() == ("ok", f"{kid} signs (ES256); 1 key by name.")
    (folder / f"{kid}.jwk").chmod(0o644)
    assert found()[0] == "problem"
