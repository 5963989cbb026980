"""A server with an ACL user."""

from __future__ import annotations

from jwt_redis.testing.servers import RedisServer
from tests.support.topology.asking import ask

__all__ = ["AclServer", "acl_server"]


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
