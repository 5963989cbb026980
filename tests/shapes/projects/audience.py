"""Tokens for several audiences, by an issuer."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "AUDIENCE": ["shop", "stock"], "ISSUER": "https://id.example.com"}
