"""``manage.py jwt_doctor``: does this deployment keep the promise that a revoked token never works again?"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from jwt_redis.diagnosis import LEVELS, Diagnosis, Finding, diagnose
from jwt_redis.management.base import TerminalCommand

_EXIT = {"ok": 0, "notice": 0, "warning": 1, "problem": 2}
# Columns of the findings' text, behind those of the level and the code; below the least, it goes below them.
_WIDTH, _INDENT, _LEAST = 100, 26, 40


class Command(TerminalCommand):
    """Examine Redis, the journal and the clocks."""

    help = (
        "Say whether this deployment keeps the promise that a revoked token never works again. Exit status 0 when all"
        " is well, 1 with warnings, 2 with problems. It changes nothing."
    )
    # What is wrong with the settings is a finding too.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--json", action="store_true", help="for a script to read")
        parser.add_argument(
            "--users", type=int, metavar="N", help="forecast the memory for so many users (default: those active)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was found; the exit status tells the worst of it."""
        if options["users"] is not None and options["users"] < 0:
            raise CommandError("--users: a number, zero or more, is needed.")
        found = diagnose(options["users"])
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found), indent=2))
        else:
            for finding in found.findings:
                self._print(finding)
            self._print_summary(found)
        if status := _EXIT[found.status]:
            sys.exit(status)

    def _print(self, finding: Finding) -> None:
        style = {
            "ok": self.style.SUCCESS,
            "notice": self.style.NOTICE,
            "warning": self.style.WARNING,
            "problem": self.style.ERROR,
        }[finding.level]
        where = f"{finding.server}: " if finding.server else ""
        room = shutil.get_terminal_size((_INDENT + _WIDTH, 24)).columns if sys.stdout.isatty() else _INDENT + _WIDTH
        indent = _INDENT if room - _INDENT >= _LEAST else 2
        width = max(min(room - indent, _WIDTH), 20)
        lines = textwrap.wrap(where + finding.found, width, break_on_hyphens=False) or [""]
        advice = textwrap.wrap(finding.advice, width - 2, break_on_hyphens=False)
        lines += [f"{'→' if n == 0 else ' '} {line}" for n, line in enumerate(advice)]
        head = f"{style(f'{finding.level:<8}')} {finding.code:<16}"
        if indent == _INDENT:
            self.stdout.write(f"{head} {lines.pop(0)}")
        else:
            self.stdout.write(head.rstrip())
        for line in lines:
            self.stdout.write(" " * indent + line)

    def _print_summary(self, found: Diagnosis) -> None:
        counts = {level: sum(one.level == level for one in found.findings) for level in LEVELS}
        said = ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in LEVELS[1:])
        style = self.style.ERROR if counts["problem"] else self.style.WARNING if counts["warning"] else None
        self.stdout.write("\n" + (style or self.style.SUCCESS)(f"{said}; {counts['ok']} ok."))


def _as_json(found: Diagnosis) -> dict[str, Any]:
    memory = None
    if found.sample is not None:
        memory = {
            **asdict(found.sample),
            "store_bytes": found.sample.store_bytes,
            "forecast_users": found.users,
            "forecast_bytes": None if found.users is None else found.sample.forecast(found.users),
        }
    return {
        "status": found.status,
        "exit_status": _EXIT[found.status],
        "findings": [asdict(finding) for finding in found.findings],
        "memory": memory,
    }
