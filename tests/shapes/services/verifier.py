"""A service beside the one of ``projects.rs256``: it has the public key and the same Redis, and no users."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT
from tests.shapes.signing_keys import key_pair

SIMPLE_JWT = {**SIMPLE_JWT, "ALGORITHM": "RS256", "SIGNING_KEY": None, "VERIFYING_KEY": key_pair("RS256")[1]}
