"""Puts tables into pages, between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["COSTS", "README", "has_place", "put"]

_ROOT = Path(__file__).resolve().parent.parent
COSTS = _ROOT / "docs" / "explanation" / "costs.md"
README = _ROOT / "README.md"


def _place(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- /bench -->)", re.DOTALL)


def has_place(page: Path, name: str) -> bool:
    """Is there somewhere on the page for this table?"""
    return _place(name).search(page.read_text()) is not None


def put(page: Path, name: str, table: str) -> None:
    """Replace what stands between the markers."""
    page.write_text(_place(name).sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page.read_text()))
