"""Programs that pip does not bring."""

from __future__ import annotations

import os
import shutil
import subprocess

__all__ = ["find"]

_INSTALL_SECONDS = 300


def find(program: str, package: str, *, may_install: bool) -> str | None:
    """Its path. Where it is missing, Debian's ``package`` is installed if this is root; None: not to be had."""
    found = shutil.which(program)
    if found is None and may_install and os.geteuid() == 0 and (apt := shutil.which("apt-get")):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(
                [apt, "-qq", *arguments],
                env=quiet,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        found = shutil.which(program)
    return found
