"""The ways in which people run Redis, each started for real on the loopback interface.

One server with TLS, with an ACL user or on a unix socket; Sentinel; Cluster. They are context managers like
:class:`RedisServer`; :func:`pointed_at` leads the settings to any of them. Start them from the main thread: a server
dies with the thread that started it.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import functools
import ipaddress
import os
import re
import secrets
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import redis
import redis.asyncio
from django.test import override_settings
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.retry import Retry

from jwt_redis.testing.servers import RedisServer, binary_paths, find_binary, free_port

__all__ = [
    "AclServer",
    "Binary",
    "Certificates",
    "Cluster",
    "SentinelServer",
    "Sentinels",
    "acl_server",
    "ask",
    "cluster_client",
    "find_binaries",
    "make_certificates",
    "pointed_at",
    "settings_for",
    "tls_binary",
    "tls_server",
    "unix_server",
    "wait_for",
]

# More servers to test with: paths, separated by colons.
BINARIES_VARIABLE = "JWT_REDIS_TEST_BINARIES"
# Where cluster_client finds the nodes: ports, separated by commas.
CLUSTER_VARIABLE = "JWT_REDIS_TEST_CLUSTER"

_ALIAS = "sessions"
# The port of the cluster bus is the node's own plus this one; that it can be chosen is new in 7.0.
_BUS_OFFSET = 10000
_SLOTS = 16384


def ask(server: RedisServer, *command: Any) -> Any:
    """What a server answers to one command, on a connection of its own."""
    with contextlib.closing(server.client(socket_timeout=2)) as client:
        return client.execute_command(*command)


def wait_for(question: Callable[[], Any], what: str, seconds: float = 20.0) -> float:
    """Ask until the answer is true. How many seconds that took. A server that does not answer has not said yes.

    :raises TimeoutError: naming ``what`` did not come true, when it did not.
    """
    began = time.monotonic()
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if question():
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"After {seconds} s still not: {what}.")
        time.sleep(0.02)


# Binaries ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Binary:
    """A server program, and what it says of itself."""

    path: str
    name: str
    version: tuple[int, ...]
    tls: bool

    def __str__(self) -> str:
        return f"{self.name}-{'.'.join(map(str, self.version))}"


@functools.cache
def find_binaries() -> tuple[Binary, ...]:
    """Every server that can be run here, the one that :func:`find_binary` prefers first, each version once."""
    named = [path for path in os.environ.get(BINARIES_VARIABLE, "").split(":") if path]
    # A virtual environment may come without a PATH that leads to the system's own.
    paths = dict.fromkeys([*binary_paths(), "/usr/bin/redis-server", *named])
    found = {str(binary): binary for path in reversed(paths) if (binary := _identify(path)) is not None}
    return tuple(reversed(found.values()))


def _identify(path: str) -> Binary | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
        # No certificate is configured, so each of them gives up; only how tells what it was built with.
        refusal = [path, "--port", "0", "--tls-port", "1"]
        reason = subprocess.run(refusal, capture_output=True, text=True, timeout=10, cwd="/").stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(\w+) server v=([\d.]+)", said)
    if match is None:
        return None
    version = tuple(int(part) for part in match[2].split("."))
    return Binary(path, match[1].lower(), version, "tls-cert-file" in reason)


def tls_binary() -> Binary:
    """A server that was built with TLS. Without one, the test is skipped."""
    for binary in find_binaries():
        if binary.tls:
            return binary
    pytest.skip(
        "No Redis server here is built with TLS, those in wheels are not: apt-get install redis-server, or name one in"
        f" {BINARIES_VARIABLE}."
    )


# One server ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Certificates:
    """Files: an authority, and a certificate of its own for each of both ends."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Good for a day, and for 127.0.0.1 and localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(tz=datetime.UTC)
    hour = datetime.timedelta(hours=1)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)

    def write(name: str, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        is_ca = name == "ca"
        # Python 3.13 verifies strictly: the key identifiers and the usage have to be there.
        certificate = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - hour)
            .not_valid_after(now + 24 * hour)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=is_ca,
                    crl_sign=is_ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    folder.mkdir(parents=True, exist_ok=True)
    ca, _ = write("ca", ca_key)
    server, server_key = write("server", ec.generate_private_key(ec.SECP256R1()))
    client, client_key = write("client", ec.generate_private_key(ec.SECP256R1()))
    return Certificates(ca, server, server_key, client, client_key)


def tls_server(*, binary: str | None = None, options: dict[str, str] | None = None) -> RedisServer:
    """TLS alone, and a client needs a certificate too. Skips the test where no server can do that."""
    server = RedisServer(binary=binary or tls_binary().path, options=options)
    made = make_certificates(server.folder)
    server.options |= {
        "port": "0",
        "tls-port": str(server.port),
        # Relative to --dir: the folder's own path may hold spaces.
        "tls-cert-file": made.server.name,
        "tls-key-file": made.server_key.name,
        "tls-ca-cert-file": made.ca.name,
        "tls-auth-clients": "yes",
    }
    server.reach = {
        "ssl": True,
        "ssl_ca_certs": str(made.ca),
        "ssl_certfile": str(made.client),
        "ssl_keyfile": str(made.client_key),
    }
    return server


class AclServer(RedisServer):
    """The user that nobody has to name is off; ``app`` has exactly the rights given. :meth:`client` is an admin's."""

    user, password = "app", "a password / with @ and :"

    def __init__(self, rights: str, *, binary: str | None = None, options: dict[str, str] | None = None) -> None:
        super().__init__(binary=binary, options={"aclfile": "users.acl", **(options or {})})
        self.reach = {"username": "admin", "password": "an-admin"}
        users = ("user default off", "user admin on >an-admin ~* &* +@all", f"user {self.user} on nopass {rights}")
        (self.folder / "users.acl").write_text("".join(f"{line}\n" for line in users))

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``, without the user: USERNAME and PASSWORD are OPTIONS of the alias."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """As ever; and the password of ``app`` is set, which may hold what has no place in a file of users."""
        super().start()
        self.change(f">{self.password}")
        return self

    def change(self, *rights: str) -> None:
        """More or fewer rights for ``app``, at once and after a restart too: ``-hset``, ``+get``, ``off``."""
        ask(self, "ACL", "SETUSER", self.user, *rights)
        ask(self, "ACL", "SAVE")


def acl_server(rights: str, *, binary: str | None = None, options: dict[str, str] | None = None) -> AclServer:
    """A server whose only user for the application is ``app``, with exactly these rights: ``"~jwt:* +hmget"``."""
    return AclServer(rights, binary=binary, options=options)


def unix_server(*, binary: str | None = None, options: dict[str, str] | None = None) -> RedisServer:
    """No port at all: a unix socket in the server's folder."""
    server = RedisServer(binary=binary, options=options)
    server.options |= {"port": "0", "unixsocket": "redis.sock", "unixsocketperm": "700"}
    server.reach = {"unix_socket_path": str(server.folder / "redis.sock")}
    return server


# Sentinel ------------------------------------------------------------------------------------------------------------


class SentinelServer(RedisServer):
    """One Sentinel. What it has learned it writes into its own configuration, so a restarted one still knows it."""

    def __init__(self, config: str, *, binary: str | None = None) -> None:
        super().__init__(binary=binary)
        self._config = self.folder / "sentinel.conf"
        own = (f"port {self.port}", "bind 127.0.0.1", f'dir "{self.folder}"')
        self._config.write_text("".join(f"{line}\n" for line in own) + config)

    def command_line(self) -> list[str]:
        """A Sentinel takes no options from the command line."""
        return [self.binary or find_binary(), str(self._config), "--sentinel"]


class _Several(abc.ABC):
    """What Sentinels and Cluster share: servers that are started one after another and stopped together."""

    def __init__(self) -> None:
        self._servers: list[RedisServer] = []

    @abc.abstractmethod
    def _start_all(self) -> None:
        """One after another, and until they have found one another."""

    def start(self) -> Any:
        """Start all of them and wait until they have found one another. One that fails takes the others along."""
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all of them, those that hang too, and remove their folders."""
        for server in self._servers:
            # First all of them at once: none shall take over from another meanwhile.
            if server.process is not None:
                server.process.kill()
        for server in self._servers:
            server.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _replicate(primary: RedisServer, copies: int, seconds: float) -> None:
    # WAIT is about what was written before its own connection's last command, by whomever.
    with contextlib.closing(primary.client(socket_timeout=seconds + 1)) as client:
        client.ping()
        if copies and client.wait(copies, int(seconds * 1000)) < copies:
            raise TimeoutError(f"After {seconds} s still not: {copies} replicas have it all.")


class Sentinels(_Several):
    """A primary, its replicas, and the sentinels that put one of these in its place when it dies."""

    # What a replica identifies itself with to its primary; a wrong one is how a link is cut and kept down.
    _link = "link"

    def __init__(
        self,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        down_after_ms: int = 1000,
        failover_timeout_ms: int = 2000,
        binary: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        #: The primary's name, another one each time: sentinels of another run that comes upon these servers keep away.
        self.name = f"jwt-{secrets.token_hex(4)}"
        self._quorum = sentinels // 2 + 1
        data = {
            "user": f"{self._link} on >{self._link} +psync +replconf +ping",
            "masteruser": self._link,
            "masterauth": self._link,
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            **(options or {}),
        }
        first = RedisServer(binary=binary, options=data)
        following = {**data, "replicaof": f"127.0.0.1 {first.port}"}
        #: The servers that hold data; the first is the primary until it is killed.
        self.data = [first, *(RedisServer(binary=binary, options=following) for _ in range(replicas))]
        config = (
            f"sentinel monitor {self.name} 127.0.0.1 {first.port} {self._quorum}\n"
            f"sentinel down-after-milliseconds {self.name} {down_after_ms}\n"
            f"sentinel failover-timeout {self.name} {failover_timeout_ms}\n"
            f"sentinel parallel-syncs {self.name} {max(1, replicas)}\n"
        )
        self.sentinels = [SentinelServer(config, binary=binary) for _ in range(sentinels)]
        self._servers = [*self.data, *self.sentinels]

    def __enter__(self) -> Sentinels:
        self.start()
        return self

    def _start_all(self) -> None:
        for server in self.data:
            server.start()
        # A sentinel asks a primary for its replicas every ten seconds: they had better be there the first time.
        wait_for(lambda: all(self._follows(server, self.data[0]) for server in self.data[1:]), "replicas follow")
        for server in self.sentinels:
            server.start()
        self.wait_until_steady()

    @property
    def url(self) -> str:
        """What LOCATION has to be: the name of the primary in place of a host."""
        return f"redis://{self.name}/0"

    def alias(self, **options: Any) -> dict[str, Any]:
        """An entry of CACHES, with more OPTIONS if need be."""
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": self.url,
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                "SENTINELS": [("127.0.0.1", server.port) for server in self.sentinels],
                **options,
            },
        }

    def primary_port(self) -> int:
        """The port that most of the sentinels name.

        :raises LookupError: when fewer agree than it takes to replace a primary.
        """
        votes: Counter[int] = Counter()
        for server in self.sentinels:
            with contextlib.suppress(redis.RedisError, OSError):
                votes[int(ask(server, "SENTINEL GET-MASTER-ADDR-BY-NAME", self.name)[1])] += 1
        port, count = votes.most_common(1)[0] if votes else (0, 0)
        if count < self._quorum:
            raise LookupError("The sentinels do not agree on a primary.")
        return port

    def primary(self) -> RedisServer:
        """The server that most of the sentinels name."""
        port = self.primary_port()
        return next(server for server in self.data if server.port == port)

    def replicas(self) -> list[RedisServer]:
        """The others that run."""
        primary = self.primary()
        return [server for server in self.data if server is not primary and server.process is not None]

    def kill_primary(self) -> RedisServer:
        """End it as a crash would. The server that it was, to :meth:`wait_for_failover` and to :meth:`rejoin`."""
        primary = self.primary()
        primary.kill()
        return primary

    def stall_replica(self, index: int = 0) -> RedisServer:
        """Cut a replica's link: it goes on answering, and can be promoted, but hears no more of its primary.

        For one that hangs call ``pause()`` on it instead: what its primary sent meanwhile then reaches it in the end.
        """
        replica = self.replicas()[index]
        ask(replica, "CONFIG SET", "masterauth", "wrong")
        ask(replica, "CLIENT KILL", "TYPE", "master")
        wait_for(lambda: ask(replica, "INFO", "replication")["master_link_status"] == "down", "the link is down")
        return replica

    def release_replica(self, replica: RedisServer) -> None:
        """Undo :meth:`stall_replica`, and wait until the replica has caught up."""
        ask(replica, "CONFIG SET", "masterauth", self._link)
        wait_for(lambda: self._follows(replica, self.primary()), "the replica follows again")

    def wait_until_replicated(self, copies: int | None = None, seconds: float = 10) -> None:
        """Everything written so far is on so many replicas, on all of them if None."""
        _replicate(self.primary(), len(self.replicas()) if copies is None else copies, seconds)

    def wait_for_failover(self, former: RedisServer, seconds: float = 30) -> float:
        """Until the sentinels name another primary than ``former`` and it takes writes. How many seconds that took."""

        def is_over() -> bool:
            with contextlib.suppress(LookupError):
                primary = self.primary()
                return primary is not former and ask(primary, "ROLE")[0] == "master"
            return False

        return wait_for(is_over, "another primary", seconds)

    def wait_until_steady(self, seconds: float = 30) -> float:
        """Until each sentinel knows all the others and no reason to act, and each replica that runs has caught up."""

        def is_steady() -> bool:
            running = [server for server in self.sentinels if server.process is not None]
            for server in running:
                known = ask(server, "SENTINEL MASTER", self.name)
                others = int(known["num-other-sentinels"]), int(known["num-slaves"])
                if known["flags"] not in ("master", {"master"}) or others != (
                    len(self.sentinels) - 1,
                    len(self.data) - 1,
                ):
                    return False
            with contextlib.suppress(LookupError):
                primary = self.primary()
                return all(self._follows(server, primary) for server in self.replicas())
            return False

        return wait_for(is_steady, "all sentinels know one another", seconds)

    def rejoin(self, server: RedisServer, *, as_replica: bool = True) -> None:
        """Start one that was killed. ``as_replica=False``: as it was configured, until the sentinels correct it."""
        if as_replica:
            server.options["replicaof"] = f"127.0.0.1 {self.primary_port()}"
        server.start()
        if as_replica:
            wait_for(lambda: self._follows(server, self.primary()), "it follows the primary")

    def flush(self) -> None:
        """Empty it."""
        ask(self.primary(), "FLUSHALL")

    @staticmethod
    def _follows(server: RedisServer, primary: RedisServer) -> bool:
        role = ask(server, "ROLE")
        return role[0] == "slave" and int(role[2]) == primary.port and role[3] == "connected"


# Cluster -------------------------------------------------------------------------------------------------------------


def cluster_client(*, asynchronous: bool) -> Any:
    """What ``JWT_REDIS["CLIENT_FACTORY"]`` can name: a client of the cluster whose ports the environment holds.

    One more try after the client has learned anew who holds what; by default it would be ten, seconds on end.
    """
    ports = [int(port) for port in os.environ[CLUSTER_VARIABLE].split(",")]
    limits: dict[str, Any] = {"decode_responses": True, "socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    if asynchronous:
        nodes = [AsyncClusterNode("127.0.0.1", port) for port in ports]
        return redis.asyncio.RedisCluster(startup_nodes=nodes, retry=AsyncRetry(NoBackoff(), 1), **limits)
    startup = [ClusterNode("127.0.0.1", port) for port in ports]
    return redis.RedisCluster(startup_nodes=startup, retry=Retry(NoBackoff(), 1), **limits)


class Cluster(_Several):
    """Primaries that share the slots, and replicas that take over."""

    def __init__(
        self,
        *,
        primaries: int = 3,
        replicas: int = 1,
        node_timeout_ms: int = 1000,
        binary: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        config = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(node_timeout_ms),
            # However long its link was down, a replica takes over.
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            **(options or {}),
        }
        self._primaries = primaries
        #: The first ones are the primaries, until one of them is killed; the replicas follow in the same order.
        self.nodes = [
            RedisServer(binary=binary, port=_free_node_port(), options=config)
            for _ in range(primaries * (1 + replicas))
        ]
        self._servers = self.nodes

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def _start_all(self) -> None:
        for server in self.nodes:
            server.start()
        for epoch, server in enumerate(self.nodes, 1):
            ask(server, "CLUSTER SET-CONFIG-EPOCH", epoch)
        count = self._primaries
        bounds = [_SLOTS * number // count for number in range(count + 1)]
        for server, first, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            ask(server, "CLUSTER ADDSLOTS", *range(first, end))
        # Each to each: gossip alone would take seconds.
        for server in self.nodes:
            for other in self.nodes:
                if other is not server:
                    ask(server, "CLUSTER MEET", "127.0.0.1", other.port)
        wait_for(lambda: all(self._has_met(server) for server in self.nodes), "all nodes know one another")
        for number, server in enumerate(self.nodes[count:]):
            ask(server, "CLUSTER REPLICATE", self.node_id(self.nodes[number % count]))
        self.wait_until_ok()

    def _has_met(self, server: RedisServer) -> bool:
        view = ask(server, "CLUSTER NODES").values()
        return len(view) == len(self.nodes) and not any("handshake" in entry["flags"] for entry in view)

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have in its environment for :func:`cluster_client`."""
        return {CLUSTER_VARIABLE: ",".join(str(server.port) for server in self.nodes)}

    @staticmethod
    def slot_of(key: str) -> int:
        """The slot of a key."""
        slot: int = key_slot(key.encode())
        return slot

    @staticmethod
    def node_id(server: RedisServer) -> str:
        """What a node is called in the cluster, whatever its address."""
        return str(ask(server, "CLUSTER MYID"))

    def _running(self, without: Collection[RedisServer] = ()) -> list[RedisServer]:
        return [server for server in self.nodes if server.process is not None and server not in without]

    def _itself(self, server: RedisServer) -> dict[str, Any]:
        view = ask(server, "CLUSTER NODES").values()
        entry: dict[str, Any] = next(entry for entry in view if "myself" in entry["flags"])
        return entry

    def primaries(self) -> list[RedisServer]:
        """Those that run and hold slots, by what they say themselves."""
        entries = [(server, self._itself(server)) for server in self._running()]
        return [server for server, own in entries if "master" in own["flags"] and own["slots"]]

    def owner_of(self, key: str | int) -> RedisServer:
        """The primary that holds a key, or a slot given as a number.

        :raises LookupError: when none that runs does.
        """
        slot = key if isinstance(key, int) else self.slot_of(key)
        claims: list[tuple[int, RedisServer]] = []
        for server in self._running():
            with contextlib.suppress(redis.RedisError, OSError):
                own = self._itself(server)
                if "master" in own["flags"] and slot in _slots(own):
                    claims.append((int(own["epoch"]), server))
        if not claims:
            raise LookupError(f"No node that runs holds slot {slot}.")
        return max(claims, key=lambda claim: claim[0])[1]

    def replicas_of(self, server: RedisServer) -> list[RedisServer]:
        """The replicas of a primary that run."""
        wanted = self.node_id(server)
        return [other for other in self._running() if self._itself(other)["master_id"] == wanted]

    def kill_primary_of(self, key: str | int) -> RedisServer:
        """End the primary of a key, or of a slot, as a crash would. The server that it was."""
        primary = self.owner_of(key)
        primary.kill()
        return primary

    def wait_until_replicated(self, seconds: float = 10) -> None:
        """Everything written so far is on all replicas."""
        for server in self.primaries():
            _replicate(server, len(self.replicas_of(server)), seconds)

    def rejoin(self, server: RedisServer) -> None:
        """Start one that was killed: it becomes a replica of who took over. Wait until it is."""
        server.start()
        self.wait_until_ok()

    def wait_for_failover(self, key: str | int, former: RedisServer, seconds: float = 30) -> float:
        """Until another than ``former`` holds a key and takes writes. How many seconds that took."""

        def is_over() -> bool:
            for server in self._running([former]):
                own = self._itself(server)
                slot = key if isinstance(key, int) else self.slot_of(key)
                if "master" in own["flags"] and slot in _slots(own):
                    return _info(server, "cluster_state") == "ok"
            return False

        return wait_for(is_over, "another primary", seconds)

    def wait_until_ok(self, seconds: float = 30, *, without: Collection[RedisServer] = ()) -> float:
        """Until all that run agree on who holds which slot, those do run, and the replicas have caught up.

        How many seconds that took. ``without``: servers not to ask, because they hang.
        """

        def is_ok() -> bool:
            asked = self._running(without)
            ids = {self.node_id(server) for server in asked}
            views = []
            for server in asked:
                if _info(server, "cluster_state") != "ok":
                    return False
                owners = {
                    slot: entry["node_id"]
                    for entry in ask(server, "CLUSTER NODES").values()
                    if "master" in entry["flags"]
                    for slot in _slots(entry)
                }
                views.append(owners)
                role = ask(server, "ROLE")
                if role[0] == "slave" and role[3] != "connected":
                    return False
            first = views[0]
            return len(first) == _SLOTS and set(first.values()) <= ids and all(view == first for view in views)

        return wait_for(is_ok, "the cluster is whole", seconds)

    # Moving a slot, step by step as redis-cli does: what a client meets in between can be looked at.

    def begin_move(self, key: str | int, to: RedisServer | None = None) -> RedisServer:
        """A slot starts to move, to another primary or to ``to``; no key has yet. Its new home."""
        slot = key if isinstance(key, int) else self.slot_of(key)
        source = self.owner_of(slot)
        target = to or next(server for server in self.primaries() if server is not source)
        ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", self.node_id(source))
        ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", self.node_id(target))
        return target

    def move_keys(self, key: str | int, to: RedisServer, *keys: str) -> int:
        """Move these keys of a slot that is on its way, all that are left if none is named. How many."""
        slot = key if isinstance(key, int) else self.slot_of(key)
        source = self.owner_of(slot)
        moved = 0
        while names := keys or ask(source, "CLUSTER GETKEYSINSLOT", slot, 100):
            ask(source, "MIGRATE", "127.0.0.1", to.port, "", 0, 2000, "KEYS", *names)
            moved += len(names)
            if keys:
                break
        return moved

    def end_move(self, key: str | int, to: RedisServer) -> None:
        """The slot is at its new home; every primary is told."""
        slot = key if isinstance(key, int) else self.slot_of(key)
        # The new home first: with all of them told by the source alone, its crash would leave the slot to nobody.
        for server in [to, *(other for other in self.primaries() if other is not to)]:
            ask(server, "CLUSTER SETSLOT", slot, "NODE", self.node_id(to))

    def move_slot(self, key: str | int, to: RedisServer | None = None) -> RedisServer:
        """Move a key's slot, or one given as a number, with all its keys. Its new home."""
        target = self.begin_move(key, to)
        self.move_keys(key, target)
        self.end_move(key, target)
        return target

    def flush(self) -> None:
        """Empty it."""
        for server in self.primaries():
            ask(server, "FLUSHALL")


def _slots(entry: dict[str, Any]) -> set[int]:
    return {slot for part in entry["slots"] for slot in range(int(part[0]), int(part[-1]) + 1)}


def _info(server: RedisServer, name: str) -> str:
    return str(ask(server, "CLUSTER INFO")[name])


def _free_node_port() -> int:
    for _ in range(100):
        port = free_port()
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port + _BUS_OFFSET))
            return port
    raise RuntimeError("There is no free pair of ports on the loopback interface.")


# Settings ------------------------------------------------------------------------------------------------------------

Place = RedisServer | Sentinels | Cluster


def settings_for(place: Place, *, options: dict[str, Any] | None = None, **jwt_redis: Any) -> dict[str, Any]:
    """CACHES and JWT_REDIS that lead to ``place``. ``options``: more OPTIONS of the alias; the rest: of JWT_REDIS."""
    options = dict(options or {})
    if isinstance(place, Cluster):
        return {"JWT_REDIS": {"CLIENT_FACTORY": "tests.support.topology.cluster_client", **jwt_redis}}
    if isinstance(place, Sentinels):
        alias = place.alias(**options)
    else:
        pool = {name: value for name, value in place.reach.items() if name.startswith("ssl_")}
        pool |= options.pop("CONNECTION_POOL_KWARGS", {})
        if isinstance(place, AclServer):
            options = {"USERNAME": place.user, "PASSWORD": place.password, **options}
        alias = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": place.url,
            "OPTIONS": {**options, **({"CONNECTION_POOL_KWARGS": pool} if pool else {})},
        }
    return {"CACHES": {_ALIAS: alias}, "JWT_REDIS": {"ALIAS": _ALIAS, **jwt_redis}}


PATIENT = {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0}


@contextlib.contextmanager
def pointed_at(place: Place, *, options: dict[str, Any] | None = None, **jwt_redis: Any) -> Iterator[None]:
    """The settings lead to ``place``; see :func:`settings_for`. A single server is waited for for as long as a busy
    machine may need, and where several are, the package's own limits are part of what is looked at."""
    environment = place.environment if isinstance(place, Cluster) else {}
    options = {**(PATIENT if isinstance(place, RedisServer) else {}), **(options or {})}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with override_settings(**settings_for(place, options=options, **jwt_redis)):
            yield
