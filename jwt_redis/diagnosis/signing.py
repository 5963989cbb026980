"""The keys that tokens are signed with, where there are several."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseError

from jwt_redis import journal
from jwt_redis.conf import config
from jwt_redis.diagnosis.findings import Finding, ok, problem, warning
from jwt_redis.diagnosis.sizes import counted
from jwt_redis.signing import backends, key_files
from jwt_redis.verdicts import NO_KID

__all__ = ["check_keys"]


def check_keys() -> Iterator[Finding]:
    """Which key signs, whether the others can be read, and whether one that was revoked is still there."""
    settings = config().keys
    if settings is None:
        return
    try:
        found = backends.load(settings)
    except ValueError as why:
        yield problem("keys", f"{why}: no process that starts now can sign or verify.", "`manage.py jwt_keys list`.")
        return
    if settings.directory is not None and (files := key_files.exposed(settings.directory)):
        names = ", ".join(file.name for file in files)
        yield problem(
            "keys",
            f"Every user of this machine can read or write {names}.",
            "chmod 600; `manage.py jwt_keys retire KID --leaked` if somebody may have read it.",
        )
    try:
        revoked = set(journal.refused_keys()) if journal.is_on() else set()
    except DatabaseError:
        revoked = set()  # the journal's own finding
    signing = found.signing or NO_KID
    if signing in revoked:
        yield problem(
            "keys",
            f"The key that signs, {signing}, was revoked: nobody can sign in.",
            "`manage.py jwt_keys create` and `jwt_keys activate KID`, or another key in KEYS.",
        )
        return
    if left := sorted(revoked & found.keys.keys()):
        yield warning("keys", f"Revoked, and still there: {', '.join(left)}.", "Remove it from KEYS.")
    alg = found.keys[signing].alg if found.signing else "Simple JWT's own key"
    yield ok("keys", f"{signing} signs ({alg}); {counted(len(found.keys), 'key')} by name.")
