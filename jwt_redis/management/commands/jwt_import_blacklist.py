"""``manage.py jwt_import_blacklist``: what Simple JWT's own app has blacklisted is refused by this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from jwt_redis import stock_blacklist
from jwt_redis.conf import simplejwt_setting
from jwt_redis.keys import NOBODY, user_id
from jwt_redis.management.importing import Batch, ImportCommand
from jwt_redis.takeover import Listing
from jwt_redis.verdicts import SID_CLAIM, is_sid


class Command(ImportCommand):
    """Read the tables of ``token_blacklist``."""

    help = (
        "Refuse the tokens that rest_framework_simplejwt.token_blacklist has blacklisted, from Redis and the journal,"
        " so that the app can be removed. Doing it again changes nothing and goes on where it was interrupted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        super().add_arguments(parser)
        parser.add_argument("--after", type=int, default=0, metavar="ID", help="only rows behind this id")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database of these tables")

    def handle(self, *args: Any, **options: Any) -> None:
        """Page through them by id, so that memory and each query stay small."""
        self.refuse_unfit(options)
        if not stock_blacklist.is_installed():
            raise CommandError(f"{stock_blacklist.APP} is not in INSTALLED_APPS: put it there until this is done.")
        if options["database"] not in connections:
            raise CommandError(f"--database: DATABASES has no {options['database']!r}.")
        rows = stock_blacklist.model()._base_manager.using(options["database"]).filter(pk__gt=options["after"])
        with _tables_needed():
            total = rows.count()
        self.take(_batches(rows, options["after"], options["batch"]), total, options)


@contextmanager
def _tables_needed() -> Iterator[None]:
    """Turn tables that cannot be read into a CommandError; the journal's are others."""
    try:
        yield
    except DatabaseError as error:
        raise CommandError(
            f"The tables of token_blacklist cannot be read ({error}). Was `manage.py migrate token_blacklist` run on"
            " the database that --database names?"
        ) from error


def _batches(rows: Any, after: int, size: int) -> Iterator[Batch]:
    fields = ("pk", "token__jti", "token__expires_at", "token__token")
    while True:
        with _tables_needed():
            found = list(rows.filter(pk__gt=after).order_by("pk").values_list(*fields)[:size])
        if not found:
            return
        after = found[-1][0]
        yield Batch([_listing(*row[1:]) for row in found], len(found), position=after)


def _listing(jti: str, expires_at: Any, text: str) -> Listing:
    claims = _claims(text)
    exp = int(expires_at.timestamp())
    try:
        # A later copy of a sliding token has the same id.
        exp = max(exp, int(claims.get(simplejwt_setting("SLIDING_TOKEN_REFRESH_EXP_CLAIM"), 0)))
        # One of ours that was blacklisted by Simple JWT.
        user = user_id(claims[simplejwt_setting("USER_ID_CLAIM")]) if is_sid(claims.get(SID_CLAIM)) else NOBODY
    except (LookupError, TypeError, ValueError, OverflowError):
        user = NOBODY
    return Listing(jti, exp, user)


def _claims(text: str) -> dict[str, Any]:
    """What the token says; its row is believed."""
    try:
        claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    except jwt.PyJWTError:
        return {}
    return claims
