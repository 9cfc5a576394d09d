"""A real Prometheus scrapes a real service; and a service is ready where its history and board are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pipeline.machine import process
from pipeline.secret import Secret
from tests.integration.test_graph import make_lab
from tests.support.lab import Lab
from tests.support.lab_service import PROXY, SIGNED_IN, Served, serving
from tests.support.prometheus import asked, need, prometheus

TOKEN = "m" * 32
OPTIONS = replace(PROXY, tokens={"metrics": Secret(TOKEN)})
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path, tiny_golden)


@pytest.fixture
def served(lab: Lab) -> Iterator[Served]:
    with serving(lab, OPTIONS) as there:
        there.wait_for_board()
        yield there


def scraped(served: Served) -> str:
    answer = httpx.get(f"{served.url}/metrics", headers=BEARER)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_prometheus_counts_builds(served: Served, lab: Lab, tmp_path: Path) -> None:
    assert lab.metis("image", "--node", "alpha").code == 0
    (tmp_path / "token").write_text(TOKEN)
    target = served.url.removeprefix("http://")
    scraped_with = {"target": target, "authorization": {"credentials_file": "token"}}
    with prometheus(tmp_path, {"metis": scraped_with}) as client:
        (found,) = asked(client, 'metis_builds_total{verdict="built"} > 0')
        assert (found["metric"]["cause"], found["value"][1]) == ("none", "1")
        (up,) = asked(client, 'up{job="metis"}')
        assert up["value"][1] == "1"


def test_promtool_finds_no_fault_with_what_is_served(served: Served) -> None:
    need("promtool")
    found = process.run(["promtool", "check", "metrics"], stdin=scraped(served).encode(), check=False)
    assert (found.code, found.err) == (0, b"")


def test_what_waits_and_who_listens_is_counted(served: Served) -> None:
    text = scraped(served)
    assert 'metis_jobs{state="waiting"} 0.0' in text
    assert 'metis_nodes{class="plain",image="never built"} 2.0' in text
    assert "process_resident_memory_bytes" in text
    with served.client.stream("GET", "/events"):
        assert "metis_event_listeners 1.0" in scraped(served)


LEFT = {
    "ci.prom": ("ariadne_ci_tests 7\n", "metis_ci_figures_readable", 'ariadne_ci_tests{repo="metis"} 7.0'),
    "nightly/metis.prom": (
        'metis_nightly_node_failed{node="alpha"} 1\n',
        "metis_night_figures_readable",
        'metis_nightly_node_failed{node="alpha"} 1.0',
    ),
}
"""What CI and a night leave, by where: a figure, what says that it was read, and how it is told."""


@pytest.mark.parametrize("file", LEFT)
def test_figures_that_others_leave_are_told_where_they_are_such(served: Served, lab: Lab, file: str) -> None:
    content, readable, line = LEFT[file]
    left = lab.artifacts / file
    left.parent.mkdir(exist_ok=True)
    assert readable not in scraped(served)
    left.write_text(content)
    assert {f"{readable} 1.0", line} <= set(scraped(served).splitlines())
    left.write_text(f'{content}metis_info{{version="evil"}} 1\n')
    assert f"{readable} 0.0" in scraped(served).splitlines()
    assert not re.search(f"evil|{re.escape(line)}", scraped(served))


def test_a_pipe_in_place_of_figures_is_not_waited_for(served: Served, lab: Lab) -> None:
    os.mkfifo(lab.artifacts / "ci.prom")
    assert "metis_ci_figures_readable 0.0" in scraped(served).splitlines()


def test_metrics_are_for_who_has_the_token(served: Served) -> None:
    assert httpx.get(f"{served.url}/metrics").status_code == 401
    assert httpx.get(f"{served.url}/metrics", headers=SIGNED_IN).status_code == 401


# ------------------------------------------------------------------------------------------- health


def readiness(served: Served) -> tuple[int, str]:
    answer = httpx.get(f"{served.url}/readyz")
    return answer.status_code, " ".join(answer.json()["reasons"])


def test_a_service_that_has_looked_is_ready(served: Served) -> None:
    assert readiness(served) == (200, "")
    assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}


def test_a_service_whose_history_is_none_says_so_and_lives(served: Served, lab: Lab) -> None:
    for file in lab.artifacts.glob("history.sqlite3*"):
        file.unlink()
    (lab.artifacts / "history.sqlite3").write_bytes(b"no database" * 100)
    code, why = readiness(served)
    assert code == 503
    assert "history.sqlite3 cannot be used" in why
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/metrics", headers=BEARER).status_code == 503
