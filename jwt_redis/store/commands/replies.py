"""How a reply is read, where several commands have the same in theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Written:
    """Where in a store's history a revocation stands: behind the first ``number`` of the store ``store_id``.

    ``moment_ms``: up to which moment sessions were ended, by Redis' clock. ``use_until``: seconds of the epoch up to
    which what was revoked could be used, were the revocation lost; 0 where that is not known.
    """

    store_id: str
    number: int
    moment_ms: int
    use_until: int


def read_written(reply: Sequence[Any]) -> Written:
    store_id, number, moment_ms, use_until = reply
    return Written(str(store_id), int(number), int(moment_ms), int(use_until))


def read_mapping(reply: Any) -> dict[str, str]:
    # RESP3 replies with a map, RESP2 with a flat list.
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def read_names(text: str | None) -> frozenset[str]:
    """With commas between them."""
    return frozenset(text.split(",")) if text else frozenset()


def is_number(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()
