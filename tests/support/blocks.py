"""The code blocks of the documentation, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "ROOT", "Block", "Command", "blocks", "commands", "matches"]

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted(
    path for path in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"] if "_build" not in path.relative_to(ROOT).parts
)
_BLOCK = re.compile(r"(?:^<!-- (\w+): (.*?) -->\n)?^( *)```(\S*)\n(.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``told``: what the comment above it says, such as ``("write", "config/urls.py")``."""

    page: Path
    line: int
    language: str
    code: str
    told: tuple[str, str] = ("", "")

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """Those of a page, in order; all of them if no language is named."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        verb, target, indent, language, code = match.groups()
        lines = "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))
        number = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(page, number, language, lines, (verb or "", target or "")))
    return [block for block in found if not languages or block.language in languages]


@dataclass(frozen=True, slots=True)
class Command:
    """One line behind a ``$``, and what the page says that it prints: an ellipsis stands for anything."""

    line: str
    prints: str


def commands(block: Block) -> list[Command]:
    """Those of a console block. Where nothing begins with ``$``, each line is one, and prints what it likes."""
    if "$ " not in block.code:
        return [Command(line.split("  #")[0].strip(), "…") for line in block.code.splitlines()]
    found: list[Command] = []
    for part in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
        line, _, prints = part.partition("\n")
        while line.endswith("\\"):
            more, _, prints = prints.partition("\n")
            line = line[:-1] + more.strip()
        found.append(Command(line, prints))
    return found


def matches(printed: str, expected: str) -> bool:
    """Is this what the page promises? A line that is only an ellipsis stands for any number of lines."""
    parts = []
    for line in expected.strip().splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            # Columns are as wide as what is in them.
            words = [re.sub(r"(\\ ){2,}", " *", re.escape(part)) for part in line.rstrip().split("…")]
            parts.append(".*".join(words) + r"[ ]*\n")
    return re.fullmatch("".join(parts), printed.strip() + "\n" if printed.strip() else "") is not None
