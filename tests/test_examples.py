"""examples/ as a person runs it: one command, an issuer, two services in processes of their own, asked over HTTP."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jwt_redis.testing.servers import die_with_parent
from tests.support.server import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
EXAMPLES = ROOT / "examples"
_SECONDS = 120
# What would lead it to other servers or settings than its own.
_OTHERS = ("REDIS_URL", "JWT_REDIS_TEST_URL", "DJANGO_SETTINGS_MODULE", "EXAMPLES_VAR", "ISSUER")
SERVICES = [
    "orders",
    pytest.param(
        "photos",
        marks=pytest.mark.skipif(
            shutil.which("node") is None or shutil.which("npm") is None, reason="there is no node, or no npm"
        ),
    ),
]


class Examples:
    """One run of run.py; what it prints goes to a file beside ``var``."""

    def __init__(self, var: Path, **environment: str) -> None:
        self.var = var
        self.log = var.with_name(f"{var.name}.log")
        kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / "run.py")],
                env={**kept, "EXAMPLES_VAR": str(var), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        assert poll(lambda: "Ctrl-C stops" in self.printed or self.process.poll() is not None), self.printed
        assert self.process.poll() is None, self.printed
        found = re.findall(r"^  (\w+) +(\S+)  \(process (\d+)\)$", self.printed, re.M)
        self.urls = {name: url for name, url, _ in found}
        self.pids = {name: int(pid) for name, _, pid in found}

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def sign_in(self, name: str = "alice") -> dict[str, str]:
        password = {"alice": "correct horse", "bob": "battery staple"}[name]
        body = {"username": name, "password": password}
        found: dict[str, str] = requests.post(f"{self.urls['issuer']}/auth/token/", json=body, timeout=10).json()
        return found

    def sign_out(self, access: str) -> int:
        headers = {"Authorization": f"Bearer {access}"}
        return requests.post(f"{self.urls['issuer']}/auth/logout/", headers=headers, timeout=10).status_code

    def ask(self, service: str, access: str | None) -> int:
        """The status, of whoever comes again when nobody can say: the services wait two seconds for the issuer."""
        seen: list[int] = []
        assert poll(lambda: seen.append(self.look(service, access)) or seen[-1] != 503), (service, self.printed)
        return seen[-1]

    def look(self, service: str, access: str | None) -> int:
        """The status of one answer; with what every answer of that status has."""
        headers = {} if access is None else {"Authorization": f"Bearer {access}".encode()}
        answer = requests.get(self.urls[service], headers=headers, timeout=30)
        if answer.status_code == 200:
            assert answer.json()["service"] == service
        elif answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        else:
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"] == "1"
        return answer.status_code

    def until(self, service: str, access: str, status: int, *, meanwhile: int) -> None:
        """Ask until that is the answer; ``meanwhile`` is the only other one, but for 503."""
        seen: list[int] = []

        def is_there() -> bool:
            seen.append(self.look(service, access))
            return seen[-1] == status

        assert poll(is_there), (service, self.printed)
        assert set(seen[:-1]) <= {meanwhile, 503}, (service, seen, self.printed)

    def manage(self, *arguments: str) -> str:
        """A command of the issuer, as it is printed."""
        (line,) = re.findall(r"^  (EXAMPLES_VAR=\S+ \S+ \S+) jwt_sessions alice$", self.printed, re.M)
        command = ["env", *shlex.split(line), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout

    def key(self) -> tuple[str, Any]:
        """The name of the key that signs, and the key itself."""
        manifest = json.loads((self.var / "keys/keys.json").read_text())
        (kid,) = [kid for kid, entry in manifest["keys"].items() if entry["state"] == "signing"]
        return kid, jwt.PyJWK.from_dict(json.loads((self.var / f"keys/{kid}.jwk").read_text())).key

    def signed(self, access: str, **changes: Any) -> str:
        """The token with other claims, signed by the issuer's key. None takes a claim away."""
        kid, key = self.key()
        claims = {**claims_of(access), **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(_SECONDS) == 0


def poll(until: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if until():
            return True
        time.sleep(0.1)
    return False


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examples]:
    made = Examples(tmp_path_factory.mktemp("examples") / "var")
    yield made
    made.end()


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Examples]:
    """One whose parts may be killed."""
    made = Examples(tmp_path / "var")
    yield made
    made.end()


def services_of(examples: Examples) -> list[str]:
    return [name for name in ("orders", "photos") if name in examples.urls]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_what_is_printed_works(examples: Examples) -> None:
    services = services_of(examples)
    printed = examples.printed
    signing_in = re.findall(r"^  (TOKEN=.*\n .*)$", printed, re.M)
    asking = re.findall(r"^  (curl -i .*)$", printed, re.M)
    (signing_out,) = re.findall(r"^  (curl .*/logout/)$", printed, re.M)
    assert (len(signing_in), len(asking)) == (1, len(services))

    def shell(*lines: str, **environment: str) -> str:
        command = ["bash", "-ec", "\n".join(lines)]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    token = shell(*signing_in, "echo $TOKEN")
    for name, line in zip(services, asking, strict=True):
        answer = shell(line, TOKEN=token)
        assert answer.startswith("HTTP/1.1 200") and f'"service":"{name}"' in answer
    assert shell(signing_out, TOKEN=token) == '{"sessions_ended":1}'
    for line in asking:
        assert poll(lambda line=line: shell(line, TOKEN=token).startswith("HTTP/1.1 401"))  # type: ignore[misc]
    assert "no live session" in examples.manage("jwt_sessions", "alice")


@pytest.mark.parametrize("service", SERVICES)
def test_the_session_that_ended_is_refused_and_no_other(examples: Examples, service: str) -> None:
    ended, alive, bobs = examples.sign_in()["access"], examples.sign_in()["access"], examples.sign_in("bob")["access"]
    assert [examples.ask(service, token) for token in (ended, alive, bobs)] == [200, 200, 200]
    assert examples.sign_out(ended) == 200
    examples.until(service, ended, 401, meanwhile=200)
    assert [examples.ask(service, token) for token in (ended, alive, bobs)] == [401, 200, 200]


@pytest.mark.parametrize("service", SERVICES)
def test_many_come_at_once(examples: Examples, service: str) -> None:
    tokens = [examples.sign_in()["access"] for _ in range(5)] * 40
    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(lambda token: examples.ask(service, token), tokens)) == {200}


def test_everything_is_revoked(examples: Examples) -> None:
    access = examples.sign_in()["access"]
    services = services_of(examples)
    assert [examples.ask(service, access) for service in services] == [200] * len(services)
    examples.manage("jwt_revoke", "--all", "--no-input")
    for service in services:
        examples.until(service, access, 401, meanwhile=200)
    # It is another second when whoever signs in again is trusted.
    for service in services:
        assert poll(lambda service=service: examples.ask(service, examples.sign_in()["access"]) == 200)  # type: ignore[misc]


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_no_good_token_is_refused(examples: Examples, service: str) -> None:
    tokens = examples.sign_in()
    access = tokens["access"]
    kid, key = examples.key()
    claims = claims_of(access)
    header, payload, signature = access.split(".")
    public = requests.get(f"{examples.urls['issuer']}/auth/jwks/", timeout=10).json()["keys"][0]
    # By hand: PyJWT makes none of these.
    nothing, secret = (base64url(json.dumps({"alg": alg, "typ": "JWT"}).encode()) for alg in ("none", "HS256"))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = f"{secret}.{payload}".encode()
    other_key = ec.generate_private_key(ec.SECP256R1())
    bad = {
        "none": None,
        "empty": "",
        "garbage": "abc",
        "not ascii": "ä€\u202e",
        "forged": jwt.encode(claims, other_key, "ES256", headers={"kid": kid}),
        "forged, another name": jwt.encode(claims, other_key, "ES256", headers={"kid": "x" * 43}),
        "forged, without a name": jwt.encode(claims, other_key, "ES256"),
        "forged, its own key": jwt.encode(claims, other_key, "ES256", headers={"kid": kid, "jwk": public}),
        "alg none": f"{nothing}.{payload}.",
        "the public key as a secret": f"{secret}.{payload}.{base64url(hmac.digest(pem, unsigned, 'sha256'))}",
        "another signature": f"{header}.{payload}.{signature[::-1]}",
        "without its signature": f"{header}.{payload}.",
        "cut": access[:-4],
        "other claims": f"{header}.{payload[:-8]}AAAAAAAA.{signature}",
        "expired": examples.signed(access, exp=int(time.time()) - 60),
        "without an end": examples.signed(access, exp=None),
        "of another issuer": examples.signed(access, iss="https://elsewhere.example"),
        "refresh": tokens["refresh"],
        "a status list": requests.get(claims["status"]["status_list"]["uri"], timeout=10).text,
    }
    assert {name: examples.ask(service, token) for name, token in bad.items()} == dict.fromkeys(bad, 401)
    assert examples.ask(service, access) == 200


@pytest.mark.parametrize("service", SERVICES[1:])
def test_a_list_is_read_where_the_issuer_publishes_it(examples: Examples, service: str) -> None:
    access = examples.sign_in()["access"]
    place = claims_of(access)["status"]["status_list"]
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever).start()
        elsewhere = f"http://127.0.0.1:{server.server_port}/status/"
        odd: list[Any] = [
            None,
            {},
            "0",
            {"status_list": None},
            {"status_list": {**place, "uri": elsewhere + place["uri"].rpartition("/")[2]}},
            {"status_list": {**place, "uri": [place["uri"]]}},
            *({"status_list": {**place, "idx": idx}} for idx in (-1, 2**17, 0.5, "0", None, 2**70)),
        ]
        found = [examples.ask(service, examples.signed(access, status=status)) for status in odd]
        server.shutdown()
    assert found == [401] * len(odd)
    assert asked == []
    # A list of the issuer's that is none: whatever is there, nobody comes in.
    for end in ("nowhere", "../auth/jwks/", "../auth/token/"):
        nowhere = {"status_list": {**place, "uri": f"{examples.urls['issuer']}/status/{end}"}}
        assert examples.look(service, examples.signed(access, status=nowhere)) == 503
    assert examples.ask(service, access) == 200


def test_the_signing_key_is_changed_and_a_leaked_one_refused(examples: Examples) -> None:
    services = services_of(examples)
    before = examples.sign_in()["access"]
    assert [examples.ask(service, before) for service in services] == [200] * len(services)
    kid = jwt.get_unverified_header(before)["kid"]

    def new_key() -> str:
        made: str = json.loads(examples.manage("jwt_keys", "create", "--json"))["kid"]
        examples.manage("jwt_keys", "activate", made, "--now")
        assert poll(lambda: jwt.get_unverified_header(examples.sign_in()["access"])["kid"] == made)
        return made

    made = new_key()
    after = examples.sign_in()["access"]
    # A name that is new is looked for once in five seconds.
    for service in services:
        examples.until(service, after, 200, meanwhile=401)
    # By now the lists are signed by it, and are read again.
    uri = claims_of(after)["status"]["status_list"]["uri"]
    assert poll(lambda: jwt.get_unverified_header(requests.get(uri, timeout=10).text).get("kid") == made)
    assert examples.sign_out(after) == 200
    for service in services:
        examples.until(service, after, 401, meanwhile=200)
    assert [examples.ask(service, before) for service in services] == [200] * len(services)

    examples.manage("jwt_keys", "retire", kid, "--leaked", "--no-input")
    new_key()
    # Photos reads the keys once a minute, and when it meets one that is new.
    newest = examples.sign_in()["access"]
    for service in services:
        examples.until(service, newest, 200, meanwhile=401)
        examples.until(service, before, 401, meanwhile=200)


@pytest.mark.parametrize("part", ["issuer", "Redis"])
def test_while_nobody_can_say_nobody_comes_in(broken: Examples, part: str) -> None:
    alive, ended = broken.sign_in()["access"], broken.sign_in()["access"]
    services = services_of(broken)
    assert [broken.ask(service, token) for service in services for token in (alive, ended)] == [200, 200] * len(
        services
    )
    # It hangs, and comes back.
    os.kill(broken.pids[part], signal.SIGSTOP)
    try:
        for service in services:
            broken.until(service, alive, 503, meanwhile=200)
        if part == "issuer" and "photos" in services:
            # Nor are there keys to tell by whether this is a key.
            unknown = jwt.encode(claims_of(alive), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "new"})
            broken.until("photos", unknown, 503, meanwhile=401)
    finally:
        os.kill(broken.pids[part], signal.SIGCONT)
    for service in services:
        broken.until(service, alive, 200, meanwhile=503)
    # It is gone, right behind a logout.
    assert [broken.ask(service, ended) for service in services] == [200] * len(services)
    assert broken.sign_out(ended) == 200
    os.kill(broken.pids[part], signal.SIGKILL)
    for service in services:
        for token in (ended, alive):
            assert poll(lambda service=service, token=token: broken.look(service, token) == 503)  # type: ignore[misc]
        assert [broken.look(service, token) for token in (ended, alive)] == [503, 503]
    assert poll(lambda: f"{part} has ended" in broken.printed)
    if part == "Redis":
        assert broken.sign_out(alive) == 503


def test_without_node_the_other_service_runs(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "env").symlink_to("/usr/bin/env")
    redis = shutil.which("redis-server") or shutil.which("valkey-server")
    examples = Examples(tmp_path / "var", PATH=str(folder), **({"REDIS_SERVER": redis} if redis else {}))
    try:
        assert "photos is left out: node is not here" in examples.printed
        assert set(examples.urls) == {"Redis", "issuer", "orders"}
        access = examples.sign_in()["access"]
        assert examples.ask("orders", access) == 200
    finally:
        examples.end()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    examples = Examples(tmp_path / "var", EXAMPLES_VAR="", TMPDIR=str(tmp_path / "tmp"))
    assert list((tmp_path / "tmp").iterdir())
    examples.process.send_signal(how)
    assert examples.process.wait(_SECONDS) == (-how if how == signal.SIGKILL else 0)
    assert poll(lambda: not any(Path(f"/proc/{pid}").exists() for pid in examples.pids.values()))
    if how != signal.SIGKILL:
        assert list((tmp_path / "tmp").iterdir()) == []
        assert "Traceback" not in examples.printed


def test_the_bounds_are_those_of_the_code() -> None:
    def number(pattern: str, *path: str) -> float:
        (found,) = re.findall(pattern, EXAMPLES.joinpath(*path).read_text(), re.M)
        return float(found)

    orders = number(r"^KEEP = ([\d.]+)$", "introspection", "service.py")
    photos = 1.5 * number(r'"ttl": (\d+)\}', "issuer", "settings.py")
    assert number(r'^BOUNDS = \{"orders": ([\d.]+),', "run.py") == orders
    assert number(r'^BOUNDS = .*"photos": ([\d.]+)\}', "run.py") == photos
    assert number(r"\*\*([\d.]+) seconds\*\*", "introspection", "README.md") == orders
    assert number(r"\*\*([\d.]+) seconds\*\*", "status_list", "README.md") == photos


def test_what_node_installs_is_the_same_each_time() -> None:
    wanted = json.loads((EXAMPLES / "status_list/package.json").read_text())["dependencies"]
    lock = json.loads((EXAMPLES / "status_list/package-lock.json").read_text())["packages"]
    assert lock[""]["dependencies"] == wanted
    for name, version in wanted.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for name, package in lock.items() if name)
    # From whichever registry somebody has.
    assert not any("resolved" in package for package in lock.values())
