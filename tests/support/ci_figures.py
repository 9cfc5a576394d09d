"""What a run of tests leaves for Prometheus: how many ended how, how long they took, what they covered.

A plugin of pytest: `PYTEST_PLUGINS=tests.support.ci_figures pytest --suite NAME --measure-coverage`. By `-p`
pytest-xdist's workers would load it when half of Metis is imported: those lines would count as never run.

The figures go where the service finds them (`METIS_CI_METRICS`), those of other suites stay there; and to the
Pushgateway that `METIS_TEST_PUSHGATEWAY` names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import coverage
import pytest

REPOSITORY = Path(__file__).parents[2]
RESULTS = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
FLOORS = ("words", "pure")
"""Whose coverage is told: what the tests in `tests/unit` alone hold to its promise."""
COVERED = "coverage-of-unit-tests"
PUSHGATEWAY = "METIS_TEST_PUSHGATEWAY"
HELP = {
    "ariadne_ci_tests": "Tests of the suite's last run, by how they ended.",
    "ariadne_ci_duration_seconds": "How long the suite's last run took.",
    "ariadne_ci_run_timestamp_seconds": "When the suite's last run ended.",
    "ariadne_ci_coverage_ratio": "Lines that examples in tests/unit run, of all lines of the floor.",
}
Sample = tuple[str, Mapping[str, str], float]
"""A name, labels and a value."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", help="leave figures of this run for Prometheus, under this name")
    parser.addoption("--measure-coverage", action="store_true", help="with the coverage of unit tests")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Before Metis is imported: lines that only an import runs are covered by it."""
    asked = early_config.known_args_namespace
    if asked.suite:
        early_config.pluginmanager.register(_Told(early_config), "told-to-prometheus")
    if asked.suite and asked.measure_coverage:
        early_config.pluginmanager.register(_Covered(), COVERED)
    yield


class _Covered:
    """What examples of unit tests run of Metis, in a worker or here; to trace all else takes too long."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, source=[str(REPOSITORY / "pipeline")]
        )
        self._coverage.start()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        self._coverage.stop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        is_measured = item.path.parent.name == "unit" and not item.get_closest_marker("hypothesis")
        if is_measured:
            self._coverage.start()
        try:
            return (yield)
        finally:
            self._coverage.stop()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._coverage.stop()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["coverage"] = self._coverage.get_data().dumps()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended; one that was killed has nothing to say."""
        if found := getattr(node, "workeroutput", {}).get("coverage"):
            data = coverage.CoverageData(no_disk=True)
            data.loads(found)
            self._coverage.get_data().update(data)

    def ratio(self, floor: str) -> float:
        """Which part of a floor's lines was run."""
        from tests.unit import test_floors as floors  # imports much of Metis

        place = list(floors.FLOORS).index(floor)
        lines = missing = 0
        for name in floors.NAMES:
            if floors.level(name) == place:
                _, statements, _, not_run, _ = self._coverage.analysis2(str(floors.files()[name]))
                lines, missing = lines + len(statements), missing + len(not_run)
        return round(1 - missing / lines, 4)


class _Told:
    """Tells of a run, where it came to its end; workers tell nothing."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        was_run = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not was_run or self._config.getoption("collectonly"):
            return
        suite = str(self._config.getoption("suite"))
        counts = {result: len(terminalreporter.stats.get(result, ())) for result in RESULTS}
        found = list(self._samples({"repo": "metis", "suite": suite}, counts))
        leave(suite, found, Path(os.environ.get("METIS_CI_METRICS", REPOSITORY / "artifacts/ci.prom")))
        if gateway := os.environ.get(PUSHGATEWAY):
            terminalreporter.write_line(push(suite, found, gateway))

    def _samples(self, labels: Mapping[str, str], counts: Mapping[str, int]) -> Iterator[Sample]:
        for result, count in counts.items():
            yield "ariadne_ci_tests", {**labels, "result": result}, count
        yield "ariadne_ci_duration_seconds", labels, round(time.monotonic() - self._began, 3)
        yield "ariadne_ci_run_timestamp_seconds", labels, round(time.time())
        if covered := self._config.pluginmanager.get_plugin(COVERED):
            for floor in FLOORS:
                yield "ariadne_ci_coverage_ratio", {**labels, "floor": floor}, covered.ratio(floor)


class _Collector:
    """Samples as prometheus_client writes them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = sorted(samples, key=lambda sample: sample[0])

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        for name, group in groupby(self._samples, key=lambda sample: sample[0]):
            family = GaugeMetricFamily(name, HELP.get(name, ""))
            for _, labels, value in group:
                family.add_sample(name, dict(labels), value)
            yield family


def leave(suite: str, found: Iterable[Sample], file: Path) -> None:
    """Put the figures of a suite into a file, in the place of those that it left before."""
    from prometheus_client import CollectorRegistry, write_to_textfile
    from prometheus_client.parser import text_string_to_metric_families

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = text_string_to_metric_families(file.read_text()) if file.exists() else ()
    kept = [
        (sample.name, sample.labels, sample.value)
        for family in before
        for sample in family.samples
        if sample.labels.get("suite") != suite and sample.name in HELP
    ]
    registry = CollectorRegistry()
    registry.register(_Collector([*kept, *found]))
    write_to_textfile(str(file), registry)


def push(suite: str, found: Iterable[Sample], gateway: str) -> str:
    """Bring the figures of a suite to a Pushgateway; gives the line that says what came of it.

    Tests that passed have passed, whether somebody can draw them or not. The address is not told, as it may
    have a password in it.
    """
    from prometheus_client import CollectorRegistry, push_to_gateway

    registry = CollectorRegistry()
    registry.register(_Collector(found))
    try:
        push_to_gateway(gateway, "metis-tests", registry, {"suite": suite}, timeout=20)
    except (OSError, ValueError) as error:
        return f"the figures of this run were not pushed: {type(error).__name__}; see {PUSHGATEWAY}"
    return "the figures of this run were pushed"
