"""Runs two ways of doing one thing in turn, and says how their times compare.

A machine that others use as well is faster now and slower then, so what counts is the median of the ratios of
runs that followed each other, not the ratio of two totals. What is compared stands in the other modules.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.machine import process
from tests.support.lab import BIN, REPOSITORY, Lab

_PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took, in seconds; `cpu` is that of all its processes."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours and the peer, ready to run any number of times; `about` says on what.

    Where it is warm, the caches of both are full.
    """

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    about: Mapping[str, Any]
    is_warm: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs of ours and of the peer's, pair by pair; `bound` is the largest ratio that is good enough."""

    name: str
    bound: float | None
    ours: Sequence[Cost]
    peer: Sequence[Cost]
    about: Mapping[str, Any]

    @property
    def ratios(self) -> list[float]:
        """Our wall time divided by the peer's, of each pair."""
        return [ours.wall / peer.wall for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs."""
        return statistics.median(self.ratios)

    @property
    def is_good(self) -> bool:
        """Whether the ratio keeps its bound."""
        return self.bound is None or self.ratio <= self.bound

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "ratio": self.ratio, "ratios": self.ratios}


def side_by_side(pair: Pair, *, runs: int, bound: float | None, briefly: bool = False) -> Comparison:
    """Time both in turn, where they are not warm after one run of each that is not counted.

    `briefly` leaves out the runs that cannot change any more whether the bound is kept.
    """
    if not pair.is_warm:
        _timed(pair.ours), _timed(pair.peer)
    found = Comparison(pair.name, bound, (), (), pair.about)
    while len(found.ours) < runs and not (briefly and _is_settled(found, runs)):
        ours, peer = _timed(pair.ours), _timed(pair.peer)
        found = replace(found, ours=(*found.ours, ours), peer=(*found.peer, peer))
    return found


def _is_settled(found: Comparison, runs: int) -> bool:
    """Whether more than half of so many runs are on one side of the bound, where their median is then too."""
    if found.bound is None:
        return False
    kept = sum(ratio <= found.bound for ratio in found.ratios)
    return max(kept, len(found.ratios) - kept) > runs / 2


def _timed(work: Callable[[], object]) -> Cost:
    """The cost of the child processes that `work` starts and waits for."""
    wall, cpu = time.perf_counter(), _cpu_of_children()
    work()
    return Cost(time.perf_counter() - wall, _cpu_of_children() - cpu)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> dict[str, Any]:
    """Where the figures come from: without it two files of figures cannot be compared."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
    }


def table(comparisons: Sequence[Comparison]) -> str:
    """The figures for people: medians, with the smallest and the largest in brackets."""
    rows = [("", "Metis, s", "peer, s", "CPU, s", "ratio", "at most"), *map(_row, comparisons)]
    return columns(rows)


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of texts as a table, each column as wide as it must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(item: Comparison) -> tuple[str, ...]:
    cpu = [statistics.median(cost.cpu for cost in costs) for costs in (item.ours, item.peer)]
    return (
        item.name,
        spread([cost.wall for cost in item.ours]),
        spread([cost.wall for cost in item.peer]),
        f"{cpu[0]:.2f} : {cpu[1]:.2f}",
        spread(item.ratios),
        "-" if item.bound is None else f"{item.bound:g}{'' if item.is_good else ' MISSED'}",
    )


def spread(values: Sequence[float]) -> str:
    """The median, with the smallest and the largest in brackets."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def with_peak(lab: Lab, program: Path, *arguments: str) -> tuple[process.Finished, int]:
    """Run a program in Python on a lab; gives what it said, and the largest memory of the process in KiB."""
    said = process.run(
        [BIN / "python", "-c", _PEAK, program, *arguments],
        cwd=REPOSITORY,
        extra_environment=lab.variables({}),
    )
    return said, int(said.err.split()[-1])
