"""``manage.py jwt_keys``: make, list, activate and retire the keys that tokens are signed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError

from jwt_redis import journal, sessions
from jwt_redis.conf import Keys, config, leeway_seconds, longest_lifetime, problems, simplejwt_setting
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.management.base import TerminalCommand, actor, as_json, confirm, redis_needed, table
from jwt_redis.sessions.parts import valid_reason
from jwt_redis.sessions.publishing import hear_of_keys
from jwt_redis.signing import backends, key_files
from jwt_redis.signing.key_files import LEAKED, RETIRED, SIGNING, VERIFYING, Change, Entry, KeyFiles
from jwt_redis.signing.keys import ALGORITHMS, valid_kid
from jwt_redis.store.commands import MARGIN
from jwt_redis.verdicts import NO_KID


class Command(TerminalCommand):
    """Signing keys."""

    help = "Make, list, activate and retire signing keys. A private key is never printed."
    # A directory that is not there yet is an error to them, and what `create` mends.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="ACTION", help="create, list, activate or retire"
        )
        create = actions.add_parser("create", help="a new key, which verifies and does not sign yet")
        create.add_argument("--alg", default="ES256", choices=ALGORITHMS, help="the algorithm (default: ES256)")
        listing = actions.add_parser("list", help="the keys, and since when each is what it is")
        activate = actions.add_parser("activate", help="sign with a key from now on")
        activate.add_argument("kid", metavar="KID", help="its name")
        activate.add_argument("--now", action="store_true", help="even if others may not have heard of it yet")
        retire = actions.add_parser("retire", help="verify with a key no longer")
        retire.add_argument("kid", metavar="KID", help=f"its name, or {NO_KID} for Simple JWT's own key")
        retire.add_argument("--leaked", action="store_true", help="at once: refuse all that it signed, everywhere")
        retire.add_argument("--unknown", action="store_true", help="with --leaked: although the key is not listed")
        retire.add_argument("--reason", default="key_leaked", help="with --leaked: letters, digits and underscores")
        retire.add_argument("--no-input", "--noinput", action="store_true", help="do not ask")
        for action in (create, listing, activate, retire):
            action.add_argument("--json", action="store_true", help="for a script to read; it is never asked")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        if wrong := problems():
            raise CommandError("JWT_REDIS: " + "; ".join(f"{key}: {reason}" for key, reason, _ in wrong) + ".")
        self.is_json = options["json"]
        keys = config().keys
        try:
            if options["action"] == "retire" and options["leaked"]:
                self._leaked(keys, options)
            elif keys is None:
                raise CommandError(
                    'There are no keys to look after: JWT_REDIS["KEYS"] is not set. {"directory": "/etc/..."} there.'
                )
            elif options["action"] == "list":
                self._list(keys)
            else:
                with self._changing(keys) as change:
                    getattr(self, f"_{options['action']}")(change, keys, options)
        except ValueError as error:
            raise CommandError(f"{error}.") from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'The directory'}: {error.strerror or error}.") from error

    @contextmanager
    def _changing(self, keys: Keys) -> Iterator[Change]:
        if keys.directory is None:
            raise CommandError(
                "The keys are in the settings: add, sign with, or remove one there. `retire KID --leaked` works all the"
                " same."
            )
        with key_files.changing(keys.directory) as change:
            yield change

    # The actions -------------------------------------------------------------------------------------------------

    def _create(self, change: Change, keys: Keys, options: dict[str, Any]) -> None:
        kid = change.create(options["alg"], str(simplejwt_setting("ALGORITHM")))
        self._say(kid, change.entries[kid], f"{kid} verifies. `manage.py jwt_keys activate {kid}` signs with it.")

    def _activate(self, change: Change, keys: Keys, options: dict[str, Any]) -> None:
        kid = options["kid"]
        entry = _known(change, kid)
        if entry.state == SIGNING:
            self._say(kid, entry, f"{kid} signs already.")
            return
        if entry.state != VERIFYING or kid == NO_KID:
            raise CommandError(f"{kid} is {entry.state}, and cannot sign.")
        if kid in _refused():
            raise CommandError(f"{kid} is {LEAKED}, and cannot sign.")
        signing = change.entries[change.signing or NO_KID]
        # Where secrets sign, nobody else verifies by what is published.
        known_at = entry.created + int(keys.max_age.total_seconds())
        if not options["now"] and not signing.alg.startswith("HS") and time() < known_at:
            raise CommandError(
                f"{kid} was published a moment ago: until {_stamp(known_at)} others may verify with a copy of the keys"
                " that lacks it. --now signs with it all the same."
            )
        change.activate(kid)
        self._say(kid, change.entries[kid], f"{kid} signs, in every process within a second. The former key verifies.")

    def _retire(self, change: Change, keys: Keys, options: dict[str, Any]) -> None:
        kid = options["kid"]
        entry = _known(change, kid)
        if entry.state in (RETIRED, LEAKED):
            self._say(kid, entry, f"{kid} is {entry.state} already.")
            return
        if entry.state == SIGNING:
            raise CommandError(f"{kid} signs: activate another one first. If it is in wrong hands: --leaked.")
        if (at := _retirable_at(entry)) is not None and time() < at:
            raise CommandError(
                f"{kid} signed until {_stamp(entry.signed_until or 0)}, and what it signed is good until {_stamp(at)}:"
                " whoever holds that would be logged out. Retire it then. If it is in wrong hands: --leaked."
            )
        change.retire(kid, RETIRED)
        self._say(kid, change.entries[kid], f"{kid} is retired, and its file removed.")

    def _leaked(self, keys: Keys | None, options: dict[str, Any]) -> None:
        kid, reason = valid_kid(options["kid"]), valid_reason(options["reason"])
        is_to_be_listed = not options["unknown"] and kid != NO_KID
        # In haste a name is soon mistyped, and then nothing would have been refused.
        if keys is None and is_to_be_listed:
            raise CommandError(
                f'JWT_REDIS["KEYS"] is not set, so no key is named {kid!r}. Simple JWT\'s own is {NO_KID}. If it was'
                " one, and was removed already: --unknown."
            )
        if keys is not None and is_to_be_listed and kid not in (listed := _listed(keys, kid)):
            raise CommandError(
                f"There is no key {kid!r}, only {', '.join(listed)}. If it was one, and was removed already: --unknown."
            )
        if not options["no_input"]:
            confirm(f"refuses every token that {kid} has signed, for ever", done="changed", is_json=self.is_json)
        if keys is None or keys.directory is None:
            added = self._refuse(kid, reason)
            where = "SIMPLE_JWT" if kid == NO_KID else 'JWT_REDIS["KEYS"]'
            self._said_leaked(kid, None, added, f" Put another key in its place in {where}.")
            return
        is_refused, successor = False, None
        try:
            with key_files.changing(keys.directory) as change:
                entry = change.entries.get(kid)
                if entry is None and kid == NO_KID:
                    # Nothing was made here yet: Simple JWT's own key signs.
                    entry = Entry(str(simplejwt_setting("ALGORITHM")), int(time()), SIGNING, int(time()))
                if entry is not None and entry.state == SIGNING:
                    # First, so that nothing more is signed by the one that is about to be refused.
                    successor = _next(change) or change.create(entry.alg, entry.alg)
                    change.activate(successor)
                try:
                    added, is_refused = self._refuse(kid, reason), True
                finally:
                    # Also where Redis does not answer: here it is gone within a second.
                    if kid in change.entries:
                        change.retire(kid, LEAKED)
        except (ValueError, OSError) as error:
            # The files can wait; a thief does not.
            if not is_refused:
                self._refuse(kid, reason)
            raise CommandError(
                f"All that {kid} signed is refused, but the directory is to be seen to: {error}."
            ) from error
        self._said_leaked(kid, successor, added, f" {successor} signs in its place." if successor else "")

    def _refuse(self, kid: str, reason: str) -> bool:
        with redis_needed(), journal.acting_as(actor("jwt_keys")):
            return sessions.revoke_key(kid, reason=reason)

    def _said_leaked(self, kid: str, successor: str | None, added: bool, more: str) -> None:
        was = "is refused" if added else "was refused before"
        near = config().near_cache
        bound = "a second" if near is None or near.lease <= 1 else f"{near.lease:g} s"
        said = f"All that {kid} signed {was}, in every process within {bound}.{more}"
        if self.is_json:
            self.stdout.write(
                as_json({"kid": kid, "state": LEAKED, "added": added, "signing": successor, "said": said})
            )
        else:
            self.stdout.write(self.style.SUCCESS(said))

    def _say(self, kid: str, entry: Entry, said: str) -> None:
        if self.is_json:
            self.stdout.write(as_json({**_facts(kid, entry), "said": said}))
        else:
            self.stdout.write(self.style.SUCCESS(said))

    # Listing -----------------------------------------------------------------------------------------------------

    def _list(self, keys: Keys) -> None:
        rows = [_facts(kid, entry) for kid, entry in _entries(keys).items()]
        if self.is_json:
            self.stdout.write(as_json(rows))
            return
        headings = ("KID", "ALG", "CREATED", "STATE", "SINCE", "MAY BE RETIRED")
        names = ("kid", "alg", "created", "state", "since", "retirable_at")
        cells = [[_cell(row[name]) for name in names] for row in rows]
        self.stdout.write("\n".join(table(headings, cells, self.style.MIGRATE_HEADING)))


def _entries(keys: Keys) -> dict[str, Entry]:
    if keys.directory is not None:
        found = dict(KeyFiles(keys.directory).entries)
    else:
        found = {
            kid: Entry(facts["alg"], 0, SIGNING if kid == keys.signing else VERIFYING, 0)
            for kid, facts in keys.keys.items()
        }
    if NO_KID not in found and keys.without_kid:
        own = VERIFYING if any(entry.state == SIGNING for entry in found.values()) else SIGNING
        found[NO_KID] = Entry(str(simplejwt_setting("ALGORITHM")), 0, own, 0)
    for kid in _revoked():
        if kid in found and found[kid].state != LEAKED:
            found[kid] = Entry(found[kid].alg, found[kid].created, LEAKED, 0)
    return found


def _listed(keys: Keys, kid: str) -> dict[str, Entry]:
    try:
        return _entries(keys)
    except ValueError as error:
        raise CommandError(f"{error}. Nothing was changed; --unknown refuses {kid} all the same.") from error


def _revoked() -> list[str]:
    try:
        return journal.refused_keys() if journal.is_on() else []
    except DatabaseError as error:
        raise CommandError(f"The journal, which knows what was revoked, cannot be read ({error}).") from error


def _refused() -> frozenset[str]:
    """What is known of the keys that are refused, whatever the files say: nobody may have got to those."""
    if journal.is_on():
        # Where it is not there, that is said when it is written.
        with suppress(CommandError):
            return frozenset(_revoked())
    with suppress(RevocationUnavailable):
        hear_of_keys()
    return backends.refused()


def _known(change: Change, kid: str) -> Entry:
    if kid not in change.entries:
        raise CommandError(f"There is no key {kid!r}. `manage.py jwt_keys list` names them.")
    return change.entries[kid]


def _next(change: Change) -> str | None:
    """The newest key that has never signed, and could: it was made for that."""
    fresh = [(e.created, kid) for kid, e in change.entries.items() if e.state == VERIFYING and e.signed_until is None]
    others = _refused() | {NO_KID}
    return max((one for one in fresh if one[1] not in others and change.can_sign(one[1])), default=(0, None))[1]


def _retirable_at(entry: Entry) -> int | None:
    """From when on nothing that it signed is good any more; None for one that never signed."""
    if entry.signed_until is None:
        return None
    return int(entry.signed_until + longest_lifetime() + leeway_seconds()) + MARGIN


def _facts(kid: str, entry: Entry) -> dict[str, Any]:
    retirable_at = _retirable_at(entry) if entry.state == VERIFYING else None
    return {
        "kid": kid,
        "alg": entry.alg,
        "created": _moment(entry.created),
        "state": entry.state,
        "since": _moment(entry.since),
        "retirable_at": _moment(retirable_at or 0),
    }


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, tz=UTC) if seconds else None


def _stamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return value or "-"
