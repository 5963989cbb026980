"""A Cluster whose nodes die and whose slots move, and a client of it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.retry import Retry

from jwt_redis.testing.servers import RedisServer, free_port
from tests.support.topology.asking import ask
from tests.support.topology.several import Several, replicate
from tests.support.waiting import wait_for

__all__ = ["Cluster", "cluster_client"]

# Where cluster_client finds the nodes: ports, separated by commas.
CLUSTER_VARIABLE = "JWT_REDIS_TEST_CLUSTER"
# The port of the cluster bus is the node's own plus this one; that it can be chosen is new in 7.0.
_BUS_OFFSET = 10000
_SLOTS = 16384


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


class Cluster(Several):
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
            replicate(server, len(self.replicas_of(server)), seconds)

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
    for _ in range(1000):
        port = free_port()
        # The bus' too is from below those that the system gives to outgoing connections.
        if port + _BUS_OFFSET >= 32768:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port + _BUS_OFFSET))
            return port
    raise RuntimeError("There is no free pair of ports on the loopback interface.")
