"""Every name in Redis is made here. The layout is described in docs/explanation/state.md."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from jwt_redis.conf import config, simplejwt_setting

__all__ = [
    "BLACKLIST",
    "DEVICE",
    "LABEL",
    "NOBODY",
    "NOT_BEFORE",
    "REFUSED_KEYS",
    "SEEN",
    "SESSION",
    "TRUSTED",
    "USED",
    "UserTag",
    "claim_of",
    "devices_key",
    "is_of_token",
    "is_of_user",
    "is_shared",
    "known_key",
    "lock_key",
    "log_key",
    "marker_key",
    "once_key",
    "refreshes_key",
    "status_key",
    "status_list_key",
    "token_key",
    "user_id",
    "user_key",
    "user_key_of",
    "user_pattern",
    "user_tag",
]

# Fields of the user hash.
SESSION = "sid:"
BLACKLIST = "blacklist:"
NOT_BEFORE = "not_before"
# Fields of the marker: the servers on which the journal was applied, or, without a journal, that were seen.
TRUSTED = "trusted:"
SEEN = "seen:"
# And the keys that are refused, their names with commas between them.
REFUSED_KEYS = "refused_keys"
# Fields of the devices hash.
DEVICE = "device:"
LABEL = "label:"
# Fields of what is known of a user, beside DEVICE: the notices whose link was used.
USED = "used:"

_LOG = "{log}"
# A longer id is replaced by its digest: a key is held in memory for each user.
_MAX_TAG = 96
_DIGEST_MARK = "~"
# What quote() leaves in no user's tag.
_NOBODYS = "!"
# What quote() below would leave as it is: most ids, and this is looked at for each request.
_PLAIN_TAG = re.compile(rf"[A-Za-z0-9_.@+:,=-]{{1,{_MAX_TAG}}}")
_TAG = re.compile(r"\{[^{}]+\}")
_ONCE = re.compile(r"\{[0-9a-f]{64}\}:once")


def user_id(user: object) -> str:
    """The user-id claim's value for ``user``: a model instance, a ``TokenUser``, or the id itself.

    :raises ValueError: when it is empty or of a kind that no user id has.
    """
    if isinstance(user, UserTag):
        # Of one with a long id that is all that is known.
        return user
    value: Any = user
    if isinstance(user, UUID):
        value = str(user)
    elif not isinstance(user, (str, int)) and hasattr(user, "pk"):
        # TokenUser answers None to any name that it does not know.
        value = getattr(user, simplejwt_setting("USER_ID_FIELD"), None)
        value = user.pk if value is None else value
        value = None if value is None else str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ValueError(f"{type(user).__name__} is not a user, or it has no id")
    return str(value)


class UserTag(str):
    """A user as the journal and the log have it: made safe for a hash tag already."""

    __slots__ = ()


# In the place of a user, where a token is refused whosever it is. The tag of no user.
NOBODY = UserTag(_NOBODYS)


def user_tag(user: str) -> UserTag:
    """``user``, as from :func:`user_id`, made safe for a hash tag; at most 96 ASCII characters."""
    return user if isinstance(user, UserTag) else UserTag(_tag(user))


def claim_of(tag: UserTag) -> str:
    """The user-id claim's value. Of a very long one nothing but the tag is known, which serves as well."""
    return tag if tag.startswith(_DIGEST_MARK) else unquote(tag, errors="surrogatepass")


def user_key(user: str) -> str:
    """The hash of one user: sessions, blacklisted tokens, the user's not-before. ``user`` as from :func:`user_id`."""
    return f"{config().key_prefix}{{{user_tag(user)}}}"


def devices_key(user: str) -> str:
    """The hash of one user's devices, in the same Cluster slot as :func:`user_key`."""
    return f"{user_key(user)}:devices"


def known_key(user: str) -> str:
    """The hash of what is known of one user beyond the sessions, in the same Cluster slot as :func:`user_key`."""
    return f"{user_key(user)}:known"


def log_key() -> str:
    """The revocation log, a stream."""
    return config().key_prefix + _LOG


def marker_key() -> str:
    """The marker: which store this is, and from when on it is trusted."""
    return f"{config().key_prefix}{_LOG}:marker"


def lock_key() -> str:
    """Held by the process that applies the journal to a store that has lost something."""
    return f"{config().key_prefix}{_LOG}:lock"


def token_key(jti: str) -> str:
    """A token that is refused, whosever it is. No user's tag begins like this."""
    return f"{config().key_prefix}{{{_NOBODYS}{_tag(jti)}}}"


def refreshes_key() -> str:
    """How often tokens were refreshed, by the hour: for the admin. ``rotate.lua`` makes the same name."""
    return f"{config().key_prefix}{_LOG}:refreshes"


def once_key(what: str) -> str:
    """That somebody else's token was used, by its digest: in a Cluster slot of its own."""
    digest = hashlib.sha256(what.encode(errors="surrogatepass")).hexdigest()
    return f"{config().key_prefix}{{{digest}}}:once"


def status_key() -> str:
    """Which status list is being filled."""
    return f"{config().key_prefix}{_LOG}:status"


def status_list_key(name: str) -> str:
    """The bits of one status list, beside the log so that one script writes both; the scripts make the name too."""
    return f"{status_key()}:{name}"


def user_pattern() -> str:
    """A SCAN pattern for all keys; :func:`user_key_of` tells the users' from the others."""
    return config().key_prefix + "{*}*"


def user_key_of(key: str) -> str | None:
    """The user hash that a key belongs to, itself or its devices; None for the log, the marker, refused tokens and
    foreign keys."""
    key = key.removesuffix(":devices")
    prefix = config().key_prefix
    tag = key[len(prefix) :]
    if not key.startswith(prefix) or key == log_key() or not _TAG.fullmatch(tag) or tag[1] == _NOBODYS:
        return None
    return key


def is_of_user(key: str) -> bool:
    """Whether it is one of a user's keys: of the sessions, the devices, or of what is known beyond them."""
    owner = key.removesuffix(":known")
    return user_key_of(owner) == owner if owner != key else user_key_of(key) is not None


def is_of_token(key: str) -> bool:
    """Whether it is that of a token that is refused, whosever it is."""
    return key.startswith(f"{config().key_prefix}{{{_NOBODYS}") and key.endswith("}")


def is_shared(key: str) -> bool:
    """Whether it is nobody's in particular: the log and what lies beside it, status lists among that, or that somebody
    else's token was used."""
    prefix = config().key_prefix
    rest = key.removeprefix(prefix + _LOG)
    if rest != key:
        return rest == "" or rest.startswith(":")
    return key.startswith(prefix) and _ONCE.fullmatch(key, len(prefix)) is not None


def _tag(user: str) -> str:
    # Braces would end the hash tag; "log" is the log's own.
    if _PLAIN_TAG.fullmatch(user) and user != "log":
        return user
    tag = quote(user, safe="@+:,=", errors="surrogatepass").replace("~", "%7E")
    if tag == "log":
        return "%6Cog"
    if len(tag) > _MAX_TAG:
        return _DIGEST_MARK + hashlib.sha256(user.encode(errors="surrogatepass")).hexdigest()
    return tag
