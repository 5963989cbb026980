"""Who else keeps what the journal is told, in the same transaction: nobody, unless somebody was installed.

The journal knows nothing of them but this. ``contrib.webhooks`` is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from jwt_redis.models import Revocation

__all__ = ["Outlet", "install", "installed", "uninstall"]


class Outlet(ABC):
    """Each method is called with the journal's database, whose alias is ``using``."""

    #: Of its rows, in the words and in the JSON of ``jwt_cleanup``.
    label = "rows"

    @abstractmethod
    def begun(self, rows: Sequence[Revocation], users: Sequence[str], using: str) -> None:
        """These rows are being written; some may be there already. ``users``: whose they are, "" for everybody's.

        Within the transaction that writes them, so that a crash leaves both or none. What is raised undoes the rows
        too, and is to the caller what a journal that cannot be written is.
        """

    @abstractmethod
    def expired(self, using: str) -> QuerySet[Any] | None:
        """Rows that are of no use any more, for ``jwt_cleanup`` to drop. None: it is off, and has no table."""


installed: tuple[Outlet, ...] = ()


def install(outlet: Outlet) -> None:
    """Once, however often it is called."""
    global installed
    if outlet not in installed:
        installed = (*installed, outlet)


def uninstall(outlet: Outlet) -> None:
    """It is not told any more."""
    global installed
    installed = tuple(one for one in installed if one is not outlet)
