"""What nightly runs leave: a report each, the last one for people, and the metrics of the last one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ..errors import MetisError, known
from ..machine import durable
from .report import Report

KEPT = 30
"""Reports of so many runs stay."""
_ALL_MAY_READ = 0o644
"""Of the metrics: node_exporter is another user, and there is no secret in them."""


def latest(folder: Path) -> Path:
    """The report of the last run, as it was printed."""
    return folder / "latest.txt"


def earlier_success(folder: Path) -> float | None:
    """When a run last ended well, as far as is known: the newest report that can be read knows."""
    for file in reversed(_reports(folder)):
        try:
            found = json.loads(file.read_bytes())["last_success"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return float(found) if isinstance(found, int | float) else None
    return None


@dataclass(frozen=True, slots=True)
class Kept:
    """A run's report with what could not be written among its faults, and a file where people find it."""

    report: Report
    errors: Sequence[MetisError]
    shown: Path | None


def keep(report: Report, folder: Path, *metrics: Path) -> Kept:
    """Leave a run's report, and its metrics in each of some files; each file is the old one or the new one.

    Each says of those before it what failed.
    """
    stamp = f"{datetime.fromtimestamp(report.ended, UTC):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"
    for_machines, for_people = folder / f"{stamp}.json", latest(folder)
    steps: dict[Path, Callable[[Report], object]] = {
        **{file: partial(_write_for_all, file) for file in metrics},
        for_machines: lambda now: durable.write(for_machines, durable.as_json(now.to_data())),
        for_people: lambda now: durable.write(for_people, now.to_text().encode()),
        folder: lambda _: _forget(folder),
    }
    errors: list[MetisError] = []
    written = set()
    for file, step in steps.items():
        try:
            step(_with_faults(report, errors))
            written.add(file)
        except (MetisError, OSError) as error:
            errors.append(known(error))
    shown = next((file for file in (for_people, for_machines) if file in written), None)
    return Kept(_with_faults(report, errors), errors, shown)


def _with_faults(report: Report, errors: Sequence[MetisError]) -> Report:
    return replace(report, faults=tuple(dict.fromkeys([*report.faults, *map(str, errors)])))


def _write_for_all(file: Path, report: Report) -> None:
    with durable.replacing(file) as part:
        part.write_text(report.to_metrics())
        part.chmod(_ALL_MAY_READ)


def _forget(folder: Path) -> None:
    for file in _reports(folder)[:-KEPT]:
        file.unlink(missing_ok=True)


def _reports(folder: Path) -> list[Path]:
    """Oldest first: their names are times."""
    return sorted(folder.glob("*.json"))
