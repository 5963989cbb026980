"""Channels: sockets that know who is at the other end, and close when the session ends."""

from __future__ import annotations

from jwt_redis.contrib.channels.consumers import LiveSessionMixin
from jwt_redis.contrib.channels.middleware import JWTAuthMiddleware

__all__ = ["JWTAuthMiddleware", "LiveSessionMixin"]
