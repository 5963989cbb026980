"""What stands around the package agrees with it: version, changelog, bounds, workflows, the contributor's page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import jwt_redis
from jwt_redis.exceptions import RemovedInJWTRedis2Warning
from tests.support.server import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BASH = shutil.which("bash") or "bash"
PAGES = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/explanation/versions.md")]


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return found


# Versions ----------------------------------------------------------------------------------------------------------


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.M)
    if headings[0] == "Unreleased":
        headings = headings[1:]
    released = [heading.split(" - ") for heading in headings]
    assert all(len(one) == 2 for one in released), headings
    assert released[0][0] == jwt_redis.__version__
    versions = [Version(version) for version, _ in released]
    assert versions == sorted(versions, reverse=True)
    days = [date.fromisoformat(day) for _, day in released]
    assert days == sorted(days, reverse=True)


def test_it_keeps_to_its_sections() -> None:
    sections = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.M)) <= sections


def test_the_version_is_one_that_the_index_takes_as_it_is() -> None:
    assert str(Version(jwt_redis.__version__)) == jwt_redis.__version__


def test_the_classifier_says_how_far_it_is() -> None:
    is_candidate = Version(jwt_redis.__version__).is_prerelease
    (status,) = [one for one in PROJECT["classifiers"] if one.startswith("Development Status")]
    assert status.endswith("4 - Beta" if is_candidate else "5 - Production/Stable")


def test_the_removal_warning_is_shown_and_can_be_made_an_error() -> None:
    assert issubclass(RemovedInJWTRedis2Warning, DeprecationWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", category=RemovedInJWTRedis2Warning)
        with pytest.raises(RemovedInJWTRedis2Warning):
            warnings.warn("gone in 2.0", RemovedInJWTRedis2Warning, stacklevel=1)


def test_as_versions_md_says_with_one_line_of_pytest(tmp_path: Path) -> None:
    page = (ROOT / "docs/explanation/versions.md").read_text()
    (line,) = re.findall(r"^filterwarnings = .*$", page, re.M)
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\naddopts = '-p no:django'\n{line}\n")
    (tmp_path / "test_it.py").write_text(
        "import warnings\nfrom jwt_redis.exceptions import RemovedInJWTRedis2Warning\n"
        "def test_it():\n    warnings.warn('gone in 2.0', RemovedInJWTRedis2Warning)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "RemovedInJWTRedis2Warning: gone in 2.0" in done.stdout) == (1, True), done.stdout


def test_versions_md_has_the_bounds_of_the_project() -> None:
    page = (ROOT / "docs/explanation/versions.md").read_text()
    row = dict(re.findall(r"^\| (\w[^|]*?) \| ([^|]*?) \|", page, re.M))
    wanted = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
    named = {"Django": "django", "DRF": "djangorestframework", "Simple JWT": "djangorestframework-simplejwt"}
    for name, package in {**named, "redis-py": "redis"}.items():
        (lowest,) = [bound.version for bound in wanted[package].specifier if bound.operator == ">="]
        assert row[name].startswith(lowest), name
    assert row["Python"].startswith(PROJECT["requires-python"].removeprefix(">="))


# Bounds ------------------------------------------------------------------------------------------------------------


def test_a_package_has_the_same_lower_bound_wherever_it_is_named() -> None:
    places: dict[str, set[str]] = {}
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    lists += PYPROJECT["dependency-groups"].values()
    for entry in (one for each in lists for one in each if isinstance(one, str)):
        requirement = Requirement(entry)
        lowest = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        assert len(lowest) == 1, entry
        places.setdefault(requirement.name, set()).add(lowest[0])
    assert {name: bounds for name, bounds in places.items() if len(bounds) > 1} == {}


# Workflows ---------------------------------------------------------------------------------------------------------


def targets(text: str) -> list[str]:
    """Those on a line of their own, and those in rows."""
    rows = re.findall(r'^  "([\w -]+)"', text, re.M)
    return re.findall(r"^make ([\w-]+)", text, re.M) + [target for row in rows for target in row.split()]


def test_the_workflow_does_what_ci_run_does() -> None:
    local = targets((ROOT / ".ci/run").read_text())
    assert len(local) > 4
    # There each job installs what it needs.
    local.remove("packages")
    job = workflow("ci.yml")["jobs"]["make"]
    assert job["strategy"]["matrix"]["target"] == local
    assert "make ${{ matrix.target }}" in [step.get("run") for step in job["steps"]]
    # One that fails does not keep us from hearing of the others.
    assert job["strategy"]["fail-fast"] is False


def test_what_the_workflows_make_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([\w-]+):", makefile, re.M))
    for path in WORKFLOWS:
        for name in re.findall(r"run: make ([\w-]+)", path.read_text()):
            assert name in known, (path.name, name)
    assert set(targets((ROOT / ".ci/run").read_text())) <= known


def test_make_help_names_each_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    told = set(re.findall(r"^\t@echo 'make ([\w-]+)", makefile, re.M))
    # What needs no telling: the one itself, and those for who changes what they are about.
    assert set(phony[1].split()) - told <= {"help", "format", "screenshots", "bench-quick", "packages"}


def test_the_workflow_has_each_python_of_the_classifiers() -> None:
    said = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert workflow("ci.yml")["jobs"]["tox"]["strategy"]["matrix"]["python"] == said
    environments = (ROOT / "tox.ini").read_text()
    for python in said:
        digits = python.replace(".", "")
        assert re.search(rf"py\{{?[\d,]*{digits}|py{digits}", environments), python


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_may_more_than_it_needs(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            if uses := step.get("uses"):
                # A version, all of it: what is behind a shorter one changes from day to day.
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", uses), uses
                assert "actions/checkout" not in uses or step["with"]["persist-credentials"] is False
            # What somebody outside can name, such as a branch, is data there, and no part of a script.
            assert not re.search(r"\$\{\{\s*github\.(event\.|head_ref)", step.get("run", "")), name
        assert "secrets." not in str(job)


def test_what_is_published_was_tested_built_and_attested() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert (jobs["publish"]["needs"], jobs["attest"]["needs"]) == ("attest", "build")
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    built = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert built.index("make test") < built.index("make sbom")
    # `on` is a boolean to YAML 1.1.
    found: Any = workflow("release.yml")
    assert found[True]["push"] == {"tags": ["v*"]}


def test_the_tag_has_to_be_the_version() -> None:
    """The step itself, with the tag that is right and with others."""
    (step,) = [step for step in workflow("release.yml")["jobs"]["build"]["steps"] if "The tag" in step.get("name", "")]
    for tag, status in ((f"v{jwt_redis.__version__}", 0), (jwt_redis.__version__, 1), ("v0.0.1", 1), ("v", 1)):
        environment = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        done = subprocess.run([BASH, "-ec", step["run"]], cwd=ROOT, env=environment)
        assert done.returncode == status, tag


def test_a_candidate_is_announced_as_one() -> None:
    (step,) = [step for step in workflow("release.yml")["jobs"]["announce"]["steps"] if "run" in step]
    fake = 'gh() { printf "%s " "$@"; }\n'
    for tag, kind in (("v1.0.0rc1", "--prerelease"), ("v1.0.0", "--latest"), ("v2.0.0a1", "--prerelease")):
        environment = {"GITHUB_REF_NAME": tag, "GITHUB_REPOSITORY": "o/r", "PATH": "/usr/bin:/bin"}
        command = [BASH, "-ec", fake + step["run"]]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert f"release create {tag} --repo o/r --verify-tag {kind} " in done.stdout, done.stderr


# Pages -------------------------------------------------------------------------------------------------------------


def test_a_hole_is_not_sent_to_where_everybody_reads() -> None:
    bug = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text()
    assert "SECURITY.md" in bug and "Report a vulnerability" in bug
    assert "Report a vulnerability" in (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_the_pages_point_to_is_there(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (path.parent / target).exists(), target
    # Paths in backquotes, such as `jwt_redis/views.py`; names in capitals stand for others.
    for name in re.findall(r"`((?:jwt_redis|tests|docs|example_project|\.ci|\.github)/[\w./-]*)`", text):
        assert "NAME" in name or (ROOT / name).exists(), name


def test_the_contributors_commands_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([\w-]+):", makefile, re.M))
    named = set(re.findall(r"(?:`|^)(?:PYTHON=\S+ )?make ([\w-]+)", page, re.M))
    assert {"test", "lint", "messages"} <= named
    assert named <= known
