"""Django's admin: sessions, the journal, and a user's sessions on the user's own page."""

from __future__ import annotations

from jwt_redis.admin.on_user import SessionsOnUserMixin, adopt_stock_user_admin
from jwt_redis.admin.revocations import RevocationAdmin
from jwt_redis.admin.sessions import SessionAdmin

__all__ = ["RevocationAdmin", "SessionAdmin", "SessionsOnUserMixin"]

adopt_stock_user_admin()
