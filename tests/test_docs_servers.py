"""The pages on TLS, ACL users, Sentinel and Cluster: their blocks on servers that are set up as they say."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import override_settings

from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.testing.servers import RedisServer
from tests.support.blocks import ROOT, blocks, commands, matches
from tests.support.topology import Cluster, Sentinels, ask, make_certificates, tls_binary
from tests.support.waiting import wait_for
from tests.test_docs_blocks import directives
from tests.test_topology import assert_everything_works, assert_lives, assert_refused, sign_in

HOW_TO = ROOT / "docs/how-to"


def answers(user: Any) -> bool:
    """Does anybody answer again?"""
    try:
        sessions.list_sessions(user)
    except RevocationUnavailable:
        return False
    return True


@pytest.mark.slow
def test_tls_and_an_acl_user(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = HOW_TO / "tls-and-acl.md"
    conf, settings, acl = blocks(page)
    assert (conf.language, settings.language, acl.language) == ("ini", "python", "console")
    server = RedisServer(binary=tls_binary().path)
    made = make_certificates(server.folder)
    names = {path.name: path for path in (made.server, made.server_key, made.client, made.client_key, made.ca)}
    (server.folder / "users.acl").write_text("user default on nopass ~* &* +@all\n")

    def here(text: str) -> str:
        text = re.sub(r"/etc/redis/([\w.]+)", lambda found: str(names.get(found[1], server.folder / found[1])), text)
        return re.sub(r"\b6379\b", str(server.port), text).replace("redis.example", "localhost")

    server.options |= {name: here(value) for name, value in directives(conf).items()}
    certificates = {"ssl_ca_certs": str(made.ca), "ssl_certfile": str(made.client), "ssl_keyfile": str(made.client_key)}
    server.reach = {"ssl": True, **certificates}
    with server:
        with server.client() as administrator:
            for command in commands(acl):
                name, *words = shlex.split(command.line)
                answer = administrator.execute_command(*words)
                assert name == "redis-cli" and matches("OK" if answer is True else str(answer), command.prints)
        with pytest.raises(redis.AuthenticationError), server.client() as anybody:
            anybody.ping()
        with pytest.raises(redis.ConnectionError), redis.Redis(port=server.port, socket_timeout=2) as plain:
            plain.ping()
        monkeypatch.setenv("REDIS_PASSWORD", "SECRET")
        found: dict[str, Any] = {"CACHES": {}, "os": __import__("os")}
        exec(here(settings.code), found)  # noqa: S102
        with override_settings(CACHES=found["CACHES"], JWT_REDIS={"ALIAS": "sessions"}):
            assert_everything_works(alice)
        # And without a certificate of its own there is no way in.
        del found["CACHES"]["sessions"]["OPTIONS"]["CONNECTION_POOL_KWARGS"]["ssl_certfile"]
        del found["CACHES"]["sessions"]["OPTIONS"]["CONNECTION_POOL_KWARGS"]["ssl_keyfile"]
        with override_settings(CACHES=found["CACHES"], JWT_REDIS={"ALIAS": "sessions"}):
            assert not answers(alice)


@pytest.mark.slow
def test_sentinel(alice: Any) -> None:
    settings, conf = blocks(HOW_TO / "sentinel.md")
    found: dict[str, Any] = {"CACHES": {}}
    exec(settings.code, found)  # noqa: S102
    alias = found["CACHES"]["sessions"]
    with Sentinels(options=directives(conf)) as place:
        assert alias["LOCATION"] == "redis://mymaster/0" and len(alias["OPTIONS"]["SENTINELS"]) == len(place.sentinels)
        alias["LOCATION"] = place.url
        alias["OPTIONS"]["SENTINELS"] = [("127.0.0.1", server.port) for server in place.sentinels]
        for name, value in directives(conf).items():
            assert ask(place.data[0], "CONFIG GET", name) == {name: value}
        with override_settings(CACHES=found["CACHES"], JWT_REDIS={"ALIAS": "sessions"}):
            assert_everything_works(alice)
            _, stays, _ = sign_in(alice)
            sid, ended, _ = sign_in(alice)
            place.wait_until_replicated()
            sessions.end_session(alice, sid)
            place.data[0].kill()
            wait_for(lambda: answers(alice), "another primary answers", 30)
            assert_lives(stays)
            assert_refused(ended, "session_ended")


@pytest.mark.slow
def test_cluster(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, factory = blocks(HOW_TO / "cluster.md")
    found: dict[str, Any] = {}
    exec(settings.code, found)  # noqa: S102
    module = types.ModuleType("myproject.redis")
    monkeypatch.setitem(sys.modules, "myproject", types.ModuleType("myproject"))
    monkeypatch.setitem(sys.modules, "myproject.redis", module)
    exec(factory.code, vars(module))  # noqa: S102

    async def ask_asynchronously() -> Any:
        async with vars(module)["make_client"](asynchronous=True) as client:
            return await client.ping()

    with Cluster() as place:
        vars(module)["NODES"] = [("127.0.0.1", server.port) for server in place.primaries()]
        with override_settings(JWT_REDIS=found["JWT_REDIS"]):
            assert_everything_works(alice)
            _, ended, _ = sign_in(alice)
            place.wait_until_replicated()
            sessions.end_all_sessions(alice)
            former = place.kill_primary_of(f"jwt:{{{alice.pk}}}")
            wait_for(lambda: answers(alice), f"another answers than {former.port}", 30)
            assert_refused(ended, "session_ended", 5)
        assert asyncio.run(ask_asynchronously())


def test_the_pages_are_where_this_looks() -> None:
    assert all(Path(HOW_TO / name).exists() for name in ("tls-and-acl.md", "sentinel.md", "cluster.md"))
