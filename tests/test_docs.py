"""The documentation names what there is: every setting, check, signal, command and URL, and its links hold."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal

from jwt_redis import conf, signals, urls
from tests import test_topology
from tests.support.blocks import DOCS, ROOT, blocks


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.fixture(scope="module")
def reference() -> Any:
    return runpy.run_path(str(ROOT / "docs/make_reference.py"))


def test_the_reference_is_what_the_code_says(reference: Any) -> None:
    differing = [path.name for path, page, made in reference["pages"]() if page != made]
    assert differing == [], "make reference"


def test_everything_that_can_be_made_has_a_place(reference: Any) -> None:
    places = {name for path in DOCS for name in re.findall(r"<!-- made:([\w.-]+) -->", path.read_text())}
    assert places == set(reference["MAKERS"])


def test_every_setting_is_described_and_no_other() -> None:
    described = set(re.findall(r"^\| `([A-Z_]+)` \|", text("reference/settings.md"), re.M))
    assert described == {name.upper() for name in conf.Config.__dataclass_fields__}


def test_every_check_is_described_and_says_something() -> None:
    rows = re.findall(r"^\| `(jwt_redis\.[EW]\d+)` \| (.*?) \|", text("reference/checks.md"), re.M)
    sources = [path.read_text() for path in (*ROOT.glob("jwt_redis/checks/*.py"), *ROOT.glob("jwt_redis/**/checks.py"))]
    assert sorted(name for name, _ in rows) == sorted(
        {found for source in sources for found in re.findall(r"jwt_redis\.[EW]\d+", source)}
    )
    assert [name for name, says in rows if len(says.strip("… ")) < 20] == []


def test_every_signal_is_described_and_no_other() -> None:
    section = text("reference/python.md").split("## `jwt_redis.signals`")[1].split("<!-- /made -->")[0]
    described = set(re.findall(r"^\| `(\w+)` \|", section, re.M))
    assert described == {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def test_every_url_is_described() -> None:
    page = text("reference/http.md")
    for pattern in urls.urlpatterns:
        assert str(pattern.pattern).replace("<str:sid>", "SID") in page


def test_every_command_is_described() -> None:
    page = text("reference/commands.md")
    for path in (ROOT / "jwt_redis/management/commands").glob("jwt_*.py"):
        assert f"`{path.stem} " in page


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/standards/*.md")), ids=lambda path: path.name)
def test_what_a_standards_page_points_at_is_there(path: Path) -> None:
    sources = "\n".join(source.read_text() for source in ROOT.glob("tests/**/*.py"))
    tests = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.M))
    named = set(re.findall(r"`(?:[\w/.]+::)?(test_\w+)`", path.read_text()))
    assert named
    assert named <= tests, named - tests


def anchors(path: Path) -> set[str]:
    """The names that the code host gives to a page's headings."""
    if path.suffix != ".md":
        return set()
    page = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", page, re.M):
        words = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", unescape(words).lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if not n else f"{name}-{n}" for name, count in found.items() for n in range(count + 1)}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_within_the_documentation_hold(path: Path) -> None:
    page = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", page) + re.findall(r'(?:src|srcset)="([^"]+)"', page):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        found = path.parent / target if target else path
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


def test_every_page_is_in_the_index_and_in_a_tree() -> None:
    index = text("index.md")
    trees = [line for block in blocks(ROOT / "docs/index.md", "{toctree}") for line in block.code.splitlines()]
    for path in DOCS:
        if path.parent.parent.name != "docs":
            continue
        name = str(path.relative_to(ROOT / "docs"))
        # What measures itself is led to by the pages that speak of it.
        assert f"]({name})" in index or name == "reference/chaos.md", name
        assert f"{path.parent.name}/*" in trees, name


@pytest.mark.skipif(importlib.util.find_spec("furo") is None, reason="Sphinx is not installed: make docs")
@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run([*sphinx, "docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    # What a page shows is its own: no font, script, style or picture from elsewhere.
    for page in tmp_path.glob("**/*.html"):
        loaded = re.findall(r"<(?:script|img|source)[^>]*?(?:src|srcset)=\"([^\"]+)\"", page.read_text())
        loaded += re.findall(r"<link[^>]*?rel=\"stylesheet\"[^>]*?href=\"([^\"]+)\"", page.read_text())
        for link in loaded:
            assert not link.startswith(("http", "//")), (page.name, link)
            assert (page.parent / link.partition("?")[0]).exists(), (page.name, link)
    for style in tmp_path.glob("_static/**/*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text()), style.name


def test_the_rights_in_the_documentation_are_those_that_the_tests_find_necessary() -> None:
    [block] = blocks(ROOT / "docs/how-to/tls-and-acl.md", "console")
    assert sorted(re.findall(r"\+(\w+)", block.code)) == sorted(test_topology.COMMANDS)
    assert re.findall(r"'(~\S+)'", block.code) == test_topology.KEYS
