"""Somebody who looks at pages: axe, what is wider than the window, and the pictures for the documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tests.browser.people import Person
from tests.support.server import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

# Where the pictures go; `make screenshots` sets it.
PICTURES: Final = os.environ.get("JWT_REDIS_SCREENSHOTS")
_SIZES: Final[dict[str, ViewportSize]] = {
    "wide": {"width": 1180, "height": 780},
    "narrow": {"width": 390, "height": 780},
}
# Light and dark, wide and narrow are all looked at; each with each where there are pictures to be made.
_LOOKS: Final[list[tuple[str, Literal["light", "dark"]]]] = [("wide", "light"), ("narrow", "dark")]
_MORE: Final[list[tuple[str, Literal["light", "dark"]]]] = [("wide", "dark"), ("narrow", "light")]
_AXE: Final = (ROOT / "tests/browser/vendor/axe/axe.min.js").read_text()
# What axe minds of Django's own admin: the rule, and where. Anything else on the same pages is ours to mend.
DJANGO_ADMIN: Final = [
    # Links beside text that have no line under them.
    ["link-in-text-block", "#user-tools, .breadcrumbs, #changelist-search .small"],
    # The search of a list of a model's objects. That of sessions is ours, and has a label.
    ["label-title-only", "#searchbar"],
    # A user's own page: icons in the two-column lists of groups and rights, and dates in two fields with one label.
    ["aria-prohibited-attr", ".selector .help-tooltip"],
    ["label", ".datetime"],
]
# Its preloading puts a style into the page, which the demo's policy refuses.
_RUN: Final = """
async (foreign) => {
  const { violations } = await axe.run(document, { preload: false, resultTypes: ['violations'] });
  const isForeign = (rule, node) => foreign.some(([id, where]) =>
    id === rule.id && document.querySelector(node.target[0])?.closest(where));
  return violations
    .filter((rule) => ["serious", "critical"].includes(rule.impact))
    .flatMap((rule) => rule.nodes.filter((node) => !isForeign(rule, node)).map((node) =>
      `${rule.id} (${rule.impact}) at ${node.target}: ${node.failureSummary}`));
}
"""


class Looker:
    """Looks at pages in each look, without loading them again. ``found``: what is wrong with them."""

    def __init__(self, one: Person) -> None:
        self.one = one
        self.found: list[str] = []

    def at(self, path: str, picture: str = "") -> None:
        """Open a page and look at it."""
        self.one.go(path)
        self.here(picture)

    def here(self, picture: str = "") -> None:
        """Look at the page that is open. ``picture``: of which there is one in the documentation."""
        self.one.page.wait_for_load_state()
        # By the debugger's protocol, for which the page's Content-Security-Policy does not matter.
        self.one.page.evaluate(_AXE)
        for size, scheme in _LOOKS:
            self._see(size, scheme)
            problems: list[Any] = self.one.page.evaluate(_RUN, DJANGO_ADMIN)
            self._note(f"{size} {scheme}", problems)
            self._picture(picture, size, scheme)
        for size, scheme in _MORE if PICTURES and picture else []:
            self._see(size, scheme)
            self._picture(picture, size, scheme)

    def _see(self, size: str, scheme: Literal["light", "dark"]) -> None:
        page = self.one.page
        page.set_viewport_size(_SIZES[size])
        page.emulate_media(color_scheme=scheme)
        # Django's admin takes its time from one colour to the other.
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        self._note(f"{size} {scheme}", [f"{wider} pixels wider than the window"] if wider > 0 else [])

    def _note(self, look: str, problems: list[str]) -> None:
        where = self.one.page.url.removeprefix(self.one.base)
        self.found += [f"{look} {where}: {problem}" for problem in problems]

    def _picture(self, picture: str, size: str, scheme: str) -> None:
        if PICTURES and picture:
            # A caret that blinks, and the ring around it, would make each picture another.
            self.one.page.evaluate("document.activeElement.blur()")
            self.one.page.screenshot(path=Path(PICTURES) / f"{picture}-{size}-{scheme}.png", animations="disabled")
