"""The shapes: each module here is one."""

from __future__ import annotations
