"""A small application behind jwt_redis: one page, notes, a password."""

from __future__ import annotations
