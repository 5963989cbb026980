"""A session gets a name from its owner."""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from jwt_redis.keys import user_id
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.sessions.parts import valid_sid
from jwt_redis.store import commands

__all__ = ["MAX_LABEL", "aset_label", "set_label"]

# Characters. It is one field in Redis, and one line on a page.
MAX_LABEL: Final = 60

# What would turn the text around it, too (Unicode Standard Annex 9); joiners, which Persian and emoji need, stay.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of surrogate pairs, unassigned and private ones: nothing that anybody reads.
_UNREADABLE = frozenset({"Cc", "Cs", "Cn", "Co"})


def _valid_label(label: str) -> str:
    """``label`` in one line, without what is no text; "" where nothing is left to be seen.

    :raises ValueError: when it is too long.
    """
    if not isinstance(label, str):
        raise ValueError(f"label: a string is needed, not {type(label).__name__}")
    # Normalizing is slow on very long texts.
    if len(label) > 20 * MAX_LABEL:
        raise ValueError(f"label: at most {MAX_LABEL} characters are possible")
    spaced = " ".join(label.split())
    kept = (c for c in spaced if c not in _TURNING and unicodedata.category(c) not in _UNREADABLE)
    made = unicodedata.normalize("NFC", "".join(kept)).strip()
    if len(made) > MAX_LABEL:
        raise ValueError(f"label: at most {MAX_LABEL} characters are possible")
    is_seen = any(unicodedata.category(c)[0] not in "CZM" for c in made)
    return made if is_seen else ""


def _labelling(user: str, sid: str, label: str) -> Operation[bool]:
    return Operation((commands.set_label(user, sid, _valid_label(label)),), Done)


def set_label(user: Any, sid: str, label: str) -> bool:
    """Give a live session a name, of at most ``MAX_LABEL`` characters; "" takes it away. Whether there is such a one.

    Control characters and those that turn the direction of text are left out.

    :raises ValueError: when ``sid`` cannot be a session id, or ``label`` is too long or no string.
    """
    key = user_id(user)
    return run(_labelling(key, valid_sid(sid), label), UseCase("set_label", key, sid))


async def aset_label(user: Any, sid: str, label: str) -> bool:
    """:func:`set_label` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(_labelling(key, valid_sid(sid), label), UseCase("set_label", key, sid))
