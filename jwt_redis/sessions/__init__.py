"""The use cases: open, list and end sessions, revoke tokens, ask whether one is good. Each has an async twin.

``user`` is a user instance or the value of its user-id claim. Everything that asks Redis raises
:class:`~jwt_redis.exceptions.RevocationUnavailable` when it does not answer.
"""

from __future__ import annotations

from jwt_redis.sessions.checking import RULES, Explanation, acheck, acheck_many, aexplain, check, check_many, explain
from jwt_redis.sessions.ending import (
    aend_all_sessions,
    aend_other_sessions,
    aend_session,
    end_all_sessions,
    end_other_sessions,
    end_session,
)
from jwt_redis.sessions.labelling import MAX_LABEL, aset_label, set_label
from jwt_redis.sessions.listing import Session, ais_known, alist_sessions, is_known, list_sessions
from jwt_redis.sessions.opening import aopen_session, aregister, new_sid, open_session, register
from jwt_redis.sessions.passwords import aend_stale_sessions, arebind_sessions, end_stale_sessions, rebind_sessions
from jwt_redis.sessions.providing import (
    aend_provider_sessions,
    aremember_provider,
    end_provider_sessions,
    remember_provider,
)
from jwt_redis.sessions.publishing import StatusListToken, astatus_list_token, status_list_token
from jwt_redis.sessions.recognizing import Recognition, arecognize, recognize
from jwt_redis.sessions.revoking import (
    arevoke_everything,
    arevoke_jti,
    arevoke_key,
    arevoke_token,
    revoke_everything,
    revoke_jti,
    revoke_key,
    revoke_token,
)
from jwt_redis.sessions.rotation import arotate, rotate

__all__ = [
    "MAX_LABEL",
    "RULES",
    "Explanation",
    "Recognition",
    "Session",
    "StatusListToken",
    "acheck",
    "acheck_many",
    "aend_all_sessions",
    "aend_other_sessions",
    "aend_provider_sessions",
    "aend_session",
    "aend_stale_sessions",
    "aexplain",
    "ais_known",
    "alist_sessions",
    "aopen_session",
    "arebind_sessions",
    "arecognize",
    "aregister",
    "aremember_provider",
    "arevoke_everything",
    "arevoke_jti",
    "arevoke_key",
    "arevoke_token",
    "arotate",
    "aset_label",
    "astatus_list_token",
    "check",
    "check_many",
    "end_all_sessions",
    "end_other_sessions",
    "end_provider_sessions",
    "end_session",
    "end_stale_sessions",
    "explain",
    "is_known",
    "list_sessions",
    "new_sid",
    "open_session",
    "rebind_sessions",
    "recognize",
    "register",
    "remember_provider",
    "revoke_everything",
    "revoke_jti",
    "revoke_key",
    "revoke_token",
    "rotate",
    "set_label",
    "status_list_token",
]
