"""The shape that the others differ from."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
