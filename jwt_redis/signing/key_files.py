"""A directory of keys: a private JWK a file (RFC 7517), and ``keys.json``, which says what each is for.

``keys.json`` is what is read first and written last, and each file is put in place by a rename: whoever reads sees the
keys from before a change or from after it. It holds no secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from django.core.files import locks

from jwt_redis.signing.keys import ALGORITHMS, Key, KeySet, generate, is_kid, make_key
from jwt_redis.verdicts import NO_KID

__all__ = ["LEAKED", "RETIRED", "SIGNING", "VERIFYING", "Entry", "KeyFiles", "Stamp", "changing", "exposed", "stamp"]

MANIFEST: Final = "keys.json"
_LOCK: Final = ".lock"
_VERSION: Final = 1

# What a key may be. One that verifies and has never signed is the next one.
SIGNING, VERIFYING, RETIRED, LEAKED = "signing", "verifying", "retired", "leaked"
_STATES: Final = (SIGNING, VERIFYING, RETIRED, LEAKED)

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """What ``keys.json`` says of a key. Moments in seconds of the epoch.

    ``since``: of its state. ``signed_until``: when it ceased to sign; None for one that never did, or does.
    """

    alg: str
    created: int
    state: str
    since: int
    signed_until: int | None = None


def stamp(directory: str) -> Stamp:
    """What is another one after each change (one stat).

    :raises OSError: when there is no ``keys.json``, or it cannot be reached.
    """
    found = os.stat(os.path.join(directory, MANIFEST))
    return found.st_mtime_ns, found.st_ino, found.st_size


class KeyFiles:
    """The directory as it was read: :attr:`entries`, and :meth:`key_set`."""

    def __init__(self, directory: str) -> None:
        """Read ``keys.json``.

        :raises ValueError: naming the file and what is wrong with it.
        """
        self.path = Path(directory)
        self.entries: dict[str, Entry] = {}
        manifest = self.path / MANIFEST
        try:
            text = manifest.read_text()
        except FileNotFoundError:
            if not self.path.is_dir():
                raise ValueError(f"{directory}: there is no such directory") from None
            if any(self.path.glob("*.jwk")):
                raise ValueError(f"{manifest}: it is missing, and there are keys beside it") from None
            return
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{manifest}: {_why(error)}") from error
        self.entries = _entries(manifest, text)

    @property
    def signing(self) -> str | None:
        """The name of the key that signs; None for Simple JWT's own."""
        return next((kid for kid, entry in self.entries.items() if entry.state == SIGNING and kid != NO_KID), None)

    def key_set(self) -> KeySet:
        """The keys that sign and verify.

        :raises ValueError: naming the file that is missing or wrong.
        """
        live = {kid: entry for kid, entry in self.entries.items() if entry.state in (SIGNING, VERIFYING)}
        keys = {kid: self._key(kid, entry.alg) for kid, entry in live.items() if kid != NO_KID}
        before = self.entries.get(NO_KID)
        signing = self.signing
        if signing is not None and keys[signing].signing is None:
            raise ValueError(f"{self._file(signing)}: it signs, and only its public half is there")
        return KeySet(keys, signing, before is None or before.state in (SIGNING, VERIFYING))

    def _file(self, kid: str) -> Path:
        return self.path / f"{kid}.jwk"

    def _key(self, kid: str, alg: str) -> Key:
        file = self._file(kid)
        try:
            material = file.read_bytes()
        except OSError as error:
            raise ValueError(f"{file}: {_why(error)}") from error
        try:
            return make_key(kid, alg, material)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None

    def files(self) -> Iterator[Path]:
        """The files that hold private keys."""
        return self.path.glob("*.jwk")


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"


def _entries(manifest: Path, text: str) -> dict[str, Entry]:
    try:
        found: Any = json.loads(text)
        if found["version"] != _VERSION:
            raise ValueError(f"version {found['version']!r} is not known")
        entries = {kid: Entry(**facts) for kid, facts in found["keys"].items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"{manifest}: it cannot be read as a list of keys ({error})") from error
    for kid, entry in entries.items():
        moments = [entry.created, entry.since, *([] if entry.signed_until is None else [entry.signed_until])]
        if not is_kid(kid) or entry.state not in _STATES or (kid != NO_KID and entry.alg not in ALGORITHMS):
            raise ValueError(f"{manifest}: what it says of {kid!r} is not understood")
        if any(isinstance(moment, bool) or not isinstance(moment, int) for moment in moments):
            raise ValueError(f"{manifest}: {kid!r} has a moment that is no whole number")
    if sum(entry.state == SIGNING for kid, entry in entries.items() if kid != NO_KID) > 1:
        raise ValueError(f"{manifest}: two keys sign")
    return entries


def exposed(directory: str) -> list[Path]:
    """The files with private keys that every user of the machine can read or write."""
    found = []
    for file in sorted(Path(directory).glob("*.jwk")):
        with contextlib.suppress(OSError):
            if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                found.append(file)
    return found


# Changing ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changing(directory: str) -> Iterator[Change]:
    """One who changes at a time; the directory is made, for its owner alone, if it is not there.

    :raises ValueError: naming what is wrong with what is there.
    :raises OSError: when it cannot be written.
    """
    path = Path(directory)
    within = (path.resolve(), *path.resolve().parents)
    if (repository := next(filter(_is_repository, within), None)) is not None:
        raise ValueError(f"{directory}: it is within the repository {repository}, and keys do not belong into one")
    path.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)) as lock:
        locks.lock(lock, locks.LOCK_EX)
        try:
            yield Change(directory)
        finally:
            locks.unlock(lock)


def _is_repository(path: Path) -> bool:
    return any((path / name).exists() for name in (".git", ".hg"))


class Change(KeyFiles):
    """Who holds the lock. Each method is one change, seen whole or not at all."""

    def create(self, alg: str, pre_kid_alg: str) -> str:
        """A new key, which verifies and does not sign yet. Its name.

        ``pre_kid_alg``: of Simple JWT's own key, which signs as long as none here does.

        :raises ValueError: when there can be no such key.
        """
        key, jwk = generate(alg)
        now = int(time.time())
        entries = {**self.entries}
        entries.setdefault(NO_KID, Entry(pre_kid_alg, now, SIGNING, now))
        entries[key.kid] = Entry(alg, now, VERIFYING, now)
        if not self.entries:
            # A file without a list beside it would be taken for a list that is lost, by whoever comes after a crash.
            self._write({})
        _put(self._file(key.kid), json.dumps(jwk))
        self._write(entries)
        return key.kid

    def activate(self, kid: str) -> None:
        """Sign with this key from now on; the one that did verifies on."""
        now = int(time.time())
        entries = {
            name: replace(entry, state=VERIFYING, since=now, signed_until=now) if entry.state == SIGNING else entry
            for name, entry in self.entries.items()
        }
        entries[kid] = replace(entries[kid], state=SIGNING, since=now, signed_until=None)
        # Not one without its private half, nor one whose file has gone.
        if self._key(kid, entries[kid].alg).signing is None:
            raise ValueError(f"{self._file(kid)}: only its public half is there")
        self._write(entries)

    def can_sign(self, kid: str) -> bool:
        """Is its private half there, and whole?"""
        try:
            return self._key(kid, self.entries[kid].alg).signing is not None
        except ValueError:
            return False

    def retire(self, kid: str, state: str) -> None:
        """``state``: RETIRED or LEAKED. The key's file is removed, its name is kept; done again, what is left to do."""
        entry = self.entries[kid]
        if entry.state != state:
            signed_until = int(time.time()) if entry.state == SIGNING else entry.signed_until
            made = replace(entry, state=state, since=int(time.time()), signed_until=signed_until)
            self._write({**self.entries, kid: made})
        self._file(kid).unlink(missing_ok=True)

    def _write(self, entries: dict[str, Entry]) -> None:
        text = json.dumps({"version": _VERSION, "keys": {kid: asdict(e) for kid, e in entries.items()}}, indent=2)
        _put(self.path / MANIFEST, text)
        self.entries = entries


def _put(file: Path, text: str) -> None:
    """Whole or not at all, for its owner alone, and on the disk when it returns."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
