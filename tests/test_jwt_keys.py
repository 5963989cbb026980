"""``manage.py jwt_keys``: what it does, what it refuses, and that it never shows a private key."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt import state

from jwt_redis import sessions
from jwt_redis.diagnosis import diagnose
from jwt_redis.management.commands import jwt_keys
from jwt_redis.models import Revocation
from jwt_redis.signing import key_files
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
