"""Fetches the scripts that were taken from elsewhere, as ``vendor.json`` beside this names them. Needs npm.

``python example_project/vendor.py`` fetches the same versions again; ``... htmx.org@2.0.11`` goes over to that one.
``tests/test_vendored.py`` holds files and manifest together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = Path(__file__).with_name("vendor.json")


def main(wanted: list[str]) -> None:
    """Fetch each package of the manifest. ``wanted``: NAME@VERSION of those that change."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("There is no npm here: it fetches the packages.")
    manifest = json.loads(MANIFEST.read_text())
    versions = dict(one.rpartition("@")[::2] for one in wanted)
    if unknown := versions.keys() - manifest.keys():
        sys.exit(f"{', '.join(sorted(unknown))}: not in {MANIFEST.name}, which has {', '.join(manifest)}.")
    for name, package in manifest.items():
        package["version"] = versions.get(name, package["version"])
        with tempfile.TemporaryDirectory() as folder:
            _unpack(npm, f"{name}@{package['version']}", Path(folder))
            _take(name, package, Path(folder) / "package")
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


def _unpack(npm: str, spec: str, folder: Path) -> None:
    """The package's files into ``folder/package``. Nothing of it is run."""
    made = subprocess.run(  # noqa: S603
        [npm, "pack", "--silent", "--ignore-scripts", spec], cwd=folder, stdout=subprocess.PIPE, text=True, check=False
    )
    if made.returncode:
        sys.exit(f"npm pack {spec} failed, with status {made.returncode}.")
    with tarfile.open(folder / made.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")


def _take(name: str, package: dict[str, Any], unpacked: Path) -> None:
    said = json.loads((unpacked / "package.json").read_text())
    package["version"], package["license"] = said["version"], said["license"]
    for place, file in package["files"].items():
        content = (unpacked / file["from"]).read_bytes()
        file["sha256"] = hashlib.sha256(content).hexdigest()
        target = ROOT / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{name} {said['version']}: {place}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
