"""The architecture page and the house agree: its rooms are there, and its hunts lead where they say."""

from __future__ import annotations

import ast
import configparser
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.blocks import ROOT

PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
PACKAGE = ROOT / "jwt_redis"
ROOMS = PAGE.split("## The rooms")[1].split("## ")[0]
HUNTS = re.findall(r"^\*\*(.+?)\*\*\n\n((?:\d\. .*\n(?: {3}.*\n)*)+)", PAGE.split("## Three hunts")[1], re.M)
STEP = re.compile(r"`([\w/]+\.(?:py|lua))`: `([\w.]+)`")


# The middle column.
FILES = [
    name for row in re.findall(r"^\|.*?\|(.*?)\|", ROOMS, re.M) for name in re.findall(r"`([\w/]+(?:\.py|/))`", row)
]


def test_every_room_is_there_once() -> None:
    for name in FILES:
        assert (PACKAGE / name).exists(), name
    assert len(FILES) == len(set(FILES))


def test_every_layer_of_the_contract_is_a_room() -> None:
    contract = configparser.ConfigParser()
    contract.read(ROOT / "setup.cfg")
    layers = contract["importlinter:contract:layers"]["layers"].split("\n")
    modules = {name.strip() for layer in layers for name in layer.split("|") if name.strip()}
    # Migrations are Django's own business.
    assert modules - {"migrations"} == {name.split("/")[0].removesuffix(".py") for name in FILES}


def source_of(file: str, name: str) -> str:
    """The text of a class, a function or, in Lua, of all that comes from there."""
    text = (PACKAGE / file).read_text()
    if file.endswith(".lua"):
        assert name in text, (file, name)
        return text[text.index(name) :]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_source_segment(text, node) or ""
    raise AssertionError(f"there is no {name} in {file}")


def test_there_are_three_hunts_of_three_steps() -> None:
    assert [len(re.findall(r"^\d\. ", steps, re.M)) for _, steps in HUNTS] == [3, 3, 3]


@pytest.mark.parametrize("question, steps", HUNTS)
def test_each_step_leads_to_the_next(question: str, steps: str) -> None:
    found = STEP.findall(steps)
    assert len(found) == 3, question
    for (file, name), (next_file, next_name) in zip(found, [*found[1:], found[-1]], strict=True):
        source = source_of(file, name)
        # By the function's name or, where it is a script's command, by the script's; or by that of the use case.
        words = {next_name, Path(next_file).stem, next_name.lstrip("_")}
        assert any(re.search(rf"\b{word}\b", source) for word in words), (question, file, name, next_name)


def test_the_first_step_is_in_a_room_of_the_table() -> None:
    for question, steps in HUNTS:
        file = STEP.findall(steps)[0][0]
        assert f"`{file}`" in ROOMS or f"`{file.split('/')[0]}/`" in ROOMS, question


def resolve(dotted: str) -> Any:
    """``recovery.sweep``: in whichever module, or class of a module, of the package it is."""
    first, *rest = dotted.split(".")
    homes = [import_module(f"jwt_redis.{first}")] if (PACKAGE / f"{first}.py").exists() else []
    if (PACKAGE / first).is_dir():
        homes.append(import_module(f"jwt_redis.{first}"))
    if not homes and first == "Memory":
        homes.append(import_module("jwt_redis.near_cache.memory").Memory)
    assert homes, dotted
    found: Any = homes[0]
    for name in rest:
        found = getattr(found, name)
    return found


def test_whatever_else_is_named_is_there() -> None:
    section = PAGE.split("## Three hunts")[1]
    for name in re.findall(r"`([A-Za-z_]+\.[a-z_]+)`", section):
        if not name.endswith((".py", ".lua")):
            assert callable(resolve(name)), name
    for name in re.findall(r"`([\w/]+\.(?:py|lua))`", section):
        assert (PACKAGE / name).exists(), name
