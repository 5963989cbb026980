"""The decision: is this token still good? A pure function of what the token says and what Redis says."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from jwt_redis.conf import Strategy, config, longest_session, simplejwt_setting
from jwt_redis.keys import user_id
from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState

__all__ = [
    "ALL_REVOKED",
    "KEY_REVOKED",
    "NO_SESSION",
    "SESSION_ENDED",
    "SESSION_EXPIRED",
    "STORE_LOST",
    "TOKEN_BLACKLISTED",
    "USER_REVOKED",
    "Claims",
    "Verdict",
    "adopted_sid",
    "decide",
    "is_adopted",
    "is_jti",
    "is_sid",
    "read_claims",
]

TOKEN_BLACKLISTED: Final = "token_blacklisted"  # noqa: S105
SESSION_ENDED: Final = "session_ended"
SESSION_EXPIRED: Final = "session_expired"
USER_REVOKED: Final = "user_revoked"
ALL_REVOKED: Final = "all_revoked"
NO_SESSION: Final = "no_session"
STORE_LOST: Final = "store_lost"
KEY_REVOKED: Final = "key_revoked"

# In place of a kid, for the key of the tokens that have none: Simple JWT's own.
NO_KID: Final = "no-kid"

SID_CLAIM: Final = "sid"
AUTH_TIME_CLAIM: Final = "auth_time"
ROTATION_CLAIM: Final = "rotation"

# What the ids of adopted sessions begin with.
_ADOPTED: Final = "legacy_"
_SID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_MAX_JTI = 255
_MAX_NUMBER = 2**53
_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Claims:
    """What the decision needs of a token. Times are seconds of the epoch; ``sid`` is None for a foreign token."""

    user: str
    jti: str
    sid: str | None
    exp: int
    iat: int
    auth_time: int
    # None for a token that is not a refresh token.
    rotation: int | None
    # A refresh or a sliding token: whoever holds it holds the session.
    owns_session: bool = False
    # Perhaps an access token made from a refresh token that nobody had asked Redis about: its ``iat`` proves nothing.
    is_unasked: bool = False
    # Of a token from before there were sessions, where those are adopted: seconds of the epoch at which it has had its
    # time, whatever its exp says; by then what was revoked may be forgotten. ``sid`` is that of the session which a
    # refresh token gets when it is used.
    legacy_until: int | None = None
    # The key that it was signed by.
    key: str = NO_KID


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token is accepted, and if not, why: one of the stable strings of this module.

    ``session`` is the record that the decision was made from, where there is one. ``checked`` is False when
    Redis could not be asked and the project lets tokens pass (``ON_REDIS_FAILURE``). ``from_memory``: the near cache
    has answered; ``session``, if there is one, was read before. ``observed``: why it would be refused, were it not for
    ``OBSERVE``.
    """

    allowed: bool
    reason: str | None = None
    session: SessionRecord | None = None
    checked: bool = True
    from_memory: bool = False
    observed: str | None = None


def is_jti(value: object) -> bool:
    """Can ``value`` be a token's id?"""
    return isinstance(value, str) and 0 < len(value) <= _MAX_JTI and value.isprintable()


def is_sid(value: object) -> bool:
    """Can ``value`` be a session id?"""
    return isinstance(value, str) and _SID.fullmatch(value) is not None


def adopted_sid(jti: str) -> str:
    """The session that a refresh token from before there were sessions gets: always the same, so it gets one."""
    digest = hashlib.sha256(jti.encode(errors="surrogatepass")).digest()[:16]
    return _ADOPTED + urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_adopted(sid: str) -> bool:
    """Is this the id of a session that began with a token from before there were sessions?"""
    return sid.startswith(_ADOPTED)


def read_claims(payload: Mapping[str, Any], kid: str | None = None) -> Claims:
    """Take the claims out of a verified payload. ``kid``: of the key that it was signed by, None if it has none.

    :raises ValueError: naming the claim that is missing or of the wrong kind.
    """
    try:
        user = user_id(payload.get(simplejwt_setting("USER_ID_CLAIM")))
    except ValueError:
        raise ValueError(_("Token contained no recognizable user identification")) from None
    jti_claim = simplejwt_setting("JTI_CLAIM")
    jti = payload.get(jti_claim) if jti_claim else None
    if jti is None:
        raise ValueError(_("Token has no id"))
    if not is_jti(jti):
        raise ValueError(_("Token has an unusable id"))
    sid = payload.get(SID_CLAIM)
    if sid is not None and not is_sid(sid):
        raise ValueError(_("Token has an unusable '{}' claim").format(SID_CLAIM))
    type_claim = simplejwt_setting("TOKEN_TYPE_CLAIM")
    kind = payload.get(type_claim) if type_claim else ("refresh" if ROTATION_CLAIM in payload else None)
    # One that is missing counts as older than any not-before.
    iat = _number(payload, "iat", 0)
    legacy_until = None if sid or ROTATION_CLAIM in payload else _legacy_until(iat)
    if legacy_until is not None and (kind in ("refresh", "sliding") or not type_claim):
        # Without types, any token may be a refresh token.
        sid, kind = adopted_sid(jti), kind or "refresh"
    return Claims(
        user=user,
        jti=jti,
        sid=sid,
        exp=_number(payload, "exp"),
        iat=iat,
        auth_time=_number(payload, AUTH_TIME_CLAIM, 0),
        rotation=_number(payload, ROTATION_CLAIM, 0 if legacy_until else _REQUIRED if sid else 0)
        if kind == "refresh"
        else None,
        owns_session=kind in ("refresh", "sliding"),
        is_unasked=not type_claim or (kind not in ("refresh", "sliding") and ROTATION_CLAIM in payload),
        legacy_until=legacy_until,
        key=NO_KID if kid is None else kid,
    )


def _legacy_until(iat: int) -> int | None:
    """For how long a token that has no session counts; None where it counts for nothing."""
    legacy = config().legacy_tokens
    if legacy is None or (legacy.issued_before is not None and iat >= legacy.issued_before):
        return None
    return iat + int(longest_session())


def decide(
    claims: Claims,
    state: UserState,
    marker: Marker,
    strategy: Strategy,
    now: float,
    leeway: float = 0,
    is_journalled: bool = True,
) -> Verdict:
    """Is the token good? ``now`` and ``leeway`` in seconds. ``is_journalled``: what the store has lost of revocations
    was applied to it again.

    A refresh token is judged by its session in both strategies: without one it cannot be rotated.
    """
    if marker.refused_keys and claims.key in marker.refused_keys:
        return Verdict(False, KEY_REVOKED)
    if state.blacklisted:
        return Verdict(False, TOKEN_BLACKLISTED)
    if isinstance(state.session, EndedSession):
        return Verdict(False, SESSION_ENDED)
    if state.session is not None:
        return _decide_session(claims, state.session, marker, now, leeway)
    if claims.legacy_until is not None:
        return _decide_legacy(claims, claims.legacy_until, state, marker, now, is_journalled)
    needs_session = strategy == "whitelist" or claims.rotation is not None
    # A token that never had a session is no sign of a lost store.
    if needs_session and claims.sid is None:
        return Verdict(False, NO_SESSION)
    if reason := _older_than_trust(claims, state, marker):
        return Verdict(False, reason)
    if needs_session or state.damaged:
        return Verdict(False, NO_SESSION)
    return Verdict(True)


def _decide_session(claims: Claims, session: SessionRecord, marker: Marker, now: float, leeway: float) -> Verdict:
    """Exact: both moments are Redis' own, in milliseconds."""
    if session.opened_ms <= marker.not_before_ms:
        return Verdict(False, ALL_REVOKED)
    # An adopted one counts as opened when its token was issued, so that what was revoked since then ends it too.
    is_from_before = is_adopted(claims.sid or "")
    if (session.used_ms if is_from_before else session.opened_ms) < marker.born_ms:
        return Verdict(False, STORE_LOST)
    if now >= session.expires_at + leeway:
        return Verdict(False, SESSION_EXPIRED)
    if claims.rotation is not None and claims.rotation != session.rotation:
        return Verdict(False, TOKEN_BLACKLISTED)
    return Verdict(True, session=session)


def _decide_legacy(
    claims: Claims, until: int, state: UserState, marker: Marker, now: float, is_journalled: bool
) -> Verdict:
    """Nothing has to be there. That the token is older than the store proves nothing where there is a journal: nobody
    had a session before."""
    if now >= until:
        return Verdict(False, SESSION_EXPIRED)
    reason = _older_than_trust(claims, state, marker)
    if reason is not None and not (reason == STORE_LOST and is_journalled):
        return Verdict(False, reason)
    return Verdict(False, NO_SESSION) if state.damaged else Verdict(True)


def _older_than_trust(claims: Claims, state: UserState, marker: Marker) -> str | None:
    """Without a record only the token's own times tell, whole seconds: the same second counts as revoked."""
    began = claims.auth_time if claims.sid and claims.legacy_until is None else claims.iat
    if state.not_before_ms and began <= state.not_before_ms // 1000:
        return USER_REVOKED
    if marker.not_before_ms and began <= marker.not_before_ms // 1000:
        return ALL_REVOKED
    if began <= marker.born_ms // 1000:
        return STORE_LOST
    return None


def _number(payload: Mapping[str, Any], claim: str, default: Any = _REQUIRED) -> Any:
    value = payload.get(claim)
    if value is None:
        if default is _REQUIRED:
            raise ValueError(_("Token has no '{}' claim").format(claim))
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MAX_NUMBER:
        raise ValueError(_("Token has an unusable '{}' claim").format(claim))
    return int(value)
