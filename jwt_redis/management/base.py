"""What the commands share: users by name, errors that say what to do, tables and a progress line."""

from __future__ import annotations

import getpass
import io
import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, TextIO

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError

from jwt_redis import journal
from jwt_redis.conf import simplejwt_setting
from jwt_redis.decoding import UNFIT
from jwt_redis.exceptions import NotReplicated, RevocationUnavailable
from jwt_redis.keys import user_id

__all__ = [
    "ProgressLine",
    "TerminalCommand",
    "actor",
    "ago",
    "as_json",
    "columns",
    "confirm",
    "find_user",
    "journal_needed",
    "printable",
    "redis_needed",
    "shortened",
    "table",
]


class TerminalCommand(BaseCommand):
    """A command that says what it has to say on any terminal, and into any file.

    Without colours where the environment has ``NO_COLOR`` (https://no-color.org).
    """

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        no_color: bool = False,
        force_color: bool = False,
    ) -> None:
        """As Django calls it."""
        super().__init__(
            stdout, stderr, no_color or (bool(os.environ.get("NO_COLOR")) and not force_color), force_color
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """From the command line: what standard output cannot write (``PYTHONIOENCODING``, a locale) becomes "?"."""
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="replace")
        super().run_from_argv(argv)


def find_user(text: str) -> str:
    """The user-id claim's value of the user with this primary key, username or user id (``USER_ID_FIELD``).

    ``id:VALUE`` is taken as the claim's value itself: the user need not exist any more.

    :raises CommandError: when there is no such user, or when there are two.
    """
    if text.startswith("id:"):
        try:
            return user_id(text.removeprefix("id:"))
        except ValueError:
            raise CommandError("id: the user's id is missing behind the colon.") from None
    manager: Any = get_user_model()._default_manager
    found: dict[Any, Any] = {}
    for field in ("pk", get_user_model().USERNAME_FIELD, simplejwt_setting("USER_ID_FIELD")):
        try:
            found |= {user.pk: user for user in manager.filter(**{field: text})}
        except UNFIT:
            continue  # no value of this field looks like that
    if not found:
        raise CommandError(f"There is no user with the primary key or username {text!r}. Of a deleted user: id:{text}")
    if len(found) > 1:
        keys = ", ".join(f"id:{user_id(user)}" for user in found.values())
        raise CommandError(f"{text!r} is one user's primary key and another's name or id. Say which: {keys}")
    return user_id(next(iter(found.values())))


@contextmanager
def redis_needed() -> Iterator[None]:
    """Turn a Redis, or a journal, that does not answer into a CommandError."""
    try:
        yield
    except NotReplicated as error:
        again = "It stays pending: `manage.py jwt_sync`" if journal.is_on() else "The same command"
        raise CommandError(
            f"Redis has it, but only {error.confirmed} of {error.wanted} replicas have confirmed it. {again}"
            " tries again."
        ) from error
    except RevocationUnavailable as error:
        if isinstance(error.__cause__, DatabaseError):
            raise CommandError(_without_journal(error.__cause__)) from error
        raise CommandError(
            f"Redis does not answer ({error.__cause__ or 'it failed a moment ago'}). {_what_is_pending()}"
            " `manage.py jwt_doctor` tells more."
        ) from error


@contextmanager
def journal_needed() -> Iterator[None]:
    """Turn a journal that does not answer into a CommandError."""
    try:
        yield
    except DatabaseError as error:
        raise CommandError(_without_journal(error)) from error


def _without_journal(error: DatabaseError) -> str:
    return (
        f"The journal cannot be read or written ({error}). What was to be revoked may be in Redis alone, which may lose"
        " it: do it again when the database answers. Was `manage.py migrate jwt_redis` run?"
    )


def _what_is_pending() -> str:
    try:
        pending = journal.pending_count() if journal.is_on() else 0
    except DatabaseError:
        pending = 0
    if pending:
        return (
            f"In the journal {pending} revocation{' is' if pending == 1 else 's are'} pending, which will be applied as"
            " soon as it does; `manage.py jwt_sync` does so by hand."
        )
    return "Nothing is known to have changed; ask again with jwt_sessions. Is the alias in JWT_REDIS right?"


def actor(command: str) -> str:
    """Who runs a command, for the journal."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = "?"  # a container's user need not have a name
    return f"manage.py {command} ({name})"


def confirm(what: str, *, done: str, is_json: bool) -> None:
    """Have somebody type "yes" to what is about to happen. ``done``: the word for it once it is, as "revoked".

    :raises CommandError: when the answer is another one, or nobody can be asked.
    """
    nothing = f"Nothing was {done}"
    if is_json:
        raise CommandError(f"{nothing}: with --json nobody is asked. Add --no-input.")
    try:
        answer = input(f"This {what}. Type 'yes' to go on: ")
    except EOFError:
        raise CommandError(f"{nothing}: there is nobody to ask. Add --no-input.") from None
    if answer.strip() != "yes":
        raise CommandError(f"{nothing}.")


def ago(moment: datetime) -> str:
    """How long ago, in the largest unit: "3 h"."""
    seconds = max(0, int((datetime.now(tz=UTC) - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], style: Callable[[str], str] = lambda text: text
) -> list[str]:
    """Lines of aligned columns, the heading and a rule first. ``style`` colours the headings.

    Where the terminal is too narrow for them, nothing is cut: each row has a paragraph of its own, with a line a cell.
    Cells are a client's own words, perhaps: what would steer a terminal, or turn its writing around, is left out.
    """
    clean = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(columns(row[i]) for row in clean) for i in range(len(headings))]
    room = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else None
    if room is not None and sum(widths) + 2 * (len(widths) - 1) > room:
        return _paragraphs(clean, style)
    lines = []
    for row in (clean[0], ["-" * width for width in widths], *clean[1:]):
        cells = (_filled(cell, width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return [style(lines[0]), *lines[1:]]


def _paragraphs(clean: list[list[str]], style: Callable[[str], str]) -> list[str]:
    headings, *rows = clean
    width = max(map(columns, headings))
    lines = []
    for row in rows:
        lines += [f"{style(_filled(name, width))}  {cell}" for name, cell in zip(headings, row, strict=True)]
        lines.append("")
    return lines[:-1]


def _filled(cell: str, width: int) -> str:
    return cell + " " * (width - columns(cell))


def printable(text: str) -> str:
    """Without control and format characters (Unicode's Cc, Cf, Cs, Zl, Zp)."""
    return "".join(one for one in text if unicodedata.category(one) not in _UNPRINTABLE)


def shortened(text: str, room: int) -> str:
    """At most so many columns."""
    text = printable(text)
    if columns(text) <= room:
        return text
    while columns(text) > room - 1:
        text = text[:-1]
    return text + "…"


_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def columns(text: str) -> int:
    """How many columns a terminal takes for it: two for a wide character, none for a mark upon another (UAX 11)."""
    return sum(
        # By category: vowel signs of Thai and Hindi have no combining class.
        0 if unicodedata.category(one) in _MARKS else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


_MARKS = frozenset({"Mn", "Me"})


def as_json(facts: Any) -> str:
    """For a script to read: dates in ISO 8601."""
    return json.dumps(facts, cls=DjangoJSONEncoder, indent=2)


class ProgressLine:
    """One line on a terminal that says how far a long work has come; nothing where there is no terminal."""

    def __init__(self, stream: IO[str], total: int) -> None:
        self._stream = stream if stream.isatty() else None
        self._total = max(total, 1)
        self._began = time.monotonic()
        self._shown_at = 0.0

    def show(self, done: int) -> None:
        """``done`` of the total, at most five times a second."""
        now = time.monotonic()
        if self._stream is None or (now - self._shown_at < 0.2 and done < self._total):
            return
        self._shown_at = now
        share = min(done / self._total, 1.0)
        rate = done / max(now - self._began, 1e-6)
        left = (self._total - done) / rate if rate and done < self._total else 0
        filled = "█" * round(share * 30)
        self._stream.write(f"\r{filled:░<30} {share:4.0%}  {rate:,.0f}/s  {left:,.0f} s left ")
        self._stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._stream is not None:
            self._stream.write("\n")
