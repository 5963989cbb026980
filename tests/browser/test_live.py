"""What a page shows by itself, where scripts run: devices and notes that come and go elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import PASSWORD
from tests.browser.people import LAPTOP, PHONE, Person

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Route

pytestmark = pytest.mark.browser


@pytest.fixture
def laptop(person: Callable[..., Person], user: str) -> Person:
    """Somebody who is signed in."""
    one = person(agent=LAPTOP)
    one.sign_in(user, PASSWORD)
    return one


def _go_and_look(one: Person, name: str) -> None:
    """What comes from then on is news to the page: it has asked once. It does when it is loaded, and every 2 s."""
    one.click(name)
    with one.page.expect_response("**/live/"):
        pass


def test_another_device_comes_and_goes(laptop: Person, person: Callable[..., Person], user: str) -> None:
    _go_and_look(laptop, "Devices")
    laptop.sees_heading("1 device")
    phone = person(agent=PHONE)
    phone.sign_in(user, PASSWORD)
    laptop.page.get_by_role("status").filter(has_text="has signed in.").wait_for()
    laptop.sees_heading("2 devices")
    phone.press("Sign out")
    phone.sees_heading("You are signed out")
    laptop.sees_heading("1 device")
    laptop.sees("was signed out.")


def test_what_somebody_is_typing_stays(laptop: Person, person: Callable[..., Person], user: str) -> None:
    _go_and_look(laptop, "Devices")
    laptop.page.get_by_text("Name and details").click()
    laptop.page.get_by_label("Name").fill("Half a na")
    person(agent=PHONE).sign_in(user, PASSWORD)
    laptop.sees("has signed in.")
    assert laptop.page.get_by_label("Name").input_value() == "Half a na"
    laptop.page.get_by_label("Name").press("Enter")
    laptop.sees_heading("Half a na")
    laptop.sees_heading("2 devices")


def test_a_note_from_elsewhere(laptop: Person, person: Callable[..., Person], user: str) -> None:
    _go_and_look(laptop, "Notes")
    laptop.sees("None yet.")
    phone = person(agent=PHONE)
    phone.sign_in(user, PASSWORD)
    phone.click("Notes")
    phone.page.get_by_label("New note").fill("From the phone")
    phone.press("Add")
    laptop.sees("From the phone")


def test_a_list_is_changed_in_place(laptop: Person, person: Callable[..., Person], user: str) -> None:
    """With htmx the page is not loaded again."""
    phone = person(agent=PHONE)
    phone.sign_in(user, PASSWORD)
    laptop.click("Devices")
    laptop.page.evaluate("window.isTheSamePage = true")
    laptop.device("Safari").get_by_role("button", name="Sign out").click()
    laptop.sees_heading("1 device")
    laptop.sees("was signed out.")
    assert laptop.page.evaluate("window.isTheSamePage") is True
    # What was done here is no news.
    laptop.page.wait_for_timeout(2500)
    assert laptop.page.locator("#news").inner_text() == ""
    assert laptop.page.locator("#jwt-sessions").get_by_text("was signed out.").is_visible()


def test_an_answer_from_before_a_click_makes_no_news_of_it(
    laptop: Person, person: Callable[..., Person], user: str
) -> None:
    person(agent=PHONE).sign_in(user, PASSWORD)
    held: list[tuple[Route, APIResponse]] = []
    laptop.page.route("**/live/", lambda route: held.append((route, route.fetch())), times=1)
    laptop.click("Devices")
    while not held:
        laptop.page.wait_for_timeout(50)
    laptop.device("Safari").get_by_role("button", name="Sign out").click()
    laptop.sees_heading("1 device")
    [(route, answer)] = held
    with laptop.page.expect_response("**/live/"):
        route.fulfill(response=answer)
    # The next one knows of it.
    with laptop.page.expect_response("**/live/"):
        pass
    laptop.page.wait_for_timeout(500)
    assert laptop.page.locator("#news").inner_text() == ""


def test_no_copy_of_the_list_is_left_in_the_browser(laptop: Person) -> None:
    """Nor where a project leaves htmx its history, which is in the browser's storage for whoever comes next."""
    laptop.go("/devices/")
    laptop.page.evaluate("() => { htmx.config.historyCacheSize = 10; }")
    row = laptop.device("This device")
    row.get_by_text("Name and details").first.click()
    row.get_by_label("Name").fill("Mine")
    row.get_by_role("button", name="Save").click()
    laptop.sees("The name was saved.")
    kept = laptop.page.evaluate("() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "jwt-sessions" not in kept and "127.0.0.1" not in kept


def test_with_the_switch_on_it_hears_at_once_that_it_was_signed_out(
    laptop: Person, person: Callable[..., Person], user: str
) -> None:
    """Over the event stream: what the page would ask is not answered."""
    switch = laptop.page.get_by_role("switch", name="Hear at once")
    assert not switch.is_checked()
    with laptop.page.expect_response("**/live/events/") as opened:
        switch.check()
    assert opened.value.headers["content-type"] == "text/event-stream"
    laptop.click("Notes")
    assert switch.is_checked()
    phone = person(agent=PHONE)
    phone.sign_in(user, PASSWORD)
    laptop.page.route("**/live/", lambda route: route.fulfill(status=204))
    # As after a minute, in which the stream ends with the token: the browser comes again.
    phone.click("Devices")
    phone.press("Sign out of all other devices")
    laptop.sees("You were signed out.")
    laptop.sees("You signed out, here or on another device.")


def test_a_stream_outlives_the_token_and_the_switch_goes_off(laptop: Person) -> None:
    switch = laptop.page.get_by_role("switch", name="Hear at once")
    laptop.let_access_token_run_out()
    with laptop.page.expect_response("**/live/events/") as opened:
        switch.check()
    # Refreshed in passing, for the pages too.
    assert opened.value.status == 200
    assert laptop.cookie("demo_access")
    switch.uncheck()
    laptop.click("Notes")
    assert not switch.is_checked()
