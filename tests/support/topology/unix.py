"""A server on a unix socket."""

from __future__ import annotations

from jwt_redis.testing.servers import RedisServer

__all__ = ["unix_server"]


def unix_server(*, binary: str | None = None, options: dict[str, str] | None = None) -> RedisServer:
    """No port at all: a unix socket in the server's folder."""
    server = RedisServer(binary=binary, options=options)
    server.options |= {"port": "0", "unixsocket": "redis.sock", "unixsocketperm": "700"}
    server.reach = {"unix_socket_path": str(server.folder / "redis.sock")}
    return server
