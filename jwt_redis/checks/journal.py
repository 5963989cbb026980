"""The journal: whether its table is there, without which no revocation succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import Error as DatabaseError

from jwt_redis import journal
from jwt_redis.conf import problems

__all__ = ["check_journal", "check_journal_for_deployment"]

_HINT_JOURNAL = "manage.py migrate jwt_redis"


def check_journal(app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Is the journal there?

    A warning only: `manage.py migrate` runs this check before it makes the table, and stops at an error.
    """
    if problems() or not journal.is_on() or journal.database() not in (databases or ()):
        return []
    if (what := _journal_fault()) is None:
        return []
    return [Warning(what, hint=_HINT_JOURNAL, id="jwt_redis.W104")]


def check_journal_for_deployment() -> list[CheckMessage]:
    """The same, as an error: nobody is about to make the table."""
    fault = _journal_fault() if journal.is_on() else None
    return [] if fault is None else [Error(fault, hint=_HINT_JOURNAL, id="jwt_redis.E106")]


def _journal_fault() -> str | None:
    try:
        if journal.has_table():
            return None
    except DatabaseError as error:
        return f"The database of the journal does not answer, and no revocation succeeds without it: {error}."
    return f"The journal's table is missing from the database {journal.database()!r}: no revocation succeeds."
