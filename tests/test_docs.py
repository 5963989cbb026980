"""The documentation names what there is: every setting, check, signal, command and URL, and its links hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.dispatch import Signal

from jwt_redis import conf, sessions, signals, urls, verdicts

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"])


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_setting_is_described_and_no_other() -> None:
    described = set(re.findall(r"^\| `([A-Z_]+)` \|", text("reference/settings.md"), re.M))
    assert described == {name.upper() for name in conf.Config.__dataclass_fields__}


def test_every_check_is_described_and_no_other() -> None:
    described = set(re.findall(r"^\| `(jwt_redis\.[EW]\d+)` \|", text("reference/checks.md"), re.M))
    sources = [path.read_text() for path in ROOT.glob("jwt_redis/**/checks.py")]
    assert described == {found for source in sources for found in re.findall(r"jwt_redis\.[EW]\d+", source)}


def test_every_signal_is_described_and_no_other() -> None:
    section = text("reference/python.md").split("## `jwt_redis.signals`")[1]
    described = set(re.findall(r"^\| `(\w+)` \|", section, re.M))
    assert described == {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def test_every_reason_is_described_and_explained() -> None:
    reasons = {value for name, value in vars(verdicts).items() if name.isupper() and name in verdicts.__all__}
    assert reasons <= set(re.findall(r"^\| `(\w+)` \|", text("reference/http.md"), re.M))
    assert reasons <= set(sessions.RULES)


def test_every_url_is_described() -> None:
    page = text("reference/http.md")
    for pattern in urls.urlpatterns:
        assert str(pattern.pattern).replace("<str:sid>", "SID") in page


def test_every_command_is_described() -> None:
    page = text("reference/commands.md")
    for path in (ROOT / "jwt_redis/management/commands").glob("jwt_*.py"):
        assert f"`{path.stem} " in page


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_within_the_documentation_hold(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_python_blocks_compile(path: Path) -> None:
    for block in re.findall(r"^( *)```python\n(.*?)^ *```", path.read_text(), re.M | re.S):
        indent, code = block
        compile("\n".join(line.removeprefix(indent) for line in code.splitlines()), path.name, "exec")


def test_the_rights_in_the_documentation_are_those_that_the_tests_find_necessary() -> None:
    from tests import test_topology

    block = re.search(r"user app on.*?```", text("how-to/deploy-redis.md"), re.S)
    assert block is not None
    assert sorted(re.findall(r"\+(\w+)", block[0])) == sorted(test_topology.COMMANDS)
    assert re.findall(r"~\S+", block[0]) == test_topology.KEYS
