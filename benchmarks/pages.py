"""Puts tables into pages, between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``, and charts beside them."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.plots import DARK, LIGHT, Chart

__all__ = ["README", "draw", "has_place", "page_of", "put"]

_ROOT = Path(__file__).resolve().parent.parent
_DOCS = _ROOT / "docs"
_IMAGES = _DOCS / "images"
README = _ROOT / "README.md"


def _place(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- /bench -->)", re.DOTALL)


def has_place(page: Path, name: str) -> bool:
    """Is there somewhere on the page for this table?"""
    return _place(name).search(page.read_text()) is not None


def page_of(name: str) -> Path | None:
    """The page of the documentation that has the place."""
    return next((page for page in sorted(_DOCS.glob("**/*.md")) if has_place(page, name)), None)


def put(page: Path, name: str, table: str) -> None:
    """Replace what stands between the markers."""
    page.write_text(_place(name).sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page.read_text()))


def draw(chart: Chart) -> None:
    """A file for light pages, and one for dark ones."""
    _IMAGES.mkdir(exist_ok=True)
    for theme in (LIGHT, DARK):
        (_IMAGES / f"{chart.name}-{theme.name}.svg").write_text(chart.svg(theme))
