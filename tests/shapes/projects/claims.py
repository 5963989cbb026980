"""Claims by other names."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {
    **SIMPLE_JWT,
    "JTI_CLAIM": "tid",
    "TOKEN_TYPE_CLAIM": "use",
    "USER_ID_CLAIM": "uid",
    "SLIDING_TOKEN_REFRESH_EXP_CLAIM": "rexp",
}
