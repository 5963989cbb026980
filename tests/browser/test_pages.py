"""Each page as it looks: wide and narrow, light and dark; axe finds nothing serious; the pictures for the docs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.conftest import PASSWORD, Demo, sign_in_elsewhere, sign_out_everywhere
from tests.browser.looking import Looker
from tests.browser.people import LAPTOP, PHONE

pytestmark = pytest.mark.browser

ALICE = ("alice", "correct horse")
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
    " Edg/138.0.0.0"
)


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
        header = sign_in_elsewhere(demo, agent, user, PASSWORD)
    them.at("/mail/")
    mail = them.one.page.get_by_role("article").filter(has_text=f"{user}@example.com").first
    mail.get_by_role("link", name=re.compile("not-me")).click()
    them.here()
    them.at("/devices/not-me/nonsense/")
    # Somebody who was in, and is out.
    them.one.sign_in(user, PASSWORD)
    them.one.go("/mail/")
    sign_out_everywhere(demo, header)
    them.at("/notes/")
    them.one.sees("You were signed out")
    them.at("/")
    them.one.sees("You were signed out")


def test_pages_of_who_is_signed_in(looker: Callable[[], Looker], demo: Demo) -> None:
    sign_out_everywhere(demo, sign_in_elsewhere(demo, LAPTOP, *ALICE))
    for agent in (EDGE, PHONE):
        sign_in_elsewhere(demo, agent, *ALICE)
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


def test_the_admin_is_not_for_everybody(looker: Callable[[], Looker], user: str) -> None:
    them = looker()
    them.one.sign_in(user, PASSWORD)
    them.at("/admin/")
    them.one.sees_heading(f"Not for {user}")
