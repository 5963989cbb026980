"""What was taken from elsewhere is what the manifest says: content, version, licence, and nothing beside it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from tests.support.server import ROOT

MANIFEST: dict[str, Any] = json.loads((ROOT / "example_project/vendor.json").read_text())
FILES = {place: file for package in MANIFEST.values() for place, file in package["files"].items()}
# How each says which version it is.
SAYS = {
    "htmx.org": r'\bversion:"([^"]+)"',
    "axe-core": r"/\*! axe v(\S+)",
}


@pytest.mark.parametrize("place", FILES)
def test_a_file_is_as_it_was_published(place: str) -> None:
    content = (ROOT / place).read_bytes()
    assert hashlib.sha256(content).hexdigest() == FILES[place]["sha256"], "example_project/vendor.py fetches it again"


@pytest.mark.parametrize("name", MANIFEST)
def test_the_script_says_the_manifests_version(name: str) -> None:
    (script,) = (place for place in MANIFEST[name]["files"] if place.endswith(".js"))
    said = re.search(SAYS[name], (ROOT / script).read_text())
    assert said is not None
    assert said[1] == MANIFEST[name]["version"]


@pytest.mark.parametrize("name", MANIFEST)
def test_the_licence_comes_with_it(name: str) -> None:
    assert MANIFEST[name]["license"]
    folders = {place.rpartition("/")[0] for place in MANIFEST[name]["files"]}
    assert all(f"{folder}/LICENSE" in MANIFEST[name]["files"] for folder in folders)


def test_nothing_was_vendored_past_the_manifest() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("example_project", "tests")
        for vendor in (ROOT / folder).rglob("vendor")
        for path in vendor.rglob("*")
        if path.is_file()
    }
    assert found == set(FILES)
