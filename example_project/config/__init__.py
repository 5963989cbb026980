"""The demo's settings and URLs."""

from __future__ import annotations
