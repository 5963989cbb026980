"""A primary with replicas, and the sentinels that watch over them."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from typing import Any

import redis

from jwt_redis.testing.servers import RedisServer, find_binary
from tests.support.topology.asking import ask
from tests.support.topology.several import Several, replicate
from tests.support.waiting import wait_for

__all__ = ["SentinelServer", "Sentinels"]


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


class Sentinels(Several):
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
        replicate(self.primary(), len(self.replicas()) if copies is None else copies, seconds)

    def wait_for_failover(self, former: RedisServer, seconds: float = 90) -> float:
        """Until the sentinels name another primary than ``former`` and it takes writes. How many seconds that took."""

        def is_over() -> bool:
            with contextlib.suppress(LookupError):
                primary = self.primary()
                return primary is not former and ask(primary, "ROLE")[0] == "master"
            return False

        return wait_for(is_over, "another primary", seconds)

    def wait_until_steady(self, seconds: float = 90) -> float:
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
