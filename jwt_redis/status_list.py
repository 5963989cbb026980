"""The Token Status List of the IETF, draft-ietf-oauth-status-list-21: what a token says, and what a list is. No I/O.

A place is ``LIST.INDEX``, as from ``store/lua/take_place.lua``. A list's name begins with its chapter, which is told by
the store and by the moment before which nobody is trusted: when either is another one, the list is withdrawn.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac
from rest_framework_simplejwt import state

from jwt_redis.conf import StatusList, config
from jwt_redis.records import Marker
from jwt_redis.signing import backends

__all__ = [
    "CLAIMS",
    "MEDIA_TYPE",
    "STATUS_CLAIM",
    "check",
    "drop",
    "encode",
    "id_of",
    "is_current",
    "is_place",
    "list_token",
    "name_of",
    "put",
    "sign",
    "uri_of",
]

STATUS_CLAIM: Final = "status"
# What a successor has from the token that was presented.
CLAIMS: Final = (STATUS_CLAIM,)
MEDIA_TYPE: Final = "application/statuslist+jwt"

_PLACE = re.compile(r"(?P<name>[0-9a-f]{10}\.[\w-]{1,20})\.(?P<index>\d{1,9})", re.ASCII)
_ID = re.compile(r"(?P<name>[0-9a-f]{10}\.[\w-]{1,20})\.(?P<mac>[\w-]{16})", re.ASCII)
# Redis counts the bits of a byte from the other end.
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check(payload: Mapping[str, Any]) -> None:
    """Whether there is room for the claim.

    :raises ImproperlyConfigured: when the project has a ``status`` claim of its own that is no object.
    """
    if not isinstance(payload.get(STATUS_CLAIM, {}), dict):
        raise ImproperlyConfigured(
            "JWT_REDIS: STATUS_LIST: the project puts a claim 'status' of its own into tokens. That name is the"
            " registered one of the Token Status List, where it is an object: give yours another name."
        )


def put(payload: dict[str, Any], place: str) -> None:
    """Say in ``payload`` where the status is published (section 6.2).

    :raises ValueError: when ``place`` is none.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError(f"{place!r} is no place in a status list")
    reference = {"idx": int(found["index"]), "uri": uri_of(found["name"])}
    payload[STATUS_CLAIM] = {**payload.get(STATUS_CLAIM, {}), "status_list": reference}


def drop(payload: dict[str, Any]) -> None:
    """Where nothing is published any more: a claim that was :func:`put` is gone, another's stays."""
    status = payload.get(STATUS_CLAIM)
    if not isinstance(status, dict) or not isinstance(reference := status.get("status_list"), dict):
        return
    uri = reference.get("uri")
    if not isinstance(uri, str) or name_of(uri.rpartition("/")[2]) is None:
        return
    rest = {name: value for name, value in status.items() if name != "status_list"}
    if rest:
        payload[STATUS_CLAIM] = rest
    else:
        del payload[STATUS_CLAIM]


def is_place(text: str) -> bool:
    """Can that be a place? What was damaged by hand cannot."""
    return _PLACE.fullmatch(text) is not None


def is_current(place: str, marker: Marker) -> bool:
    """Is that a place in a list that is published, as far as the marker tells?"""
    chapter = hashlib.sha1(f"{marker.store_id}.{marker.not_before_ms}".encode(), usedforsecurity=False).hexdigest()[:10]
    return is_place(place) and place.startswith(f"{chapter}.")


# A list's address ------------------------------------------------------------------------------------------------


def uri_of(name: str) -> str:
    """The list's URI.

    :raises ValueError: while STATUS_LIST is None.
    """
    wanted = config().status_list
    if wanted is None:
        raise ValueError("STATUS_LIST is None")
    return wanted.uri + id_of(name)


def id_of(name: str) -> str:
    """The end of the list's URI. It proves itself: of a list that is gone it is still known that it was ours."""
    return f"{name}.{_mac(name, settings.SECRET_KEY)}"


def name_of(list_id: str) -> str | None:
    """The list of which that is the :func:`id_of`; None if it is no list's."""
    found = _ID.fullmatch(list_id)
    if found is None:
        return None
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    is_ours = any(hmac.compare_digest(found["mac"], _mac(found["name"], key)) for key in keys)
    return found["name"] if is_ours else None


def _mac(name: str, secret: str | bytes) -> str:
    digest = salted_hmac("jwt_redis.status_list", name, secret=secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


# The list itself ---------------------------------------------------------------------------------------------------


def encode(bits: bytes) -> str:
    """The compressed byte array (section 4.1), as base64url. ``bits``: the first of a byte is its lowest."""
    return base64.urlsafe_b64encode(zlib.compress(bits, 9)).rstrip(b"=").decode()


def list_token(list_id: str, bits: bytes | None, issued_at: int, wanted: StatusList) -> str:
    """The signed list (section 5.1). ``bits`` as Redis has them; None: everything in it is INVALID.

    ``list_id``: the end of its URI; ``issued_at``: seconds of the epoch.
    """
    array = bits.translate(_MIRRORED) if bits is not None else b"\xff" * (wanted.size // 8)
    return sign(
        {
            "sub": wanted.uri + list_id,
            "iat": issued_at,
            # One that is still kept after its ttl, as no newer one can be had, is not believed for ever.
            "exp": issued_at + 2 * wanted.ttl,
            "ttl": wanted.ttl,
            "status_list": {"bits": 1, "lst": encode(array)},
        }
    )


def sign(payload: Mapping[str, Any]) -> str:
    """With the key that signs tokens, and with the issuer that they name. Its type (RFC 8725 section 3.11) and what it
    lacks keep it from being taken for one of them."""
    claims = dict(payload)
    if (issuer := state.token_backend.issuer) is not None:
        claims["iss"] = issuer
    algorithm, key, kid = backends.signs_with()
    headers = {"typ": "statuslist+jwt"} if kid is None else {"typ": "statuslist+jwt", "kid": kid}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)
