"""Why a token that is watched is not good any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["REVOCATION_UNAVAILABLE", "TOKEN_EXPIRED", "Ending"]

#: Beside the reasons of :mod:`jwt_redis.verdicts`: the token has run out; the session may be alive.
TOKEN_EXPIRED: Final = "token_expired"  # noqa: S105
#: Redis could not be asked for longer than the lease, and ``ON_REDIS_FAILURE`` is "deny".
REVOCATION_UNAVAILABLE: Final = "revocation_unavailable"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a token is not good any more. ``reason``: one of the stable strings of :mod:`jwt_redis.verdicts`, or of this
    module. ``why``: as whoever revoked it said, "logout" for instance; "" where that is not known."""

    reason: str
    why: str = ""
