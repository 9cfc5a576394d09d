"""What nightly runs leave: a report each, the last one for people, and the metrics of the last one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from . import durable
from .errors import MetisError, from_os
from .nightly_report import Report

KEPT = 30
"""Reports of so many runs stay."""
_ALL_MAY_READ = 0o644
"""Of the metrics: node_exporter is another user, and there is no secret in them."""


def latest(folder: Path) -> Path:
    """The report of the last run, as it was printed."""
    return folder / "latest.txt"


def metrics(folder: Path) -> Path:
    """Where the metrics go where nothing else is said."""
    return folder / "metis.prom"


def earlier_success(folder: Path) -> float | None:
    """When a run last ended well, as far as is known: the newest report that can be read knows."""
    for file in reversed(_reports(folder)):
        try:
            found = json.loads(file.read_bytes())["last_success"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return float(found) if isinstance(found, int | float) else None
    return None


def keep(report: Report, folder: Path, metrics_file: Path) -> list[MetisError]:
    """Leave a run's report and metrics, each file old or new; give what could not be written."""
    stamp = f"{datetime.fromtimestamp(report.ended, UTC):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"
    steps: tuple[Callable[[], object], ...] = (
        lambda: durable.write(folder / f"{stamp}.json", durable.as_json(report.to_data())),
        lambda: durable.write(latest(folder), report.to_text().encode()),
        lambda: _write_for_all(metrics_file, report.to_metrics()),
        lambda: _forget(folder),
    )
    return list(_errors_of(steps))


def _errors_of(steps: tuple[Callable[[], object], ...]) -> Iterator[MetisError]:
    for step in steps:
        try:
            step()
        except MetisError as error:
            yield error
        except OSError as error:
            yield from_os(error)


def _write_for_all(file: Path, text: str) -> None:
    with durable.replacing(file) as part:
        part.write_text(text)
        part.chmod(_ALL_MAY_READ)


def _forget(folder: Path) -> None:
    for file in _reports(folder)[:-KEPT]:
        file.unlink(missing_ok=True)


def _reports(folder: Path) -> list[Path]:
    """Oldest first: their names are times."""
    return sorted(folder.glob("*.json"))
