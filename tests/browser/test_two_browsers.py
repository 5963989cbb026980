"""Two browsers, one user: each way in which the one makes the other fall out, and what the other is told."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest
import redis

from tests.browser.conftest import PASSWORD, Demo
from tests.browser.people import LAPTOP, PHONE, Person

pytestmark = pytest.mark.browser

OUT = "You were signed out"


@pytest.fixture
def two(person: Callable[..., Person], user: str, has_scripts: bool) -> tuple[Person, Person]:
    """A laptop and a phone, both signed in."""
    laptop = person(agent=LAPTOP, has_scripts=has_scripts)
    phone = person(agent=PHONE, has_scripts=has_scripts, viewport={"width": 390, "height": 760})
    for one in (laptop, phone):
        one.sign_in(user, PASSWORD)
    return laptop, phone


def _assert_is_out(one: Person, why: str) -> None:
    """It finds out by itself, or without scripts at its next click."""
    if not one.has_scripts:
        one.click("Notes")
    one.sees(OUT)
    one.sees(why)
    # Not by that click alone.
    one.go("/notes/")
    one.sees_heading(OUT)


def _assert_is_in(one: Person) -> None:
    one.go("/notes/")
    one.sees_heading("Notes")


def test_each_lists_both_and_knows_which_it_is_itself(two: tuple[Person, Person]) -> None:
    for one, own, other in ((two[0], "Firefox on Linux", "Safari"), (two[1], "Safari", "Firefox on Linux")):
        one.click("Devices")
        assert one.page.get_by_text("This device", exact=True).count() == 1
        assert "This device" in one.device(own).inner_text()
        assert "This device" not in one.device(other).inner_text()


def test_one_that_is_signed_out_from_the_other_falls_out(two: tuple[Person, Person]) -> None:
    laptop, phone = two
    phone.click("Devices")
    laptop.click("Devices")
    laptop.device("Safari").get_by_role("button", name="Sign out").click()
    laptop.sees("was signed out.")
    laptop.sees_heading("1 device")
    _assert_is_out(phone, "You signed out, here or on another device.")
    _assert_is_in(laptop)


def test_all_others(two: tuple[Person, Person]) -> None:
    laptop, phone = two
    phone.click("Devices")
    phone.press("Sign out of all other devices")
    phone.sees("1 other device was signed out.")
    _assert_is_out(laptop, "You signed out, here or on another device.")
    _assert_is_in(phone)


def test_a_new_password_leaves_one_signed_in_and_no_other(two: tuple[Person, Person]) -> None:
    laptop, phone = two
    laptop.click("Password")
    laptop.page.get_by_label("Old password").fill(PASSWORD)
    laptop.page.get_by_label("New password", exact=True).fill("another for the same tests")
    laptop.page.get_by_label("New password confirmation").fill("another for the same tests")
    laptop.press("Change password")
    laptop.sees("The password is changed.")
    _assert_is_out(phone, "Your password was changed")
    _assert_is_in(laptop)
    # Its new session can be refreshed, too.
    laptop.let_access_token_run_out()
    _assert_is_in(laptop)


def test_a_copy_of_the_refresh_token_gives_both_away(two: tuple[Person, Person], person: Callable[..., Person]) -> None:
    owner, other = two
    thief = person(agent=LAPTOP, has_scripts=owner.has_scripts)
    thief.context.add_cookies([one for one in owner.context.cookies() if one["name"] == "demo_refresh"])
    # The owner goes on: an old copy is no longer what a second tab could have sent.
    for _ in range(2):
        before = owner.cookie("demo_refresh")
        owner.let_access_token_run_out()
        owner.go("/")
        owner.sees("Hello")
        assert owner.cookie("demo_refresh") != before
    thief.go("/notes/")
    thief.sees_heading(OUT)
    thief.sees("Somebody used an old copy of your sign-in.")
    _assert_is_out(owner, "Somebody used an old copy of your sign-in.")
    _assert_is_in(other)


def test_the_thief_that_the_demo_plays(two: tuple[Person, Person]) -> None:
    owner, other = two
    owner.press("Steal my refresh token")
    owner.sees("A copy was taken")
    owner.press("Use the stolen copy")
    owner.sees("Somebody used an old copy of your sign-in.")
    owner.sees("The thief was refused (session_ended)")
    _assert_is_in(other)


def test_a_password_that_is_changed_without_a_signal(two: tuple[Person, Person], demo: Demo, user: str) -> None:
    demo.shell(
        "from django.contrib.auth.models import User\n"
        f"assert User.objects.filter(username={user!r}).update(password='!') == 1"
    )
    for one in two:
        one.let_access_token_run_out()
        _assert_is_out(one, "Your password was changed")


def test_the_link_in_the_message_works_once(
    two: tuple[Person, Person], person: Callable[..., Person], user: str
) -> None:
    laptop = two[0]
    # Where the mail is read nobody has to be signed in.
    reader = person(has_scripts=laptop.has_scripts)
    reader.go("/mail/")
    (mail,) = reader.page.get_by_role("article").filter(has_text=f"{user}@example.com").all()
    assert "New sign-in" in mail.inner_text()
    link = mail.get_by_role("link", name=re.compile("not-me"))
    url = link.get_attribute("href")
    assert url
    link.click()
    reader.press("It was not me: sign out every device")
    reader.sees_heading("All devices were signed out")
    reader.sees("2 devices were signed out")
    for one in two:
        _assert_is_out(one, "You said that a sign-in was not you")
    laptop.sign_in(user, PASSWORD)
    reader.go(url)
    reader.sees_heading("This link does not work")
    reader.sees("It was used already")
    _assert_is_in(laptop)


def test_everywhere_here_too(two: tuple[Person, Person]) -> None:
    laptop, phone = two
    laptop.click("Devices")
    laptop.press("Sign out everywhere, here too")
    laptop.sees_heading("You are signed out")
    assert laptop.cookie("demo_access") is None and laptop.cookie("demo_refresh") is None
    _assert_is_out(phone, "You signed out, here or on another device.")


def test_staff_end_everything(two: tuple[Person, Person], person: Callable[..., Person], user: str) -> None:
    staff = person(has_scripts=two[0].has_scripts)
    staff.sign_in("alice", "correct horse")
    staff.go("/admin/jwt_redis/session/revoke-everything/")
    staff.page.get_by_label("Why").fill("drill")
    staff.page.get_by_label("The name of this site").fill("some other site")
    staff.press("End everybody's sessions")
    staff.sees("That is not the name of this site.")
    _assert_is_in(two[0])
    staff.page.get_by_label("The name of this site").fill(staff.base.removeprefix("http://"))
    staff.press("End everybody's sessions")
    # Staff, too, whose session is one like any other here.
    for one in (staff, *two):
        if not one.has_scripts and one is not staff:
            one.click("Notes")
        one.sees("You were signed out")
        one.sees("All devices were signed out, as a precaution.")
    # Whoever signs in again is in.
    two[0].sign_in(user, PASSWORD)


def test_staff_end_one_session(two: tuple[Person, Person], person: Callable[..., Person], user: str) -> None:
    laptop, phone = two
    staff = person(has_scripts=laptop.has_scripts)
    staff.sign_in("alice", "correct horse")
    staff.go("/admin/jwt_redis/session/")
    staff.page.get_by_label("Search for").fill(user)
    staff.press("Search")
    row = staff.page.get_by_role("row").filter(has_text="Safari")
    row.get_by_role("checkbox").check()
    staff.press("End the selected sessions")
    # Meanwhile the access token runs out: the form is sent with the refresh token alone, and is carried out.
    staff.let_access_token_run_out()
    staff.press("Yes, end them")
    staff.sees("1 session was ended.")
    _assert_is_out(phone, "This device was signed out.")
    _assert_is_in(laptop)


def test_a_redis_that_does_not_answer_signs_nobody_out(person: Callable[..., Person], demo: Demo, user: str) -> None:
    one = person(has_scripts=False)
    one.sign_in(user, PASSWORD)
    other = person(has_scripts=False)
    other.go("/sign-in/")
    other.page.get_by_label("Username").fill(user)
    other.page.get_by_label("Password").fill(PASSWORD)
    with redis.Redis.from_url(demo.redis_url) as client:
        server = client.info("server")["process_id"]
    os.kill(server, signal.SIGSTOP)
    try:
        other.press("Sign in")
        other.sees_heading("Try again shortly")
        for path in ("/notes/", "/devices/", "/admin/"):
            one.go(path)
            one.sees_heading("Try again shortly")
    finally:
        os.kill(server, signal.SIGCONT)
    deadline = time.monotonic() + 20
    while one.page.get_by_role("heading", name="Notes").count() == 0 and time.monotonic() < deadline:
        one.go("/notes/")
    _assert_is_in(one)
