"""The tutorial, step by step, from an empty folder; its last part here by HTTP, in tests/browser in Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from tests.support.blocks import Block, Command, blocks, commands, matches
from tests.support.tutorial import PAGE, needs, reading

_SECONDS = 30


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, page
    return found[1]


def _sign_in(browser: requests.Session, base: str) -> str:
    page = browser.get(f"{base}/auth/devices/", timeout=_SECONDS)
    assert page.url.startswith(f"{base}/auth/sign-in/")
    data = {
        "username": "alice",
        "password": "correct horse",
        "csrfmiddlewaretoken": _field(page.text, "csrfmiddlewaretoken"),
    }
    page = browser.post(page.url, data, timeout=_SECONDS)
    assert page.url == f"{base}/auth/devices/"
    return page.text


@pytest.mark.slow
@pytest.mark.skipif(needs() is not None, reason=f"there is no {needs()}")
def test_who_does_what_the_tutorial_says_comes_to_where_it_says(tmp_path: Path) -> None:
    with reading(tmp_path) as reader, requests.Session() as first, requests.Session() as second:
        for browser in (first, second):
            browser.trust_env = False
        assert "This device" in _sign_in(first, reader.base)
        before = {session["sid"] for session in reader.sessions()}
        assert "This device" in _sign_in(second, reader.base)
        [other] = {session["sid"] for session in reader.sessions()} - before

        page = first.get(f"{reader.base}/auth/devices/", timeout=_SECONDS).text
        assert f"/auth/devices/{other}/sign-out/" in page
        data = {"csrfmiddlewaretoken": _field(page, "csrfmiddlewaretoken")}
        page = first.post(f"{reader.base}/auth/devices/{other}/sign-out/", data, timeout=_SECONDS).text
        assert "was signed out" in page and "This device" in page

        assert "access_token" in second.cookies
        out = second.get(f"{reader.base}/auth/devices/", timeout=_SECONDS)
        [said] = [
            words for words in re.findall(r"\*\*(.+?)\*\*", PAGE.read_text()) if words.endswith("another device.")
        ]
        assert (out.status_code, said.rstrip(".") in out.text) == (401, True)
        assert reader.did[:2] == ["python3 -m venv .venv", ". .venv/bin/activate"]


def test_output_is_compared_with_what_the_page_promises() -> None:
    assert matches("one\ntwo\nthree\n", "one\n…\nthree")
    assert matches("one\nthree\n", "one\n…\nthree")
    assert matches('{"a": "xyz"}\n', '{"a": "…"}')
    assert not matches("one\ntwo\n", "one")
    assert not matches("one\n", "one\ntwo")
    assert not matches("anything\n", "")
    assert matches("\n", "")


def test_a_command_may_go_on_in_the_next_line() -> None:
    block = Block(PAGE, 1, "console", "$ one \\\n    two\nprinted\n$ three\n")
    assert commands(block) == [Command("one two", "printed\n"), Command("three", "")]


def test_the_page_says_into_which_file_each_block_goes() -> None:
    for block in blocks(PAGE):
        verb, target = block.told
        assert block.language == "console" or (verb in ("write", "append") and f"`{target}`" in PAGE.read_text()), block
