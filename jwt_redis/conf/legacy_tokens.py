"""``JWT_REDIS["LEGACY_TOKENS"]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LegacyTokens:
    """Tokens without a session are accepted, as those are that Simple JWT issued before it had one."""

    # Seconds of the epoch: only what was issued before that moment. None: whenever that was.
    issued_before: float | None = None


def parse_legacy_tokens(value: object) -> LegacyTokens | None:
    if value in ("refuse", "adopt"):
        return LegacyTokens() if value == "adopt" else None
    if isinstance(value, Mapping) and set(value) == {"adopt"}:
        moment = value["adopt"]
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError("adopt: an aware datetime is needed, one with a time zone")
        return LegacyTokens(moment.timestamp())
    raise ValueError("it is one of 'refuse', 'adopt', or {'adopt': a datetime}, before which they were issued")
