"""Numbers for people."""

from __future__ import annotations

__all__ = ["counted", "size", "span"]


def counted(count: int, what: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes: "3.4 MB", by powers of 1024 as Redis has it."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TB"


def span(seconds: float) -> str:
    """A time, in the largest unit: "3 h"."""
    for amount, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= amount:
            return f"{seconds // amount:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
