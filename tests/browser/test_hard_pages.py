"""The page of devices where it is hard: by the keyboard, from right to left, with many and with hostile devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import PASSWORD, Demo, run_demo, sign_in_many
from tests.browser.looking import Looker
from tests.browser.people import HOSTILE, PHONE, Person

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser


def _tab_to(one: Person, target: Locator) -> None:
    """As somebody does who has no mouse."""
    for _ in range(60):
        one.page.keyboard.press("Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            # And who sees where they are.
            assert target.evaluate("(element) => getComputedStyle(element).outlineStyle") != "none"
            return
    raise AssertionError(f"Tab does not lead to {target}.")


def test_by_the_keyboard_alone(person: Callable[..., Person], demo: Demo, user: str, has_scripts: bool) -> None:
    sign_in_many(demo, user, [PHONE])
    one = person(has_scripts=has_scripts)
    page = one.page
    one.go("/")
    _tab_to(one, page.get_by_label("Username"))
    page.keyboard.type(user)
    _tab_to(one, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    one.sees_heading(f"Hello {user}")
    _tab_to(one, page.get_by_role("link", name="Devices", exact=True))
    page.keyboard.press("Enter")
    one.sees_heading("2 devices")
    phone = one.device("Safari")
    _tab_to(one, phone.locator("summary"))
    page.keyboard.press("Enter")
    _tab_to(one, phone.get_by_label("Name"))
    page.keyboard.type("Grandmother's")
    page.keyboard.press("Enter")
    one.sees("The name was saved.")
    # What was done has the focus, for who listens.
    page.wait_for_function("document.activeElement.textContent.includes('The name was saved.')")
    _tab_to(one, one.device("Grandmother's").get_by_role("button", name="Sign out"))
    page.keyboard.press("Enter")
    one.sees("was signed out.")
    page.wait_for_function("document.activeElement.textContent.includes('was signed out.')")
    one.sees_heading("1 device")


def test_many_and_hostile_devices(looker: Callable[..., Looker], demo: Demo, user: str) -> None:
    sign_in_many(demo, user, [*HOSTILE] * 7)
    them = looker()
    one = them.one
    one.sign_in(user, PASSWORD)
    them.at("/devices/")
    one.sees_heading(f"{len(HOSTILE) * 7 + 1} devices")
    one.sees("Page 1 of 2")
    # What a client calls itself is nobody's name.
    names = one.page.get_by_role("listitem").get_by_role("heading").all_inner_texts()
    assert len(names) == 20 and {name.removesuffix(" This device") for name in names[1:]} == {"Unknown browser"}
    one.page.get_by_text("Name and details").nth(1).click()
    one.page.get_by_text("Name and details").nth(2).click()
    them.here()
    one.page.get_by_role("link", name="Next").click()
    one.sees("Page 2 of 2")
    them.here()
    one.page.get_by_role("listitem").last.get_by_role("button", name="Sign out").click()
    one.sees("was signed out.")
    # Where it was.
    one.sees("Page 2 of 2")
    assert "mine" not in one.page.title()
    one.press("Sign out of all other devices")
    one.sees(f"{len(HOSTILE) * 7 - 1} other devices were signed out.")
    one.sees_heading("1 device")


def test_from_right_to_left(looker: Callable[..., Looker], tmp_path: Path) -> None:
    with run_demo(tmp_path, users=0, language="ar") as demo:
        sids = sign_in_many(demo, "alice", [PHONE, *HOSTILE])
        them = looker(base=demo.base)
        one = them.one
        # Its form speaks Django's Arabic.
        one.go("/")
        one.press("Sign in as alice")
        one.sees_heading("Hello alice")
        them.at("/devices/")
        assert one.page.evaluate("getComputedStyle(document.body).direction") == "rtl"
        # A line begins where Arabic does.
        icon, name = (one.device("Safari").locator(part).bounding_box() for part in (".jr-icon", "h3"))
        assert icon and name and icon["x"] > name["x"]
        one.page.get_by_text("Name and details").nth(1).click()
        them.here()
        for path in ("", f"?by=sid&q={sids[0]}", "?by=ip&q=198.51.100.7", "revoke-user/?user=1", "health/"):
            them.at(f"/admin/jwt_redis/session/{path}")
        them.at("/admin/auth/user/1/change/")
        # It asks for news no more, of a demo that is about to end.
        one.page.goto("about:blank")
        one.page.set_content(demo.html_of_mail("alice"))
        assert one.page.evaluate("getComputedStyle(document.body).direction") == "rtl"
        them.here()
