"""Each page as it looks: wide and narrow, light and dark; axe finds nothing serious; the pictures for the docs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.conftest import PASSWORD, Demo
from tests.browser.people import LAPTOP, PHONE, Person
from tests.server import ROOT

pytestmark = pytest.mark.browser

AXE = (ROOT / "tests/browser/vendor/axe/axe.min.js").read_text()
# Where the pictures go; `make screenshots` sets it.
PICTURES = os.environ.get("JWT_REDIS_SCREENSHOTS")
# Parts of Django's own admin, whose links have no lines and whose search has no label.
DJANGO_ADMIN = ["#header", ".breadcrumbs", "#nav-sidebar", "#changelist-search"]
ALICE = ("alice", "correct horse")
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
    " Edg/138.0.0.0"
)
SIZES = {"wide": {"width": 1180, "height": 780}, "narrow": {"width": 390, "height": 780}}
# Light and dark, wide and narrow are all looked at; each with each where there are pictures to be made.
LOOKS = [("light", "wide"), ("dark", "narrow"), *([("dark", "wide"), ("light", "narrow")] if PICTURES else [])]


class Looker:
    """Looks at pages. ``found``: what is wrong with them."""

    def __init__(self, one: Person, look: str) -> None:
        self.one = one
        self.look = look
        self.found: list[str] = []

    def at(self, path: str, picture: str = "") -> None:
        """Open a page and look at it."""
        self.one.go(path)
        self.here(picture)

    def here(self, picture: str = "") -> None:
        """Look at the page that is open. ``picture``: of which there is one in the documentation."""
        page = self.one.page
        where = f"{self.look} {page.url.removeprefix(self.one.base)}"
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider > 0:
            self.found.append(f"{where}: {wider} pixels wider than the window")
        if PICTURES and picture:
            # A caret that blinks, and the ring around it, would make each picture another.
            page.evaluate("document.activeElement.blur()")
            page.screenshot(path=Path(PICTURES) / f"{picture}-{self.look}.png", animations="disabled")
        # By the debugger's protocol, for which the page's Content-Security-Policy does not matter.
        page.evaluate(AXE)
        # Its preloading puts a style into the page, which that policy refuses.
        run = "async exclude => (await axe.run({exclude}, {preload: false})).violations"
        rules: list[dict[str, Any]] = page.evaluate(run, DJANGO_ADMIN)
        self.found += [
            f"{where}: {rule['id']} ({rule['impact']}) at {node['target']}: {node['failureSummary']}"
            for rule in rules
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]


@pytest.fixture(params=LOOKS, ids="-".join)
def looker(request: pytest.FixtureRequest, person: Callable[..., Person]) -> Iterator[Callable[[], Looker]]:
    """Makes somebody who looks at pages; in the end nothing may be wrong with them."""
    scheme, size = request.param
    lookers = []

    def make() -> Looker:
        one = person(color_scheme=scheme, viewport=SIZES[size], reduced_motion="reduce")
        lookers.append(Looker(one, f"{size}-{scheme}"))
        return lookers[-1]

    yield make
    found = [problem for one in lookers for problem in one.found]
    assert not found, "\n".join(found)


def _sign_in_elsewhere(demo: Demo, agent: str, name: str, password: str) -> dict[str, str]:
    """A device that has no browser here. Its header."""
    with requests.Session() as session:
        # A proxy in the environment is not for loopback.
        session.trust_env = False
        session.headers["User-Agent"] = agent
        credentials = {"username": name, "password": password}
        answer = session.post(f"{demo.base}/api/auth/token/", json=credentials, timeout=30)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access']}"}


def _sign_out_everywhere(demo: Demo, header: dict[str, str]) -> None:
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(f"{demo.base}/api/auth/logout/all/", headers=header, timeout=30).status_code == 200


def test_pages_of_who_is_not_signed_in(looker: Callable[[], Looker], demo: Demo, user: str) -> None:
    them = looker()
    them.at("/", "sign-in")
    them.one.page.get_by_label("Username").fill("nobody")
    them.one.page.get_by_label("Password").fill("nothing")
    them.one.press("Sign in")
    them.one.sees("Please enter a correct username and password")
    them.here()
    them.at("/devices/signed-out/")
    for agent in (PHONE, EDGE):
        header = _sign_in_elsewhere(demo, agent, user, PASSWORD)
    them.at("/mail/")
    mail = them.one.page.get_by_role("article").filter(has_text=f"{user}@example.com").first
    mail.get_by_role("link", name=re.compile("not-me")).click()
    them.here()
    them.at("/devices/not-me/nonsense/")
    # Somebody who was in, and is out.
    them.one.sign_in(user, PASSWORD)
    them.one.go("/mail/")
    _sign_out_everywhere(demo, header)
    them.at("/notes/")
    them.one.sees("You were signed out")
    them.at("/")
    them.one.sees("You were signed out")


def test_pages_of_who_is_signed_in(looker: Callable[[], Looker], demo: Demo) -> None:
    _sign_out_everywhere(demo, _sign_in_elsewhere(demo, LAPTOP, *ALICE))
    for agent in (EDGE, PHONE):
        _sign_in_elsewhere(demo, agent, *ALICE)
    alice = looker()
    alice.one.sign_in(*ALICE)
    alice.at("/")
    alice.one.page.keyboard.press("Tab")
    assert alice.one.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    alice.one.press("Steal my refresh token")
    alice.one.sees("A copy was taken")
    alice.here()
    alice.one.go("/devices/")
    row = alice.one.device("Edge")
    row.get_by_text("Name and details").first.click()
    row.get_by_label("Name").fill("Work laptop")
    row.get_by_role("button", name="Save").click()
    alice.one.sees("The name was saved.")
    alice.here()
    alice.at("/devices/", "devices")
    alice.one.page.get_by_text("Name and details").first.click()
    alice.here()
    alice.at("/notes/")
    alice.one.page.get_by_label("New note").fill("Buy a padlock, and a second one for the padlock")
    alice.one.press("Add")
    alice.one.sees("Delete")
    alice.here()
    alice.at("/password/", "password")
    alice.one.page.get_by_label("Old password").fill("not this one")
    alice.one.page.get_by_label("New password", exact=True).fill("1234")
    alice.one.page.get_by_label("New password confirmation").fill("4321")
    alice.one.press("Change password")
    alice.one.sees("Your old password was entered incorrectly")
    alice.here()
    alice.at("/mail/")


def test_pages_of_staff(looker: Callable[[], Looker], demo: Demo) -> None:
    for name, password in (ALICE, ("bob", "battery staple")):
        _sign_out_everywhere(demo, _sign_in_elsewhere(demo, LAPTOP, name, password))
    for agent in (LAPTOP, PHONE):
        _sign_in_elsewhere(demo, agent, "bob", "battery staple")
    alice = looker()
    alice.one.sign_in(*ALICE)
    alice.at("/admin/jwt_redis/session/", "admin")
    alice.one.page.get_by_role("link", name=re.compile("bob")).first.click()
    alice.here()
    alice.at("/admin/jwt_redis/session/revoke-everything/")
    alice.at("/admin/jwt_redis/session/health/")
    alice.at("/admin/jwt_redis/revocation/")


def test_the_admin_is_not_for_everybody(looker: Callable[[], Looker], user: str) -> None:
    them = looker()
    them.one.sign_in(user, PASSWORD)
    them.at("/admin/")
    them.one.sees_heading(f"Not for {user}")
