"""The text of an event stream: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["COMMENT", "event", "retry"]

#: Nothing, so that no proxy takes the connection for dead.
COMMENT: Final = ":\n\n"


def event(name: str = "", data: Mapping[str, Any] | None = None, *, id: str = "") -> str:
    """One event. ``data`` is sent as JSON in one line; without it the client is told nothing but the ``id``.

    :raises ValueError: when ``name`` or ``id`` would end its line, or hold what the client ignores the id for.
    """
    for field, value in (("event", name), ("id", id)):
        if any(c in "\r\n\0" for c in value):
            raise ValueError(f"{field}: it cannot hold a line break or NUL")
    lines = [f"id: {id}"] if id else []
    if name:
        lines.append(f"event: {name}")
    if data is not None:
        # ASCII, in which no line breaks.
        lines.append(f"data: {json.dumps(data)}")
    return "\n".join(lines) + "\n\n"


def retry(seconds: float) -> str:
    """After how long a client that has lost the connection comes back."""
    return f"retry: {max(0, round(seconds * 1000))}\n\n"
