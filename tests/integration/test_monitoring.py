"""The dashboard and the alerts, held to what Metis tells a real Prometheus while it builds and burns."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import yaml

from pipeline.machine import process
from pipeline.secret import Secret
from tests.integration.test_graph import make_lab
from tests.support import dashboard, snapshots
from tests.support.browser import screenshots
from tests.support.lab import REPOSITORY
from tests.support.lab_service import PROXY, serving
from tests.support.prometheus import asked, prometheus, pushgateway, running

pytestmark = pytest.mark.slow

RULES = Path(__file__).parents[2] / "deploy/monitoring/metis.rules.yaml"
TOKENS = {"metrics": "m" * 32, "sentinel": "s" * 32}
NAME = re.compile(r"\b(?:metis|ariadne_ci|process)_[a-z_]+\b")
HAPPENS_NOT = "metis_base_failures_total"
"""What no query finds here: in this lab no base fails."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A Prometheus that has seen a lab at work, since when, and each name that it was told."""

    client: httpx.Client
    since: float
    names: frozenset[str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Iterator[Watched]:
    root = tmp_path_factory.mktemp("watched")
    lab = make_lab(root / "lab", tiny_golden)
    figures = root / "node-exporter"
    figures.mkdir()
    (root / "token").write_text(TOKENS["metrics"])
    options = replace(PROXY, tokens={name: Secret(token) for name, token in TOKENS.items()})
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("pipeline.service.board.EVERY", 1.0)
        served = stack.enter_context(serving(lab, options))
        words = ["--collector.disable-defaults", "--collector.textfile"]
        words += [f"--collector.textfile.directory={figures}"]
        exporter = running("prometheus-node-exporter", *words, log=root / "exporter.log", ready="/")
        gateway = stack.enter_context(pushgateway(root))
        jobs: dict[str, dict[str, Any]] = {
            "metis": {
                "target": served.url.removeprefix("http://"),
                "authorization": {"credentials_file": "token"},
            },
            "node": {"target": stack.enter_context(exporter)},
            "pushgateway": {"target": gateway, "honor_labels": True},
        }
        client = stack.enter_context(prometheus(root, jobs))
        served.wait_for_board()
        asked(client, 'up{job="metis"} == 1')
        since = time.time()
        _run_some_tests(lab.artifacts / "ci.prom", gateway)
        night = ("nightly", "--metrics", str(figures / "metis.prom"))
        assert lab.metis(*night).code == 0
        asked(client, "metis_nightly_last_success_timestamp_seconds")
        for node in ("alpha", "beta"):
            data = snapshots.written(snapshots.small(node, at=datetime.now(UTC)))
            headers = {"Authorization": f"Bearer {TOKENS['sentinel']}", "Content-Type": "application/json"}
            answer = httpx.post(f"{served.url}/internal/sentinel/snapshot", content=data, headers=headers)
            assert answer.status_code == 201, answer.text
        assert lab.metis("burn", "--node", "alpha", "--device", str(root / "card.img"), "--yes").code == 0
        (root / "small.img").write_bytes(bytes(1 << 20))
        assert lab.metis("burn", "--node", "alpha", "--device", str(root / "small.img"), "--yes").code == 3
        lab.write("overlays/plain/root/etc/issue", "another\n")
        klass = lab.inventory / "classes/other.yaml"
        klass.write_text(re.sub(r"sha256: \w{8}", "sha256: 00000000", klass.read_text()))
        assert lab.metis(*night).code == 4
        assert lab.metis("burn", "--node", "beta", "--device", str(root / "card.img"), "--yes").code == 0
        for proof in (
            "sum(metis_drift_findings) > 0",
            'metis_burns_total{verdict="burned"} == 2',
            *(f'metis_nightly_node_failed{{node="gamma", job="{job}"}} == 1' for job in ("metis", "node")),
            'ariadne_ci_tests{suite="quick", result="passed"} > 0',
        ):
            asked(client, proof)
        told = client.get("/label/__name__/values").json()["data"]
        described = client.get("/metadata").json()["data"]
        yield Watched(client, since, frozenset([*told, *described]))


def _run_some_tests(file: Path, gateway: str) -> None:
    """Leave what a real run of unit tests of Metis tells."""
    plugin = {"PYTEST_PLUGINS": "tests.support.ci_figures", "METIS_CI_METRICS": str(file)}
    words = [sys.executable, "-m", "pytest", "--suite", "quick", "--measure-coverage"]
    process.run(
        [*words, *(f"tests/unit/test_{name}.py" for name in ("amounts", "manifest", "resolve"))],
        cwd=REPOSITORY,
        extra_environment={**plugin, "METIS_TEST_PUSHGATEWAY": gateway},
    )


def expressions() -> list[str]:
    """Every query of the dashboard and of the alerts."""
    rules = yaml.safe_load(RULES.read_text())["groups"]
    alerts = [str(rule["expr"]) for group in rules for rule in group["rules"]]
    return [*(query.text for panel in dashboard.panels() for query in panel.queries), *alerts]


def test_every_metric_that_is_asked_for_is_one_that_metis_tells(watched: Watched) -> None:
    asked_for = {name for text in expressions() for name in NAME.findall(text)}
    assert len(asked_for) > 20
    assert asked_for - watched.names == set()


def test_every_query_of_the_dashboard_finds_something(watched: Watched) -> None:
    empty = []
    for panel in dashboard.panels():
        for query in panel.queries:
            answer = watched.client.get("/query", params={"query": query.text}).json()
            assert answer["status"] == "success", answer
            if not answer["data"]["result"] and HAPPENS_NOT not in query.text:
                empty.append((panel.title, query.text))
    assert empty == []


def test_the_dashboard_is_drawn_from_what_was_told(watched: Watched, tmp_path: Path) -> None:
    """The picture is kept where METIS_TEST_SCREENSHOTS says; the one in docs/ is such a one."""
    until = time.time()
    took = f"{until - watched.since:.0f} seconds of a lab of the tests"
    picture = dashboard.drawn(
        lambda panel: dashboard.lines(watched.client, panel, watched.since, until),
        f"What Prometheus answered to the dashboard's queries on {took}. "
        "Drawn by tests/support/dashboard.py; Grafana draws it otherwise.",
    )
    (screenshots(lambda: tmp_path) / "dashboard.svg").write_text(picture)
    titles = [
        text.text for text in ElementTree.fromstring(picture).iter() if text.get("font-weight") == "bold"
    ]
    assert titles == [panel.title for panel in dashboard.panels()]
    assert "no data" not in picture
