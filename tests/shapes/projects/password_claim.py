"""Simple JWT's own witness of the password, in each token."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "CHECK_REVOKE_TOKEN": True}
