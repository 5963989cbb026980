"""djoser's social login on tokens that have a session. The rest of djoser needs settings alone."""

from __future__ import annotations

from typing import Any

from jwt_redis import sessions

__all__ = ["TokenStrategy"]


class TokenStrategy:
    """For ``DJOSER["SOCIAL_AUTH_TOKEN_STRATEGY"]``: djoser's own makes Simple JWT's tokens, whatever is set."""

    @classmethod
    def obtain(cls, user: Any) -> dict[str, Any]:
        """Open a session. djoser hands over no request, so nothing is known of the device."""
        refresh = sessions.open_session(user)
        return {"access": str(refresh.access_token), "refresh": str(refresh), "user": user}
