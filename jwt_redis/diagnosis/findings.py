"""What a diagnosis consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LEVELS", "Finding", "Level", "notice", "ok", "problem", "warning", "worst"]

Level = Literal["ok", "notice", "warning", "problem"]

# From good to bad. A notice is what is worth knowing, or what could not be found out: nothing is wrong.
LEVELS: tuple[Level, ...] = ("ok", "notice", "warning", "problem")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``code`` is stable; ``server`` tells the primaries of a cluster apart."""

    code: str
    level: Level
    found: str
    advice: str = ""
    server: str = ""


def ok(code: str, found: str) -> Finding:
    """As it should be."""
    return Finding(code, "ok", found)


def notice(code: str, found: str, advice: str = "") -> Finding:
    """Worth knowing."""
    return Finding(code, "notice", found, advice)


def warning(code: str, found: str, advice: str) -> Finding:
    """Something can go wrong."""
    return Finding(code, "warning", found, advice)


def problem(code: str, found: str, advice: str) -> Finding:
    """A promise is broken, or will be."""
    return Finding(code, "problem", found, advice)


def worst(findings: list[Finding]) -> Level:
    """The worst level among them."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")
