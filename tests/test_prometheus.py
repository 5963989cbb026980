"""The metrics as a Prometheus server sees them: scraped over HTTP from gunicorn with several worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import REGISTRY, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from jwt_redis.contrib.prometheus import metrics
from jwt_redis.testing.servers import RedisServer
from tests.oracle.world import set_back_birth
from tests.support.process_header import PROCESS
from tests.support.server import ROOT, http_server
from tests.support.waiting import wait_for

SETTINGS = "tests.projects.observed_settings"
WORKERS = 2
DOCS = ROOT / "docs"
_ENDINGS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# What Prometheus stores of each.
NAMES = {
    family.name + ending
    for metric in metrics.METRICS
    for family in metric.describe()
    for ending in _ENDINGS[family.type]
}
# What is counted, without the samples that a histogram has of it.
FAMILIES = {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAMES}


class Site:
    """A project under gunicorn, its Redis, and a client that looks at both."""

    def __init__(self, base: str, server: RedisServer, environment: dict[str, str], folder: Path) -> None:
        self.base = base
        self.server = server
        self.environment = environment
        self.folder = folder
        self.http = requests.Session()
        # Each request by a connection of its own: so all workers get some.
        self.http.headers["Connection"] = "close"

    def scrape(self) -> dict[str, float]:
        """By sample, as Prometheus writes it: ``name{label="value"}``."""
        response = self.http.get(f"{self.base}/internal/metrics/", timeout=10)
        assert response.status_code == 200 and "no-store" in response.headers["Cache-Control"]
        found = {}
        for family in parse(response.text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def value(self, name: str) -> float:
        return self.scrape().get(name, 0.0)

    def login(self) -> dict[str, str]:
        body = {"username": "alice", "password": "correct horse"}
        response = self.http.post(f"{self.base}/auth/token/", json=body, timeout=10)
        assert response.status_code == 200, response.text
        tokens: dict[str, str] = response.json()
        return tokens

    def ask(self, access: str, path: str = "stateless") -> int:
        return self.ask_and_see_who_answers(access, path)[0]

    def ask_and_see_who_answers(self, access: str, path: str = "stateless") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {access}"}
        response = self.http.get(f"{self.base}/{path}/", headers=headers, timeout=10)
        return response.status_code, response.headers[PROCESS]

    def ask_until_no_worker_gets_through(self, access: str) -> None:
        def is_noticed() -> bool:
            assert self.ask(access) == 503
            return self.value("jwt_redis_breaker_open") == WORKERS

        wait_for(is_noticed, "each worker has noticed")

    def post(self, path: str, access: str = "", **body: str) -> int:
        headers = {"Authorization": f"Bearer {access}"} if access else {}
        return self.http.post(f"{self.base}/{path}/", json=body, headers=headers, timeout=10).status_code

    def manage(self, *arguments: str) -> None:
        """A command in a process of its own, which counts into the same files."""
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **self.environment}, check=True, capture_output=True)


@contextlib.contextmanager
def site(folder: Path, **environment: str) -> Iterator[Site]:
    shared = folder / "metrics"
    shared.mkdir()
    # The hook that the documentation shows.
    page = (DOCS / "reference/observability.md").read_text()
    (hook,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "child_exit" in block)
    (folder / "gunicorn.conf.py").write_text(hook)
    with RedisServer(options={"appendonly": "yes"}) as server:
        environment |= {"PROMETHEUS_MULTIPROC_DIR": str(shared), "JWT_REDIS_TEST_URL": server.url}
        more = ["-c", str(folder / "gunicorn.conf.py")]
        with http_server(folder, workers=WORKERS, settings=SETTINGS, more=more, **environment) as base:
            database = {"JWT_REDIS_TEST_DB": str(folder / "db.sqlite3"), "DJANGO_SETTINGS_MODULE": SETTINGS}
            yield Site(base, server, environment | database, folder)


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What was counted in between; the times that it took, and the memo of each worker, are looked at elsewhere."""
    return {
        name: after[name] - before.get(name, 0.0)
        for name in after
        if name.startswith("jwt_redis")
        and after[name] != before.get(name, 0.0)
        and not name.startswith(("jwt_redis_check_seconds_bucket", "jwt_redis_check_seconds_sum", "jwt_redis_memo"))
    }


CHECKS = 'jwt_redis_checks_total{{source="{}",verdict="{}"}}'
SECONDS = "jwt_redis_check_seconds_count"


@pytest.mark.slow
def test_what_is_done_is_counted_over_all_workers(tmp_path: Path) -> None:
    with site(tmp_path) as project:
        # Before anything: a process that is asked for the first time looks at the store.
        first = project.login()
        for _ in range(20):
            assert project.ask(first["access"]) == 200

        before = project.scrape()
        tokens = project.login()
        for _ in range(10):
            assert project.ask(tokens["access"]) == 200
        after = project.scrape()
        assert moved(before, after) == {
            "jwt_redis_sessions_started_total": 1,
            CHECKS.format("redis", "allowed"): 10,
            SECONDS: 10,
        }
        assert after["jwt_redis_check_seconds_sum"] > before["jwt_redis_check_seconds_sum"]
        buckets = [name for name in after if name.startswith("jwt_redis_check_seconds_bucket")]
        assert len(buckets) == len(metrics.BUCKETS) + 1
        # Each worker verifies a signature once, and has it by heart then.
        hits, misses = (f'jwt_redis_memo_lookups_total{{result="{result}"}}' for result in ("hit", "miss"))
        assert 1 <= after[misses] - before[misses] <= WORKERS + 2
        assert after[hits] - before[hits] >= 10 - WORKERS

        before = after
        assert project.post("auth/token/refresh", refresh=tokens["refresh"]) == 200
        after = project.scrape()
        assert moved(before, after) == {'jwt_redis_refreshes_total{outcome="rotated"}': 1}

        before = after
        assert project.post("auth/token/refresh", refresh=tokens["refresh"]) == 401
        assert project.post("auth/token/refresh", refresh=tokens["refresh"]) == 401
        assert project.ask(tokens["access"]) == 401
        after = project.scrape()
        assert moved(before, after) == {
            'jwt_redis_refreshes_total{outcome="reuse"}': 1,
            'jwt_redis_refreshes_total{outcome="gone"}': 1,
            'jwt_redis_revocations_total{kind="session"}': 1,
            CHECKS.format("redis", "session_ended"): 1,
            SECONDS: 1,
        }

        before, tokens = after, project.login()
        assert project.post("auth/logout/all", tokens["access"]) == 200
        after = project.scrape()
        found = moved(before, after)
        assert found.pop(CHECKS.format("redis", "allowed")) == found.pop(SECONDS)
        assert found == {
            "jwt_redis_sessions_started_total": 1,
            'jwt_redis_revocations_total{kind="session"}': 2,
            'jwt_redis_revocations_total{kind="user"}': 1,
        }

        before, tokens = after, project.login()
        project.manage("jwt_revoke", "--token", tokens["access"])
        assert project.ask(tokens["access"]) == 401
        project.manage("jwt_revoke", "--all", "--no-input")
        found = moved(before, project.scrape())
        assert found['jwt_redis_revocations_total{kind="token"}'] == 1
        assert found['jwt_redis_revocations_total{kind="everything"}'] == 1
        assert found[CHECKS.format("redis", "token_blacklisted")] == 1


@pytest.mark.slow
def test_a_redis_that_dies_and_comes_back(tmp_path: Path) -> None:
    with site(tmp_path) as project:
        tokens, other = project.login(), project.login()
        for _ in range(20):
            assert project.ask(tokens["access"]) == 200
        before = project.scrape()
        assert before["jwt_redis_breaker_open"] == 0

        project.server.kill()
        project.ask_until_no_worker_gets_through(tokens["access"])
        assert project.post("auth/logout", refresh=other["refresh"]) == 503
        found = moved(before, project.scrape())
        assert found["jwt_redis_breaker_open"] == WORKERS
        assert found[CHECKS.format("unchecked", "unavailable")] >= WORKERS
        assert found['jwt_redis_unavailable_total{use_case="check"}'] >= WORKERS
        assert found['jwt_redis_unavailable_total{use_case="revoke_token"}'] == 1
        assert CHECKS.format("redis", "allowed") not in found

        # A project may let them through.
        assert project.ask(tokens["access"], "fail-open") == 200
        assert moved(before, project.scrape())[CHECKS.format("unchecked", "allowed")] == 1

        project.server.start()
        wait_for(lambda: project.ask(tokens["access"]) == 200 and project.value("jwt_redis_breaker_open") == 0, "calm")
        wait_for(lambda: project.ask(other["access"]) == 401, "the sign-out that was pending is applied")
        found = moved(before, project.scrape())
        assert found["jwt_redis_revocations_applied_late_total"] == 1
        assert found['jwt_redis_stores_established_total{found="behind"}'] >= 1
        assert "jwt_redis_breaker_open" not in found


@pytest.mark.slow
def test_the_near_cache_and_a_redis_that_hangs(tmp_path: Path) -> None:
    # So long that no worker loses it because the machine is busy: what is lost already does not lapse.
    lease = 2.0
    with site(tmp_path, JWT_REDIS_TEST_LEASE=str(lease)) as project:
        access = project.login()["access"]
        set_back_birth(project.server)
        memory, redis = (CHECKS.format(source, "allowed") for source in ("memory", "redis"))

        def answers_from_memory() -> bool:
            before = project.scrape()
            # Those that are 503 when Redis has only just come back are not among them.
            answers = [project.ask_and_see_who_answers(access) for _ in range(10)]
            let_in = [who for status, who in answers if status == 200]
            after = project.scrape()
            assert after[memory] + after[redis] == before[memory] + before[redis] + len(let_in)
            # One that is not asked follows nothing, and on a busy machine one may get all ten.
            return after[memory] == before[memory] + 10 and len(set(let_in)) == WORKERS

        wait_for(answers_from_memory, "all workers answer from memory")
        calm = project.scrape()
        assert 0 < calm["jwt_redis_near_cache_lag_seconds"] < lease
        # What memory says is counted, and not timed.
        assert calm[SECONDS] == sum(
            value for name, value in calm.items() if name.startswith('jwt_redis_checks_total{source="redis"')
        )
        project.server.pause()
        try:
            lapses = "jwt_redis_lease_lapses_total"
            wait_for(lambda: project.value(lapses) >= calm[lapses] + WORKERS, "each worker's lease lapses")
            wait_for(lambda: project.value("jwt_redis_near_cache_lag_seconds") > lease, "the lag is seen")
            # The refusal is the check's: with the lease over, Redis is asked.
            assert project.ask(access) == 503
        finally:
            project.server.resume()
        wait_for(answers_from_memory, "all workers answer from memory again")
        wait_for(lambda: project.value("jwt_redis_near_cache_lag_seconds") < lease, "they have caught up")


@pytest.mark.slow
def test_a_worker_that_dies_takes_its_gauges_along_and_leaves_its_counts(tmp_path: Path) -> None:
    with site(tmp_path) as project:
        tokens = project.login()
        for _ in range(20):
            assert project.ask(tokens["access"]) == 200
        counted = project.value(CHECKS.format("redis", "allowed"))
        project.server.kill()
        project.ask_until_no_worker_gets_through(tokens["access"])
        (folder,) = tmp_path.glob("metrics")
        for path in folder.glob("gauge_livesum_*.db"):
            worker = int(path.stem.rpartition("_")[2])
            if _is_worker_of(project.base, worker):
                os.kill(worker, signal.SIGKILL)
                break
        else:
            raise AssertionError("no worker has a gauge")
        wait_for(lambda: project.value("jwt_redis_breaker_open") == WORKERS - 1, "the dead one is not counted")
        assert project.value(CHECKS.format("redis", "allowed")) == counted


def _is_worker_of(base: str, process: int) -> bool:
    """Is it a gunicorn that serves this address? The folder has files of processes of the preparation too."""
    with contextlib.suppress(OSError):
        return base.removeprefix("http://").encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


# In this process -----------------------------------------------------------------------------------------------------


def families() -> list[Metric]:
    return [family for family in REGISTRY.collect() if family.name.startswith("jwt_redis")]


def test_labels_are_few_and_name_nobody() -> None:
    labels = {label for family in families() for sample in family.samples for label in sample.labels}
    assert labels <= {"verdict", "source", "outcome", "kind", "use_case", "result", "found", "le"}


def test_a_node_that_was_replaced_does_not_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = metrics.PrometheusObserver()
    observer.breaker("127.0.0.1:1", True)
    observer.breaker("127.0.0.1:2", True)
    assert REGISTRY.get_sample_value("jwt_redis_breaker_open") == 2
    observer.breaker("127.0.0.1:2", False)
    assert REGISTRY.get_sample_value("jwt_redis_breaker_open") == 1
    # Nobody asks the first one again: another has its slots.
    observer.checked("allowed", "redis", 0.001)
    assert REGISTRY.get_sample_value("jwt_redis_breaker_open") == 1
    monkeypatch.setattr(metrics, "FORGOTTEN", 0.0)
    observer.checked("allowed", "redis", 0.001)
    assert REGISTRY.get_sample_value("jwt_redis_breaker_open") == 0


@pytest.mark.django_db
@pytest.mark.urls("tests.projects.observed_urls")
def test_the_page_speaks_what_it_is_asked_for(client: Any) -> None:
    response = client.get("/internal/metrics/", headers={"Accept": "application/openmetrics-text"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(response.content.decode())}
    assert {"jwt_redis_checks", "jwt_redis_check_seconds", "jwt_redis_breaker_open"} <= names
    assert client.head("/internal/metrics/").status_code == 200
    assert client.post("/internal/metrics/").status_code == 405


# Documentation and dashboard -----------------------------------------------------------------------------------------

BOARD = json.loads((DOCS / "grafana/jwt_redis.json").read_text())


def test_each_metric_is_described_and_no_other() -> None:
    page = (DOCS / "reference/observability.md").read_text()
    rows = dict(re.findall(r"^\| `(jwt_redis_\w+)` \| \w+ \|(.*?)\|", page, re.M))
    assert set(rows) == FAMILIES
    described = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    # Prometheus' own name of a counter is without its end.
    assert described == {name: set(_labels_of(name)) for name in FAMILIES}


def _labels_of(name: str) -> tuple[str, ...]:
    (metric,) = (metric for metric in metrics.METRICS if metric.describe()[0].name == name.removesuffix("_total"))
    return tuple(metric._labelnames)


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def _expressions() -> list[str]:
    return [target["expr"] for panel in _panels() for target in panel["targets"]]


def test_the_dashboard_shows_each_metric_and_no_other() -> None:
    named = {name for expression in _expressions() for name in re.findall(r"jwt_redis_\w+", expression)}
    assert named <= NAMES
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} == FAMILIES


def test_the_labels_in_its_expressions_are_there() -> None:
    for expression in _expressions():
        used = {label for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(", ")}
        used |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)) - {"job"}
        names = re.findall(r"jwt_redis_\w+", expression)
        there = {label for name in names for label in _labels_of(re.sub(r"_(bucket|sum|count)$", "", name))}
        assert used <= there | {"le", "instance"}, expression


def test_it_is_one_that_grafana_imports() -> None:
    assert BOARD["schemaVersion"] >= 36 and BOARD["title"] and BOARD["uid"] and BOARD["id"] is None
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    identifiers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD))) - {"__all", "__range", "__rate_interval"}
    assert used == set(variables)
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        cells |= mine
    for panel in _panels():
        assert panel["title"] and panel["description"] and panel["targets"], panel
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]
