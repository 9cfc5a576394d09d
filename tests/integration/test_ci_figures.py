"""What a real run of tests leaves for Prometheus, by the plugin, and brings to a real Pushgateway."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.machine import process
from pipeline.service.left_figures import CI, figures
from tests.support.lab import REPOSITORY
from tests.support.prometheus import need, pushgateway

TESTS = """
import pytest
from pipeline.amounts import mib

def test_that_passes():
    assert mib(1 << 20) == "1.0 MiB"

def test_that_passes_too(): pass
def test_that_is_skipped(): pytest.skip("not here")
def test_that_fails(): assert False
def test_that_cannot_begin(nothing): pass
"""


def written(folder: Path) -> Path:
    (folder / "unit").mkdir()
    (folder / "unit/test_some.py").write_text(TESTS)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run has left its figures."""
    folder = written(tmp_path_factory.mktemp("run"))
    assert run_of(folder, "--suite", "quick").code == 1
    return folder


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    with pushgateway(tmp_path) as target:
        yield f"http://{target}"


def run_of(folder: Path, *words: str, **variables: str) -> process.Finished:
    """A run of the tests in a folder."""
    environment = {
        "PYTEST_PLUGINS": "tests.support.ci_figures",
        "METIS_CI_METRICS": str(folder / "ci.prom"),
        "PYTEST_ADDOPTS": os.environ.get("PYTEST_ADDOPTS", ""),
        **variables,
    }
    program = [sys.executable, "-m", "pytest", f"--rootdir={folder}", "-c", os.devnull]
    return process.run(
        [*program, *words, folder / "unit"], cwd=REPOSITORY, check=False, extra_environment=environment
    )


def left(folder: Path) -> dict[str, float]:
    """The figures as the service reads them, by their names and labels; the time of the run as 0."""
    found = {}
    for each in figures((folder / "ci.prom").read_bytes(), CI):
        labels = " ".join(value for name, value in each.labels.items() if name != "repo")
        found[f"{each.name.removeprefix('ariadne_ci_')} {labels}"] = each.value
    return found


ENDS = {"passed": 2, "failed": 1, "error": 1, "skipped": 1, "xfailed": 0, "xpassed": 0}


def test_a_run_leaves_how_its_tests_ended_for_the_service(after_a_run: Path) -> None:
    found = left(after_a_run)
    assert {name: found[f"tests {name} quick"] for name in ENDS} == ENDS
    assert found["duration_seconds quick"] > 0
    assert found["run_timestamp_seconds quick"] > 1.7e9
    assert len(found) == len(ENDS) + 2


def test_promtool_finds_no_fault(after_a_run: Path) -> None:
    need("promtool")
    text = (after_a_run / "ci.prom").read_bytes()
    done = process.run(["promtool", "check", "metrics"], stdin=text, check=False)
    assert (done.code, done.out, done.err) == (0, b"", b"")


def test_a_suite_takes_the_place_of_its_own_figures_alone(folder: Path) -> None:
    run_of(folder, "--suite", "quick")
    run_of(folder, "--suite", "slow", "-k", "passes")
    run_of(folder, "--suite", "quick", "-k", "passes")
    found = left(folder)
    assert (found["tests passed quick"], found["tests failed quick"]) == (2, 0)
    assert found["tests passed slow"] == 2
    assert len(found) == 2 * (len(ENDS) + 2)


@pytest.mark.parametrize(
    "words", [(), ("--suite", "quick", "--collect-only"), ("--suite", "quick", "-k", "none")]
)
def test_what_is_no_run_leaves_nothing(folder: Path, words: tuple[str, ...]) -> None:
    run_of(folder, *words)
    assert not (folder / "ci.prom").exists()


def test_lines_that_unit_tests_run_in_workers_are_covered(folder: Path) -> None:
    """Of all that is pure they run `amounts`, and of the words none."""
    run_of(folder, "--suite", "quick", "--measure-coverage", "--numprocesses=1")
    found = left(folder)
    assert 0 < found["coverage_ratio pure quick"] < 0.1
    assert found["coverage_ratio words quick"] == 0


def test_a_run_is_brought_to_the_pushgateway_that_is_named(folder: Path, gateway: str) -> None:
    said = run_of(folder, "--suite", "quick", METIS_TEST_PUSHGATEWAY=gateway)
    assert "figures of this run were pushed" in said.out.decode()
    (line,) = re.findall(
        r'^ariadne_ci_tests\{.*result="passed".*', httpx.get(f"{gateway}/metrics").text, re.M
    )
    assert re.search(r'job="metis-tests".*repo="metis".*suite="quick".* 2$', line)


def test_a_pushgateway_that_is_away_is_told_and_changes_no_result(folder: Path) -> None:
    """The address may have a password in it."""
    away = "http://ada:hunter2@127.0.0.1:1"
    said = run_of(folder, "--suite", "quick", "-k", "passes", METIS_TEST_PUSHGATEWAY=away)
    assert said.code == 0
    assert "figures of this run were not pushed: URLError" in said.out.decode()
    assert "hunter2" not in (said.out + said.err).decode()
    assert left(folder)["tests passed quick"] == 2
