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
    # Somebody who was in, and is out.
    them.one.sign_in(user, PASSWORD)
    them.one.go("/mail/")
    sign_out_everywhere(demo, sign_in_elsewhere(demo, PHONE, user, PASSWORD))
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


# A link that was made before a while.
OLD_LINK = """
from unittest.mock import patch
from django.core import signing
from jwt_redis.notices import _SALT
with patch("django.core.signing.time.time", return_value=1e9):
    print(signing.dumps(["1", "x" * 22], salt=_SALT))
"""


def test_the_notice_and_its_link(looker: Callable[[], Looker], demo: Demo, user: str) -> None:
    for agent in (PHONE, EDGE):
        sign_in_elsewhere(demo, agent, user, PASSWORD)
    them = looker()
    page = them.one.page
    them.at("/mail/")
    (mail,) = page.get_by_role("article").filter(has_text=f"{user}@example.com").all()
    link = mail.get_by_role("link", name=re.compile("not-me")).get_attribute("href")
    assert link
    # The mail as a program shows it that knows HTML, and not the demo's policy, which would refuse its styles.
    page.goto("about:blank")
    page.set_content(demo.html_of_mail(user))
    them.here()
    assert page.get_by_role("link", name="This was not me").get_attribute("href") == link
    page.get_by_role("link", name="This was not me").click()
    them.one.sees_heading("Was this not you?")
    them.here()
    them.one.press("It was not me: sign out every device")
    them.one.sees("2 devices were signed out")
    them.here()
    them.at(link)
    them.one.sees("It was used already")
    them.at(f"/devices/not-me/{demo.shell(OLD_LINK).strip()}/")
    them.one.sees("It is too old.")
    them.at("/devices/not-me/nonsense/")
    them.one.sees("It is not complete, or not one of ours.")


def test_the_admin_is_not_for_everybody(looker: Callable[[], Looker], user: str) -> None:
    them = looker()
    them.one.sign_in(user, PASSWORD)
    them.at("/admin/")
    them.one.sees_heading(f"Not for {user}")
