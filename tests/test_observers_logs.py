"""The log: each record has an event that the reference names, and no token is in any, whatever happens."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import near_cache, sessions, signals
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.oracle.world import set_back_birth
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reference/observability.md").read_text()
SIGNALS = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
LEVELS = {"info", "warning", "error", "critical", "exception", "log"}


def described() -> set[str]:
    section = PAGE.split("## Logs")[1].split("## ")[0]
    return {name for row in re.findall(r"^\| (`[^|]*) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in (ROOT / "jwt_redis").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, node


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Everything that is logged from INFO up, and where."""
    for path, call in calls():
        target = call.func
        if isinstance(target, ast.Attribute) and target.attr in LEVELS and _name(target.value) in ("logger", "logging"):
            yield f"{path.relative_to(ROOT)}:{call.lineno}", call


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def event_of(call: ast.Call) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "event":
                    return value
    return None


def test_each_record_has_an_event() -> None:
    found = dict(log_calls())
    assert len(found) > 15
    assert [where for where, call in found.items() if event_of(call) is None] == []


def test_each_event_is_described_and_no_other() -> None:
    events = {value.value for _, call in log_calls() if isinstance(value := event_of(call), ast.Constant)}
    # Those that are not constants are the names of signals, and so is each event's.
    assert events | SIGNALS == described()


def test_a_signals_event_has_its_name() -> None:
    named = {
        (_last(call.args[0]), call.args[2].value)
        for _, call in calls()
        # Of operations: what happened, as a signal. Those of the log are made of an entry alone.
        if _name(call.func) == "Event" and len(call.args) > 2 and isinstance(call.args[2], ast.Constant)
    }
    assert len(named) >= 6 and all(signal == name for signal, name in named)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ""


# What is logged ------------------------------------------------------------------------------------------------------


class Everything(logging.Handler):
    """All that reaches the root, as text: message, arguments, attributes, the trace of an error."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        formatted = logging.Formatter("%(message)s").format(record)
        self.records.append(record)
        self.texts.append(formatted + repr(vars(record)))


@pytest.fixture
def log() -> Iterator[Everything]:
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def raises(**kwargs: Any) -> None:
    raise RuntimeError("a receiver failed")


def crafted(token: str) -> list[str]:
    """A good token that was tampered with in each part, and what makes libraries fail."""
    header, payload, signature = token.split(".")
    return [
        f"{header}.{payload}.{signature[:-2]}",
        f"{header}.{payload}A.{signature}",
        f"{header[:-1]}.{payload}.{signature}",
        f"{header}.{payload}",
        "eyJhbGciOiJIUzI1NiJ9" + ".W1tb" * 2,
    ]


@pytest.mark.django_db(transaction=True)
def test_no_token_is_in_the_log(alice: Any, log: Everything) -> None:
    """The whole story at DEBUG: what is good, what is refused, what is forged, a dead Redis, receivers that raise."""
    tokens: list[str] = []
    http = APIClient()

    def login() -> dict[str, str]:
        body = {"username": "alice", "password": "correct horse"}
        found: dict[str, str] = http.post("/auth/token/", body, format="json").json()
        tokens.extend(found.values())
        return found

    def ask(access: str) -> list[int]:
        paths = ("/whoami/", "/stateless/", "/plain/", "/plain-async/", "/fail-open/", "/auth/sessions/")
        return [http.get(path, HTTP_AUTHORIZATION=f"Bearer {access}").status_code for path in paths]

    with RedisServer(options={"appendonly": "yes"}) as own, pointed_at(own, REFRESH_GRACE=0, NEAR_CACHE={"lease": 0.5}):
        signals.session_ended.connect(raises)
        try:
            first, second = login(), login()
            set_back_birth(own)
            ask(first["access"])
            wait_for(near_cache.is_fresh, "the near cache answers")
            assert set(ask(first["access"])) == {200}
            for forged in crafted(first["access"]) + crafted(first["refresh"]):
                assert ask(forged)[:2] == [401, 401]
                for path in ("token/refresh/", "token/blacklist/", "logout/"):
                    assert http.post(f"/auth/{path}", {"refresh": forged}, format="json").status_code == 401
            answer = http.post("/auth/token/refresh/", {"refresh": first["refresh"]}, format="json").json()
            tokens.extend(answer.values())
            assert http.post("/auth/token/refresh/", {"refresh": first["refresh"]}, format="json").status_code == 401
            sessions.revoke_token(second["access"])
            assert 401 in ask(second["access"])
            third = login()
            asyncio.run(_in_async_code(third["access"]))
            own.kill()
            assert 503 in ask(third["access"])
            assert http.post("/auth/logout/", {"refresh": third["refresh"]}, format="json").status_code == 503
            assert http.post("/auth/token/refresh/", {"refresh": third["refresh"]}, format="json").status_code == 503
            own.start()
            wait_for(lambda: _is_refused(third["access"]), "the pending sign-out is applied")
            sessions.revoke_everything()
        finally:
            signals.session_ended.disconnect(raises)
            near_cache.stop(5)
    events = {getattr(record, "event", None) for record in log.records}
    assert {"session_started", "refresh_token_reused", "token_revoked", "revocation_unavailable"} <= events
    assert {"check_failed_open", "revocation_applied", "receiver_failed", "everything_revoked"} <= events
    assert len(tokens) >= 8
    for token in tokens:
        # The signature is what makes it one.
        signature = token.split(".")[2]
        assert not any(token in text or signature in text for text in log.texts)


async def _in_async_code(access: str) -> None:
    assert (await sessions.aexplain(access)).allowed
    await client.aclient().aclose()


def _is_refused(access: str) -> bool:
    try:
        return not sessions.explain(access).allowed
    except RevocationUnavailable:
        return False


@pytest.mark.django_db
def test_the_facts_are_attributes(alice: Any, log: Everything) -> None:
    token = sessions.open_session(alice)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        sessions.rotate(token, alice)
        with pytest.raises(TokenError):
            sessions.rotate(token, alice)
    found = {record.event: record for record in log.records if hasattr(record, "event")}
    user, sid = str(alice.pk), token["sid"]
    ended: Any = found["session_ended"]
    assert (ended.jwt_user, ended.jwt_sid, ended.jwt_reason) == (user, sid, "refresh_token_reused")
    assert found["refresh_token_reused"].levelname == "WARNING"
    assert vars(found["session_refreshed"])["jwt_outcome"] == "rotated"


@pytest.mark.django_db
def test_the_configuration_in_the_reference_works(alice: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "JSONFormatter" in code)
    names: dict[str, Any] = {}
    exec(compile(block, "observability.md", "exec"), names)  # noqa: S102
    logger = logging.getLogger("jwt_redis")
    before = (logger.handlers[:], logger.level, logger.propagate)
    try:
        logging.config.dictConfig(names["LOGGING"])
        token = sessions.open_session(alice)
        sessions.end_session(alice, token["sid"])
        logger.error("boom", exc_info=RuntimeError("why"), extra={"event": "receiver_failed"})
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    by_event = {line["event"]: line for line in lines}
    ended = by_event["session_ended"]
    assert (ended["jwt_sid"], ended["jwt_reason"], ended["level"]) == (token["sid"], "logout", "INFO")
    assert "RuntimeError: why" in by_event["receiver_failed"]["error"]
