"""The end of the tutorial: two browsers, and what the page says in bold is what is there to see and to press."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.people import Person
from tests.support.tutorial import PAGE, needs, reading

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.skipif(needs() is not None, reason=f"there is no {needs()}")
def test_one_browser_signs_the_other_out(tmp_path: Path, chromium: Browser) -> None:
    steps = PAGE.read_text().split("## Two browsers")[1].split("## Where")[0]
    name, password, this_device, sign_out, out = re.findall(r"\*\*(.+?)\*\*", steps)
    with reading(tmp_path) as reader:
        [path] = {found.removeprefix("http://127.0.0.1:8000") for found in re.findall(r"<(http.+?)>", steps)}
        first, second = (Person(chromium, reader.base) for _ in range(2))
        for one in (first, second):
            one.go(path)
            one.page.get_by_label("Username").fill(name)
            one.page.get_by_label("Password").fill(password)
            one.press("Sign in")
            one.sees(this_device)
        first.go(path)
        rows = first.page.get_by_role("listitem").filter(has=first.page.get_by_role("button", name=sign_out))
        # This browser, the other one, and the phone, which has no name here.
        assert rows.count() == 3
        rows.filter(has_text="Firefox on Linux").nth(1).get_by_role("button", name=sign_out).click()
        first.sees("was signed out")
        first.sees(this_device)
        second.go(path)
        second.sees(out)
        # The first one's, and the phone's.
        assert len(reader.sessions()) == 2
        # The project of the tutorial has no icon.
        errors = [error for error in first.errors + second.errors if "favicon.ico" not in error]
        for one in (first, second):
            one.close()
        assert errors == []
