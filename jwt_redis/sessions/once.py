"""Tokens of others that are good for one use: client assertions, logout tokens."""

from __future__ import annotations

from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.store import commands

__all__ = ["adrop_use", "ause_once", "drop_use", "use_once"]


def _using(what: str, nonce: str, seconds: float) -> Operation[bool]:
    return Operation((commands.use_once(what, nonce, max(1, int(seconds * 1000))),), Done)


def use_once(what: str, nonce: str, seconds: float) -> bool:
    """Note for so long that something is used; False where it was, under another ``nonce``. One script, so one of two.

    ``what``: anything that names it alone; its digest is what is kept. With the same ``nonce`` the time is set anew.
    """
    return run(_using(what, nonce, seconds), UseCase("use_once"))


async def ause_once(what: str, nonce: str, seconds: float) -> bool:
    """:func:`use_once` over ``redis.asyncio``."""
    return await arun(_using(what, nonce, seconds), UseCase("use_once"))


def _dropping(what: str, nonce: str) -> Operation[bool]:
    return Operation((commands.drop_use(what, nonce),), Done)


def drop_use(what: str, nonce: str) -> bool:
    """It was not used after all. False where it is somebody else's, or was not noted."""
    return run(_dropping(what, nonce), UseCase("drop_use"))


async def adrop_use(what: str, nonce: str) -> bool:
    """:func:`drop_use` over ``redis.asyncio``."""
    return await arun(_dropping(what, nonce), UseCase("drop_use"))
