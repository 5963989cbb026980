"""The users."""

from __future__ import annotations
